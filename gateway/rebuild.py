"""Rebuild: the index again, from the objects alone.

Reads every received object, the oldest version of an instance first, and comes to the rows that the live index had.
Goes on where an interrupted run stopped; never deletes an object.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice

from gateway.describe import read_and_describe
from gateway.errors import GatewayError
from storage.archive import DIGEST, Archive
from storage.crashpoints import reached
from storage.errors import DuplicateConflict, ObjectStoreError, ObjectStoreUnavailable
from storage.index import Added
from storage.objects import ObjectInfo
from storage.reader import open_reader
from storage.records import InstanceRecord
from storage.versions import version_of

PENDING = "rebuild"
"""The index's note while a rebuild is needed or unfinished: `needed`, or `after:` and the last key worked off."""

THREADS = 4
BATCH = 256


@dataclass(slots=True)
class Report:
    """What a rebuild came to.

    `conflicts` and `unreadable` hold object keys: other bytes under a UID that is taken by an older version, and
    objects that are no DICOM files or cannot be read. Both stay where they are, for a human to decide. `damaged` are
    those whose bytes are not the ones that were received: they have rows, with the digests that were kept beside them.
    """

    instances: int = 0
    buried: int = 0
    conflicts: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Count another report's findings in."""
        self.instances += other.instances
        self.buried += other.buried
        self.conflicts += other.conflicts
        self.unreadable += other.unreadable
        self.damaged += other.damaged


def rebuild(archive: Archive, progress: Callable[[int], None] = lambda objects: None) -> Report:
    """Fill the index from the objects; `progress` hears of each batch how many objects it had.

    Raises ObjectStoreError and IndexStoreError: run it again, it goes on where it was.
    """
    note = archive.index.note(PENDING) or ""
    after = note.removeprefix("after:") if note.startswith("after:") else ""
    if not after:
        archive.index.set_note(PENDING, "needed")
        archive.index.clear()
        reached("G7")
    tombs = archive.tombs()
    report = Report()
    groups = archive.stored(after)
    with ThreadPoolExecutor(THREADS) as threads:
        while batch := list(islice(groups, BATCH)):
            for found in threads.map(lambda versions: adopt(archive, versions, tombs), batch):
                report.add(found)
            archive.index.set_note(PENDING, f"after:{batch[-1][-1].key}")
            reached("G9")
            progress(sum(len(versions) for versions in batch))
    archive.high_water.settle()
    archive.index.recount()
    archive.index.set_note(PENDING, None)
    return report


def adopt(archive: Archive, versions: list[ObjectInfo], tombs: dict[str, str], *, announce: bool = False) -> Report:
    """One instance: its oldest readable version gets the row; `announce` tells of it in the change feed."""
    report = Report()
    for info in versions:
        tomb = tombs.get(version_of(info.key))
        if tomb is not None:
            archive.bury(info.key, tomb)
            report.buried += 1
    for record in _records(archive, [i for i in versions if version_of(i.key) not in tombs], report):
        try:
            added = archive.index.add(record, announce=announce)
        except DuplicateConflict:
            report.conflicts.append(record.key)
            archive.set_aside(record.key)
            continue
        reached("G8")
        if added is Added.STORED:
            report.instances += 1
            if record.key in report.damaged:
                archive.index.report_damage(record.version, DIGEST, time.time())
        else:
            report.buried += 1
    return report


def _records(archive: Archive, versions: list[ObjectInfo], report: Report) -> Iterator[InstanceRecord]:
    for info in versions:
        try:
            kept = archive.objects.digests(info.key)
            with open_reader(archive, info) as stream:
                record = read_and_describe(
                    stream,
                    info.size,
                    version=version_of(info.key),
                    key=info.key,
                    sealed=archive.seals,
                    kept=kept[0] if kept is not None else "",
                )
        except ObjectStoreUnavailable:
            raise
        except (GatewayError, ObjectStoreError):
            report.unreadable.append(info.key)
            archive.set_aside(info.key)
            continue
        if kept is not None and kept != (record.digest, record.dataset_digest):
            # what was received is what the row promises, or the damage would pass for good from now on
            report.damaged.append(info.key)
            record = replace(record, digest=kept[0], dataset_digest=kept[1], checksum=None)
        yield record
