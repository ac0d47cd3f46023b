"""Reconcile: the index catches up with objects that are newer than it is, after a backup of it was restored.

What was deleted or replaced since then leaves its rows, as the tombs beside the objects tell; what was stored since
then is adopted, and announced in the change feed, under numbers that nobody can have read before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from gateway.integrity import LEASE
from gateway.rebuild import BATCH, Report, adopt
from storage.archive import Archive
from storage.crashpoints import reached
from storage.objects import ObjectInfo
from storage.versions import version_of, version_time


@dataclass(slots=True)
class Reconciled(Report):
    """As a rebuild's report; `removed` counts rows of what had been deleted or replaced."""

    removed: int = 0


def reconcile(
    archive: Archive, progress: Callable[[int], None] = lambda objects: None, *, since: float | None = None
) -> Reconciled:
    """Bring the index up to the objects; `progress` hears how many objects were looked at. Raises StorageError.

    No store may go on meanwhile. Objects older than the index are left to the sweep: no acknowledged one is among them.
    The index is as old as its last entry; or where a gateway went on with it, as was noted when that began; or as old
    as `since` says (seconds since the epoch).
    """
    index = archive.index
    last = index.changes(index.horizon() - 1, 1)
    noted = archive.high_water.look()
    since = min(one for one in (last[-1].at if last else 0.0, noted, since) if one is not None) - LEASE
    index.skip_numbers()
    tombs = archive.tombs()
    report = Reconciled(removed=_remove(archive, tombs, since))
    reached("G12")
    groups = archive.stored()
    while batch := list(islice(groups, BATCH)):
        versions = [version_of(info.key) for group in batch for info in group]
        named = index.live_versions(versions) | index.garbage_versions(versions)
        for group in batch:
            fresh = [info for info in group if _is_fresh(info, named, since)]
            if fresh:
                report.add(adopt(archive, fresh, tombs, announce=True))
        progress(len(versions))
    reached("G13")
    archive.high_water.settle()
    return report


def _is_fresh(info: ObjectInfo, named: set[str], since: float) -> bool:
    version = version_of(info.key)
    return version not in named and version_time(version) >= since


def _remove(archive: Archive, tombs: dict[str, str], since: float) -> int:
    """Rows whose versions have a tomb that is newer than the index. An older one is of a delete that never happened."""
    newer = {version: tomb for version, tomb in tombs.items() if archive.tomb_time(tomb) >= since}
    live = archive.index.live_versions(list(newer))
    removed = 0
    for version in sorted(live):
        found = archive.index.walk(_before(version), 1)
        if found and found[0].version == version:
            due = time.time() + LEASE
            removed += len(archive.index.delete(found[0].study_uid, [version], cleanup_after=due, tomb=newer[version]))
    return removed


def _before(version: str) -> str:
    """What sorts right before this version."""
    return f"{int(version, 16) - 1:032x}"
