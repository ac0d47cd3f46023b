"""Small derived files, given as soon as they are made and written afterwards.

A picture takes a millisecond to make, and on a busy disk longer to write. So who asked does not wait for the file: a
thread writes it when nothing more has come for a moment, or when much waits, and until then it is given from memory.
Written at once it would be in the way of the next picture. A process that ends before has lost what it can make again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from storage.derived import Derived, theirs
from storage.errors import StorageError

MOST = 32 << 20
"""Bytes that wait to be written; beyond it, who made more writes it."""
QUIET = 0.5
"""Seconds without anything new after which is written what waits; also when half of `MOST` waits."""


class Behind:
    """What is small, in `derived`. Blocking, shared by all threads; its own thread starts with the first use."""

    def __init__(self, derived: Derived, most: int = MOST) -> None:
        self._derived = derived
        self._most = most
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._flights: dict[str, Future[bytes]] = {}
        self._thread: threading.Thread | None = None
        self._last = 0.0
        self._hurry = False
        self._closed = False

    def get(self, key: str, make: Callable[[], bytes]) -> bytes:
        """The bytes of `key`, as `Derived.get` has it, made by `make` where they are not there.

        Raises what `make` raises; ObjectStoreUnavailable: no turn to make them. Room is not needed to be given them.
        """
        with self._changed:
            waiting = self._waiting.get(key)
        if waiting is not None:
            return waiting
        file = self._derived.find(key)
        if file is not None:
            return b"".join(file.pieces())
        with self._changed:
            waiting = self._waiting.get(key)
            if waiting is not None:
                return waiting
            flight = self._flights.get(key)
            mine = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if not mine:
            return flight.result()
        return self._make(key, make, flight)

    def _make(self, key: str, make: Callable[[], bytes], flight: Future[bytes]) -> bytes:
        try:
            with self._derived.turn():
                data = make()
            self._put(key, data)
        except BaseException as error:
            flight.set_exception(theirs(error))
            raise
        else:
            flight.set_result(data)
            return data
        finally:
            with self._changed:
                del self._flights[key]

    def _put(self, key: str, data: bytes) -> None:
        """Have it written: by the thread, or here where too much waits for that."""
        with self._changed:
            if not self._closed and self._size + len(data) <= self._most:
                self._waiting[key] = data
                self._size += len(data)
                self._last = time.monotonic()
                if len(self._waiting) == 1 or self._is_much():
                    self._changed.notify_all()
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="derived", daemon=True)
                    self._thread.start()
                return
        self._write(key, data)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._is_due():
                    if self._closed:
                        return
                    self._changed.wait(QUIET if self._waiting else None)
                key, data = next(iter(self._waiting.items()))
            self._write(key, data)
            with self._changed:
                del self._waiting[key]
                self._size -= len(data)
                if not self._waiting:
                    self._changed.notify_all()

    def _is_due(self) -> bool:
        if self._hurry or self._closed or self._is_much():
            return bool(self._waiting)
        return bool(self._waiting) and time.monotonic() - self._last >= QUIET

    def _is_much(self) -> bool:
        return self._size > self._most // 2

    def _write(self, key: str, data: bytes) -> None:
        with suppress(StorageError, OSError):  # no room: it was given all the same, and can be made again
            self._derived.put(key, data)

    def settle(self) -> None:
        """Have everything written now, and wait for it."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting)
            self._hurry = False

    def close(self) -> None:
        """Write what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()
