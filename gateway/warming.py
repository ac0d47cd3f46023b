"""Metadata of a series are worked out soon after it went quiet, so that nobody who opens it waits.

The change feed tells which series instances came to or left; once nothing has happened to one for some seconds, the
groups of its metadata that are new are made. What is missed, by a restart or since too much happens at once, is made at
the first request.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from functools import partial

from gateway import bundles, foreground
from gateway.errors import GatewayError
from gateway.logs import get_logger
from storage.archive import Archive
from storage.errors import StorageError

log = get_logger(__name__)

POLL = 1.0
QUIET = 4.0
"""Seconds without a change after which a series counts as complete for now."""
MOST = 10_000
"""Series that may wait; of more, those that waited longest are left to their first request."""
_BATCH = 1000

Series = tuple[str, str]


class Warmer:
    """A thread that follows the change feed from now on. `start` and `stop` once, from one thread."""

    def __init__(self, archive: Archive, *, quiet: float = QUIET, poll: float = POLL) -> None:
        self._archive = archive
        self._quiet = quiet
        self._poll = poll
        self._waiting: OrderedDict[Series, float] = OrderedDict()  # when each changed last, the longest ago first
        self._seen: int | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="warming", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """End; a series at hand is finished first, for `seconds` at most."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
                self._prepare()
            except (StorageError, GatewayError) as error:
                log.warning("warming", error=type(error).__name__)
            self._stopping.wait(self._poll)

    def _follow(self) -> None:
        """Note which series have changed."""
        index = self._archive.index
        if self._seen is None:
            self._seen = index.horizon()
        while changes := self._archive.changes(self._seen, _BATCH):
            now = time.monotonic()
            for change in changes:
                self._waiting[change.study_uid, change.series_uid] = now
                self._waiting.move_to_end((change.study_uid, change.series_uid))
            self._seen = changes[-1].sequence
            while len(self._waiting) > MOST:
                self._waiting.popitem(last=False)

    def _prepare(self) -> None:
        """Make what is due."""
        while self._waiting and not self._stopping.is_set():
            series, changed = next(iter(self._waiting.items()))
            if time.monotonic() - changed < self._quiet:
                return
            del self._waiting[series]
            try:
                until = time.monotonic() + foreground.PATIENCE
                found = self._archive.locate(*series)
                bundles.prepare(self._archive, found, partial(foreground.rest, self._stopping, until))
            except GatewayError as error:  # one damaged instance is no reason to leave the other series
                log.info("series_not_prepared", series_uid=series[1], error=type(error).__name__)
