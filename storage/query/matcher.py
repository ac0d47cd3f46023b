"""The matcher in memory (PS3.4 C.2.2.2): what `storage.index.search` says in SQL, said in Python.

A shared table of cases, and generated data, hold the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from storage.errors import QueryRefused
from storage.query import names, times
from storage.query.conditions import (
    TIMEZONE,
    AnyOf,
    Between,
    Condition,
    Empty,
    Equals,
    Every,
    MomentBetween,
    Name,
    OneOf,
    Untyped,
    Wildcard,
    Within,
    Words,
    Zone,
)
from storage.query.reading import typed
from storage.records import Value

Values = Mapping[str, Value]


def glob(pattern: str, text: str) -> bool:
    """Does `text` match a pattern of `*` and `?`; linear in practice, no back-tracking over earlier stars."""
    at, star, mark = 0, -1, 0
    position = 0
    while position < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, mark, at = at, position, at + 1
        elif at < len(pattern) and pattern[at] in ("?", text[position]):
            at, position = at + 1, position + 1
        elif star >= 0:
            mark, at = mark + 1, star + 1
            position = mark
        else:
            return False
    return set(pattern[at:]) <= {"*"}


def matches(single: Condition, values: Values) -> bool:
    """Does a record with these values (`storage.records`) fulfil the condition."""
    if isinstance(single, MomentBetween):
        return _moment_matches(single, values)
    if isinstance(single, AnyOf):
        return any(matches(one, values) for one in single.conditions)
    if isinstance(single, Every):
        return all(matches(one, values) for one in single.conditions)
    value = values.get(single.attribute.keyword)
    zone = times.offset(values.get(TIMEZONE))
    if value is None or value == "":
        return fulfils(single, [], zone)
    listed = isinstance(value, str) and single.attribute.multiple
    return fulfils(single, str(value).split("\\") if listed else [value], zone)


def lies_within(within: Within | None, values: Values) -> bool:
    """Does a record with these values alone make its study one of those that `within` means."""
    return within is None or any(all(matches(single, values) for single in one) for one in within)


def fulfils(single: Condition, each: Sequence[Value | float], zone: int | None = None, vr: str = "UN") -> bool:
    """Do the values of one attribute fulfil the condition; one of them is enough, unless it is an `Every`.

    `zone` is the offset from UTC that the data set states, in minutes; `vr` the attribute's, for an `Untyped`.
    """
    match single:
        case AnyOf():
            return any(fulfils(one, each, zone, vr) for one in single.conditions)
        case Every():
            return all(fulfils(one, each, zone, vr) for one in single.conditions)
        case Empty():
            return not any(one != "" for one in each)
        case Equals():
            return single.value in each
        case OneOf():
            return any(one in single.values for one in each)
        case Wildcard():
            return any(glob(single.pattern, str(one)) for one in each)
        case Name():
            return any(_name_matches(single, str(one)) for one in each)
        case Words():
            return any(_words_match(single, str(one)) for one in each)
        case Between():
            return any(_between(single, str(one), zone) for one in each)
        case Untyped():
            return _untyped_matches(single, each, zone, vr)
        case MomentBetween():
            raise TypeError("a date and a time are two attributes")


def _untyped_matches(single: Untyped, each: Sequence[Value | float], zone: int | None, vr: str) -> bool:
    try:
        found = typed(single, vr)
    except QueryRefused:
        return False  # the key has no meaning for the VR that this data set has
    return found is None or fulfils(found, each, zone, vr)


def _name_matches(single: Name, value: str) -> bool:
    groups = names.name_groups(value)
    if len(single.patterns) == 1:
        return any(group and glob(single.patterns[0], group) for group in groups)
    return all(not pattern or glob(pattern, group) for pattern, group in zip(single.patterns, groups, strict=False))


def _words_match(single: Words, value: str) -> bool:
    there = names.words(value)
    return all(f" {word}" in there or ((code := names.sound(word)) and f" {code} " in there) for word in single.words)


def _between(single: Between, value: str, zone: int | None) -> bool:
    low, high = single.low, single.high
    if single.attribute.vr == "DT":
        moment = times.stamp(value, _row_zone(zone, single.zone), last=False)
        return moment is not None and _within(moment, low, high)
    if single.attribute.vr != "TM":
        return _within(value, low, high)
    key = times.time_key(value)
    if single.zone is None:
        return _within(key, low, high)
    low, high = times_in_zone(single, _row_zone(zone, single.zone))
    return low <= key <= high if low <= high else key >= low or key <= high


def times_in_zone(single: Between, row: int) -> tuple[str, str]:
    """The ends of a time of day for a stored time whose offset from UTC is `row` minutes.

    Where the first is after the second, the interval goes round midnight.
    """
    assert single.zone is not None
    low, high = single.low or times.DAY_BEGINS, single.high or times.DAY_ENDS
    if low <= times.DAY_BEGINS and high >= times.DAY_ENDS[:6]:
        return "", times.DAY_ENDS  # the whole day is the whole day everywhere
    minutes = row - single.zone.asked
    return times.shift_time(low, minutes), times.shift_time(high, minutes)


def moments_in_zone(single: MomentBetween, row: int) -> tuple[str | None, str | None]:
    """The ends of an interval for a stored date and time whose offset from UTC is `row` minutes."""
    assert single.zone is not None
    minutes = row - single.zone.asked
    low = single.low and times.shift_moment(single.low, minutes)
    high = single.high and times.shift_moment(single.high, minutes)
    return low, high


def _moment_matches(single: MomentBetween, values: Values) -> bool:
    day, moment = values.get(single.date.keyword), values.get(single.time.keyword)
    if day is None:
        return False
    low, high = single.low, single.high
    if single.zone is not None and moment is not None:
        low, high = moments_in_zone(single, _row_zone(times.offset(values.get(TIMEZONE)), single.zone))
    return _within(f"{day}{times.time_key(str(moment or ''))}", low, high)


def _row_zone(own: int | None, zone: Zone | None) -> int:
    """The offset of a stored value: its own, else what is assumed, else that of the key."""
    if own is not None or zone is None:
        return own or 0
    return zone.asked if zone.unknown is None else zone.unknown


def _within(key: str, low: str | None, high: str | None) -> bool:
    return (low is None or key >= low) and (high is None or key <= high)
