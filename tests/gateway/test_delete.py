"""Delete, and who describes a study afterwards."""

from __future__ import annotations

import pytest

from gateway.delete import delete
from gateway.errors import NotFound
from storage.archive import Archive
from storage.attributes import Level
from storage.query import Query
from tests.gateway.stored import CALLER, put
from tests.parts.datasets import ct_slice


def test_deleting_an_instance_a_series_and_a_study(archive: Archive) -> None:
    for series in (1, 2):
        for number in (1, 2):
            put(archive, ct_slice(series=series, number=number))
    one = ct_slice(series=1, number=1)
    study, series_uid = one.StudyInstanceUID, one.SeriesInstanceUID
    assert delete(archive, CALLER, study, series_uid, one.SOPInstanceUID) == 1
    assert archive.index.count() == (1, 2, 3)
    assert delete(archive, CALLER, study, series_uid) == 1
    assert archive.index.count() == (1, 1, 2)
    assert delete(archive, CALLER, study) == 2
    assert archive.index.count() == (0, 0, 0)
    with pytest.raises(NotFound):
        delete(archive, CALLER, study)


def test_the_next_instance_speaks_for_the_study_when_the_first_one_left(archive: Archive) -> None:
    put(archive, ct_slice(number=1, StudyDescription="first", SeriesDescription="first"))
    put(archive, ct_slice(number=2, StudyDescription="second", SeriesDescription="second"))
    one = ct_slice(number=1)
    delete(archive, CALLER, one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID)
    (match,) = archive.search(Query(Level.SERIES)).matches
    assert (match.values["StudyDescription"], match.values["SeriesDescription"]) == ("second", "second")
