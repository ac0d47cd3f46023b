"""One peer's TCP connection: blocking reads with absolute deadlines, in place of pynetdicom's polled ones (PS3.8 9.1).

pynetdicom's `AssociationSocket` reads with no deadline, looks for data with `select()` (which fails beyond 1,024 open
files) once a millisecond, and believes any length. This one waits in `poll()`, reads into one buffer that is kept, and
lets the caller set the largest PDU.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
from collections.abc import Sequence
from enum import Enum
from time import monotonic
from typing import TYPE_CHECKING

from pynetdicom.transport import AssociationSocket

from gateway.tls import Names, peer_certificate

if TYPE_CHECKING:
    from pynetdicom.association import Association

    from gateway.dimse.limits import Limits

HEADER = struct.Struct(">BxL")
READ_AHEAD = 65_536
LINGER_BYTES = 1 << 20


_MOST_PIECES = 128
"""Pieces that are handed over one by one; more of them are small, and cheaper put together. Linux takes 1,024."""


class PeerLost(ConnectionError):
    """The connection is of no use any more. `reason` is a stable word for logs and metrics."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason.replace("_", " "))
        self.reason = reason


class Woken(Enum):
    """Why a wait for the next PDU ended."""

    DATA = "data"
    STOPPING = "stopping"
    TIMEOUT = "timeout"


