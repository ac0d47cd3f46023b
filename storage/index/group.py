"""Group commit: callers that wait at the same time share one transaction.

The first caller becomes the leader and commits what has gathered, its own item with it; the others wait. Then it wakes
those whose items are committed, and the first of those that came meanwhile, who leads the next batch: nobody is woken
only to wake the next. Alone, a caller pays nothing for it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def _held() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    """`woken` is held until the item is committed, or its caller has to lead."""

    item: Item
    outcome: tuple[Result | Exception] | None = None
    woken: threading.Lock = field(default_factory=_held)


class GroupCommit(Generic[Item, Result]):
    """Collects items of many threads into batches for `commit`, which returns one result or error an item."""

    def __init__(self, commit: Callable[[Sequence[Item]], Sequence[Result | Exception]], *, most: int = 64) -> None:
        self._commit = commit
        self._most = most
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._guard = threading.Lock()
        self._is_led = False

    def submit(self, item: Item) -> Result:
        """Commit `item`, together with whatever else waits; returns its result or raises its error."""
        mine: _Waiting[Item, Result] = _Waiting(item)
        with self._guard:
            self._waiting.append(mine)
            leads, self._is_led = not self._is_led, True
        if not leads:
            mine.woken.acquire()
        if mine.outcome is None:
            self._lead(mine)
        assert mine.outcome is not None  # a leader's item is the first of its batch
        (outcome,) = mine.outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _lead(self, mine: _Waiting[Item, Result]) -> None:
        """Commit one batch, of which `mine` is the first, and let another lead the next."""
        with self._guard:
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            outcomes = self._commit([one.item for one in batch])
        except Exception as error:  # the whole batch shares the failure of its transaction
            outcomes = [error] * len(batch)
        for one, outcome in zip(batch, outcomes, strict=True):
            one.outcome = (outcome,)
        with self._guard:
            following = self._waiting[0] if self._waiting else None
            self._is_led = following is not None
        if following is not None:
            following.woken.release()
        for one in batch:
            if one is not mine:
                one.woken.release()
