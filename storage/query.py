"""A search, and what each of its conditions means (PS3.4 C.2.2.2): the one matcher.

`condition` turns the text of a matching key into a typed condition, by VR, once. `matches` applies it to values in
memory; `storage.index.sql` turns the same condition into SQL; a shared table of cases holds the two together.
Lists of values, their separators and their character encoding belong to the wings.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.attributes import Attribute, Level
from storage.errors import QueryRefused
from storage.records import Value

WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
MATCHABLE_COMPUTED = frozenset({"ModalitiesInStudy", "SOPClassesInStudy", "AvailableTransferSyntaxUID"})
MAX_VALUE = 1024
MAX_WILDCARDS = 16
MAX_LIST = 10_000


@dataclass(frozen=True, slots=True)
class Equals:
    """Single value matching, case-sensitive (C.2.2.2.1); for a multi-valued attribute, one value equals."""

    attribute: Attribute
    value: Value


@dataclass(frozen=True, slots=True)
class OneOf:
    """List of UID matching (C.2.2.2.2), used for any list of plain values."""

    attribute: Attribute
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Wildcard:
    """Wild card matching (C.2.2.2.4): `*` any characters, `?` one; case-sensitive."""

    attribute: Attribute
    pattern: str


@dataclass(frozen=True, slots=True)
class Name:
    """Matching of a person name: folded for case and accents, wild cards allowed.

    One pattern matches any of the three component groups; several match group by group (alphabetic, ideographic,
    phonetic), where an empty pattern matches everything.
    """

    attribute: Attribute
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """Range matching of DA or TM (C.2.2.2.5), both ends inclusive; None is an open end."""

    attribute: Attribute
    low: str | None
    high: str | None


@dataclass(frozen=True, slots=True)
class MomentBetween:
    """Combined matching of a date and a time attribute (C.2.2.2.5.4): one interval, ends `YYYYMMDDHHMMSS.FFFFFF`."""

    date: Attribute
    time: Attribute
    low: str | None
    high: str | None

    @property
    def attribute(self) -> Attribute:
        """The date attribute, which gives the level."""
        return self.date


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of several conditions on one attribute."""

    attribute: Attribute
    conditions: tuple[Equals | OneOf | Wildcard | Name | Between, ...]


Simple = Equals | OneOf | Wildcard | Name | Between
Condition = Simple | MomentBetween | AnyOf


@dataclass(frozen=True, slots=True)
class Query:
    """One search at one level; all conditions hold.

    `wanted` names computed attributes that are returned only when asked, since they cost a look at other rows; `shown`
    the keywords that results hold besides the unique keys of their level and those above (None: all there are).
    `limit` None means all. Results come in a total order: studies newest first, series and instances by number.
    """

    level: Level
    conditions: tuple[Condition, ...] = ()
    limit: int | None = None
    offset: int = 0
    wanted: frozenset[str] = frozenset()
    shown: frozenset[str] | None = None


def condition(attribute: Attribute, text: str) -> Simple | AnyOf | None:
    """The condition that `text` means for `attribute`; None is universal matching (C.2.2.2.3).

    Backslashes separate a list for UI; elsewhere a list is `one_of`'s business. Raises QueryRefused.
    """
    text = text.strip(" \0")
    if not text or set(text) == {"*"}:
        return None
    if attribute.computed and attribute.keyword not in MATCHABLE_COMPUTED:
        raise QueryRefused(attribute.keyword, "is counted by the archive and is no matching key")
    if attribute.vr == "UI":
        return one_of(attribute, text.split("\\")) if "\\" in text else Equals(attribute, _uid(attribute, text))
    if len(text) > MAX_VALUE:
        raise QueryRefused(attribute.keyword, f"longer than {MAX_VALUE} characters")
    if attribute.vr in {"DA", "TM"}:
        return _date_or_time(attribute, text)
    if attribute.vr in {"IS", "US"}:
        return Equals(attribute, _integer(attribute, text))
    if attribute.vr == "PN":
        return Name(attribute, tuple(_pattern(attribute, fold(group)) for group in text.split("=")[:3]))
    if "*" in text or "?" in text:
        return Wildcard(attribute, _pattern(attribute, text))
    return Equals(attribute, text)


def one_of(attribute: Attribute, values: Sequence[str]) -> Simple | AnyOf | None:
    """The condition that one of `values` matches; None when one of them is universal, or there are none."""
    if len(values) > MAX_LIST:
        raise QueryRefused(attribute.keyword, f"a list of more than {MAX_LIST} values")
    found: list[Simple] = []
    for value in values:
        single = condition(attribute, value)
        if single is None:
            return None
        found.extend(single.conditions if isinstance(single, AnyOf) else [single])
    if len(found) < 2:
        return found[0] if found else None
    plain = [single.value for single in found if isinstance(single, Equals)]
    if len(plain) == len(found):
        return OneOf(attribute, tuple(dict.fromkeys(plain)))
    return AnyOf(attribute, tuple(found))


