"""Typed access to the elements of a data set or item, without pydicom."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from struct import Struct

from gateway.dicom.charset import decode, decode_pn
from gateway.dicom.elements import Element

SPECIFIC_CHARACTER_SET = 0x00080005

Float = float

_TEXT = frozenset(
    ["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"]
)
_IN_CHARSET = frozenset(["LO", "LT", "SH", "ST", "UC", "UT"])
_SINGLE = frozenset(["LT", "ST", "UR", "UT"])
_LEADING_SPACES_COUNT = frozenset(["LT", "ST", "UC", "UI", "UR", "UT"])
"""In UI they make it malformed: others would read another UID (PS3.5 9.1)."""
_BINARY = {"FD": "d", "FL": "f", "SL": "i", "SS": "h", "SV": "q", "UL": "I", "US": "H", "UV": "Q"}
_STRUCTS = {(code, order): Struct(order + code) for code in "dfihqIHQ" for order in "<>"}
_INTEGER = re.compile(r"[+-]?[0-9]{1,12}(?:\.0*)?")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_REMEMBERED = 64
"""Longest value, in bytes, whose text is remembered: most values repeat from slice to slice."""
_MAX_DECIMAL = 64
"""Decimal Strings are 16 characters; more are seen, but none needs this many."""


class View:
    """Elements of one level and the character sets in which their text is written.

    Tags are (group << 16) | element. A value that is absent, empty, unreadable, or too long to have been kept is None,
    or an empty list.
    """

    __slots__ = ("_by_tag", "charsets", "elements", "little_endian")

    def __init__(self, elements: list[Element], charsets: tuple[str, ...], little_endian: bool) -> None:
        self.elements = elements
        self.little_endian = little_endian
        self._by_tag: dict[int, Element] | None = None
        own = self.find(SPECIFIC_CHARACTER_SET)
        self.charsets = charsets if own is None else charset_terms(own)

    def find(self, tag: int) -> Element | None:
        """The element of this level with `tag`."""
        if self._by_tag is None:
            self._by_tag = {element.tag: element for element in self.elements}
        return self._by_tag.get(tag)

    def text(self, tag: int) -> str | None:
        """The value as text: decoded, padding cut, multiple values joined by backslashes. Binary numbers too."""
        values = self.texts(tag)
        text = "\\".join(values)
        return text if text.strip("\\") else None

    def texts(self, tag: int) -> list[str]:
        """The values as text, '' for an empty one among others."""
        element = self.find(tag)
        if element is None or not element.value:
            return []
        if element.vr in _TEXT:
            if len(element.value) <= _REMEMBERED:
                return list(_text_values(element.vr, element.value, self.charsets))
            return text_values(element.vr, element.value, self.charsets)
        if element.vr == "AT":
            code = _STRUCTS["H", "<" if self.little_endian else ">"]
            words = [word for (word,) in code.iter_unpack(element.value[: len(element.value) // 4 * 4])]
            return [f"{group:04X}{number:04X}" for group, number in zip(words[::2], words[1::2], strict=True)]
        return [str(number) for number in self._binary(element)]

    def number(self, tag: int) -> int | None:
        """The first value as an integer: IS, US, UL, UV, SS, SL, SV, or a DS that is one."""
        numbers = self.numbers(tag)
        return numbers[0] if numbers else None

    def numbers(self, tag: int) -> list[int]:
        """All values as integers; none at all where one of them is no integer, so that positions hold.

        An IS beyond 32 bits is none (PS3.5 6.2).
        """
        element = self.find(tag)
        if element is None or not element.value:
            return []
        if element.vr in ("IS", "DS"):
            texts = text_values(element.vr, element.value, ())
            if not all(_INTEGER.fullmatch(text) for text in texts):
                return []
            values = [int(text.partition(".")[0]) for text in texts]
            return values if all(-(2**31) <= value < 2**31 for value in values) else []
        if element.vr in ("FD", "FL"):
            return []
        return [int(value) for value in self._binary(element)]

    def float(self, tag: int) -> Float | None:
        """The first value as a finite number: DS, FD, FL, or any integer."""
        numbers = self.floats(tag)
        return numbers[0] if numbers else None

    def floats(self, tag: int) -> list[Float]:
        """All values as finite numbers; none at all where one of them is none, so that positions hold."""
        element = self.find(tag)
        if element is None or not element.value:
            return []
        if element.vr in ("IS", "DS"):
            texts = text_values(element.vr, element.value, ())
            if not all(len(text) <= _MAX_DECIMAL and _DECIMAL.fullmatch(text) for text in texts):
                return []
            values = [Float(text) for text in texts]
        else:
            values = [Float(value) for value in self._binary(element)]
        return values if all(map(math.isfinite, values)) else []

    def sequence(self, tag: int) -> list[ItemView]:
        """The items of a sequence; text in them is in their own character sets, else in those of this level."""
        element = self.find(tag)
        if element is None or element.items is None:
            return []
        return [ItemView(item, self.charsets, self.little_endian) for item in element.items]

    def _binary(self, element: Element) -> Sequence[int | Float]:
        code = _BINARY.get(element.vr)
        if code is None or not element.value:
            return []
        layout = _STRUCTS[code, "<" if self.little_endian else ">"]
        if len(element.value) % layout.size:
            return []
        return [value for (value,) in layout.iter_unpack(element.value)]


class ItemView(View):
    """One item of a sequence."""

    __slots__ = ()


def charset_terms(element: Element) -> tuple[str, ...]:
    """The defined terms in a Specific Character Set element; at most 16, more than any repertoire needs."""
    value = (element.value or b"").decode("ascii", "replace")
    return tuple(term.strip(" \0") for term in value.split("\\", 16)[:16]) if value.strip(" \0") else ()


def text_values(vr: str, value: bytes, charsets: Sequence[str]) -> list[str]:
    """The values of an element of a text VR, without padding (PS3.5 6.2); [] when there is nothing but padding.

    NUL within a value becomes U+FFFD: no index holds NUL, and a UID with one must not turn into another.
    """
    if vr == "PN":
        text = decode_pn(value, charsets)
    elif vr in _IN_CHARSET:
        text = decode(value, charsets)
    else:
        text = value.decode("ascii", "replace")
    text = text.rstrip(" \0")
    if not text:
        return []
    values = [text] if vr in _SINGLE else text.split("\\")
    if vr in _LEADING_SPACES_COUNT:
        values = [one.rstrip(" \0") for one in values]
    else:
        values = [one.rstrip(" \0").lstrip(" ") for one in values]
    if "\0" in text:
        values = [one.replace("\0", "\ufffd") for one in values]
    return values


@lru_cache(4096)
def _text_values(vr: str, value: bytes, charsets: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text_values(vr, value, charsets))