class Connection(AssociationSocket):
    """A connection accepted from a peer. `stop_signal` is a file descriptor, readable once we shall stop."""

    def __init__(self, assoc: Association, accepted: socket.socket, stop_signal: int, limits: Limits) -> None:
        super().__init__(assoc, client_socket=accepted)
        self._limits = limits
        self._stop_signal = stop_signal
        self.certificate_names: Names = frozenset()
        self._buffer = memoryview(bytearray(READ_AHEAD))
        self._start = self._end = 0
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setblocking(False)
        self._poll = select.poll()
        self._poll.register(accepted, select.POLLIN)
        self._poll_or_stop = select.poll()
        self._poll_or_stop.register(accepted, select.POLLIN)
        self._poll_or_stop.register(stop_signal, select.POLLIN)

    @property
    def is_secured(self) -> bool:
        """Is it a connection with TLS?"""
        return self._secured() is not None

    def handshake(self, deadline: float) -> None:
        """Make the TLS handshake of a secured connection. Raises PeerLost."""
        secured = self._secured()
        assert secured is not None
        try:
            secured.settimeout(max(0.001, deadline - monotonic()))
            secured.do_handshake()
            secured.setblocking(False)
            self.certificate_names = peer_certificate(secured)
        except TimeoutError:
            raise PeerLost("too_slow") from None
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise PeerLost("tls_failed" if isinstance(error, ssl.SSLError) else "connection_lost") from None

    def readable(self) -> bool:
        """Is there anything to read at once: data, or the end of the connection?"""
        return self._buffered() or (self.socket is not None and bool(self._poll.poll(0)))

    def wait(self, seconds: float) -> Woken:
        """Wait for the first byte of a PDU (or the end of the connection), or for the signal to stop."""
        if self._buffered():
            return Woken.DATA
        ready = {descriptor for descriptor, _ in self._poll_or_stop.poll(max(0.0, seconds) * 1000)}
        if ready - {self._stop_signal}:
            return Woken.DATA
        return Woken.STOPPING if ready else Woken.TIMEOUT

    def header(self, deadline: float) -> tuple[int, int]:
        """Type and length of the next PDU (PS3.8 9.3.1), which stays unread. Raises PeerLost."""
        self._fill(HEADER.size, deadline)
        kind, length = HEADER.unpack_from(self._buffer, self._start)
        return kind, length

    def pdu(self, length: int, deadline: float) -> memoryview:
        """The next PDU, header included, whose `header` told `length`; valid until the next read. Raises PeerLost."""
        size = HEADER.size + length
        self._fill(size, deadline)
        whole = self._buffer[self._start : self._start + size]
        self._start += size
        return whole

    def send(self, bytestream: bytes) -> None:
        """Send all of it; when the peer does not take it in time, the connection counts as closed (Evt17)."""
        self.send_pieces([bytestream])

    def send_pieces(self, pieces: Sequence[bytes | memoryview]) -> None:
        """As `send`, of pieces one after the other."""
        try:
            if self.socket is None:
                raise PeerLost("closed")
            send_all(self.socket, pieces, self._limits.send_seconds)
        except OSError:
            self.event_queue.put("Evt17")
        else:
            self.socket.setblocking(False)

    def hang_up(self) -> None:
        """Make a reader in another thread see the end of the connection."""
        if (open_socket := self.socket) is not None:
            with contextlib.suppress(OSError):
                # not SSLSocket's own, which would drop the encryption of what is still to be sent
                socket.socket.shutdown(open_socket, socket.SHUT_RD)

    def linger(self) -> None:
        """Say that we have sent our last, and give the peer a moment to read it and close first (ARTIM, PS3.8 9.1.5).

        Closing with unread bytes would reset the connection, and the peer might never see why it was refused.
        """
        if (open_socket := self.socket) is None:
            return
        deadline, room = monotonic() + self._limits.linger_seconds, LINGER_BYTES
        with contextlib.suppress(OSError):
            open_socket.shutdown(socket.SHUT_WR)
            while (left := deadline - monotonic()) > 0 and room > 0:
                open_socket.settimeout(left)
                if not (count := open_socket.recv_into(self._buffer)):
                    break
                room -= count

    def _shutdown_socket(self) -> None:
        """Close whatever state it is in: the library leaves it open where the peer has already gone."""
        if (open_socket := self.socket) is not None:
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()

    def _secured(self) -> ssl.SSLSocket | None:
        return self.socket if isinstance(self.socket, ssl.SSLSocket) else None

    def _buffered(self) -> bool:
        """Is there anything that was read from the network already?"""
        if self._end > self._start:
            return True
        secured = self._secured()
        return secured is not None and secured.pending() > 0

    def _fill(self, size: int, deadline: float) -> None:
        """Have at least `size` bytes from `_start` in the buffer."""
        if self._start == self._end:
            self._start = self._end = 0
        if self._start + size > len(self._buffer):
            self._make_room(size)
        source = self.socket
        if source is None:
            raise PeerLost("closed")
        while self._end - self._start < size:
            try:
                count = source.recv_into(self._buffer[self._end :])
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                self._await(deadline)
                continue
            except OSError:
                raise PeerLost("connection_lost") from None
            if not count:
                raise PeerLost("closed" if self._start == self._end else "connection_lost")
            self._end += count

    def _await(self, deadline: float) -> None:
        """Until there is something to be read. Raises PeerLost at the deadline, even if bytes come now and then."""
        if (left := deadline - monotonic()) <= 0 or not self._poll.poll(left * 1000):
            raise PeerLost("too_slow")

    def _make_room(self, size: int) -> None:
        kept = self._end - self._start
        target = self._buffer if size <= len(self._buffer) else memoryview(bytearray(size + READ_AHEAD))
        target[:kept] = self._buffer[self._start : self._end]
        self._buffer, self._start, self._end = target, 0, kept


def send_all(connection: socket.socket, pieces: Sequence[bytes | memoryview], seconds: float) -> None:
    """Send all pieces, one after the other, uncopied where there is no TLS. The socket is left with a timeout.

    Raises OSError, and TimeoutError when the peer has not taken all of it in so many seconds.
    """
    if isinstance(connection, ssl.SSLSocket) or len(pieces) > _MOST_PIECES:
        pieces = [b"".join(pieces)]
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(seconds)
        connection.sendall(pieces[0])
        return
    until = monotonic() + seconds
    connection.settimeout(seconds)
    left, size = list(pieces), sum(map(len, pieces))
    while (sent := connection.sendmsg(left)) < size:
        size -= sent
        done = 0
        while sent >= len(left[done]):
            sent -= len(left[done])
            done += 1
        left[:done] = ()
        left[0] = memoryview(left[0])[sent:]
        connection.settimeout(max(0.001, until - monotonic()))
