"""Conditions of a query as SQL (PS3.4 C.2.2.2); `storage.query.matcher` says the same in Python.

Values are always parameters; columns come from the attribute table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Text, and_, case, exists, func, literal, not_, or_

from storage.attributes import BY_KEYWORD, Attribute, Level
from storage.index.schema import NAME_GROUPS, TABLES, instance, request, series, study
from storage.query import (
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
from storage.query.matcher import moments_in_zone, times_in_zone
from storage.query.names import sound
from storage.query.times import OFFSETS, shift_moment

Glob = Callable[[ColumnElement[Any], str], ColumnElement[bool]]
"""Case-sensitive match of a column with `*` and `?`, in the database's own terms."""

REQUEST = "RequestAttributesSequence"
MODALITIES = "ModalitiesInStudy"
_NARROWING = frozenset({"StudyInstanceUID", "StudyDate", "PatientID", "AccessionNumber"})
"""Keys that leave so few studies that looking at each is cheaper than at the series of a modality."""


def where(conditions: Iterable[Condition], glob: Glob) -> list[ColumnElement[bool]]:
    """What a row of a study, series or instance has to fulfil. Raises TypeError for what the index does not hold."""
    conditions = list(conditions)
    found: list[ColumnElement[bool]] = []
    items: list[Condition] = []  # one item of the sequence has to fulfil them all (C.2.2.2.6)
    narrowed = any(isinstance(one, Equals | Between) and one.attribute.keyword in _NARROWING for one in conditions)
    for single in conditions:
        if single.attribute.sequence == REQUEST:
            items.append(single)
        elif narrowed and single.attribute.keyword == MODALITIES and isinstance(single, Equals | OneOf):
            found.append(has_modality(study.c.modalities_in_study, single))
        else:
            found.append(_sql(single, glob))
    if items:
        found.append(_in_an_item(items, glob))
    return found


def has_modality(held: ColumnElement[str], single: Equals | OneOf) -> ColumnElement[bool]:
    """Whether one of the modalities in a column that holds several is one that is asked for."""
    around = literal("\\", Text)
    within = around + held + around
    asked = [str(one) for one in (single.values if isinstance(single, OneOf) else (single.value,))]
    asked = [one for one in asked if "\\" not in one]  # that would be several, of which none is asked for
    return or_(literal(False), *(func.replace(within, around + one + around, "") != within for one in asked))


def in_studies(within: Within | None, glob: Glob) -> list[ColumnElement[bool]]:
    """What the row of a study has to fulfil to be one of those that `within` means."""
    if within is None:
        return []
    alternatives = (and_(literal(True), *(_of_study(single, glob) for single in one)) for one in within)
    return [or_(literal(False), *alternatives)]


def _of_study(single: Condition, glob: Glob) -> ColumnElement[bool]:
    """A condition on a study, or one that a series or an instance of it fulfils."""
    if single.attribute.level <= Level.STUDY:
        return _sql(single, glob)
    if isinstance(single, AnyOf | Every):
        every = [_of_study(one, glob) for one in single.conditions]
        return or_(*every) if isinstance(single, AnyOf) else and_(literal(True), *every)
    table: FromClause = (series if single.attribute.level is Level.SERIES else instance).alias()
    held = table.c[single.attribute.column]
    return exists().where(table.c.study == study.c.id, _compare(held, single, glob))


def column(attribute: Attribute) -> ColumnElement[Any]:
    """The column that holds an attribute."""
    if BY_KEYWORD.get(attribute.keyword) is None:
        raise TypeError(f"{attribute.keyword} is not in the index")
    if attribute.keyword == "AvailableTransferSyntaxUID":
        return instance.c.transfer_syntax_uid
    table = request if attribute.sequence else TABLES[attribute.level]
    return table.c[attribute.column]


def _in_an_item(conditions: Sequence[Condition], glob: Glob) -> ColumnElement[bool]:
    found = exists().where(request.c.series == series.c.id, *(_sql(single, glob) for single in conditions))
    if all(isinstance(single, Empty) for single in conditions):
        return or_(found, not_(exists().where(request.c.series == series.c.id)))
    return found


def _sql(single: Condition, glob: Glob) -> ColumnElement[bool]:
    match single:
        case AnyOf():
            return or_(*(_sql(one, glob) for one in single.conditions))
        case Every():
            return and_(literal(True), *(_sql(one, glob) for one in single.conditions))
        case MomentBetween():
            return _moment(single)
        case Name():
            return _name(single, glob)
        case Words():
            return _words(single, glob)
        case Empty() if single.attribute.keyword == MODALITIES:
            return study.c.modalities_in_study == ""
    if single.attribute.keyword == MODALITIES:
        inner = series.alias()
        return exists().where(inner.c.study == study.c.id, _compare(inner.c.modality, single, glob))
    if single.attribute.keyword == "SOPClassesInStudy":
        other = instance.alias()
        there = exists().where(other.c.study == study.c.id)
        return not_(there) if isinstance(single, Empty) else there.where(_compare(other.c.sop_class_uid, single, glob))
    return _compare(column(single.attribute), single, glob)


