"""Queries within some of the studies: nothing of the others is returned or counted, on both databases."""

from __future__ import annotations

import random
from typing import Any

from storage.attributes import BY_KEYWORD, Level
from storage.index import Index
from storage.query import Between, Condition, Equals, Query, Wildcard, Within, condition, lies_within, one_of
from storage.records import values_of
from tests.storage.records import record


def equals(keyword: str, value: str) -> Condition:
    return Equals(BY_KEYWORD[keyword], value)


def uids(index: Index, within: Within | None, level: Level = Level.STUDY, *conditions: Condition) -> list[str]:
    keyword = {Level.STUDY: "StudyInstanceUID", Level.SERIES: "SeriesInstanceUID", Level.IMAGE: "SOPInstanceUID"}[level]
    page = index.search(Query(level, conditions, within=within))
    found = [str(match.values[keyword]) for match in page.matches]
    assert page.total == len(found) == index.search(Query(level, conditions, limit=1, within=within)).total
    return sorted(found)


def fill(index: Index) -> None:
    """Two studies of one patient at two institutions, and one of another."""
    for study, patient, institution, modality in (
        ("1.2.1", "P1", "North", "CT"),
        ("1.2.2", "P1", "South", "MR"),
        ("1.2.3", "P2", "South", "CT"),
    ):
        for series in (1, 2):
            values: dict[str, Any] = {"PatientID": patient, "InstitutionName": institution, "Modality": modality}
            index.add(record(f"{study}.{series}.1", study, f"{study}.{series}", **values))


def test_results_totals_and_counts_leave_out_other_studies(index: Index) -> None:
    """S-69"""
    fill(index)
    south: Within = ((equals("InstitutionName", "South"),),)
    assert uids(index, south) == ["1.2.2", "1.2.3"]
    assert uids(index, south, Level.SERIES) == ["1.2.2.1", "1.2.2.2", "1.2.3.1", "1.2.3.2"]
    assert uids(index, south, Level.IMAGE, equals("StudyInstanceUID", "1.2.1")) == []
    assert uids(index, (*south, (equals("PatientID", "P1"), equals("ModalitiesInStudy", "CT")))) == [
        "1.2.1",
        "1.2.2",
        "1.2.3",
    ]
    assert uids(index, ()) == []
    assert uids(index, None) == ["1.2.1", "1.2.2", "1.2.3"]
    counts = frozenset({"NumberOfPatientRelatedStudies", "NumberOfPatientRelatedInstances"})
    for level in (Level.PATIENT, Level.STUDY):
        page = index.search(Query(level, (equals("PatientID", "P1"),), wanted=counts, within=south))
        (match,) = page.matches
        assert page.total == 1
        assert match.values["NumberOfPatientRelatedStudies"] == 1
        assert match.values["NumberOfPatientRelatedInstances"] == 2
    assert (
        index.search(Query(Level.PATIENT, (equals("PatientID", "P2"),), within=((equals("PatientID", "P1"),),))).total
        == 0
    )


def test_what_lies_in_other_studies_is_not_located(index: Index) -> None:
    """S-69"""
    fill(index)
    south: Within = ((equals("InstitutionName", "South"),),)
    assert index.locate("1.2.1", within=south) == []
    assert index.locate("1.2.1", "1.2.1.1", "1.2.1.1.1", within=south) == []
    assert len(index.locate("1.2.2", within=south)) == 2
    assert index.locate("1.2.2", within=()) == []


def test_the_index_and_the_matcher_agree_on_what_lies_within(index: Index) -> None:
    """On generated records and restrictions, one series a study."""
    chance = random.Random(7)
    texts = ("North", "North Clinic", "south", "A*", "a%b", "")
    records = []
    for number in range(60):
        values: dict[str, Any] = {
            "PatientID": chance.choice(texts),
            "InstitutionName": chance.choice(texts),
            "Modality": chance.choice(("CT", "MR", "")),
            "StudyDate": chance.choice(("20250101", "20260101", "")),
            "ReferringPhysicianName": chance.choice(("Smith^John", "Müller^Hans", "")),
        }
        held = {keyword: value for keyword, value in values.items() if value}
        records.append(record(f"1.9.{number}.1.1", f"1.9.{number}", f"1.9.{number}.1", **held))
        index.add(records[-1])

    def single() -> Condition:
        match chance.randrange(5):
            case 0:
                return Between(BY_KEYWORD["StudyDate"], "20250601", None)
            case 1:
                return Wildcard(BY_KEYWORD[chance.choice(("PatientID", "InstitutionName"))], "N*")
            case 2:
                found = condition(BY_KEYWORD["ReferringPhysicianName"], "muller*")
            case 3:
                found = one_of(BY_KEYWORD["InstitutionName"], ["south", "N*"])
            case _:
                found = condition(BY_KEYWORD["ModalitiesInStudy"], chance.choice(("CT", "MR")))
        assert found is not None
        return found

    for _ in range(40):
        within = tuple(tuple(single() for _ in range(chance.randrange(3))) for _ in range(chance.randrange(3)))
        expected = sorted(one.study_uid for one in records if lies_within(within, values_of(one)))
        assert uids(index, within) == expected, within
