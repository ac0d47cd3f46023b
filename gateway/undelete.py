"""Undelete: bring back what was deleted while its bytes are still there (S-91), `delete_delay` seconds long.

Each instance is stored again, under a new version, from the object that waits to be removed: the order of writes is
that of every store, and neither the collector nor a crash can be in the way. What was deleted last comes back first, so
that of several versions under one SOP Instance UID it is the one that was there at the end.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from gateway.caller import Caller
from gateway.describe import read_and_describe
from gateway.errors import Forbidden, GatewayError, Unavailable
from gateway.rights import Action
from storage.archive import Archive
from storage.errors import DuplicateConflict, ObjectDamaged, ObjectMissing, StorageError
from storage.records import Deleted
from storage.spool import spool_error

THREADS = 4
PAGE = 200
RESTORED, THERE, LOST, DAMAGED = "restored", "there", "lost", "damaged"


@dataclass(slots=True)
class Report:
    """What came of one page: instances by outcome, and where the next page begins; None when there is none.

    `there`: stored again by somebody else meanwhile; `lost`: removed just now; `damaged`: not what was received.
    """

    counts: dict[str, int] = field(default_factory=dict)
    before: int | None = None


def listed(
    archive: Archive, caller: Caller, since: float, study_uid: str | None, before: int | None = None
) -> list[Deleted]:
    """A page of what can be brought back. Raises Forbidden, Unavailable."""
    _permit(caller)
    try:
        return archive.deleted(since, study_uid, before, PAGE)
    except StorageError as error:
        raise Unavailable("the archive does not answer; try again") from error


def undelete(
    archive: Archive, caller: Caller, since: float, study_uid: str | None, before: int | None = None
) -> Report:
    """Bring back a page of what was deleted at `since` or later, of one study or all. Raises Forbidden, Unavailable."""
    page = listed(archive, caller, since, study_uid, before)
    latest = {one.sop_uid: one for one in reversed(page)}  # of several under one UID, what was deleted last
    report = Report(before=page[-1].sequence if len(page) == PAGE else None)
    try:
        with ThreadPoolExecutor(THREADS) as threads:
            outcomes = list(threads.map(lambda one: _bring_back(archive, one), latest.values()))
    except StorageError as error:
        raise Unavailable("the archive cannot store at this time; try again") from error
    for one, outcome in zip(latest.values(), outcomes, strict=True):
        report.counts[outcome] = report.counts.get(outcome, 0) + 1
        if outcome == RESTORED:
            caller.trail.study(one.study_uid)
            caller.trail.count += 1
    return report


def _permit(caller: Caller) -> None:
    """Raises Forbidden for who is not an administrator of all studies: nobody knows whose a deleted one was."""
    if caller.rights.within(Action.ADMIN) is not None:
        raise Forbidden(Action.ADMIN.value)


def _bring_back(archive: Archive, one: Deleted) -> str:
    """Raises StorageError."""
    version = archive.new_version()
    path, file = archive.spool.create(version)
    try:
        file.close()
        try:
            with archive.objects.stream(one.key) as chunks, path.open("wb") as out:
                for chunk in chunks:
                    out.write(chunk)
            found = archive.objects.digests(one.key)
        except OSError as error:
            raise spool_error(error) from error
        with path.open("rb") as stream:
            size, key = path.stat().st_size, archive.key(one.sop_uid, version)
            kept = found[0] if found is not None else ""
            record = read_and_describe(stream, size, version=version, key=key, sealed=archive.seals, kept=kept)
        if found is not None:
            if found[0] != record.digest:
                return DAMAGED
            record = replace(record, dataset_digest=found[1])  # of a coerced one, that of what was received
        archive.add(record, path, replace=False)
    except ObjectMissing:
        return LOST
    except (ObjectDamaged, GatewayError):
        return DAMAGED
    except DuplicateConflict:
        return THERE
    finally:
        if not archive.needs(version):
            path.unlink(missing_ok=True)
    return RESTORED
