"""One value of the DICOM JSON Model: raw bytes of a data element to a member of the object (PS3.18 F.2)."""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Callable, Sequence
from math import isfinite
from struct import unpack
from typing import NamedTuple

from gateway.dicom.native import swap
from gateway.dicom.view import text_values
from gateway.dicom.vr import WIDTH

Member = dict[str, object]
"""`vr`, and at most one of `Value`, `InlineBinary` and `BulkDataURI` (PS3.18 F.2.2)."""

BINARY_VRS = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
MAX_EXACT = 2**53
"""The largest integer up to which every JSON reader has every integer."""

_INTEGER = re.compile(r"([+-]?[0-9]{1,16})(?:\.0*)?")
"""`12.0` is no Integer String (PS3.5 6.2), but it is seen and leaves no doubt."""
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NOT_INTEGER = b"0123456789+- \\"
_NOT_DECIMAL = b"0123456789+-.eE \\"
_PN_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


class Encoding(NamedTuple):
    """What the bytes of a value mean beyond its VR: Specific Character Set, and the byte order of the file."""

    charsets: tuple[str, ...]
    little_endian: bool


def member(vr: str, raw: bytes, encoding: Encoding) -> Member | None:
    """The member for a value of any VR but SQ. None when JSON cannot hold it and only BulkDataURI remains.

    That is so for numbers that are not finite, and for bytes that are no whole number of values. A value of an unknown
    VR is one of UN.
    """
    if vr in BINARY_VRS:
        return {"vr": vr, "InlineBinary": inline(vr, raw, encoding.little_endian)} if raw else {"vr": vr}
    convert = _CONVERTERS.get(vr)
    if convert is None:
        return member("UN", raw, encoding)
    values = convert(raw, encoding) if raw else []
    if values is None:
        return None
    return {"vr": vr, "Value": values} if values else {"vr": vr}


def inline(vr: str, raw: bytes, little_endian: bool) -> str:
    """Base64 of a binary value, always little endian (PS3.18 F.2.7)."""
    return b2a_base64(as_little_endian(vr, raw, little_endian), newline=False).decode("ascii")


def as_little_endian(vr: str, raw: bytes, little_endian: bool) -> bytes:
    """A value's bytes as the web has them, from those in a file that is or is not `little_endian`."""
    return raw if little_endian else swap(raw, WIDTH.get(vr, 1))


Values = list[object]
Converter = Callable[[bytes, Encoding], Values | None]


def _texts(vr: str) -> Converter:
    """All text VRs but PN: values without padding, None for an empty one among others."""

    def convert(raw: bytes, encoding: Encoding) -> Values:
        return [text or None for text in text_values(vr, raw, encoding.charsets)]

    return convert


def _names(raw: bytes, encoding: Encoding) -> Values:
    values: Values = []
    for name in text_values("PN", raw, encoding.charsets):
        groups = zip(_PN_GROUPS, name.split("=", 2), strict=False)
        values.append({key: group for key, group in groups if group} or None)
    return values


def _integers(raw: bytes, _: Encoding) -> Values:
    """IS: numbers as far as every reader has them exactly, the text itself otherwise."""
    if not raw.translate(None, _NOT_INTEGER):
        try:
            numbers: Values = [int(part) for part in raw.split(b"\\")]
        except ValueError:
            numbers = []
        if numbers and all(-MAX_EXACT <= number <= MAX_EXACT for number in numbers):  # type: ignore[operator]
            return numbers
    return _each(raw, _integer)


def _decimals(raw: bytes, _: Encoding) -> Values:
    """DS: numbers where finite, the text itself otherwise."""
    if not raw.translate(None, _NOT_DECIMAL):
        try:
            numbers = [float(part) for part in raw.split(b"\\")]
        except ValueError:
            numbers = []
        if numbers and all(map(isfinite, numbers)):
            return numbers  # type: ignore[return-value]
    return _each(raw, _decimal)


def _each(raw: bytes, convert: Callable[[str], object]) -> Values:
    return [convert(text) if text else None for text in text_values("DS", raw, ())]


def _integer(text: str) -> object:
    matched = _INTEGER.fullmatch(text)
    return int(matched[1]) if matched and abs(int(matched[1])) <= MAX_EXACT else text


def _decimal(text: str) -> object:
    if _DECIMAL.fullmatch(text) and isfinite(number := float(text)):
        return number
    return text


def _numbers(code: str, width: int) -> Converter:
    """US SS UL SL and, when finite, FL FD."""
    floating = code in "fd"

    def convert(raw: bytes, encoding: Encoding) -> Values | None:
        count, rest = divmod(len(raw), width)
        if rest:
            return None
        values = unpack(f"{'<' if encoding.little_endian else '>'}{count}{code}", raw)
        if floating and not all(map(isfinite, values)):
            return None
        return list(values)

    return convert


def _long_numbers(code: str) -> Converter:
    """SV UV: as numbers where every reader has them exactly, as strings beyond (PS3.18 F.2.3.1)."""
    plain = _numbers(code, 8)

    def convert(raw: bytes, encoding: Encoding) -> Values | None:
        values: Sequence[object] | None = plain(raw, encoding)
        if values is None:
            return None
        return [v if isinstance(v, int) and -MAX_EXACT <= v <= MAX_EXACT else str(v) for v in values]

    return convert


def _tags(raw: bytes, encoding: Encoding) -> Values | None:
    if len(raw) % 4:
        return None
    words = unpack(f"{'<' if encoding.little_endian else '>'}{len(raw) // 2}H", raw)
    return [f"{group:04X}{number:04X}" for group, number in zip(words[::2], words[1::2], strict=True)]


_CONVERTERS: dict[str, Converter] = {
    **{vr: _texts(vr) for vr in ("AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT")},
    "PN": _names,
    "IS": _integers,
    "DS": _decimals,
    "AT": _tags,
    "US": _numbers("H", 2),
    "SS": _numbers("h", 2),
    "UL": _numbers("I", 4),
    "SL": _numbers("i", 4),
    "FL": _numbers("f", 4),
    "FD": _numbers("d", 8),
    "SV": _long_numbers("q"),
    "UV": _long_numbers("Q"),
}

KNOWN_VRS = BINARY_VRS | _CONVERTERS.keys()
"""All VRs but SQ."""
