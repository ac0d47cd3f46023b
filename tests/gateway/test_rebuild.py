"""Rebuild: the same rows again, from the objects alone."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from gateway.delete import delete
from gateway.rebuild import PENDING, rebuild
from storage.archive import Archive
from storage.index.schema import instance, request, series, study
from storage.index.sql import SqlIndex
from storage.versions import new_version
from tests.gateway.stored import CALLER, put
from tests.parts.datasets import color, ct_slice, part10_bytes, report, sequence_item, series_of


def rows(archive: Archive) -> dict[str, list[Any]]:
    """All rows, without row numbers and times of change."""
    assert isinstance(archive.index, SqlIndex)
    dump: dict[str, list[Any]] = {}
    with archive.index._readers.connect() as connection:
        for table in (study, series, instance, request):
            found = []
            for row in connection.execute(select(table)).mappings():
                values = {str(key): value for key, value in row.items() if key not in {"id", "updated_at"}}
                for parent in ("study", "series"):
                    values.pop(parent, None)
                found.append(sorted(values.items(), key=repr))
            dump[table.name] = sorted(found, key=repr)
    return dump


@pytest.fixture
def filled(archive: Archive) -> Archive:
    for ds in series_of(5):
        put(archive, ds)
    put(archive, report(series=2, StudyDescription="not the first"))
    put(archive, color(study="other"))
    item = sequence_item(ScheduledProcedureStepID="S1", RequestedProcedureID="R1")
    put(archive, ct_slice(study="third", RequestAttributesSequence=[item]))
    return archive


def test_a_rebuilt_index_equals_the_live_one(filled: Archive) -> None:
    before = rows(filled)
    seen: list[int] = []
    report_ = rebuild(filled, seen.append)
    assert (report_.instances, report_.conflicts, report_.unreadable, sum(seen)) == (8, [], [], 8)
    assert rows(filled) == before
    assert filled.index.note(PENDING) is None


def test_deleted_instances_do_not_come_back(filled: Archive) -> None:
    """F-04"""
    first = ct_slice(number=1)
    delete(filled, CALLER, first.StudyInstanceUID, first.SeriesInstanceUID, first.SOPInstanceUID)
    delete(filled, CALLER, ct_slice(study="third").StudyInstanceUID)
    before = rows(filled)
    found = rebuild(filled)
    assert (found.instances, found.buried) == (6, 2)
    assert rows(filled) == before
    # their bytes are due one day all the same
    assert len(filled.index.garbage(4e9)) == 2


def test_an_interrupted_rebuild_goes_on_where_it_was(filled: Archive) -> None:
    """F-05"""
    before = rows(filled)
    groups = list(filled.stored())
    rebuild(filled)
    filled.index.set_note(PENDING, f"after:{groups[3][-1].key}")
    found = rebuild(filled)
    assert rows(filled) == before
    assert found.instances == 8 - 4


def test_conflicts_and_unreadable_objects_are_reported_and_left_alone(filled: Archive) -> None:
    """F-09"""
    ds = ct_slice(number=1)
    other = filled.key(ds.SOPInstanceUID, new_version())
    filled.objects.put_bytes(other, part10_bytes(ct_slice(number=1, PatientID="other bytes")))
    junk = filled.key("1.2.3", new_version())
    filled.objects.put_bytes(junk, b"no DICOM at all")
    before = rows(filled)
    found = rebuild(filled)
    assert (found.conflicts, found.unreadable) == ([other], [junk])
    assert rows(filled) == before
    assert {info.key for info in filled.objects.keys("obj/")} >= {other, junk}
