"""Group commit: callers that wait at the same time share one transaction.

The first caller becomes the leader and works off what has gathered until nothing is left; the others wait for their
own result. Alone, a caller pays nothing for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class GroupCommit(Generic[Item, Result]):
    """Collects items of many threads into batches for `commit`, which returns one result or error an item."""

    def __init__(self, commit: Callable[[Sequence[Item]], Sequence[Result | Exception]], *, most: int = 64) -> None:
        self._commit = commit
        self._most = most
        self._waiting: list[tuple[Item, Future[Result]]] = []
        self._guard = threading.Lock()
        self._leader = threading.Lock()

    def submit(self, item: Item) -> Result:
        """Commit `item`, together with whatever else waits; returns its result or raises its error."""
        future: Future[Result] = Future()
        with self._guard:
            self._waiting.append((item, future))
        with self._leader:
            while not future.done():
                self._work()
        return future.result()

    def _work(self) -> None:
        with self._guard:
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        try:
            results = self._commit([item for item, _ in batch])
        except Exception as error:  # the whole batch shares the failure of its transaction
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
