"""Conditions out of text, and the matcher in memory."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.attributes import BY_KEYWORD
from storage.errors import QueryRefused
from storage.query import (
    AnyOf,
    Equals,
    MomentBetween,
    OneOf,
    combined_range,
    condition,
    fold,
    glob,
    matches,
    one_of,
)
from tests.storage.cases import CASES, REFUSED, Row


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[3]}")
def test_a_key_matches_what_the_standard_says(case: Row) -> None:
    _, keyword, value, text, expected = case
    found = condition(BY_KEYWORD[keyword], text)
    values = {} if value is None else {keyword: value}
    assert (found is None or matches(found, values)) is expected


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
