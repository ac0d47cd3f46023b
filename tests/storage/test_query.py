"""Conditions out of text, and the matcher in memory."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.attributes import BY_KEYWORD, Attribute, Level, Returned, Step
from storage.errors import QueryRefused
from storage.query import (
    AnyOf,
    Empty,
    Equals,
    Every,
    How,
    MomentBetween,
    Name,
    OneOf,
    Untyped,
    Zone,
    combined_range,
    condition,
    fold,
    fulfils,
    glob,
    matches,
    one_of,
)
from storage.query.names import sound, words
from storage.query.times import OFFSETS, stamps
from tests.storage.cases import CASES, REFUSED, SWITCHED, ZONED, Row, Switched, Zoned


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[3]}")
def test_a_key_matches_what_the_standard_says(case: Row) -> None:
    _, keyword, value, text, expected = case
    found = condition(BY_KEYWORD[keyword], text)
    values = {} if value is None else {keyword: value}
    assert (found is None or matches(found, values)) is expected


@pytest.mark.parametrize("case", SWITCHED, ids=lambda case: f"{case[0]}-{case[1]}-{case[3]}")
def test_a_key_matches_what_is_switched_on(case: Switched) -> None:
    _, keyword, value, text, how, expected = case
    found = condition(BY_KEYWORD[keyword], text, how)
    values = {} if value is None else {keyword: value}
    assert (found is None or matches(found, values)) is expected


@pytest.mark.parametrize("case", ZONED)
def test_dates_and_times_are_meant_in_the_time_zone_of_the_key(case: Zoned) -> None:
    """QIDO-24"""
    date, time_of_day, own, date_text, time_text, asked, assumed, expected = case
    held = {"StudyDate": date, "StudyTime": time_of_day, "TimezoneOffsetFromUTC": own}
    zone = Zone(OFFSETS[asked], None if assumed is None else OFFSETS[assumed])
    found = combined_range(BY_KEYWORD["StudyDate"], date_text, BY_KEYWORD["StudyTime"], time_text, zone=zone)
    values = {keyword: value for keyword, value in held.items() if value is not None}
    assert all(matches(one, values) for one in found) is expected


@pytest.mark.parametrize(("keyword", "text"), REFUSED)
def test_a_key_that_its_vr_does_not_allow_is_refused_and_named(keyword: str, text: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        condition(BY_KEYWORD[keyword], text)
    assert refused.value.key == keyword


def test_a_list_of_values_is_one_condition_and_a_universal_one_makes_it_universal() -> None:
    modality = BY_KEYWORD["ModalitiesInStudy"]
    assert one_of(modality, ["CT", "MR", "CT"]) == OneOf(modality, ("CT", "MR"))
    assert one_of(modality, ["CT"]) == Equals(modality, "CT")
    assert one_of(modality, ["CT", ""]) is None
    assert one_of(modality, []) is None
    mixed = one_of(modality, ["C?", "MR"])
    assert isinstance(mixed, AnyOf)
    assert matches(mixed, {"ModalitiesInStudy": "XA\\MR"})
    assert not matches(mixed, {"ModalitiesInStudy": "XA"})


def test_a_list_of_ten_thousand_and_one_uids_is_refused() -> None:
    """S-12"""
    with pytest.raises(QueryRefused):
        one_of(BY_KEYWORD["StudyInstanceUID"], [f"1.{number}" for number in range(10_001)])


@pytest.mark.parametrize(
    ("date", "time_of_day", "expected"),
    [
        ("20240228", "230000", False),
        ("20240229", "000000", True),
        ("20240301", "095959", True),
        ("20240301", "110100", False),
        ("20240229", None, True),
    ],
)
def test_date_and_time_ranges_together_are_one_interval(date: str, time_of_day: str | None, expected: bool) -> None:
    """QIDO-23"""
    study_date, study_time = BY_KEYWORD["StudyDate"], BY_KEYWORD["StudyTime"]
    (moment,) = combined_range(study_date, "20240228-20240301", study_time, "2330-1100")
    assert isinstance(moment, MomentBetween)
    values = {"StudyDate": date} | ({} if time_of_day is None else {"StudyTime": time_of_day})
    assert matches(moment, values) is expected


def test_a_date_without_a_time_range_stays_by_itself() -> None:
    study_date, study_time = BY_KEYWORD["StudyDate"], BY_KEYWORD["StudyTime"]
    assert combined_range(study_date, "20240228", study_time, "") == (Equals(study_date, "20240228"),)


@given(st.text(alphabet="ab*?", max_size=12), st.text(alphabet="ab", max_size=12))
def test_wild_cards_mean_what_a_naive_matcher_says(pattern: str, text: str) -> None:
    assert glob(pattern, text) is _naive(pattern, text)


def _naive(pattern: str, text: str) -> bool:
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(_naive(pattern[1:], text[start:]) for start in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and _naive(pattern[1:], text[1:])


def test_a_pattern_of_many_stars_costs_no_more_than_it_should() -> None:
    """S-11"""
    started = time.process_time()
    assert not glob("a*" * 16 + "b", "a" * 10_000)
    assert time.process_time() - started < 5


@given(st.text(max_size=30))
def test_folding_a_name_twice_changes_nothing_more(name: str) -> None:
    assert fold(fold(name)) == fold(name)


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("robert", "R163"),
        ("rupert", "R163"),
        ("rubin", "R150"),
        ("ashcraft", "A261"),
        ("ashcroft", "A261"),
        ("tymczak", "T522"),
        ("pfister", "P236"),
        ("honeyman", "H555"),
        ("lee", "L000"),
        ("li", ""),
        ("山田", ""),
        ("x11", ""),
    ],
)
def test_soundex_is_that_of_the_american_census(word: str, code: str) -> None:
    """QIDO-19: words of three letters or more, all of A to Z."""
    assert sound(word) == code


def test_the_words_of_a_name_are_those_of_all_its_groups_once_each() -> None:
    assert words("Doe^Jane^^Dr.=山田^太郎") == " doe jane dr 山田 太郎 D000 J500 "
    assert words("^^=") == ""


@given(st.text(alphabet="aäÄßøŁ^= -*?'.dtz1山", max_size=12), st.text(alphabet="aäßøŁ^= -.dtz1山", max_size=12))
def test_fuzzy_matching_is_never_narrower_than_literal_matching(text: str, name: str) -> None:
    """QIDO-19"""
    attribute = BY_KEYWORD["PatientName"]
    literal, fuzzy = condition(attribute, text), condition(attribute, text, How(fuzzy=True))
    if literal is None or fuzzy is None:
        assert literal is fuzzy
    elif matches(literal, {"PatientName": name}):
        assert matches(fuzzy, {"PatientName": name})


# ---------------------------------------------------------------- attributes beyond the index


def beyond(vr: str, *, multiple: bool = True) -> Attribute:
    return Attribute("Any", 0x00189999, vr, Level.IMAGE, Returned.ASKED, multiple=multiple, path=(Step(0x00189999),))


@pytest.mark.parametrize(
    ("vr", "text", "held", "expected"),
    [
        ("DS", "2.5", [1, 2.5], True),
        ("DS", "25e-1", [2.5], True),
        ("DS", "2", [2.5], False),
        ("FD", "-.5", [-0.5], True),
        ("SL", "-7", [-7], True),
        ("AT", "0018100a", ["0018100A"], True),
        ("AS", "040Y", ["040Y"], True),
        ("UT", "*lesion*", ["a small lesion"], True),
        ("CS", "DERIVED", ["ORIGINAL", "DERIVED"], True),
        ("PN", "doe*", ["Roe^A", "Döe^B"], True),
        ("TM", "10-11", ["0900", "1030"], True),
        ("DA", "20240101-", ["20231231"], False),
        ("UN", "7", [7], False),  # an LO until its VR is known: text
        ("UN", "ab*", ["abc"], True),
    ],
)
def test_values_of_any_vr_can_be_matched(vr: str, text: str, held: list[str | int | float], expected: bool) -> None:
    """MATCH-01, MATCH-02, MATCH-03"""
    found = condition(beyond(vr), text)
    assert found is not None
    assert fulfils(found, held) is expected


@pytest.mark.parametrize(("vr", "text"), [("OB", "x"), ("SQ", "x"), ("DS", "1*"), ("FD", "nan"), ("AT", "Rows")])
def test_what_a_vr_cannot_match_is_refused(vr: str, text: str) -> None:
    """MATCH-02"""
    with pytest.raises(QueryRefused):
        condition(beyond(vr), text)


def test_an_untyped_key_is_read_by_the_vr_that_the_data_set_has() -> None:
    """QIDO-14"""
    found = condition(beyond("UN"), "7")
    assert isinstance(found, Untyped)
    assert fulfils(found, [7], vr="US")
    assert not fulfils(found, [8], vr="US")
    assert fulfils(found, ["7"], vr="LO")
    assert not fulfils(found, ["20240101"], vr="DA")  # 7 is no date
    assert not fulfils(found, [], vr="US")


@pytest.mark.parametrize(
    ("text", "stored", "expected"),
    [
        ("20260305", "20260305101500", True),
        ("20260305", "20260306", False),
        ("202602", "20260228235959.999", True),
        ("202602", "20260301", False),
        ("20260305-20260307", "20260307235959", True),
        ("-2026", "20261231235959", True),
        ("2027-", "20261231235959", False),
        ("20260305100000+0100", "20260305090000+0000", True),
        ("2026030510-0500", "20260305150000+0000", True),  # a zone, not a range
        ("2026030510-0500-2026030511-0500", "20260305160000+0000", True),
        ("2026030510+0000-2026030511+0000", "20260305130000+0100", False),
        ("20260305-2026", "20260701", True),  # 2026 is no offset
    ],
)
def test_a_date_time_is_matched_in_utc(text: str, stored: str, expected: bool) -> None:
    """MATCH-03"""
    found = condition(beyond("DT"), text)
    assert found is not None
    assert fulfils(found, [stored]) is expected


@pytest.mark.parametrize("text", ["today", "2026-03-05-x", "-", "20261301", "20260305246000"])
def test_what_is_no_date_time_is_refused(text: str) -> None:
    assert stamps(text, 0) is None
    with pytest.raises(QueryRefused):
        condition(beyond("DT"), text)


def test_a_date_time_without_an_offset_is_in_the_zone_that_is_known() -> None:
    """QIDO-24"""
    found = condition(beyond("DT"), "2026030510", zone=Zone(60))
    assert found is not None
    assert fulfils(found, ["20260305091500"], zone=0)
    assert not fulfils(found, ["20260305101500"], zone=0)
    assert fulfils(found, ["20260305101500"], zone=None)


def test_multiple_values_have_to_be_there_all_in_any_order() -> None:
    """QIDO-21"""
    how = How(multiple=True)
    found = condition(beyond("CS"), "PRIMARY\\ORIGINAL", how)
    assert isinstance(found, Every)
    assert fulfils(found, ["ORIGINAL", "PRIMARY", "AXIAL"])
    assert not fulfils(found, ["ORIGINAL", "SECONDARY"])
    with pytest.raises(QueryRefused):
        condition(beyond("CS"), "ORIGINAL\\PRIM*", how)
    # of VM 1, or a VR without it, a backslash is what it always was
    assert condition(beyond("CS", multiple=False), "A\\B", how) == Equals(beyond("CS", multiple=False), "A\\B")
    with pytest.raises(QueryRefused):
        condition(beyond("DS"), "1\\2", how)


def test_an_empty_key_matches_all_kinds_of_nothing() -> None:
    """QIDO-20"""
    found = condition(beyond("LO"), '""', How(empty=True))
    assert isinstance(found, Empty)
    assert fulfils(found, [])
    assert fulfils(found, [""])
    assert not fulfils(found, ["", "x"])
    assert isinstance(condition(beyond("PN"), '""', How(fuzzy=True)), Name)
