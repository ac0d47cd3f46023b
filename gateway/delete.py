"""Delete: take a study, series or instance away (PS3.18 has no such transaction; PS3.4 KK is its model)."""

from __future__ import annotations

from gateway.caller import Caller
from gateway.describe import read_and_describe
from gateway.errors import GatewayError, Gone, NotFound, Unavailable
from gateway.logs import get_logger
from gateway.rights import Action
from gateway.trail import patient_of
from storage.archive import MISSING, SIZE, Archive
from storage.errors import ObjectDamaged, ObjectMissing, StorageError
from storage.reader import open_reader

log = get_logger(__name__)


def delete(
    archive: Archive, caller: Caller, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None
) -> int:
    """Remove the instances below from every answer, at once and for good; returns how many.

    Their bytes go later. Raises NotFound when there are none that the caller may delete (Gone when there were),
    Unavailable, Forbidden.
    """
    within = caller.rights.within(Action.DELETE)
    try:
        patient_id = patient_of(archive, study_uid)  # afterwards nobody knows
        gone = archive.delete(study_uid, series_uid, sop_uid, within)
        if not gone and within is None and archive.was_deleted(study_uid, series_uid, sop_uid):
            raise Gone("it was deleted before")
        if not gone:
            raise NotFound("no such study, series or instance")
        caller.trail.study(study_uid, patient_id)
        caller.trail.count += len(gone)
        describe_again(archive)
    except StorageError as error:
        raise Unavailable("the archive cannot delete at this time; try again") from error
    return len(gone)


def describe_again(archive: Archive) -> int:
    """Let the earliest remaining instance speak for studies and series whose describing instance left.

    Where its object is damaged, they keep what they said until it is repaired.
    """
    done = 0
    for located in archive.index.undescribed():
        try:
            with open_reader(archive, located) as stream:
                record = read_and_describe(stream, located.size, version=located.version, key=located.key)
        except (ObjectMissing, ObjectDamaged, GatewayError) as error:
            archive.report(located, MISSING if isinstance(error, ObjectMissing) else SIZE)
            log.error("object_damaged", sop_uid=located.sop_uid, reason=type(error).__name__)
            continue
        archive.index.describe(record)
        done += 1
    return done
