"""Delete: take a study, series or instance away (PS3.18 has no such transaction; PS3.4 KK is its model)."""

from __future__ import annotations

from gateway.caller import Caller
from gateway.describe import read_and_describe
from gateway.errors import Gone, NotFound, Unavailable
from storage.archive import Archive
from storage.errors import StorageError
from storage.reader import open_reader


def delete(
    archive: Archive, caller: Caller, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None
) -> int:
    """Remove the instances below from every answer, at once and for good; returns how many.

    Their bytes go later. Raises NotFound when there are none (Gone when there were), Unavailable.
    """
    try:
        gone = archive.delete(study_uid, series_uid, sop_uid)
        if not gone and archive.was_deleted(study_uid, series_uid, sop_uid):
            raise Gone("it was deleted before")
        if not gone:
            raise NotFound("no such study, series or instance")
        describe_again(archive)
    except StorageError as error:
        raise Unavailable("the archive cannot delete at this time; try again") from error
    return len(gone)


def describe_again(archive: Archive) -> int:
    """Let the earliest remaining instance speak for studies and series whose describing instance left."""
    waiting = archive.index.undescribed()
    for located in waiting:
        with open_reader(archive, located) as stream:
            record = read_and_describe(stream, located.size, version=located.version, key=located.key)
        archive.index.describe(record)
    return len(waiting)