def _compare(found: ColumnElement[Any], single: Condition, glob: Glob) -> ColumnElement[bool]:
    match single:
        case Equals():
            return found == single.value
        case OneOf():
            return found.in_(single.values)
        case Wildcard():
            return _like(found, single.pattern, glob)
        case Empty():
            return or_(found.is_(None), found == "") if isinstance(found.type, Text) else found.is_(None)
        case Between():
            return _between(found, single)
        case Untyped():
            raise TypeError(f"{single.attribute.keyword} is not in the index")
    raise TypeError(f"{type(single).__name__} has no column of its own")


def _like(found: ColumnElement[Any], pattern: str, glob: Glob) -> ColumnElement[bool]:
    """A pattern; what stands before its first wild card is said once more as a range, which any index can answer."""
    prefix, after = like_parts(pattern)
    if prefix == pattern:
        return found == pattern
    if not prefix:
        return glob(found, pattern)
    ends = [found >= prefix] + ([found < after] if after > prefix else [])
    return and_(*ends, glob(found, pattern))


def like_parts(pattern: str) -> tuple[str, str]:
    """What stands before the first wild card, and what comes right after all that begins with it."""
    cut = min((at for at in (pattern.find("*"), pattern.find("?")) if at >= 0), default=len(pattern))
    prefix = pattern[:cut]
    if not prefix:
        return "", ""
    return prefix, prefix[:-1] + chr(0xE000 if prefix[-1] == "\ud7ff" else min(ord(prefix[-1]) + 1, 0x10FFFF))


def _name(single: Name, glob: Glob) -> ColumnElement[bool]:
    table = TABLES[single.attribute.level]
    columns = [table.c[f"{single.attribute.column}_{group}"] for group in NAME_GROUPS]
    if len(single.patterns) == 1:
        return or_(*(_like(one, single.patterns[0], glob) for one in columns))
    pairs = zip(columns, single.patterns, strict=False)
    return and_(
        column(single.attribute).is_not(None), *(_like(one, pattern, glob) for one, pattern in pairs if pattern)
    )


def _words(single: Words, glob: Glob) -> ColumnElement[bool]:
    found = TABLES[single.attribute.level].c[f"{single.attribute.column}_words"]

    def one(word: str) -> ColumnElement[bool]:
        begins = glob(found, f"* {word}*")
        return or_(begins, glob(found, f"* {code} *")) if (code := sound(word)) else begins

    return and_(literal(True), *map(one, single.words))


# ---------------------------------------------------------------- dates and times


def time_key(found: ColumnElement[Any]) -> ColumnElement[str]:
    """`storage.query.time_key` in SQL."""
    return found.concat(func.substr("000000", func.length(found) + 1))


def _between(found: ColumnElement[Any], single: Between) -> ColumnElement[bool]:
    if single.attribute.vr != "TM":
        return _within(found, single.low, single.high)
    key = time_key(found)
    if single.zone is None:
        return _within(key, single.low, single.high)
    ends = {name: times_in_zone(single, minutes) for name, minutes in OFFSETS.items()}
    unstated = times_in_zone(single, _unstated(single.zone))
    low, high = (_by_zone({name: pair[at] for name, pair in ends.items()}, unstated[at]) for at in (0, 1))
    return or_(and_(low <= high, key >= low, key <= high), and_(low > high, or_(key >= low, key <= high)))


def _moment(single: MomentBetween) -> ColumnElement[bool]:
    date, time = column(single.date), column(single.time)
    moment = date + time_key(func.coalesce(time, ""))
    near = _near(date, single)
    if single.zone is None:
        return and_(*near, _within(moment, single.low, single.high))
    ends = {name: moments_in_zone(single, minutes) for name, minutes in OFFSETS.items()}
    unstated = moments_in_zone(single, _unstated(single.zone))
    inside: list[ColumnElement[bool]] = [date.is_not(None)]
    for at, bound in ((0, single.low), (1, single.high)):
        if bound is not None:
            by_zone = _by_zone({name: pair[at] or "" for name, pair in ends.items()}, unstated[at] or "")
            here = case((time.is_(None), literal(bound)), else_=by_zone)
            inside.append(moment >= here if at == 0 else moment <= here)
    return and_(*near, *inside)


def _near(date: ColumnElement[Any], single: MomentBetween) -> list[ColumnElement[bool]]:
    """The same interval, at most too wide, on the date alone: what an index can answer."""
    days = 0 if single.zone is None else 2 * 24 * 60  # no two zones are further apart
    ends: list[ColumnElement[bool]] = []
    if single.low is not None:
        ends.append(date >= shift_moment(single.low, -days)[:8])
    if single.high is not None:
        ends.append(date <= shift_moment(single.high, days)[:8])
    return ends


def _by_zone(values: dict[str, str], unstated: str) -> ColumnElement[str]:
    """The one of `values` that belongs to the offset from UTC which the study states."""
    different = {name: value for name, value in values.items() if value != unstated}
    if not different:
        return literal(unstated)
    return case(different, value=study.c.timezone_offset_from_utc, else_=unstated)


def _unstated(zone: Zone) -> int:
    return zone.asked if zone.unknown is None else zone.unknown


def _within(key: ColumnElement[Any], low: str | None, high: str | None) -> ColumnElement[bool]:
    ends = [key >= low] if low is not None else []
    if high is not None:
        ends.append(key <= high)
    return and_(*ends) if ends else key.is_not(None)
