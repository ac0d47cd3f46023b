"""How often somebody may do something: leaky buckets in bounded memory, each process with its own (S-79)."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from math import ceil

from gateway.http.failures import Failure

MOST = 10_000
"""Buckets that are kept; the one that was not used for longest goes first."""


class Limiter:
    """`burst` at once, and `rate` a second in the long run, for each key. Thread-safe; never blocks."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._lock = threading.Lock()
        self._levels: OrderedDict[tuple[str, ...], tuple[float, float]] = OrderedDict()

    def wait(self, *key: str) -> float:
        """Seconds until there is room for one more; 0: now."""
        with self._lock:
            return self._over(self._level(key))

    def add(self, *key: str) -> float:
        """Count one. Seconds that it is too early, and then it is not counted; 0: it is in time."""
        with self._lock:
            level = self._level(key)
            early = self._over(level)
            self._levels[key] = (level if early else level + 1.0, time.monotonic())
            self._levels.move_to_end(key)
            while len(self._levels) > MOST:
                self._levels.popitem(last=False)
            return early

    def _level(self, key: tuple[str, ...]) -> float:
        level, at = self._levels.get(key, (0.0, 0.0))
        return max(level - (time.monotonic() - at) * self._rate, 0.0)

    def _over(self, level: float) -> float:
        return max(level + 1.0 - self._burst, 0.0) / self._rate


def too_many(seconds: float, detail: str) -> Failure:
    """429 with the whole seconds after which to try again (RFC 6585 4)."""
    return Failure(429, "too_many_requests", detail, headers={"Retry-After": str(max(ceil(seconds), 1))})
