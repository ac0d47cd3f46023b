"""The query string of a search (PS3.18 8.3.4) as a Query of the archive, with what had to be left out of it.

No question is answered wider than it was asked without saying so: what cannot be matched is named in a Warning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.dicomweb.query_names import ALWAYS_THERE, resolve, shown
from gateway.errors import BadRequest
from storage.attributes import ATTRIBUTES, BY_KEYWORD, Attribute, Level, Returned
from storage.query import Condition, Query, combined_range, condition, one_of

MAX_RESULTS = 10_000
"""Results in one answer; the Warning 299 tells of the rest (QIDO-16, S-56)."""

FUZZY_UNSUPPORTED = "The fuzzymatching parameter is not supported. Only literal matching has been performed."
EMPTY_UNSUPPORTED = "The emptyvaluematching parameter is not supported. Empty Value Matching has not been performed."
MULTIPLE_UNSUPPORTED = (
    "The multiplevaluematching parameter is not supported. Multiple Value Matching has not been performed."
)
TIMEZONE_UNSUPPORTED = (
    "The TimezoneOffsetFromUTC parameter is not supported. Dates and times have been matched as they are stored."
)
_UNSUPPORTED = {
    "fuzzymatching": FUZZY_UNSUPPORTED,
    "emptyvaluematching": EMPTY_UNSUPPORTED,
    "multiplevaluematching": MULTIPLE_UNSUPPORTED,
}
_IGNORED = frozenset({"accept", "charset"})
_COMBINED = (
    ("StudyDate", "StudyTime"),
    ("SeriesDate", "SeriesTime"),
    ("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
    ("ContentDate", "ContentTime"),
)
"""Date and time keys that together are one interval (QIDO-23)."""


@dataclass(frozen=True, slots=True)
class Search:
    """One search: what to ask the archive, which attributes to return, and what to warn of."""

    query: Query
    returned: tuple[Attribute, ...]
    warnings: tuple[str, ...]


def read(asked: Sequence[tuple[str, str]], level: Level, fixed: Mapping[str, str], tables: Sequence[Level]) -> Search:
    """The search that the parameters of a query mean.

    `fixed` are the UIDs of the path, by keyword; `tables` the levels whose attributes belong to each result (QIDO-09).
    Raises BadRequest, QueryRefused.
    """
    keys: dict[Attribute, list[str]] = {}
    numbers: dict[str, int] = {}
    fields: list[str] = []
    warnings: list[str] = []
    unknown: list[str] = []
    for name, value in asked:
        control = name.lower()
        if control in ("limit", "offset"):
            numbers[control] = _unsigned(control, value, numbers)
        elif control == "includefield":
            fields += value.split(",")
        elif control in _UNSUPPORTED:
            if _boolean(control, value):
                warnings.append(_UNSUPPORTED[control])
        elif control not in _IGNORED:
            _key(name, value, level, keys, unknown, warnings)
    if unknown:
        warnings.append(f"The following attributes were not used for matching: {shown(unknown)}")
    included, missing = _included(fields, level)
    if missing:
        warnings.append(f"The following attributes are not available in results: {shown(missing)}")
    named = {*keys, *included}
    query = Query(
        level,
        tuple(_conditions(keys, fixed)),
        min(numbers.get("limit", MAX_RESULTS), MAX_RESULTS),
        numbers.get("offset", 0),
        frozenset(one.keyword for one in named if one.computed and one.returned is Returned.ASKED),
    )
    returned = tuple(one for one in ATTRIBUTES if one in named or _by_default(one, tables))
    return Search(query, returned, tuple(dict.fromkeys(warnings)))


def _key(
    name: str,
    value: str,
    level: Level,
    keys: dict[Attribute, list[str]],
    unknown: list[str],
    warnings: list[str],
) -> None:
    """Sort in one matching key: known and usable here, or named in a warning."""
    found = resolve(name)
    if name.lower() in ("specificcharacterset", "00080005"):
        return  # never matched (MATCH-07); the query is UTF-8
    if len(found) != 1 or found[0].level > level or found[0].keyword == "TimezoneOffsetFromUTC":
        if found and found[0].keyword == "TimezoneOffsetFromUTC":
            warnings.append(TIMEZONE_UNSUPPORTED)
        else:
            unknown.append(name)
        return
    attribute = found[0]
    if attribute in keys and attribute.vr != "UI":
        raise BadRequest(name, "a matching key may stand once only (PS3.18 8.3.4.1)")
    keys.setdefault(attribute, []).append(value)


def _conditions(keys: Mapping[Attribute, list[str]], fixed: Mapping[str, str]) -> list[Condition]:
    found: list[Condition | None] = [condition(BY_KEYWORD[keyword], uid) for keyword, uid in fixed.items()]
    left = dict(keys)
    for date_keyword, time_keyword in _COMBINED:
        date, time = BY_KEYWORD[date_keyword], BY_KEYWORD[time_keyword]
        if date in left and time in left:
            found += combined_range(date, left.pop(date)[0], time, left.pop(time)[0])
    for attribute, values in left.items():
        found.append(one_of(attribute, _listed(attribute, values)))
    return [one for one in found if one is not None]


def _listed(attribute: Attribute, values: Sequence[str]) -> list[str]:
    """The values of a list. UIDs are listed by comma, backslash or repetition; codes too, since no code holds either
    and viewers send `ModalitiesInStudy=CT,MR`."""
    if attribute.vr not in ("UI", "CS"):
        return list(values)
    each = [value.strip() for text in values for value in re.split(r"[,\\]", text)]
    return [value for value in each if value] or [""]


def _included(fields: Sequence[str], level: Level) -> tuple[list[Attribute], list[str]]:
    """Attributes that `includefield` asks for, and the names of those that are not there (QIDO-10, QIDO-11)."""
    found: list[Attribute] = []
    missing: list[str] = []
    for name in fields:
        if name.strip().lower() == "all":
            found += [one for one in ATTRIBUTES if one.level <= level]
            continue
        named = [one for one in resolve(name) if one.level <= level]
        found += named
        if name.strip() and not named and name.strip().lower() not in ALWAYS_THERE:
            missing.append(name)
    return found, missing


def _by_default(attribute: Attribute, tables: Sequence[Level]) -> bool:
    """Of the tables of this search; the unique keys of the levels above always, so that a result can be found again."""
    if attribute.unique and attribute.level in (Level.STUDY, Level.SERIES) and attribute.level <= max(tables):
        return True
    level = Level.STUDY if attribute.level is Level.PATIENT else attribute.level
    return level in tables and attribute.returned is not Returned.ASKED


def _unsigned(name: str, value: str, before: Mapping[str, int]) -> int:
    if name in before or not re.fullmatch(r"[0-9]{1,18}", value, re.ASCII):
        raise BadRequest(name, f"{name} is one whole number from 0 on")
    return int(value)


def _boolean(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise BadRequest(name, f"{name} is true or false")
    return value == "true"
