"""Which elements of an instance have values that break the rules of their VR (PS3.5 6.2).

Nothing is refused for that and nothing changed: scanners write such values, and the bytes are kept as they came. Names
the element and the rule, never the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from gateway.dicom.elements import PIXEL_TAGS, Element
from gateway.dicom.header import Header
from gateway.dicom.view import SPECIFIC_CHARACTER_SET, charset_terms, text_values
from gateway.dicom.vr import WIDTH

MAX_FAULTS = 1000
"""Faults that are listed of one instance."""
_LONGEST = 65536
_REMEMBERED = 128
"""Longest value, in bytes, whose verdict is remembered: most values repeat from slice to slice."""

_DATE = r"[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])"
_TIME = r"([01][0-9]|2[0-3])([0-5][0-9]([0-5][0-9]|60)?)?"
_FRACTION = r"(\.[0-9]{1,6})?"


@dataclass(frozen=True, slots=True)
class Rule:
    """What each value of a VR must be: a pattern, a greatest length in characters, and both in words."""

    text: str
    longest: int
    pattern: re.Pattern[str] | None = None

    def kept_by(self, value: str) -> bool:
        """Whether the value, without padding, follows the rule. An empty one always does."""
        if not value:
            return True
        return len(value) <= self.longest and (self.pattern is None or self.pattern.fullmatch(value) is not None)


@dataclass(frozen=True, slots=True)
class Fault:
    """One element whose value breaks a rule. `path` is as in a BulkDataURI: `00100030`, `00400275/1/00400009`."""

    path: str
    vr: str
    rule: str

    @property
    def tag(self) -> int:
        """The element's own tag."""
        return int(self.path[-8:], 16)


_NO_CONTROL = re.compile(r"[^\x00-\x1f\x7f]*")
_TEXT = re.compile(r"[^\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]*")
_GROUP = 64

RULES: dict[str, Rule] = {
    "AE": Rule("at most 16 printable ASCII characters", 16, re.compile(r"[\x20-\x5b\x5d-\x7e]*")),
    "AS": Rule("three digits and D, W, M or Y", 4, re.compile(r"[0-9]{3}[DWMY]")),
    "CS": Rule("at most 16 capital letters, digits, spaces and underscores", 16, re.compile(r"[A-Z0-9 _]*")),
    "DA": Rule("a date YYYYMMDD", 8, re.compile(_DATE)),
    "DS": Rule(
        "a number of at most 16 characters", 16, re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
    ),
    "DT": Rule(
        "a date and time YYYYMMDDHHMMSS.FFFFFF&ZZXX, cut from the right",
        26,
        re.compile(
            rf"[0-9]{{4}}((0[1-9]|1[0-2])((0[1-9]|[12][0-9]|3[01])({_TIME}(?<=.{{14}}){_FRACTION}|{_TIME})?)?)?"
            r"([+-](0[0-9]|1[0-4])[0-5][0-9])?"
        ),
    ),
    "IS": Rule("a whole number of at most 12 characters and 32 bits", 12, re.compile(r"[+-]?[0-9]+")),
    "LO": Rule("at most 64 characters, none of control", 64, _NO_CONTROL),
    "LT": Rule("at most 10240 characters", 10240, _TEXT),
    "PN": Rule("three groups of at most 64 characters", 3 * _GROUP + 2, _NO_CONTROL),
    "SH": Rule("at most 16 characters, none of control", 16, _NO_CONTROL),
    "ST": Rule("at most 1024 characters", 1024, _TEXT),
    "TM": Rule("a time HHMMSS.FFFFFF, cut from the right", 13, re.compile(rf"{_TIME}((?<=.{{6}}){_FRACTION})?")),
    "UC": Rule("no control characters", 2**32, _NO_CONTROL),
    "UI": Rule("a UID: digits and dots, at most 64", 64, re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")),
    "UR": Rule("a URI", 2**32, re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")),
    "UT": Rule("no control characters but those of lines", 2**32, _TEXT),
}


def validate(header: Header) -> list[Fault]:
    """The faults of the instance, sequences included, in the order of its elements; at most MAX_FAULTS."""
    found: list[Fault] = []
    for fault in _faults(header.elements, "", header.charsets):
        found.append(fault)
        if len(found) == MAX_FAULTS:
            break
    return found


def _faults(elements: Iterable[Element], prefix: str, charsets: tuple[str, ...]) -> Iterable[Fault]:
    for element in elements:
        if element.items is not None:
            for number, item in enumerate(element.items, 1):
                own = next((charset_terms(one) for one in item if one.tag == SPECIFIC_CHARACTER_SET), charsets)
                yield from _faults(item, f"{prefix}{element.tag:08X}/{number}/", own)
        elif (rule := _broken(element, charsets)) is not None and element.tag not in PIXEL_TAGS:
            yield Fault(f"{prefix}{element.tag:08X}", element.vr, rule)


def _broken(element: Element, charsets: tuple[str, ...]) -> str | None:
    vr, raw = element.vr, element.value
    width = WIDTH.get(vr)
    if width is not None:
        return f"a whole number of {width}-byte values" if element.length % width else None
    if vr not in RULES or not raw or len(raw) > _LONGEST:
        return None
    keeps = _keeps_cached if len(raw) <= _REMEMBERED else _keeps
    return None if keeps(vr, raw, charsets) else RULES[vr].text


def _keeps(vr: str, raw: bytes, charsets: tuple[str, ...]) -> bool:
    rule = RULES[vr]
    values = text_values(vr, raw, charsets)
    if not all(rule.kept_by(value) for value in values):
        return False
    if vr == "PN":
        return all(value.count("=") <= 2 and all(len(one) <= _GROUP for one in value.split("=")) for value in values)
    return vr != "IS" or all(-(2**31) <= int(value) < 2**31 for value in values if value)


_keeps_cached = lru_cache(maxsize=8192)(_keeps)
