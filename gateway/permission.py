"""May this instance be stored by this caller: the one permission that no search answers."""

from __future__ import annotations

from dataclasses import replace

from gateway.caller import Caller
from gateway.errors import Forbidden, NotAuthorized
from gateway.rights import Action
from storage.archive import Archive
from storage.attributes import BY_KEYWORD, Level
from storage.query import Equals, Query, lies_within
from storage.records import InstanceRecord, values_of


def permit_store(archive: Archive, caller: Caller, record: InstanceRecord) -> None:
    """Raises NotAuthorized unless the caller may store into a study that is described as this instance says, and into
    the study of this UID that is there. Raises StorageError when the index does not tell.
    """
    try:
        within = caller.rights.within(Action.STORE)
    except Forbidden as error:
        raise NotAuthorized(str(error)) from error
    if within is None:
        return
    this = Query(Level.STUDY, (Equals(BY_KEYWORD["StudyInstanceUID"], record.study_uid),), shown=frozenset())
    there = archive.search(this).total
    if not lies_within(within, values_of(record)) or there != archive.search(replace(this, within=within)).total:
        raise NotAuthorized("these credentials do not permit to store into this study")
