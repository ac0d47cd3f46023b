"""High-water marks: how far the index had come, kept in the object store as well, so that an older index is noticed.

Every minute, and whenever a gateway starts or stops, the index is given a new mark (its note) and then the store (an
empty object): the store never has a newer one than the index that goes with it. Where it has, the index is older than
its objects: a backup of it was restored, or the server that took over lacks the last transactions. So is a database
whose timeline has moved on, which is the short way to tell the latter. What was acknowledged since then looks like the
rest of crashes to it, so nothing may be swept until `reconcile` has taken it in (F-38, F-43).
"""

from __future__ import annotations

import time
from contextlib import suppress

from storage.errors import IndexBehind, StorageError
from storage.index import Index
from storage.objects import ObjectStore
from storage.versions import new_version, version_time

MARKS = "high-water/"
NOTE = "high-water"
"""The index's mark and, after a slash, its timeline."""
BEHIND = "behind"
"""The index's note that it lacks what came after a moment, in seconds since the epoch."""
EVERY = 60.0
STEP = 0.002
"""Seconds from one mark to the next at least: versions tell milliseconds apart, and numbers of seconds are rounded."""


class HighWater:
    """The marks of one archive. Blocking; any number of gateways may look and advance at once."""

    def __init__(self, objects: ObjectStore, index: Index) -> None:
        self._objects = objects
        self._index = index

    def look(self) -> float | None:
        """Is the index older than its objects? Notes it, and returns since when; None when it is not.

        Raises StorageError.
        """
        if self.is_older():
            mark, _ = _parts(self._index.note(NOTE))
            self.doubt(version_time(mark) if mark else self._last_change())
        return self.behind()

    def is_older(self) -> bool:
        """Compare the marks, and note nothing. Raises StorageError."""
        # the store's first: whoever advances tells the index first, so a healthy one is never behind what was read
        there = self._there()
        mark, timeline = _parts(self._index.note(NOTE))
        return max(there, default="") > mark or (bool(mark) and self._index.timeline() > timeline)

    def advance(self, every: float = EVERY) -> float | None:
        """As `look`; then set a new mark, unless one was set within so many seconds. Raises StorageError."""
        since = self.look()
        note = self._index.note(NOTE)
        mark, _ = _parts(note)
        now = time.time()
        age = now - version_time(mark) if mark else every
        if 0.0 <= age < every:
            return since
        # later than the last one even where a clock went back
        new = new_version(max(now, version_time(mark) + STEP) if mark else now)
        if self._index.enqueue([], now, (NOTE, note, f"{new}/{self._index.timeline()}")) is None:
            return since  # another gateway was first
        old = self._there()
        self._objects.put_bytes(MARKS + new, b"")
        for one in old:
            if one < new:
                self._objects.delete(MARKS + one)
        return since

    def doubt(self, since: float) -> None:
        """Note that the index may lack what came after this moment; an earlier one that was noted stays."""
        known = self.behind()
        if known is None:
            self._index.skip_numbers()
        if known is None or since < known:
            self._index.set_note(BEHIND, repr(since))

    def behind(self) -> float | None:
        """Since when the index is known to lack what was stored; None when nothing is known. Raises StorageError."""
        note = self._index.note(BEHIND)
        return None if note is None else float(note)

    def check(self) -> None:
        """Raise IndexBehind where the index is known to be older than its objects. An index that does not answer is
        for others to find.
        """
        since: float | None = None
        with suppress(StorageError):
            since = self.behind()
        if since is not None:
            raise IndexBehind(since)

    def settle(self) -> None:
        """The index knows all objects again. Raises StorageError."""
        self._index.set_note(BEHIND, None)

    def _there(self) -> list[str]:
        return [info.key.removeprefix(MARKS) for info in self._objects.keys(MARKS)]

    def _last_change(self) -> float:
        """Of an index that was never given a mark."""
        last = self._index.changes(self._index.horizon() - 1, 1)
        return last[-1].at if last else 0.0


def _parts(note: str | None) -> tuple[str, int]:
    mark, _, timeline = (note or "").partition("/")
    return mark, int(timeline or 0)
