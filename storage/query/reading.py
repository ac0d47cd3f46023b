"""The text of a matching key as a typed condition, by VR (PS3.4 C.2.2.2).

Lists of values, their separators and their character encoding belong to the wings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from storage.attributes import Attribute
from storage.errors import QueryRefused
from storage.query import names, times
from storage.query.conditions import (
    LITERAL,
    AnyOf,
    Between,
    Condition,
    Empty,
    Equals,
    Every,
    How,
    MomentBetween,
    Name,
    OneOf,
    Untyped,
    Wildcard,
    Words,
    Zone,
)

WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
MULTIPLE_VRS = frozenset({"AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC"})
INTEGER_VRS = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
DECIMAL_VRS = frozenset({"DS", "FD", "FL"})
MATCHABLE_COMPUTED = frozenset({"ModalitiesInStudy", "SOPClassesInStudy", "AvailableTransferSyntaxUID"})
EMPTY = '""'
"""The key of empty value matching (C.2.2.2.7): two quotation marks."""
MAX_VALUE = 1024
MAX_WILDCARDS = 16
MAX_LIST = 10_000

_UNMATCHABLE = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ"})
_UTC = Zone(0, 0)


def condition(attribute: Attribute, text: str, how: How = LITERAL, zone: Zone | None = None) -> Condition | None:
    """The condition that `text` means for `attribute`; None is universal matching (C.2.2.2.3).

    `zone` is that of a DT or TM which does not say its own. Backslashes separate a list for UI, and the values of
    multiple value matching; elsewhere a list is `one_of`'s business. Raises QueryRefused.
    """
    text = text.strip(" \0")
    if not text or set(text) == {"*"}:
        return None
    if attribute.computed and attribute.keyword not in MATCHABLE_COMPUTED:
        raise QueryRefused(attribute.keyword, "is counted by the archive and is no matching key")
    if how.empty and text == EMPTY:
        return Empty(attribute)
    if attribute.vr == "UI":
        return one_of(attribute, text.split("\\")) if "\\" in text else Equals(attribute, _uid(attribute, text))
    if len(text) > MAX_VALUE:
        raise QueryRefused(attribute.keyword, f"longer than {MAX_VALUE} characters")
    if how.multiple and attribute.multiple and attribute.vr in MULTIPLE_VRS and "\\" in text:
        return _every(attribute, text)
    return _single(attribute, text, how, zone)


def _single(attribute: Attribute, text: str, how: How, zone: Zone | None) -> Condition | None:
    match attribute.vr:
        case "DA" | "TM":
            return _date_or_time(attribute, text, zone)
        case "DT":
            return _stamps(attribute, text, zone or _UTC)
        case "PN":
            return _name(attribute, text, how)
        case "UN":
            return Untyped(attribute, text, how)
        case "AT":
            return Equals(attribute, _tag(attribute, text))
        case vr if vr in INTEGER_VRS:
            return Equals(attribute, _integer(attribute, text))
        case vr if vr in DECIMAL_VRS:
            return Equals(attribute, _decimal(attribute, text))
        case vr if vr in _UNMATCHABLE:
            raise QueryRefused(attribute.keyword, f"has the VR {vr}, of which there is no matching")
        case vr if vr in WILDCARD_VRS and ("*" in text or "?" in text):
            return Wildcard(attribute, _pattern(attribute, text))
    return Equals(attribute, text)


def one_of(
    attribute: Attribute, values: Sequence[str], how: How = LITERAL, zone: Zone | None = None
) -> Condition | None:
    """The condition that one of `values` matches; None when one of them is universal, or there are none."""
    if len(values) > MAX_LIST:
        raise QueryRefused(attribute.keyword, f"a list of more than {MAX_LIST} values")
    found: list[Condition] = []
    for value in values:
        single = condition(attribute, value, how, zone)
        if single is None:
            return None
        found.extend(single.conditions if isinstance(single, AnyOf) else [single])
    if len(found) < 2:
        return found[0] if found else None
    plain: list[str | int | float] = []
    for one in found:
        plain.extend(one.values if isinstance(one, OneOf) else [one.value] if isinstance(one, Equals) else [])
    if all(isinstance(one, Equals | OneOf) for one in found):
        return OneOf(attribute, tuple(dict.fromkeys(plain)))
    return AnyOf(attribute, tuple(found))


def combined_range(
    date: Attribute,
    date_text: str,
    time: Attribute,
    time_text: str,
    how: How = LITERAL,
    zone: Zone | None = None,
) -> tuple[Condition, ...]:
    """A date and a time key as one interval where both are ranges (PS3.4 C.2.2.2.5.4), else each by itself.

    With a `zone`, both are meant in it: a date alone is then an interval too. Raises QueryRefused.
    """
    days, hours = condition(date, date_text, how), condition(time, time_text, how, zone)
    if isinstance(days, Between) and isinstance(hours, Between) and "-" in date_text and "-" in time_text:
        low = days.low and days.low + (hours.low or times.DAY_BEGINS)
        high = days.high and days.high + (hours.high or times.DAY_ENDS)
        return (MomentBetween(date, time, low, high, zone),)
    if zone is not None:
        days = _days(time, days, zone)
    return tuple(single for single in (days, hours) if single is not None)


def _days(time: Attribute, days: Condition | None, zone: Zone) -> Condition | None:
    """A condition on a date as one on moments in a time zone."""
    if isinstance(days, Equals):
        days = Between(days.attribute, str(days.value), str(days.value))
    if not isinstance(days, Between):
        return days
    low, high = days.low and days.low + times.DAY_BEGINS, days.high and days.high + times.DAY_ENDS
    return MomentBetween(days.attribute, time, low, high, zone)


def typed(untyped: Untyped, vr: str) -> Condition | None:
    """An `Untyped` condition, now that the VR is known. Raises QueryRefused."""
    attribute = replace(untyped.attribute, vr="LO" if vr == "UN" else vr)
    return condition(attribute, untyped.text, untyped.how)


def _every(attribute: Attribute, text: str) -> Every:
    if "*" in text or "?" in text:
        raise QueryRefused(attribute.keyword, "no wild cards are allowed in multiple value matching")
    found = (condition(attribute, value) for value in text.split("\\"))
    return Every(attribute, tuple(one for one in found if one is not None))


def _name(attribute: Attribute, text: str, how: How) -> Condition:
    literal = Name(attribute, tuple(_pattern(attribute, names.fold(group).strip()) for group in text.split("=")[:3]))
    found = names.key_words(text) if how.fuzzy else ()
    if len(found) > names.MAX_WORDS:
        raise QueryRefused(attribute.keyword, f"more than {names.MAX_WORDS} words")
    return AnyOf(attribute, (literal, Words(attribute, found))) if found else literal


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
    if not re.fullmatch(r"[+-]?[0-9]{1,12}", text, re.ASCII):
        raise QueryRefused(attribute.keyword, "is no whole number")
    return int(text)


def _decimal(attribute: Attribute, text: str) -> float:
    if not re.fullmatch(r"[+-]?(?:[0-9]{1,32}\.?[0-9]{0,32}|\.[0-9]{1,32})(?:[eE][+-]?[0-9]{1,3})?", text, re.ASCII):
        raise QueryRefused(attribute.keyword, "is no number")
    number = float(text)
    if not math.isfinite(number):
        raise QueryRefused(attribute.keyword, "is no finite number")
    return number


def _tag(attribute: Attribute, text: str) -> str:
    digits = text.upper()
    if not re.fullmatch(r"[0-9A-F]{8}", digits, re.ASCII):
        raise QueryRefused(attribute.keyword, "is no tag of 8 hexadecimal digits")
    return digits


def _date_or_time(attribute: Attribute, text: str, zone: Zone | None) -> Between | Equals:
    ends = text.split("-")
    if len(ends) > 2 or not any(end.strip() for end in ends):
        raise QueryRefused(attribute.keyword, "a range has the form a-b, a- or -b")
    low = _end(attribute, ends[0].strip(), last=False)
    high = _end(attribute, ends[-1].strip(), last=True)
    if attribute.vr == "DA":
        return Equals(attribute, low) if len(ends) == 1 and low is not None else Between(attribute, low, high)
    return Between(attribute, low, high, zone)


def _end(attribute: Attribute, text: str, *, last: bool) -> str | None:
    if not text:
        return None
    if attribute.vr == "DA":
        if (day := times.date(text)) is None:
            raise QueryRefused(attribute.keyword, "a date has the form YYYYMMDD")
        return day
    if (moment := times.time(text, last=last)) is None:
        raise QueryRefused(attribute.keyword, "a time has the form HHMMSS.FFFFFF, of which the end may be left out")
    return moment


def _stamps(attribute: Attribute, text: str, zone: Zone) -> Between:
    found = times.stamps(text, zone.asked)
    if found is None:
        raise QueryRefused(attribute.keyword, "a date time has the form YYYYMMDDHHMMSS.FFFFFF+ZZXX, a range a-b")
    return Between(attribute, *found, zone)
