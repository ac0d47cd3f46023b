"""How often somebody may do something: leaky buckets in bounded memory, each process with its own (S-79)."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

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


WITHIN = 300.0
"""Seconds in which failures to prove who one is are counted."""
FROM_ONE_ADDRESS = 30
"""How many times as many failures one address may have in all, under whatever names and with whatever secrets."""


class Guesses:
    """Wrong secrets at one door: `most` for one name from one address in `WITHIN` seconds, and `FROM_ONE_ADDRESS` times
    as many from one address. 0: any number.
    """

    def __init__(self, most: int) -> None:
        self._named = Limiter(most / WITHIN, most) if most else None
        spread = most * FROM_ONE_ADDRESS
        self._spread = Limiter(spread / WITHIN, spread) if most else None

    def wait(self, address: str, name: str) -> float:
        """Seconds until a secret for this name is looked at again; 0: now."""
        if self._named is None or self._spread is None:
            return 0.0
        return max(self._named.wait(address, name), self._spread.wait(address))

    def wrong_for(self, address: str, name: str) -> None:
        """Count a wrong secret for this name."""
        if self._named is not None:
            self._named.add(address, name)

    def wrong_from(self, address: str) -> float:
        """Count a wrong secret of any kind. Seconds by which the address is too early with it; 0: it is in time."""
        return 0.0 if self._spread is None else self._spread.add(address)
