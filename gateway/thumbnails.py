"""Thumbnails made before anyone asks for them: of series that have been quiet for a while, and of their studies."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from gateway import foreground, render
from gateway.errors import GatewayError
from gateway.logs import get_logger
from gateway.render.representative import representative
from gateway.settings import Settings
from storage.archive import Archive
from storage.errors import StorageError
from storage.records import Change, Located

log = get_logger(__name__)

LOOK_EVERY = 2.0
QUIET = 4.0
"""Seconds without a change after which a series gets its thumbnails: sooner than anybody looks at it."""
PAGE = 1000
MOST = 100_000
"""Series that are waited for at most; beyond it the ones that wait longest are forgotten."""

SIZES = ((128, 128), (192, 192))
"""Sizes that are made: the default of the resource, and what the page asks for."""

Place = tuple[str, str | None]
"""A study, or a series of it, by UID."""


class Thumbnails:
    """Follows the change feed from the moment it is made. What was stored before gets its thumbnails when asked for.

    Each gateway makes those that it will itself be asked for: what is derived is kept on its own disk. `start` and
    `stop` once.
    """

    def __init__(self, archive: Archive, settings: Settings, *, quiet: float = QUIET) -> None:
        self._archive = archive
        self._quiet = quiet
        self._wanted = settings.derived_max_bytes > 0
        self._mark = archive.index.horizon()
        self._changed: dict[Place, float] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="thumbnails", daemon=True)

    def start(self) -> None:
        """Begin, unless nothing derived is kept anyway."""
        if self._wanted:
            self._thread.start()

    def stop(self) -> None:
        """Finish the picture at hand."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        trouble = ""
        while not self._stopping.wait(LOOK_EVERY):
            try:
                self.advance(time.monotonic())
                trouble = ""
            except (StorageError, GatewayError) as error:
                if trouble != (trouble := type(error).__name__):  # once, not every time
                    log.warning("thumbnails_wait", error=trouble)

    def advance(self, now: float) -> int:
        """Look at what is new at the monotonic time `now`, and make what is due; returns how many pictures were asked
        for. Raises IndexStoreError.
        """
        for change in self._news():
            places: tuple[Place, Place] = ((change.study_uid, change.series_uid), (change.study_uid, None))
            for place in places:
                self._changed.pop(place, None)  # so that the order is that of the times
                if change.action != "delete":
                    self._changed[place] = now
        while len(self._changed) > MOST:
            del self._changed[next(iter(self._changed))]
        made = 0
        while self._changed and not self._stopping.is_set():
            place, at = next(iter(self._changed.items()))
            if at > now - self._quiet:
                break
            foreground.rest(self._stopping, time.monotonic() + foreground.PATIENCE)
            del self._changed[place]
            made += self._make(*place)
        return made

    def _news(self) -> Iterator[Change]:
        upto = self._archive.index.horizon()
        while self._mark < upto:
            changes = [one for one in self._archive.changes(self._mark, PAGE) if one.sequence <= upto]
            if not changes:
                return
            yield from changes
            self._mark = changes[-1].sequence

    def _make(self, study_uid: str, series_uid: str | None) -> int:
        found: list[Located] = self._archive.locate(study_uid, series_uid)
        made = 0
        with suppress(GatewayError):  # it has no picture, or is gone: whoever asks will hear of it
            located, frame = representative(found)
            for size in SIZES:
                render.thumbnail(self._archive, located, frame, size)
                made += 1
        return made
