"""Stores whose answers were given while the disk knew their bytes alone: their names and rows follow, many at a time.

Names first, then the log of the index, then what would tell a start after a crash of them is forgotten.
"""

from __future__ import annotations

import logging
import threading
import time

from storage.errors import IndexBroken, ObjectStoreBroken, StorageError
from storage.index import Index
from storage.objects import Entrance
from storage.stalls import Stalls

_log = logging.getLogger(__name__)

AFTER = 10.0
"""Seconds after which a store is settled, at most."""
MANY = 2048
"""Stores that are settled before that time is over."""
LONGEST = 300.0
"""Seconds between two attempts at most, where settling fails again and again."""
TOO_MANY = 4 * MANY
"""Stores that wait because the disk cannot follow: beyond that each one has to be durable by itself."""


class Settler:
    """Settles what it is told of in a thread of its own, which is there as long as there is something to do."""

    def __init__(self, entrance: Entrance, index: Index, stalls: Stalls, after: float = AFTER) -> None:
        self._entrance = entrance
        self._index = index
        self._stalls = stalls
        self._after = after
        self._failed = 0  # attempts, one after the other
        self._waiting: dict[str, str] = {}
        self._guard = threading.Condition()
        self._turn = threading.Lock()
        self._running = False
        self._closed = False

    @property
    def behind(self) -> bool:
        """Whether so much waits that no more should be added."""
        return len(self._waiting) >= TOO_MANY

    def add(self, version: str, key: str) -> None:
        """The object of this key, kept at the entrance, is in the index or will not be: settle it soon."""
        with self._guard:
            self._waiting[version] = key
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="settling", daemon=True).start()
            elif len(self._waiting) == MANY:
                self._guard.notify()

    def holds(self, version: str) -> bool:
        """Whether the file at the entrance is still needed."""
        return version in self._waiting

    def settle(self) -> int:
        """Settle all that waits, now; returns how many. Raises StorageError: then it goes on waiting."""
        with self._turn:
            waiting = dict(self._waiting)
            if waiting:
                self._entrance.settle(waiting.values())
                self._index.sync()
                with self._guard:
                    for version in waiting:
                        del self._waiting[version]
                self._entrance.forget(waiting)
            return len(waiting)

    def close(self) -> None:
        """Settle what can be settled; the rest is left to the next start."""
        with self._guard:
            self._closed = True
            self._guard.notify()
        if not self._stalls.found:
            self._try()

    def _run(self) -> None:
        while True:
            with self._guard:
                end = time.monotonic() + min(self._after * 2**self._failed, LONGEST)
                while not self._closed and not self._is_much() and (left := end - time.monotonic()) > 0:
                    self._guard.wait(left)
            again = self._try()
            with self._guard:
                if self._closed or not again or not self._waiting:
                    self._running = False
                    return

    def _is_much(self) -> bool:
        return len(self._waiting) >= MANY and not self._failed

    def _try(self) -> bool:
        """Settle; False where another attempt would be in vain."""
        try:
            self.settle()
        except (ObjectStoreBroken, IndexBroken) as error:
            self._index.distrust(str(error))
            return False
        except (StorageError, OSError) as error:
            self._failed = min(self._failed + 1, 10)
            _log.warning("not settled yet: %s", error)
            return True
        self._failed = 0
        return True