def combined_range(date: Attribute, date_text: str, time: Attribute, time_text: str) -> tuple[Condition, ...]:
    """A date and a time key as one interval where both are ranges (PS3.4 C.2.2.2.5.4), else each by itself."""
    days, times = condition(date, date_text), condition(time, time_text)
    if isinstance(days, Between) and isinstance(times, Between) and "-" in date_text and "-" in time_text:
        low = days.low and days.low + (times.low or "000000.000000")
        high = days.high and days.high + (times.high or "235960.999999")
        return (MomentBetween(date, time, low, high),)
    return tuple(single for single in (days, times) if single is not None)


def fold(name: str) -> str:
    """A person name without case, accents and padding, for matching only."""
    decomposed = unicodedata.normalize("NFKD", name)
    plain = "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()
    return "^".join(" ".join(part.split()) for part in plain.split("^")).rstrip("^ ")


def name_groups(value: str) -> tuple[str, str, str]:
    """The folded component groups of a stored person name: alphabetic, ideographic, phonetic."""
    alphabetic, ideographic, phonetic, *_ = [*(fold(group) for group in value.split("\\")[0].split("=")), "", "", ""]
    return alphabetic, ideographic, phonetic


def time_key(value: str) -> str:
    """A stored time padded to seconds, so that text order is time order."""
    return value + "000000"[len(value) :]


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


def matches(single: Condition, values: Mapping[str, Value]) -> bool:
    """Does a record with these values fulfil the condition."""
    if isinstance(single, AnyOf):
        return any(matches(one, values) for one in single.conditions)
    if isinstance(single, MomentBetween):
        day, moment = values.get(single.date.keyword), values.get(single.time.keyword)
        return day is not None and _within(f"{day}{time_key(str(moment or ''))}", single.low, single.high)
    value = values.get(single.attribute.keyword)
    if value is None:
        return False
    if isinstance(single, Name):
        return _name_matches(single, str(value))
    if isinstance(single, Between):
        key = time_key(str(value)) if single.attribute.vr == "TM" else str(value)
        return _within(key, single.low, single.high)
    each: list[Value] = list(value.split("\\")) if isinstance(value, str) and single.attribute.multiple else [value]
    if isinstance(single, Wildcard):
        return any(glob(single.pattern, str(one)) for one in each)
    if isinstance(single, OneOf):
        return any(one in single.values for one in each)
    return single.value in each


def _name_matches(single: Name, value: str) -> bool:
    groups = name_groups(value)
    if len(single.patterns) == 1:
        return any(group and glob(single.patterns[0], group) for group in groups)
    return all(not pattern or glob(pattern, group) for pattern, group in zip(single.patterns, groups, strict=False))


def _within(key: str, low: str | None, high: str | None) -> bool:
    return (low is None or key >= low) and (high is None or key <= high)


def _pattern(attribute: Attribute, text: str) -> str:
    text = re.sub(r"\*+", "*", text)
    if text.count("*") > MAX_WILDCARDS:
        raise QueryRefused(attribute.keyword, f"more than {MAX_WILDCARDS} wild cards")
    return text


def _uid(attribute: Attribute, text: str) -> str:
    text = text.strip(" \0")
    if not re.fullmatch(r"[0-9.]{1,64}", text):
        raise QueryRefused(attribute.keyword, "is no UID (PS3.5 9.1); wild cards are not allowed in one")
    return text


def _integer(attribute: Attribute, text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,12}", text):
        raise QueryRefused(attribute.keyword, "is no whole number")
    return int(text)


def _date_or_time(attribute: Attribute, text: str) -> Between | Equals:
    ends = text.split("-")
    if len(ends) > 2 or not any(ends):
        raise QueryRefused(attribute.keyword, "a range has the form a-b, a- or -b")
    read = _date if attribute.vr == "DA" else _time
    low = read(attribute, ends[0].strip(), last=False) if ends[0].strip() else None
    high = read(attribute, ends[-1].strip(), last=True) if ends[-1].strip() else None
    if attribute.vr == "DA" and len(ends) == 1 and low is not None:
        return Equals(attribute, low)
    return Between(attribute, low, high)


def _date(attribute: Attribute, text: str, *, last: bool) -> str:
    digits = text.replace(".", "") if re.fullmatch(r"[0-9]{4}\.[0-9]{2}\.[0-9]{2}", text) else text
    if not re.fullmatch(r"[0-9]{8}", digits) or not ("01" <= digits[4:6] <= "12" and "01" <= digits[6:] <= "31"):
        raise QueryRefused(attribute.keyword, "a date has the form YYYYMMDD")
    return digits


_TIME = re.compile(r"(?:[01][0-9]|2[0-3])(?:[0-5][0-9](?:(?:[0-5][0-9]|60)(?:\.[0-9]{1,6})?)?)?")


def _time(attribute: Attribute, text: str, *, last: bool) -> str:
    """The first or last moment that a time of reduced precision covers (PS3.4 C.2.2.2.5)."""
    digits = text.replace(":", "")
    if not _TIME.fullmatch(digits):
        raise QueryRefused(attribute.keyword, "a time has the form HHMMSS.FFFFFF, of which the end may be left out")
    whole, _, fraction = digits.partition(".")
    if not last:
        return whole + "000000"[len(whole) :] + (f".{fraction}" if fraction else "")
    return whole + "235959"[len(whole) :] + f".{fraction.ljust(6, '9')}"
