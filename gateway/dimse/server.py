"""The DIMSE listener: accepts connections, bounds their numbers, and stops in order.

A connection that has not negotiated takes none of the places for associations; there may be many of those, and the
oldest makes room (S-02, F-58).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pydicom.config
from pydicom.uid import UID
from pynetdicom import AE, _config, build_context, evt
from pynetdicom.transport import AddressInformation, AssociationServer

from gateway import metrics
from gateway.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from gateway.dimse.association import DROPPED, FAILED, STOPPED, Acceptor
from gateway.dimse.c_find import negotiate
from gateway.dimse.c_store import Reception
from gateway.dimse.limits import MAX_PDU, Limits
from gateway.dimse.negotiation import CONGESTED, LIMIT_EXCEEDED, VERIFICATION, Policy, Rejection
from gateway.dimse.services import Services
from gateway.dimse.statuses import SUCCESS
from gateway.logs import get_logger
from gateway.settings import Settings, is_loopback, split_address
from storage.archive import Archive

log = get_logger(__name__)

BACKLOG = 512
JOIN_SECONDS = 2.0


class DimseServer:
    """Verification, Storage and Query as a service class provider.

    `start` binds and returns; `stop` finishes what is in flight. Both once, from one thread.
    """

    def __init__(self, archive: Archive, settings: Settings, limits: Limits | None = None) -> None:
        self._archive = archive
        self._settings = settings
        self._limits = limits or Limits()
        self._services = Services(archive, settings, self._limits)
        self._policy = Policy(
            settings.aet,
            settings.require_called_aet,
            _calling(settings),
            settings.accept_unknown_classes,
        )
        self._lock = threading.Lock()
        self._waiting: dict[Acceptor, None] = {}
        self._established: set[Acceptor] = set()
        self._stopping = False
        self._stop_reader, self._stop_writer = os.pipe()
        self._listener: Listener | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> tuple[str, int]:
        """Listen; returns the bound address. Raises OSError when it cannot be bound."""
        _quieten_library()
        ae = AE(self._settings.aet)
        ae.maximum_pdu_size = MAX_PDU
        ae.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
        ae.implementation_version_name = IMPLEMENTATION_VERSION
        contexts = [build_context(VERIFICATION)]  # what we support is decided in negotiation.Policy
        self._listener = Listener(
            ae, split_address(self._settings.dimse), self._settings.aet, contexts, accept=self._accept
        )
        ae._servers.append(self._listener)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.2,), name="dimse-listener")
        self._thread.start()
        host, port = self._listener.server_address[:2]
        return str(host), int(port)

    def stop(self, grace_seconds: float = 30.0) -> None:
        """Reject new associations, end idle ones, finish operations in flight for at most `grace_seconds` (F-07)."""
        if self._listener is None or self._thread is None:
            return
        with self._lock:
            self._stopping = True
        os.write(self._stop_writer, b"x")
        give_up = time.monotonic() + grace_seconds
        for association in self._established_now():
            association.join(max(0.0, give_up - time.monotonic()))
        self._listener.shutdown()
        self._thread.join()
        rest = self._open()
        for association in rest:
            association.hang_up(STOPPED)
        for association in rest:
            association.join(JOIN_SECONDS)
        self._listener = None
        if not self._open():
            os.close(self._stop_reader)
            os.close(self._stop_writer)

    def admit(self, association: Acceptor) -> Rejection | None:
        """Move an association to the established ones, unless there are too many or we stop."""
        with self._lock:
            if self._stopping:
                return CONGESTED
            if len(self._established) >= self._settings.max_associations:
                return LIMIT_EXCEEDED
            self._waiting.pop(association, None)
            self._established.add(association)
        metrics.OPEN_ASSOCIATIONS.inc()
        return None

    def ended(self, association: Acceptor, outcome: str) -> None:
        """Free the place of an association."""
        with self._lock:
            self._waiting.pop(association, None)
            established = association in self._established
            self._established.discard(association)
        if established:
            metrics.OPEN_ASSOCIATIONS.dec()
        metrics.ASSOCIATIONS.labels(outcome=outcome).inc()

    def _established_now(self) -> list[Acceptor]:
        with self._lock:
            return list(self._established)

    def _open(self) -> list[Acceptor]:
        with self._lock:
            return [*self._established, *self._waiting]

    def _accept(self, ae: AE, accepted: socket.socket, address: tuple[Any, ...]) -> None:
        """Start an association on a new connection."""
        reception = Reception(
            self._archive,
            max_bytes=self._settings.max_object_bytes,
            accept_unknown_classes=self._settings.accept_unknown_classes,
        )
        association = Acceptor(
            ae,
            accepted,
            registry=self,
            reception=reception,
            services=self._services,
            policy=self._policy,
            limits=self._limits,
            stop_signal=self._stop_reader,
        )
        association.acceptor.maximum_length = MAX_PDU
        association.acceptor.ae_title = self._settings.aet
        association.acceptor.implementation_version_name = IMPLEMENTATION_VERSION
        association.acceptor.address_info = AddressInformation.from_tuple(accepted.getsockname())
        association.requestor.address_info = AddressInformation.from_tuple(address)
        association.bind(evt.EVT_C_ECHO, _echo)
        association.bind(evt.EVT_C_STORE, reception.answer)
        association.bind(evt.EVT_SOP_EXTENDED, negotiate)
        for oldest in self._make_room(address[0]):
            log.warning("connection_dropped", reason="too_many_waiting", address=oldest.requestor.address)
            oldest.hang_up(DROPPED)
        with self._lock:
            self._waiting[association] = None
        try:
            association.start()
        except RuntimeError:  # no more threads
            self.ended(association, FAILED)
            raise

    def _make_room(self, host: str) -> list[Acceptor]:
        """The oldest connections that have to go, for one more from `host` to wait for its negotiation."""
        with self._lock:
            same = [waiting for waiting in self._waiting if waiting.requestor.address == host]
            doomed = same[: max(0, len(same) + 1 - self._limits.waiting_per_address)]
            if not doomed and len(self._waiting) >= self._limits.waiting:
                doomed = [next(iter(self._waiting))]
            for association in doomed:
                del self._waiting[association]
        return doomed


class Listener(AssociationServer):
    """The listening socket. `accept` is called with the AE, each new socket and its peer's address."""

    request_queue_size = BACKLOG

    def __init__(self, *args: Any, accept: Callable[[AE, socket.socket, tuple[Any, ...]], None]) -> None:
        self._accept = accept
        super().__init__(*args)

    def get_request(self) -> tuple[socket.socket, Any]:
        """The next connection; a moment's rest when there is no file descriptor for it (F-68)."""
        assert self.socket is not None
        try:
            return self.socket.accept()
        except OSError:
            time.sleep(0.05)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand a connection over; a failure costs this connection only."""
        try:
            self._accept(self.ae, request, client_address)
        except (OSError, RuntimeError) as error:  # the peer has gone already; no thread can be started
            log.error("connection_refused", error=type(error).__name__)
            with contextlib.suppress(OSError):
                request.close()

    def service_actions(self) -> None:
        """Nothing: the library collects garbage here, which nothing of ours needs."""


def _echo(_event: evt.Event) -> int:
    metrics.OPERATIONS.labels(command="C-ECHO", status="0000").inc()
    log.debug("echoed")
    return SUCCESS


def _calling(settings: Settings) -> frozenset[str]:
    """The AE titles that may call; none means any, which is so on loopback unless a list was set."""
    if not settings.calling_aets and (settings.insecure or is_loopback(settings.dimse)):
        return frozenset()
    return frozenset(settings.calling_aets) | {peer.aet for peer in settings.peers}


def _quieten_library() -> None:
    """No identifiers, no per-PDU handlers and no tracebacks of the libraries in any log (their settings are global).

    pydicom would warn about each malformed value it meets, and quote it; what to think of a value is decided by us.
    """
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = False
    _config.LOG_RESPONSE_IDENTIFIERS = False
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
