"""Undelete: what waits to be removed is stored again; what cannot be had whole is not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway.caller import Caller
from gateway.delete import delete
from gateway.errors import Forbidden
from gateway.rights import Action, Rights
from gateway.undelete import DAMAGED, LOST, RESTORED, listed, undelete
from storage.archive import Archive
from storage.attributes import BY_KEYWORD
from storage.query import Equals
from tests.gateway.stored import CALLER, put
from tests.parts.datasets import ct_slice


def bytes_of(archive: Archive, sop_uid: str) -> bytes:
    located = archive.find(sop_uid)
    assert located is not None
    return archive.read(located)


def test_a_study_is_back_byte_for_byte_under_new_versions(archive: Archive) -> None:
    """S-91: and the sender's repetition is the duplicate that it was before."""
    sent = [ct_slice(series=series, number=number) for series in (1, 2) for number in (1, 2)]
    for ds in sent:
        put(archive, ds)
    before = {ds.SOPInstanceUID: bytes_of(archive, ds.SOPInstanceUID) for ds in sent}
    delete(archive, CALLER, sent[0].StudyInstanceUID)
    assert {one.sop_uid for one in listed(archive, CALLER, 0.0, None)} == set(before)
    assert listed(archive, CALLER, time.time() + 60, None) == []
    assert listed(archive, CALLER, 0.0, "1.2.3") == []
    caller = Caller("admin", "web")
    assert undelete(archive, caller, 0.0, sent[0].StudyInstanceUID).counts == {RESTORED: 4}
    assert list(caller.trail.studies) == [sent[0].StudyInstanceUID]
    assert archive.index.count() == (1, 2, 4)
    assert {uid: bytes_of(archive, uid) for uid in before} == before
    assert put(archive, sent[0]).outcome == "duplicate"
    assert listed(archive, CALLER, 0.0, None) == []
    # what waited to be removed may go now, and takes nothing with it
    archive.collect(time.time() + 1e6)
    assert {uid: bytes_of(archive, uid) for uid in before} == before


def test_the_version_that_was_there_at_the_end_comes_back(archive: Archive) -> None:
    """S-91: of several that were deleted under one UID; and none where one lives."""
    for text in ("first", "second"):
        put(archive, ct_slice(StudyDescription=text))
        delete(archive, CALLER, ct_slice().StudyInstanceUID)
    assert undelete(archive, CALLER, 0.0, None).counts == {RESTORED: 1}
    assert b"second" in bytes_of(archive, ct_slice().SOPInstanceUID)
    assert undelete(archive, CALLER, 0.0, None).counts == {}


def test_what_cannot_be_had_whole_stays_away(archive: Archive, tmp_path: Path) -> None:
    """S-91: a damaged object, and one that was removed a moment ago."""
    good, damaged, lost = (ct_slice(number=number) for number in (1, 2, 3))
    for ds in (good, damaged, lost):
        put(archive, ds)
    paths = {ds.SOPInstanceUID: tmp_path / "objects" / key_of(archive, ds.SOPInstanceUID) for ds in (damaged, lost)}
    delete(archive, CALLER, good.StudyInstanceUID)
    with paths[damaged.SOPInstanceUID].open("r+b") as file:
        file.seek(-3, 2)
        file.write(b"\xff\x00\xff")
    paths[lost.SOPInstanceUID].unlink()
    assert undelete(archive, CALLER, 0.0, None).counts == {RESTORED: 1, DAMAGED: 1, LOST: 1}
    assert archive.index.count() == (1, 1, 1)


def key_of(archive: Archive, sop_uid: str) -> str:
    located = archive.find(sop_uid)
    assert located is not None
    return located.key


def test_only_who_may_do_all_brings_back(archive: Archive) -> None:
    """S-69: nobody knows any more whose a deleted study was."""
    south = ((Equals(BY_KEYWORD["InstitutionName"], "South"),),)
    for rights in (Rights.to([Action.DELETE]), Rights.to([Action.ADMIN], south)):
        with pytest.raises(Forbidden):
            undelete(archive, Caller("somebody", "web", rights=rights), 0.0, None)
