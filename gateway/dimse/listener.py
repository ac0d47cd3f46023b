"""A listening socket of the DIMSE wing, and the thread that accepts on it.

pynetdicom's own server makes the TLS handshake before it accepts the next connection; here a connection is handed on at
once, and whatever it fails in costs nobody else anything (S-03).
"""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from pynetdicom import AE, build_context
from pynetdicom.transport import AssociationServer

from gateway.dimse.negotiation import VERIFICATION, Policy
from gateway.logs import get_logger
from gateway.settings import split_address
from gateway.tls import ServerTls

log = get_logger(__name__)

BACKLOG = 512
POLL_SECONDS = 0.2

Accept = Callable[["Listener", socket.socket, tuple[Any, ...]], None]
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})


def bind(address: str) -> socket.socket:
    """A socket that listens on HOST:PORT. Raises OSError."""
    host, port = split_address(address)
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


class Listener(AssociationServer):
    """Hands each connection on `bound` to `accept`, with its peer's address; `tls` is set where it is spoken.

    `policy` tells what is accepted of peers that come this way. `make_room` is called when there is no file descriptor
    for a connection.
    """

    def __init__(
        self,
        ae: AE,
        bound: socket.socket,
        policy: Policy,
        accept: Accept,
        make_room: Callable[[], None],
        tls: ServerTls | None = None,
    ) -> None:
        self._bound = bound
        self._accept = accept
        self._make_room = make_room
        self.policy = policy
        self.tls = tls
        # what we support is decided in negotiation.Policy
        super().__init__(ae, bound.getsockname()[:2], policy.aet, [build_context(VERIFICATION)])
        self._thread = threading.Thread(
            target=self.serve_forever, args=(POLL_SECONDS,), name="dimse-listener", daemon=True
        )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens on."""
        host, port = self._bound.getsockname()[:2]
        return str(host), int(port)

    def start(self) -> None:
        """Accept from now on, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Accept no more, and close the socket."""
        self.shutdown()
        self._thread.join()

    def server_bind(self) -> None:
        """Take the socket that was bound before; other processes may accept on it as well, so none may block in it."""
        assert self.socket is not None
        self.socket.close()
        self._bound.setblocking(False)
        self.socket = self._bound
        self.server_address = self.address

    def server_activate(self) -> None:
        """It listens already."""

    def server_close(self) -> None:
        """Close the socket, without ending the listening of other processes that share it."""
        self._bound.close()

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection; room and a moment's rest when there is no file descriptor for it (F-68)."""
        try:
            return self._bound.accept()
        except OSError as error:  # or another process was first
            if error.errno in _NO_DESCRIPTOR:
                self._make_room()
                time.sleep(0.02)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand a connection over; a failure costs this connection only."""
        try:
            self._accept(self, request, client_address)
        except OSError as error:  # the peer has gone already
            log.error("connection_refused", error=type(error).__name__)
            with contextlib.suppress(OSError):
                request.close()

    def service_actions(self) -> None:
        """Between connections: look after the certificate. (The library collects garbage here, for nothing of ours.)"""
        if self.tls is not None:
            self.tls.refresh()
