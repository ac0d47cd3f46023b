"""Integrity: are the stored objects still what was received?

`Scrubber` reads every object again and again, slowly; `verify` reads all of them now. What they find is in the index
(`Archive.damaged`), is not served, and is repaired by sending the same data set again, or by bringing the object back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import orjson

from gateway import metrics
from gateway.logs import get_logger
from storage.archive import Archive
from storage.crashpoints import reached
from storage.errors import ObjectStoreUnavailable, StorageError
from storage.records import Damage, Located
from storage.versions import OBJECTS, version_of, version_time

log = get_logger(__name__)

SCRUB = "scrub"
"""The index's note of how far the scrubber came: when its cycle began, and the last version of the slice taken."""
DAY = 86_400.0
SLICE = 20
RECHECK = 60.0
"""Seconds after which damaged objects are looked at again: somebody may have brought them back."""
MOST_RECHECKED = 100
LEASE = 3600.0
"""Seconds for which an object without a row may belong to a store that goes on."""
THREADS = 8
PAGE = 500


class Scrubber:
    """Reads all objects within `days`, at most `bytes_per_second` of them; several gateways share the work.

    A slice of instances is taken by moving a mark in the index. A crash loses the slice at hand until the next cycle.
    """

    def __init__(self, archive: Archive, days: float, bytes_per_second: int) -> None:
        self._archive = archive
        self._cycle = days * DAY
        self._rate = bytes_per_second
        self._recheck_every = min(RECHECK, max(self._cycle, 0.1)) if self._cycle else RECHECK
        self._rechecked = -RECHECK

    def run(self, stopping: threading.Event) -> None:
        """Scrub until told to stop."""
        pause = self._recheck_every
        while not stopping.wait(pause):
            try:
                self.recheck()
                pause = min(self.step(stopping), self._recheck_every) if self._cycle else RECHECK
            except StorageError as error:
                log.warning("scrub_waits", error=type(error).__name__)
                pause = RECHECK

    def step(self, stopping: threading.Event) -> float:
        """Look at the next slice of instances; returns the seconds until there is more to do. Raises StorageError."""
        index, now = self._archive.index, time.time()
        mark = index.note(SCRUB)
        began, after = progress(mark)
        if after is None:
            if mark is not None and now < began + self._cycle:
                return min(RECHECK, began + self._cycle - now)
            began, after = now, ""
        found = index.walk(after, SLICE)
        ahead = found[-1].version if found else None
        if index.enqueue([], now, (SCRUB, mark, _note(began, ahead))) is None:
            return 0.0  # another gateway has this slice
        reached("G10")
        if not found:
            log.info("scrub_done", seconds=round(now - began))
            return 0.0
        for located in found:
            if stopping.is_set():
                break
            begun = time.monotonic()
            examine(self._archive, located)
            reached("G11")
            metrics.SCRUBBED_BYTES.inc(located.size)
            stopping.wait(max(0.0, located.size / self._rate - (time.monotonic() - begun)))
        return 0.0

    def recheck(self) -> None:
        """Look again at what is known to be damaged: is it good? Raises StorageError."""
        if time.monotonic() - self._rechecked < self._recheck_every:
            return
        self._rechecked = time.monotonic()
        known = self._archive.look_at_damage()
        for damage in known[:MOST_RECHECKED]:
            examine(self._archive, damage.instance, known=True)
        metrics.DAMAGED_INSTANCES.set(len(known))


def begin_cycle(archive: Archive) -> None:
    """Let the scrubber begin anew, at once. Raises StorageError."""
    archive.index.set_note(SCRUB, None)


def progress(mark: str | None) -> tuple[float, str | None]:
    """When the scrubber's cycle began, and the version it has reached; None: it is through."""
    if mark is None:
        return 0.0, None
    state = orjson.loads(mark)
    return float(state["began"]), state["after"]


def _note(began: float, after: str | None) -> str:
    return orjson.dumps({"began": began, "after": after}).decode()


def examine(archive: Archive, located: Located, *, deep: bool = True, known: bool = False) -> str | None:
    """Look at one object and write down what is found: the reason of the damage, None for a good one.

    `known` says that it was damaged before. An object that cannot be read at this time is left for later.
    """
    try:
        reason = archive.examine(located, deep=deep)
    except ObjectStoreUnavailable as error:
        log.warning("object_unread", sop_uid=located.sop_uid, error=type(error).__name__)
        metrics.SCRUBBED.labels(outcome="unread").inc()
        return None
    metrics.SCRUBBED.labels(outcome=reason or "good").inc()
    if reason is None:
        if known and deep:
            archive.absolve(located)
            log.info("object_restored", sop_uid=located.sop_uid)
        return None
    live = archive.find(located.sop_uid)
    if live is None or live.version != located.version:  # deleted or replaced meanwhile
        return None
    if not known:
        metrics.DAMAGED.inc()
        log.error("object_damaged", sop_uid=located.sop_uid, reason=reason)
        archive.report(located, reason)
    return reason


@dataclass(slots=True)
class Verification:
    """What `verify` found: how many instances it looked at, the damaged ones, and objects that no row names.

    `orphans` are of a crash, or newer than the index; `kept` were left aside by a rebuild, for a human to decide.
    """

    instances: int = 0
    damaged: list[Damage] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Is everything as it should be?"""
        return not self.damaged and not self.orphans


def verify(
    archive: Archive, *, deep: bool, lease: float = LEASE, advance: Callable[[int], None] = lambda count: None
) -> Verification:
    """Compare every row with its object: is it there, has it its length and (`deep`) its digest; then look for objects
    without a row that are older than `lease` seconds. Raises StorageError.
    """
    found = Verification()
    known = {damage.instance.version for damage in archive.look_at_damage()}
    with ThreadPoolExecutor(THREADS) as threads:
        after = ""
        while page := archive.index.walk(after, PAGE):
            looks = threads.map(lambda one: examine(archive, one, deep=deep, known=one.version in known), page)
            now = time.time()
            found.damaged += [Damage(one, why, now) for one, why in zip(page, looks, strict=True) if why is not None]
            found.instances += len(page)
            after = page[-1].version
            advance(len(page))
    for key in unnamed(archive, time.time() - lease):
        (found.kept if archive.is_set_aside(key) else found.orphans).append(key)
    return found


def unnamed(archive: Archive, latest: float) -> Iterator[str]:
    """Keys of objects made before `latest` that neither a row nor the garbage names."""
    keys = archive.objects.keys(OBJECTS)
    while batch := {version_of(info.key): info.key for info in islice(keys, PAGE)}:
        versions = list(batch)
        named = archive.index.live_versions(versions) | archive.index.garbage_versions(versions)
        yield from (batch[one] for one in versions if one not in named and version_time(one) < latest)
