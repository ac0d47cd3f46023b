"""Recover: names and rows of what was answered with success just before a power cut, made again from what had arrived.

An instance that had arrived is read like one that is received: its digest has to be the one that was kept with it, and
the duplicate rule decides. What was never answered may be among them; it is stored then, as it may be.
"""

from __future__ import annotations

from contextlib import suppress

from gateway.describe import identity, read_and_describe
from gateway.dicom.header import read_header
from gateway.errors import GatewayError
from gateway.logs import get_logger
from storage.archive import Archive
from storage.errors import DuplicateConflict, ObjectExists, StorageError
from storage.objects import Arrival

log = get_logger(__name__)


def recover(archive: Archive) -> int:
    """Finish what a crash cut short; returns how many instances are in the index again.

    What cannot be done now is left to the next start: an archive on a full disk can still be read.
    """
    try:
        known, unknown = archive.arrivals()
        for arrival in known:
            _settle(archive, arrival)
        if unknown:
            archive.index.skip_numbers()
        count = sum(_readmit(archive, arrival) for arrival in unknown)
        archive.settle()
    except (StorageError, OSError) as error:
        log.error("not_recovered", error=type(error).__name__)
        return 0
    if known or unknown:
        log.info("recovered", settled=len(known), stored=count, dropped=len(unknown) - count)
    return count


def _settle(archive: Archive, arrival: Arrival) -> None:
    """The index has it: what is damaged by now is for those who read it to find."""
    with suppress(GatewayError), arrival.path.open("rb") as stream:
        archive.rename(identity(read_header(stream, arrival.size)).sop_uid, arrival)


def _readmit(archive: Archive, arrival: Arrival) -> bool:
    """Store it; False where it was never whole, or the duplicate rule refuses it."""
    version = arrival.version
    try:
        with arrival.path.open("rb") as stream:
            sop_uid = identity(read_header(stream, arrival.size)).sop_uid
            stream.seek(0)
            key = archive.key(sop_uid, version)
            record = read_and_describe(stream, arrival.size, version=version, key=key, kept=arrival.digest)
        if record.digest == arrival.digest:
            archive.readmit(record, arrival)
            return True
    except ObjectExists:  # a copy, where somebody brought the folder back file by file: for a reconciliation
        return False
    except (GatewayError, DuplicateConflict):
        pass
    archive.dismiss([arrival])
    return False
