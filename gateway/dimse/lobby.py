"""Connections that have not negotiated yet: where they wait, and how many may (S-02, F-58).

One that has said nothing, or a few bytes, costs an entry in a table and no thread; an association is made of it once
the header of its first PDU is there. Too many of them, from one address or in all, make room from the oldest on, so
that peers which mean to associate get through.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway import metrics
from gateway.dimse.limits import Limits
from gateway.logs import get_logger

if TYPE_CHECKING:
    from gateway.dimse.association import Acceptor
    from gateway.dimse.listener import Listener

log = get_logger(__name__)

DROPPED, SILENT, CLOSED, FAILED = "dropped", "timeout", "closed", "failed"
"""Outcomes, in metrics, of connections that never became an association."""

HEADER = 6
"""Bytes of a PDU header; a TLS record has one of five, and is longer as a whole."""
LOG_EVERY = 1.0


@dataclass(eq=False, slots=True)
class Guest:
    """A connection that has not negotiated. `association` is set once it has its thread; until then nobody reads it.

    At `deadline`, on the clock of `time.monotonic`, the TLS handshake has to be over, or without TLS the A-ASSOCIATE-RQ
    has to be there (ARTIM, PS3.8 9.1.5).
    """

    listener: Listener
    accepted: socket.socket
    host: str
    deadline: float
    association: Acceptor | None = None


class Lobby:
    """Holds guests until they speak, and hands them to `deliver`, which may raise OSError and RuntimeError."""

    def __init__(self, limits: Limits, deliver: Callable[[Guest], None]) -> None:
        self._limits = limits
        self._deliver = deliver
        self._guard = threading.Lock()
        self._guests: dict[Guest, None] = {}  # the oldest first
        self._by_host: dict[str, dict[Guest, None]] = {}
        self._silent: dict[int, Guest] = {}  # by file descriptor
        self._epoll = select.epoll()
        self._wake, waker = os.pipe()
        self._waker = waker
        self._epoll.register(self._wake, select.EPOLLIN)
        self._stopping = False
        self._dropped = 0
        self._logged = 0.0
        self._thread = threading.Thread(target=self._watch, name="dimse-lobby", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Close those that wait without an association, and let nobody in any more."""
        with self._guard:
            if self._stopping:
                return
            self._stopping = True
        os.write(self._waker, b"x")
        self._thread.join()
        for guest in list(self._silent.values()):
            self._close(guest, CLOSED)
        self._epoll.close()
        os.close(self._wake)
        os.close(self._waker)

    def enter(self, listener: Listener, accepted: socket.socket, host: str) -> None:
        """Take a new connection in. Raises OSError when it is gone already."""
        limits = self._limits
        seconds = limits.request_seconds if listener.tls is None else limits.handshake_seconds
        guest = Guest(listener, accepted, host, time.monotonic() + seconds)
        for oldest in self._make_room(guest):
            self._drop(oldest)
        if _speaks(accepted):
            self._promote(guest)
            return
        with self._guard:
            if self._stopping:
                self._forget(guest)
                accepted.close()
                return
            self._silent[accepted.fileno()] = guest
            self._epoll.register(accepted, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)

    def make_room(self) -> None:
        """Drop the oldest guest: there are no file descriptors left."""
        with self._guard:
            oldest = next(iter(self._guests), None)
            if oldest is not None:
                self._forget(oldest)
        if oldest is not None:
            self._drop(oldest)

    def leave(self, guest: Guest) -> None:
        """Free the place of a guest that has negotiated, or ended."""
        with self._guard:
            self._forget(guest)

    def associations(self) -> list[Acceptor]:
        """Those of the guests that have become one."""
        with self._guard:
            return [guest.association for guest in self._guests if guest.association is not None]

    def _make_room(self, guest: Guest) -> list[Guest]:
        """Enter a guest; the oldest ones that have to go for it."""
        with self._guard:
            same = self._by_host.setdefault(guest.host, {})
            doomed: list[Guest] = []
            if len(same) >= self._limits.waiting_per_address:
                doomed.append(next(iter(same)))
            elif len(self._guests) >= self._limits.waiting:
                doomed.append(next(iter(self._guests)))
            for oldest in doomed:
                self._forget(oldest)
            self._guests[guest] = None
            self._by_host.setdefault(guest.host, {})[guest] = None
        return doomed

    def _forget(self, guest: Guest) -> None:
        if guest in self._guests:
            del self._guests[guest]
            same = self._by_host[guest.host]
            del same[guest]
            if not same:
                del self._by_host[guest.host]

    def _drop(self, guest: Guest) -> None:
        self._dropped += 1
        now = time.monotonic()
        if now - self._logged >= LOG_EVERY:  # an attacker must not fill the log
            log.warning("connections_dropped", reason="too_many_waiting", count=self._dropped, address=guest.host)
            self._logged, self._dropped = now, 0
        if guest.association is not None:
            guest.association.hang_up(DROPPED)
        else:
            self._close(guest, DROPPED)

    def _close(self, guest: Guest, outcome: str) -> None:
        """Close a connection that has no association, unless another thread did."""
        with self._guard:
            if self._silent.pop(guest.accepted.fileno(), None) is not guest:
                return
            self._forget(guest)
        with contextlib.suppress(OSError):
            guest.accepted.close()  # which takes it out of the epoll set as well
        metrics.ASSOCIATIONS.labels(outcome=outcome).inc()

    def _promote(self, guest: Guest) -> None:
        try:
            self._deliver(guest)
        except (OSError, RuntimeError) as error:  # the peer has gone already; no thread can be started
            log.error("connection_refused", error=type(error).__name__)
            self.leave(guest)
            with contextlib.suppress(OSError):
                guest.accepted.close()
            metrics.ASSOCIATIONS.labels(outcome=FAILED).inc()

    # ------------------------------------------------------------ the watching thread

    def _watch(self) -> None:
        while not self._stopping:
            for descriptor, events in self._epoll.poll(self._pause()):
                if descriptor != self._wake:
                    self._look(descriptor, events)
            self._expire()

    def _pause(self) -> float:
        """Seconds until the next deadline, some tenths at least so that many are seen to at once."""
        with self._guard:
            first = next(iter(self._silent.values()), None)
        return 1.0 if first is None else min(1.0, max(0.05, first.deadline - time.monotonic()))

    def _look(self, descriptor: int, events: int) -> None:
        with self._guard:
            guest = self._silent.get(descriptor)
        if guest is None:
            return
        try:
            speaks = _speaks(guest.accepted)
        except OSError:
            self._close(guest, CLOSED)
            return
        if speaks:
            with self._guard:
                if self._silent.pop(descriptor, None) is not guest:
                    return
                self._epoll.unregister(descriptor)
            self._promote(guest)
        elif events & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
            self._close(guest, CLOSED)

    def _expire(self) -> None:
        now = time.monotonic()
        with self._guard:
            late = [guest for guest in self._silent.values() if guest.deadline <= now]
        for guest in late:
            self._close(guest, SILENT)


def _speaks(accepted: socket.socket) -> bool:
    """Is the header of a PDU there? Raises OSError for a connection that is gone."""
    try:
        return len(accepted.recv(HEADER, socket.MSG_PEEK | socket.MSG_DONTWAIT)) >= HEADER
    except BlockingIOError:
        return False
