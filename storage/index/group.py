"""Group commit: callers that wait at the same time share one transaction.

The first caller becomes the leader and works off what has gathered until nothing is left; the others wait for their
own result. Alone, a caller pays nothing for it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    outcome: tuple[Result | Exception] | None = None


class GroupCommit(Generic[Item, Result]):
    """Collects items of many threads into batches for `commit`, which returns one result or error an item."""

    def __init__(self, commit: Callable[[Sequence[Item]], Sequence[Result | Exception]], *, most: int = 64) -> None:
        self._commit = commit
        self._most = most
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._leader = threading.Lock()

    def submit(self, item: Item) -> Result:
        """Commit `item`, together with whatever else waits; returns its result or raises its error."""
        mine: _Waiting[Item, Result] = _Waiting(item)
        self._waiting.append(mine)
        with self._leader:
            while mine.outcome is None:
                self._work()
        (outcome,) = mine.outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def _work(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        try:
            outcomes = self._commit([one.item for one in batch])
        except Exception as error:  # the whole batch shares the failure of its transaction
            outcomes = [error] * len(batch)
        for one, outcome in zip(batch, outcomes, strict=True):
            one.outcome = (outcome,)
