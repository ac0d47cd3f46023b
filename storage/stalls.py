"""Waits for a local disk: how long the longest has lasted, so that not all come to wait for one that stands still.

Who is in a system call cannot be called back. So each such wait is entered here first; once one has lasted too long
the disk counts as standing still, and whoever would write to it is refused at once, until the wait is over (F-19).
"""

from __future__ import annotations

import time
from types import TracebackType

from storage.errors import ObjectStoreStalled

PATIENCE = 20.0
RATE = 4 << 20
"""Bytes a second that the slowest disk is expected to take: what is large may last longer."""


class Wait:
    """One wait, as a context."""

    __slots__ = ("_ends", "_seconds")

    def __init__(self, ends: dict[Wait, float], seconds: float) -> None:
        self._ends = ends
        self._seconds = seconds

    def __enter__(self) -> None:
        self._ends[self] = time.monotonic() + self._seconds

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del self._ends[self]


class Stalls:
    """The waits of one process for its disks. `patience` is in seconds. Shared by all threads; costs little."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._ends: dict[Wait, float] = {}

    def wait(self, size: int = 0) -> Wait:
        """A wait that begins with its context, for so many bytes."""
        return Wait(self._ends, self.patience + size / RATE)

    @property
    def found(self) -> bool:
        """Whether a wait lasts too long at this time."""
        return bool(self._ends) and min(list(self._ends.values()), default=time.monotonic()) < time.monotonic()

    def check(self) -> None:
        """Raises ObjectStoreStalled where one does."""
        if self.found:
            raise ObjectStoreStalled("the disk does not answer")
