"""The query string of a search (PS3.18 8.3.4) as a Query of the archive, with what had to be left out of it.

No question is answered wider than it was asked without saying so: what cannot be matched is named in a Warning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from gateway.dicomweb.query_names import ALWAYS_THERE, is_creator, is_private, resolve, shown, with_creator
from gateway.errors import BadRequest
from storage.attributes import ATTRIBUTES, BY_KEYWORD, Attribute, Level, Returned
from storage.query import TIMEZONE, Condition, How, Query, Zone, combined_range, condition, one_of
from storage.query.times import OFFSETS

MAX_RESULTS = 10_000
"""Results in one answer; the Warning 299 tells of the rest (QIDO-16, S-56)."""

NOT_MATCHED = "The following attributes were not used for matching: "
NOT_RETURNED = "The following attributes are not available in results: "
NOT_ADJUSTED = "Dates and times of the following attributes have been matched as they are stored: "

_SWITCHES = ("fuzzymatching", "emptyvaluematching", "multiplevaluematching")
_IGNORED = frozenset({"accept", "charset"})
_LIMITS = {"limit": "limit", "offset": "offset", "maximumnumberofrecords": "limit", "00080429": "limit"}
"""Parameters that say how much is returned; Maximum Number of Records is that of Repository Query (QIDO-28)."""
_COMBINED = (
    ("StudyDate", "StudyTime"),
    ("SeriesDate", "SeriesTime"),
    ("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
    ("ContentDate", "ContentTime"),
)
"""Date and time keys that together are one interval (QIDO-23)."""
_NO_ZONE = frozenset({"PatientBirthDate"})
"""A day that is the same everywhere."""


@dataclass(frozen=True, slots=True)
class Search:
    """One search: what to ask the archive, which attributes to return, and what to warn of.

    `named` are the keywords of those returned attributes that the request names: they are there even when empty.
    """

    query: Query
    returned: tuple[Attribute, ...]
    named: frozenset[str]
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Asked:
    """The parameters of one request, sorted."""

    level: Level
    keys: dict[Attribute, list[str]] = field(default_factory=dict)
    private: list[tuple[str, Attribute, str]] = field(default_factory=list)
    creators: dict[tuple[int, ...], str] = field(default_factory=dict)
    creator_names: list[str] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    switches: dict[str, bool] = field(default_factory=dict)
    fields: list[str] = field(default_factory=list)
    zone: Zone | None = None
    unknown: list[str] = field(default_factory=list)

    def key(self, name: str, value: str, unstated: int | None) -> None:
        """Sort in one matching key: known and usable here, or to be named in a warning."""
        found = resolve(name)
        if len(found) != 1 or found[0].level > self.level:
            if not _is_always_there(name) or (value and not _is_character_set(name)):
                self.unknown.append(name)
            return
        (attribute,) = found
        if attribute.keyword == TIMEZONE:
            self._time_zone(name, value, unstated)
        elif is_creator(attribute.tag):
            self.creators[tuple(step.tag for step in attribute.steps)] = value.strip()
            self.creator_names.append(name)
        elif any(is_private(step.tag) for step in attribute.steps):
            self.private.append((name, attribute, value))
        else:
            self._add(name, attribute, value)

    def name_creators(self) -> None:
        """Give private keys their creators; those without are named in the warning (QIDO-14)."""
        for name, attribute, value in self.private:
            owned = with_creator(attribute, self.creators)
            if owned is None:
                self.unknown.append(name)
            else:
                self._add(name, owned, value)

    def _add(self, name: str, attribute: Attribute, value: str) -> None:
        if attribute in self.keys and attribute.vr != "UI":
            raise BadRequest(name, "a matching key may stand once only (PS3.18 8.3.4.1)")
        self.keys.setdefault(attribute, []).append(value)

    def _time_zone(self, name: str, value: str, unstated: int | None) -> None:
        self.keys.setdefault(BY_KEYWORD[TIMEZONE], [""])  # it is returned, and says how to read the others
        if not (value := value.strip()):
            return
        if value not in OFFSETS:
            raise BadRequest(name, f"{TIMEZONE} has the form +HHMM or -HHMM, from -1200 to +1400 (PS3.3 C.12.1.1.8)")
        if self.zone is not None:
            raise BadRequest(name, "a matching key may stand once only (PS3.18 8.3.4.1)")
        self.zone = Zone(OFFSETS[value], unstated)

    @property
    def how(self) -> How:
        """The kinds of matching that are switched on (QIDO-19 to QIDO-21)."""
        return How(*(self.switches.get(name, False) for name in _SWITCHES))


def read(
    asked: Sequence[tuple[str, str]],
    level: Level,
    fixed: Mapping[str, str],
    tables: Sequence[Level],
    unstated: int | None = None,
) -> Search:
    """The search that the parameters of a query mean.

    `fixed` are the UIDs of the path, by keyword; `tables` the levels whose attributes belong to each result (QIDO-09);
    `unstated` is the offset from UTC, in minutes, of stored times that do not say theirs. Raises BadRequest,
    QueryRefused.
    """
    sorted_ = _sort(asked, level, unstated)
    included, missing = _included(sorted_.fields, level, sorted_.creators)
    named = dict.fromkeys([*sorted_.keys, *included])
    if not any(step.creator for one in named for step in one.path):
        sorted_.unknown += sorted_.creator_names
    names = frozenset(one.keyword for one in named if one.indexed)
    returned = _returned(names, tuple(tables))
    conditions, unadjusted = _conditions(sorted_, fixed)
    query = Query(
        level,
        tuple(conditions),
        min(sorted_.numbers.get("limit", MAX_RESULTS), MAX_RESULTS),
        sorted_.numbers.get("offset", 0),
        wanted=frozenset(one.keyword for one in named if one.computed and one.returned is Returned.ASKED),
        shown=_keywords(returned),
        beyond=tuple(one for one in named if not one.indexed),
    )
    noted = ((NOT_MATCHED, sorted_.unknown), (NOT_RETURNED, missing), (NOT_ADJUSTED, unadjusted))
    return Search(query, returned, names, tuple(text + shown(them) for text, them in noted if them))


def _sort(asked: Sequence[tuple[str, str]], level: Level, unstated: int | None) -> _Asked:
    found = _Asked(level)
    for name, value in asked:
        control = name.lower()
        if control in _LIMITS:
            number = _unsigned(control, value, found.numbers)
            found.numbers[control] = number
        elif control == "includefield":
            found.fields += value.split(",")
        elif control in _SWITCHES:
            found.switches[control] = _boolean(control, value, found.switches)
        elif control not in _IGNORED:
            found.key(name, value, unstated)
    for control in ("maximumnumberofrecords", "00080429"):
        if control in found.numbers:
            found.numbers["limit"] = min(found.numbers[control], found.numbers.get("limit", MAX_RESULTS))
    found.name_creators()
    return found


def _conditions(asked: _Asked, fixed: Mapping[str, str]) -> tuple[list[Condition], list[str]]:
    """The conditions, and the names of date and time keys that no time zone could be applied to."""
    found: list[Condition | None] = [condition(BY_KEYWORD[keyword], uid) for keyword, uid in fixed.items()]
    left = dict(asked.keys)
    for date_keyword, time_keyword in _COMBINED:
        date, time = BY_KEYWORD[date_keyword], BY_KEYWORD[time_keyword]
        if (date in left and time in left) or (asked.zone is not None and (date in left or time in left)):
            days, hours = left.pop(date, [""])[0], left.pop(time, [""])[0]
            found += combined_range(date, days, time, hours, asked.how, asked.zone)
    unadjusted: list[str] = []
    for attribute, values in left.items():
        if attribute.keyword == TIMEZONE:
            continue
        found.append(one_of(attribute, _listed(attribute, values, asked.how), asked.how, asked.zone))
        is_time = attribute.vr in ("DA", "TM") and attribute.keyword not in _NO_ZONE
        if asked.zone is not None and is_time and found[-1] is not None:
            unadjusted.append(attribute.keyword)
    return [one for one in found if one is not None], unadjusted


def _listed(attribute: Attribute, values: Sequence[str], how: How) -> list[str]:
    """The values of a list. UIDs are listed by comma, backslash or repetition; codes too, since no code holds either
    and viewers send `ModalitiesInStudy=CT,MR`. With multiple value matching, the backslash means something else."""
    if attribute.vr not in ("UI", "CS"):
        return list(values)
    separators = "," if how.multiple and attribute.vr == "CS" else r"[,\\]"
    each = [value.strip() for text in values for value in re.split(separators, text)]
    return [value for value in each if value] or [""]


def _included(
    fields: Sequence[str], level: Level, creators: Mapping[tuple[int, ...], str]
) -> tuple[list[Attribute], list[str]]:
    """Attributes that `includefield` asks for, and the names of those that are not there (QIDO-10, QIDO-11).

    PS3.18 8.3.4.3 wants `all` to stand alone. Clients send it beside others, and mean all of it.
    """
    names = [name.strip() for name in fields if name.strip()]
    every = any(name.lower() == "all" for name in names)
    found = [one for one in ATTRIBUTES if one.level <= level] if every else []
    missing: list[str] = []
    for name in names:
        if name.lower() == "all":
            continue
        named = [with_creator(one, creators) if not one.indexed else one for one in resolve(name) if one.level <= level]
        found += [one for one in named if one is not None]
        if (not named or None in named) and not _is_always_there(name):
            missing.append(name)
    return found, missing


def _is_always_there(name: str) -> bool:
    return name.lower() in _ALWAYS_THERE


_ALWAYS_THERE = frozenset(
    {*(f"{tag:08x}" for tag in ALWAYS_THERE), "specificcharacterset", "instanceavailability", "retrieveurl"}
)


def _is_character_set(name: str) -> bool:
    """Never matched (MATCH-07); a query is in UTF-8."""
    return name.lower() in ("specificcharacterset", "00080005")


@lru_cache(maxsize=1024)
def _returned(named: frozenset[str], tables: tuple[Level, ...]) -> tuple[Attribute, ...]:
    return tuple(one for one in ATTRIBUTES if one.keyword in named or _by_default(one, tables))


@lru_cache(maxsize=1024)
def _keywords(attributes: tuple[Attribute, ...]) -> frozenset[str]:
    return frozenset(one.keyword for one in attributes)


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


def _boolean(name: str, value: str, before: Mapping[str, bool]) -> bool:
    if value not in ("true", "false") or before.get(name, value == "true") != (value == "true"):
        raise BadRequest(name, f"{name} is true or false")
    return value == "true"
