"""What every index does, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from storage.attributes import BY_KEYWORD, Level
from storage.errors import DuplicateConflict
from storage.index import Added, Index
from storage.query import Condition, Query, combined_range, condition
from storage.records import Match
from storage.versions import new_version
from tests.storage.cases import CASES
from tests.storage.records import record


def ask(index: Index, level: Level, *keys: tuple[str, str], **more: Any) -> list[Match]:
    found = [condition(BY_KEYWORD[keyword], text) for keyword, text in keys]
    return list(index.search(Query(level, tuple(one for one in found if one is not None), **more)).matches)


def uids(matches: list[Match], keyword: str) -> list[Any]:
    return [match.values.get(keyword) for match in matches]


# ---------------------------------------------------------------- store


def test_an_added_instance_is_found_at_all_levels_with_its_values(index: Index) -> None:
    item = {"ScheduledProcedureStepID": "S1", "RequestedProcedureID": "R1"}
    one = record(requests=(item,), Rows=512, StudyDescription="Kopf nativ")
    assert index.add(one) is Added.STORED
    located = index.find(one.sop_uid)
    assert located is not None
    assert (located.key, located.size, located.frames, located.digest) == (one.key, 1000, b"frames", one.digest)
    (match,) = ask(index, Level.IMAGE)
    assert match.values == {
        **one.attributes,
        "ModalitiesInStudy": "CT",
        "NumberOfStudyRelatedSeries": 1,
        "NumberOfStudyRelatedInstances": 1,
        "NumberOfSeriesRelatedInstances": 1,
        "AvailableTransferSyntaxUID": one.transfer_syntax_uid,
        "RequestAttributesSequence": (item,),
    }
    assert uids(ask(index, Level.PATIENT), "PatientID") == ["P1"]
    assert uids(ask(index, Level.STUDY), "StudyDescription") == ["Kopf nativ"]
    assert index.count() == (1, 1, 1)


def test_the_state_is_another_one_after_every_change_and_only_then(index: Index) -> None:
    """SQLite tells it; PostgreSQL could only be asked, and waited for."""
    one = record()
    changes: list[Callable[[], object]] = [
        lambda: index.add(one),
        lambda: index.set_note("a", "b"),
        lambda: index.delete(one.study_uid, [one.version], cleanup_after=0.0),
    ]
    states = [index.state()]
    for change in changes:
        change()
        states.append(index.state())
        index.count()
        assert index.state() == states[-1]
    assert len(set(states)) == len(states) or set(states) == {None}


def test_counters_and_modalities_follow_every_instance(index: Index) -> None:
    """QIDO-05, QIDO-26"""
    index.add(record("1.2.3.1.1"))
    index.add(record("1.2.3.1.2", InstanceNumber=2))
    index.add(record("1.2.3.2.1", series_uid="1.2.3.2", Modality="SR", SeriesNumber=2))
    (study,) = ask(index, Level.STUDY)
    assert study.values["ModalitiesInStudy"] == "CT\\SR"
    assert study.values["NumberOfStudyRelatedSeries"] == 2
    assert study.values["NumberOfStudyRelatedInstances"] == 3
    assert uids(ask(index, Level.SERIES), "NumberOfSeriesRelatedInstances") == [2, 1]


def test_the_same_data_set_again_is_a_duplicate_and_its_object_is_garbage(index: Index) -> None:
    """STOW-13, F-46"""
    first, second = record(), record()
    assert index.add(first) is Added.STORED
    assert index.add(second) is Added.DUPLICATE
    located = index.find(first.sop_uid)
    assert located is not None and located.version == first.version
    assert [waste.key for waste in index.garbage(time.time() + 1e6)] == [second.key]
    assert index.count() == (1, 1, 1)
    assert [change.action for change in index.changes()] == ["create"]


def test_our_own_commit_whose_answer_was_lost_is_a_success(index: Index) -> None:
    """F-34"""
    one = record()
    assert index.add(one) is Added.STORED
    assert index.add(one) is Added.STORED
    assert index.garbage(time.time() + 1e6) == []


def test_other_bytes_are_refused_and_change_nothing(index: Index) -> None:
    """F-47, STOW-13"""
    first = record(content="first")
    index.add(first)
    with pytest.raises(DuplicateConflict) as conflict:
        index.add(record(content="second"))
    assert conflict.value.reason == "different_bytes"
    located = index.find(first.sop_uid)
    assert located is not None and located.version == first.version
    assert index.count() == (1, 1, 1)


def test_a_uid_of_another_study_is_refused_and_leaves_no_study_behind(index: Index) -> None:
    """F-53"""
    index.add(record())
    with pytest.raises(DuplicateConflict) as conflict:
        index.add(record(study_uid="9.9", series_uid="9.9.1"))
    assert conflict.value.reason == "uid_reuse_across_study"
    assert index.count() == (1, 1, 1)


def test_replace_swaps_the_version_and_waits_to_be_described_again(index: Index) -> None:
    old, new = record(content="old"), record(content="new", StudyDescription="new")
    index.add(old)
    assert index.add(new, replace=True, tomb="tomb/1.json") is Added.REPLACED
    assert [(waste.key, waste.tomb) for waste in index.garbage(time.time() + 1e6)] == [(old.key, "tomb/1.json")]
    assert [located.version for located in index.undescribed()] == [new.version]
    index.describe(new)
    assert index.undescribed() == []
    assert uids(ask(index, Level.STUDY), "StudyDescription") == ["new"]
    assert [change.action for change in index.changes()] == ["create", "replace"]


def test_the_earliest_instance_describes_its_study_whatever_the_order_of_arrival(index: Index) -> None:
    now = time.time()
    late = record("1.2.3.1.2", version=new_version(now + 10), StudyDescription="late", SeriesDescription="late")
    early = record("1.2.3.1.1", version=new_version(now), StudyDescription="early", SeriesDescription="early")
    index.add(late)
    index.add(early)
    (match,) = ask(index, Level.SERIES)
    assert (match.values["StudyDescription"], match.values["SeriesDescription"]) == ("early", "early")


def test_many_writers_of_one_instance_make_one_row(index: Index) -> None:
    """F-46"""
    barrier = threading.Barrier(16)

    def add(_number: int) -> Added:
        mine = record()
        barrier.wait()
        return index.add(mine)

    with ThreadPoolExecutor(16) as threads:
        outcomes = list(threads.map(add, range(16)))
    assert sorted(outcome.value for outcome in outcomes) == ["duplicate"] * 15 + ["stored"]
    assert index.count() == (1, 1, 1)
    assert len(index.garbage(time.time() + 1e6)) == 15


def test_many_writers_with_other_bytes_have_one_winner(index: Index) -> None:
    """F-47"""
    barrier = threading.Barrier(16)

    def add(number: int) -> str | None:
        mine = record(content=number)
        barrier.wait()
        try:
            index.add(mine)
        except DuplicateConflict:
            return None
        return mine.version

    with ThreadPoolExecutor(16) as threads:
        winners = [version for version in threads.map(add, range(16)) if version]
    located = index.find("1.2.3.1.1")
    assert located is not None
    assert winners == [located.version]


def test_writers_of_many_studies_at_once_lose_nothing(index: Index) -> None:
    """F-35"""

    def add(number: int) -> Added:
        study = f"1.2.{number % 5}"
        return index.add(record(f"{study}.1.{number}", study, f"{study}.1", InstanceNumber=number))

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(add, range(100))) == {Added.STORED}
    assert index.count() == (5, 5, 100)
    assert uids(ask(index, Level.STUDY), "NumberOfStudyRelatedInstances") == [20] * 5


# ---------------------------------------------------------------- search


@pytest.mark.parametrize("keyword", sorted({case[1] for case in CASES}))
def test_sql_agrees_with_the_table_of_cases(index: Index, keyword: str) -> None:
    """MATCH-01 to MATCH-08"""
    rows = [case for case in CASES if case[1] == keyword]
    values = {case[2] for case in rows}
    level = max(BY_KEYWORD[keyword].level, Level.STUDY)
    for number, value in enumerate(sorted(values, key=repr)):
        study = str(value) if keyword == "StudyInstanceUID" else f"1.2.{number}"
        held: dict[str, Any] = {"Modality" if keyword == "ModalitiesInStudy" else keyword: value}
        index.add(record(f"1.2.{number}.1.1", study, f"1.2.{number}.1", AccessionNumber=repr(value), **held))
    for row, _, value, text, expected in rows:
        found = uids(ask(index, level, (keyword, text)), "AccessionNumber")
        assert (repr(value) in found) is expected, (row, value, text)


def test_date_and_time_ranges_together_are_one_interval(index: Index) -> None:
    """QIDO-23"""
    moments = [("20240228", "220000"), ("20240228", "233000"), ("20240229", None), ("20240301", "110100")]
    for number, (date, moment) in enumerate(moments):
        index.add(record(f"1.{number}.1.1", f"1.{number}", f"1.{number}.1", StudyDate=date, StudyTime=moment))
    study_date, study_time = BY_KEYWORD["StudyDate"], BY_KEYWORD["StudyTime"]
    conditions: tuple[Condition, ...] = combined_range(study_date, "20240228-20240301", study_time, "2330-1100")
    page = index.search(Query(Level.STUDY, conditions))
    assert uids(list(page.matches), "StudyInstanceUID") == ["1.2", "1.1"]


def test_keys_of_a_sequence_have_to_match_in_one_item(index: Index) -> None:
    """QIDO-13"""
    items = ({"ScheduledProcedureStepID": "S1", "RequestedProcedureID": "R1"}, {"ScheduledProcedureStepID": "S2"})
    index.add(record(requests=items))
    step = "RequestAttributesSequence.ScheduledProcedureStepID"
    procedure = "RequestAttributesSequence.RequestedProcedureID"
    assert len(ask(index, Level.SERIES, (step, "S1"), (procedure, "R1"))) == 1
    assert len(ask(index, Level.SERIES, (step, "S2"), (procedure, "R1"))) == 0
    assert len(ask(index, Level.SERIES, (step, "S*"))) == 1


def test_pages_have_a_total_order_and_count_all_matches(index: Index) -> None:
    """QIDO-16, QIDO-17, QIDO-18"""
    for number in range(25):
        date = f"202401{number % 3 + 1:02d}"
        index.add(record(f"1.{number}.1.1", f"1.{number}", f"1.{number}.1", StudyDate=date, StudyTime=None))
    seen: list[Any] = []
    for offset in range(0, 25, 7):
        page = index.search(Query(Level.STUDY, limit=7, offset=offset))
        assert page.total == 25
        seen += uids(list(page.matches), "StudyInstanceUID")
    assert len(set(seen)) == 25
    assert seen == uids(ask(index, Level.STUDY), "StudyInstanceUID")
    dates = uids(ask(index, Level.STUDY), "StudyDate")
    assert dates == sorted(dates, reverse=True)
    beyond = index.search(Query(Level.STUDY, limit=5, offset=100))
    assert (list(beyond.matches), beyond.total) == ([], 25)


def test_instances_come_by_number_not_by_text(index: Index) -> None:
    for number in (10, 9, 1, 2, None):
        index.add(record(f"1.2.3.1.{number or 99}", InstanceNumber=number))
    found = ask(index, Level.IMAGE, ("StudyInstanceUID", "1.2.3"))
    assert uids(found, "InstanceNumber") == [1, 2, 9, 10, None]
    assert [located.sop_uid for located in index.locate("1.2.3")][-1] == "1.2.3.1.99"


def test_keys_of_upper_levels_narrow_a_search_for_instances(index: Index) -> None:
    """QIDO-04, QIDO-08"""
    index.add(record("1.2.3.1.1"))
    index.add(record("1.2.4.1.1", "1.2.4", "1.2.4.1", PatientID="P2", Modality="MR"))
    assert uids(ask(index, Level.IMAGE, ("PatientID", "P2")), "SOPInstanceUID") == ["1.2.4.1.1"]
    assert uids(ask(index, Level.IMAGE, ("Modality", "CT")), "SOPInstanceUID") == ["1.2.3.1.1"]
    assert uids(ask(index, Level.STUDY, ("SOPClassesInStudy", "1.2.840.10008.5.1.4.1.1.2")), "PatientID") == [
        "P1",
        "P2",
    ]
    wanted = frozenset({"SOPClassesInStudy"})
    assert uids(ask(index, Level.STUDY, wanted=wanted), "SOPClassesInStudy") == ["1.2.840.10008.5.1.4.1.1.2"] * 2


def test_a_search_gives_what_is_asked_for_and_the_unique_keys(index: Index) -> None:
    index.add(record(requests=({"RequestedProcedureID": "R1"},)))
    (match,) = ask(index, Level.IMAGE, shown=frozenset({"InstanceNumber", "PatientName"}))
    unique = {"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"}
    assert match.values.keys() == {"InstanceNumber", "PatientName"} | unique
    sequence = "RequestAttributesSequence"
    (match,) = ask(index, Level.SERIES, shown=frozenset({f"{sequence}.RequestedProcedureID"}))
    assert match.values[sequence] == ({"RequestedProcedureID": "R1"},)


def test_patients_are_counted_over_their_studies(index: Index) -> None:
    """FIND-01"""
    index.add(record("1.2.3.1.1"))
    index.add(record("1.2.4.1.1", "1.2.4", "1.2.4.1"))
    index.add(record("1.2.5.1.1", "1.2.5", "1.2.5.1", PatientID=None))
    wanted = frozenset({"NumberOfPatientRelatedStudies", "NumberOfPatientRelatedInstances"})
    found = ask(index, Level.PATIENT, wanted=wanted)
    assert uids(found, "PatientID") == ["P1", None]
    assert uids(found, "NumberOfPatientRelatedStudies") == [2, 1]
    assert index.search(Query(Level.PATIENT, limit=1)).total == 2


# ---------------------------------------------------------------- delete


def test_deleting_leaves_true_counters_and_no_empty_parents(index: Index) -> None:
    """F-50"""
    first = record("1.2.3.1.1", StudyDescription="first")
    second = record("1.2.3.2.1", series_uid="1.2.3.2", Modality="MR", SeriesNumber=2, StudyDescription="second")
    index.add(first)
    index.add(second)
    gone = index.delete("1.2.3", [first.version], cleanup_after=5.0, tomb="tomb/a.json")
    assert [located.sop_uid for located in gone] == [first.sop_uid]
    assert index.find(first.sop_uid) is None
    (study,) = ask(index, Level.STUDY)
    assert study.values["ModalitiesInStudy"] == "MR"
    assert (study.values["NumberOfStudyRelatedSeries"], study.values["NumberOfStudyRelatedInstances"]) == (1, 1)
    assert [located.version for located in index.undescribed()] == [second.version]
    index.describe(second)
    assert uids(ask(index, Level.STUDY), "StudyDescription") == ["second"]
    index.delete("1.2.3", [second.version], cleanup_after=5.0, tomb="tomb/b.json")
    assert index.count() == (0, 0, 0)
    assert [change.action for change in index.changes()] == ["create", "create", "delete", "delete"]


def test_a_deleted_instance_can_be_stored_again_at_once(index: Index) -> None:
    """F-49"""
    first = record()
    index.add(first)
    index.delete("1.2.3", [first.version], cleanup_after=0.0)
    again = record(content="other bytes")
    assert index.add(again) is Added.STORED
    located = index.find(again.sop_uid)
    assert located is not None and located.version == again.version


def test_what_was_deleted_is_told_from_what_never_was(index: Index) -> None:
    """SC-404: by study, series and instance."""
    first = record("1.2.3.1.1")
    index.add(first)
    assert not index.was_deleted("1.2.3")
    index.delete("1.2.3", [first.version], cleanup_after=5.0)
    assert index.was_deleted("1.2.3")
    assert index.was_deleted("1.2.3", first.series_uid)
    assert index.was_deleted("1.2.3", first.series_uid, first.sop_uid)
    assert not index.was_deleted("1.2.3", "9.9")
    assert not index.was_deleted("1.2.3", first.series_uid, "9.9")
    assert not index.was_deleted("9.9")


def test_what_was_deleted_is_listed_until_its_object_goes_or_it_is_stored_again(index: Index) -> None:
    """S-91: the last that was deleted first, by study, moment and page."""
    records = [record(f"1.2.3.1.{number}") for number in range(3)]
    other = record("1.2.4.1.1", study_uid="1.2.4", series_uid="1.2.4.1")
    for one in (*records, other):
        index.add(one)
    assert index.deleted() == []
    index.delete("1.2.3", [one.version for one in records], cleanup_after=5.0)
    moment = time.time()
    index.delete("1.2.4", [other.version], cleanup_after=5.0)
    found = index.deleted()
    assert [one.sop_uid for one in found] == [other.sop_uid, *(one.sop_uid for one in reversed(records))]
    assert (found[0].key, found[0].version, found[0].study_uid) == (other.key, other.version, "1.2.4")
    assert [one.sop_uid for one in index.deleted(moment)] == [other.sop_uid]
    assert len(index.deleted(study_uid="1.2.3")) == 3
    assert index.deleted(before=found[1].sequence, limit=1) == [found[2]]
    index.add(record(records[0].sop_uid, content="other bytes"))
    index.garbage(time.time())
    index.collected(records[1].version)
    assert {one.sop_uid for one in index.deleted()} == {records[2].sop_uid, other.sop_uid}


def test_garbage_is_claimed_once_and_its_tomb_goes_with_the_last(index: Index) -> None:
    """F-52"""
    versions = []
    for number in range(3):
        one = record(f"1.2.3.1.{number}")
        index.add(one)
        versions.append(one.version)
    now = time.time()
    index.delete("1.2.3", versions, cleanup_after=now - 1, tomb="tomb/a.json")
    assert {waste.version for waste in index.garbage(now)} == set(versions)
    assert index.garbage(now) == []
    assert [index.collected(version) for version in versions] == [False, False, True]
    assert index.garbage(now + 1e6) == []


def test_versions_are_known_as_live_or_as_garbage(index: Index) -> None:
    live, dead = record("1.2.3.1.1"), record("1.2.3.1.2")
    index.add(live)
    index.add(dead)
    index.delete("1.2.3", [dead.version], cleanup_after=0.0)
    asked = [live.version, dead.version, "f" * 32]
    assert index.live_versions(asked) == {live.version}
    assert index.garbage_versions(asked) == {dead.version}


def test_strikes_remember_the_first_sight_until_pardoned(index: Index) -> None:
    """F-29"""
    assert index.strike("obj/a", 100.0) == 100.0
    assert index.strike("obj/a", 200.0) == 100.0
    index.pardon("obj/a")
    assert index.strike("obj/a", 300.0) == 300.0


def test_notes_are_kept_and_dropped(index: Index) -> None:
    assert index.note("rebuild") is None
    index.set_note("rebuild", "after:x")
    index.set_note("rebuild", "after:y")
    assert index.note("rebuild") == "after:y"
    index.set_note("rebuild", None)
    assert index.note("rebuild") is None


@pytest.mark.parametrize("before", [0, 2])
def test_lost_numbers_of_the_change_feed_are_not_given_again(index: Index, before: int) -> None:
    for number in range(before):
        index.add(record(sop_uid=f"1.2.{number + 1}"))
    index.skip_numbers()
    index.add(record(sop_uid="1.2.9"))
    index.add(record(sop_uid="1.2.10"))
    *known, first, second = [change.sequence for change in index.changes()]
    assert len(known) == before and first - max(known, default=0) > 100_000_000
    assert second > first and index.horizon() == second


def test_clear_leaves_changes_and_notes(index: Index) -> None:
    index.add(record())
    index.set_note("a", "b")
    index.clear()
    assert index.count() == (0, 0, 0)
    assert len(index.changes()) == 1
    assert index.note("a") == "b"
    index.check()
