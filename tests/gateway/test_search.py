"""What a search makes of data sets: levels of attributes, values, items, and what is kept in memory."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword

from gateway.search import REQUIRED_KEYS, levels
from gateway.search.reading import Memory
from gateway.search.selection import fits, part, tags, tree, values
from storage.attributes import ATTRIBUTES, BY_KEYWORD, Attribute, Level, Returned, Step
from storage.query import How, condition

SEQUENCE, INNER, LEAF = Step(0x00400275), Step(0x00321064), Step(0x00080100)


def attribute(*path: Step, vr: str = "SH") -> Attribute:
    keyword = ".".join(f"{step.tag:08X}" for step in path)
    return Attribute(keyword, path[-1].tag, vr, Level.IMAGE, Returned.ASKED, multiple=True, path=path)


def code(*texts: str) -> dict[str, Any]:
    return {"00080100": {"vr": "SH", "Value": list(texts)}}


def sequence(*items: dict[str, Any]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": list(items)}


def test_levels_are_those_of_attributes_that_exist_and_agree_with_the_index() -> None:
    """QIDO-08"""
    known = levels.KNOWN
    assert all(tag_for_keyword(keyword) is not None for keyword in known)
    for one in ATTRIBUTES:
        top = one.keyword.partition(".")[0]
        if top in known:
            assert known[top] is max(one.level, Level.STUDY), top
    assert levels.level_of("FlipAngle") is Level.IMAGE
    assert {BY_KEYWORD[keyword].keyword for keyword in REQUIRED_KEYS} == REQUIRED_KEYS


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ({}, []),
        ({"vr": "LO"}, []),
        ({"vr": "LO", "Value": ["a", None]}, ["a", ""]),
        ({"vr": "DA", "Value": ["1993.08.22"]}, ["19930822"]),
        ({"vr": "TM", "Value": ["10:15:00.5"]}, ["101500.5"]),
        ({"vr": "DS", "Value": [2.5, "1e400"]}, [2.5, "1e400"]),
        ({"vr": "PN", "Value": [{"Alphabetic": "A^B", "Phonetic": "C"}, None]}, ["A^B==C", ""]),
        ({"vr": "UN", "InlineBinary": "d2FybVxjb2xk"}, ["warm", "cold"]),
        ({"vr": "UN", "InlineBinary": "AAEC"}, ["\ufffd"]),
        ({"vr": "OB", "InlineBinary": "d2FybQ=="}, ["\ufffd"]),
        ({"vr": "UT", "BulkDataURI": "http://h/b"}, ["\ufffd"]),
        ({"vr": "SQ", "Value": [{}]}, ["\ufffd"]),
        ({"vr": "SQ"}, []),
    ],
)
def test_values_are_compared_as_those_of_the_index(member: dict[str, Any], expected: list[Any]) -> None:
    """MATCH-01, QIDO-20: what is there but cannot be compared is not empty."""
    assert values(member) == expected


def test_all_conditions_in_a_sequence_have_to_hold_in_one_item() -> None:
    """QIDO-13"""
    first, second = attribute(SEQUENCE, LEAF), attribute(SEQUENCE, Step(0x00080102))
    asked = [condition(first, "A"), condition(second, "X")]
    found = tree([one for one in asked if one is not None], [])
    both = code("A") | {"00080102": {"vr": "SH", "Value": ["X"]}}
    apart = [code("A"), {"00080102": {"vr": "SH", "Value": ["X"]}}]
    assert fits({"00400275": sequence(both)}, found)
    assert not fits({"00400275": sequence(*apart)}, found)
    assert not fits({}, found)
    assert part({"00400275": sequence(*apart, both)}, found) == {"00400275": sequence(both)}
    assert tags(found) == (frozenset({0x00400275}), frozenset())


def test_an_empty_key_in_a_sequence_matches_where_there_is_no_item() -> None:
    """QIDO-20"""
    empty = condition(attribute(SEQUENCE, LEAF), '""', How(empty=True))
    assert empty is not None
    found = tree([empty], [])
    assert fits({}, found)
    assert fits({"00400275": sequence(code("A"), code())}, found)
    assert not fits({"00400275": sequence(code("A"))}, found)


_ITEMS = st.lists(st.lists(st.sampled_from("ABC"), max_size=2).map(lambda texts: code(*texts)), max_size=3)


@given(st.lists(_ITEMS, max_size=3), st.sampled_from("ABC"), st.sampled_from("ABC"))
def test_nested_items_match_as_a_naive_reading_says(outer: list[list[dict[str, Any]]], deep: str, flat: str) -> None:
    """QIDO-13, against loops that say the same."""
    data = {"00400275": sequence(*({"00321064": sequence(*inner), **code(flat)} for inner in outer))}
    asked = [condition(attribute(SEQUENCE, INNER, LEAF), deep), condition(attribute(SEQUENCE, LEAF), "A")]
    found = tree([one for one in asked if one is not None], [])
    wanted = [
        [one for one in inner if deep in one["00080100"]["Value"]]
        for inner in outer
        if flat == "A" and any(deep in one["00080100"]["Value"] for one in inner)
    ]
    assert fits(data, found) is bool(wanted)
    items = part(data, found)["00400275"].get("Value", [])
    assert [item["00321064"]["Value"] for item in items] == wanted


def test_the_time_zone_of_the_data_set_holds_for_its_items() -> None:
    """QIDO-24"""
    one = condition(attribute(SEQUENCE, Step(0x0040A13A), vr="DT"), "2026030509+0000")
    assert one is not None
    found = tree([one], [])
    item = {"0040A13A": {"vr": "DT", "Value": ["20260305100000"]}}
    assert fits({"00080201": {"vr": "SH", "Value": ["+0100"]}, "00400275": sequence(item)}, found)
    assert not fits({"00400275": sequence(item)}, found)


def test_what_was_read_is_kept_within_a_bound() -> None:
    memory = Memory(limit=2)
    for version in ("a", "b"):
        memory.put((version, (frozenset(), frozenset(), "")), {version: 1})
    assert memory.get(("a", (frozenset(), frozenset(), ""))) == {"a": 1}
    memory.put(("c", (frozenset(), frozenset(), "")), {"c": 1})
    assert memory.get(("b", (frozenset(), frozenset(), ""))) is None  # the one not used for longest
    assert memory.get(("a", (frozenset(), frozenset(), ""))) == {"a": 1}
