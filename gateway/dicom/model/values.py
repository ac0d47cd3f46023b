"""Values of the DICOM JSON Model and the Native DICOM Model to the bytes of Explicit VR Little Endian (PS3.5 6.2).

The two models agree but for their types: JSON has numbers and strings, XML has text alone. So a number is taken as
either wherever it leaves no doubt (PS3.18 F.2.3).
"""

from __future__ import annotations

import re
import struct
from binascii import a2b_base64
from collections.abc import Callable, Sequence
from math import isfinite

from gateway.dicom.json_values import BINARY_VRS, KNOWN_VRS
from gateway.dicom.vr import WIDTH
from gateway.errors import NotUnderstood

DS_LENGTH = 16
"""Longest Decimal String (PS3.5 6.2)."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,4})?")
_NOT_FINITE = re.compile(r"[+-]?(?:inf|infinity|nan)", re.IGNORECASE)
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_ONE_VALUE = frozenset({"LT", "ST", "UR", "UT"})
"""Text VRs in which a backslash is a character (PS3.5 6.2)."""


def encode(tag: int, vr: str, values: Sequence[object]) -> bytes:
    """The bytes of the values of an element of any VR but SQ, without padding; None is an empty value.

    Raises NotUnderstood, which names the tag, for a value that the VR cannot have.
    """
    if not values or (len(values) == 1 and values[0] is None):
        return b""
    convert = _CONVERTERS.get(vr)
    if convert is None:
        wrong = "has Value instead of InlineBinary" if vr in BINARY_VRS else "has no VR of PS3.5"
        raise NotUnderstood(f"an element {wrong}", tag)
    return convert(tag, values)


def decode_inline(tag: int, vr: str, base64: object) -> bytes:
    """The bytes of an InlineBinary: strict base64 (RFC 4648 4), little endian (PS3.18 F.2.7).

    Taken for the VRs that may have it and for those of binary numbers, where it leaves no doubt. Raises NotUnderstood.
    """
    if vr not in BINARY_VRS and vr not in WIDTH:
        raise NotUnderstood("InlineBinary for a VR that cannot have it", tag)
    if not isinstance(base64, str):
        raise NotUnderstood("InlineBinary is no string", tag)
    if not _BASE64.fullmatch(base64):
        raise NotUnderstood("InlineBinary is no base64", tag)
    value = a2b_base64(base64)
    check_width(tag, vr, len(value))
    return value


def check_width(tag: int, vr: str, length: int) -> None:
    """Raises NotUnderstood unless `length` bytes are a whole number of the VR's values."""
    if length % WIDTH.get(vr, 1):
        raise NotUnderstood("an element's length is no multiple of its VR's", tag)


def known_vr(tag: int, vr: object) -> str:
    """`vr`, which is one of PS3.5 6.2. Raises NotUnderstood otherwise."""
    if isinstance(vr, str) and (vr in KNOWN_VRS or vr == "SQ"):
        return vr
    raise NotUnderstood("an element has no VR of PS3.5", tag)


def decimal_string(value: float) -> str:
    """A Decimal String of at most 16 characters that is this number or, if that takes more, next to it.

    Every number that came from a valid Decimal String finds its way back to the same one.
    """
    shortest = repr(value).removesuffix(".0")
    if len(shortest) <= DS_LENGTH:
        return shortest
    for precision in range(17, 0, -1):
        rounded = f"{value:.{precision - 1}e}"
        head, _, exponent = rounded.partition("e")
        sign, digits = ("-", head[1:]) if head[0] == "-" else ("", head)
        digits = digits.replace(".", "").rstrip("0") or "0"
        for form in _forms(sign, digits, int(exponent)):
            if len(form) <= DS_LENGTH and isfinite(float(form)):
                return form
    return decimal_string(value * (1 - 1e-9))  # the very largest: rounded up they would be none


def _forms(sign: str, digits: str, exponent: int) -> list[str]:
    """Ways to write d.ddd times ten to `exponent`: a plain fraction first, then the shortest exponent."""
    count = len(digits)
    forms: list[str] = []
    if -DS_LENGTH < exponent < DS_LENGTH:
        if exponent < 0:
            forms.append(f"{sign}.{'0' * (-exponent - 1)}{digits}")
        elif exponent >= count - 1:
            forms.append(sign + digits + "0" * (exponent - count + 1))
        else:
            forms.append(f"{sign}{digits[: exponent + 1]}.{digits[exponent + 1 :]}")
    forms.append(f"{sign}{digits}E{exponent - count + 1}")
    return forms


# ---------------------------------------------------------------- text


def _texts(tag: int, values: Sequence[object]) -> bytes:
    return _join(tag, [_string(tag, value) for value in values])


def _text(tag: int, values: Sequence[object]) -> bytes:
    if len(values) != 1:
        raise NotUnderstood("several values for a VR that has one", tag)
    return _utf8(tag, _string(tag, values[0]))


def _string(tag: int, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise NotUnderstood("a value of a text VR is no string", tag)
    return value


def _join(tag: int, values: list[str]) -> bytes:
    joined = "\\".join(values)
    if joined.count("\\") != len(values) - 1:
        # PS3.18 F.2.4: it cannot be encoded. Letting it split the value would store something else than was sent.
        raise NotUnderstood("a value holds a backslash, which separates values", tag)
    return _utf8(tag, joined)


def _utf8(tag: int, value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise NotUnderstood("a value holds a lone surrogate", tag) from error


def _names(tag: int, values: Sequence[object]) -> bytes:
    return _join(tag, [_name(tag, value) for value in values])


def _name(tag: int, value: object) -> str:
    """A Person Name: an object with component groups (PS3.18 F.2.2), or their text joined by `=` (PS3.5 6.2.1.1)."""
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, dict) or not value.keys() <= set(_GROUPS):
        raise NotUnderstood("a Person Name is no object of its component groups", tag)
    groups = [_string(tag, value.get(group)) for group in _GROUPS]
    if any("=" in group for group in groups):
        raise NotUnderstood("a component group of a Person Name holds the delimiter of groups", tag)
    return "=".join(groups).rstrip("=")


def _decimals(tag: int, values: Sequence[object]) -> bytes:
    return _join(tag, [_decimal(tag, value) for value in values])


def _decimal(tag: int, value: object) -> str:
    if isinstance(value, float):
        if not isfinite(value):
            raise NotUnderstood("a number is too large", tag)
        return decimal_string(value)
    if type(value) is int:  # a bool is none
        if abs(value) >= 10**DS_LENGTH:
            return decimal_string(_float(tag, value))
        return str(value) if len(str(value)) <= DS_LENGTH else decimal_string(float(value))
    return _string(tag, value)


def _integer_strings(tag: int, values: Sequence[object]) -> bytes:
    return _join(tag, [_string(tag, v) if v is None or isinstance(v, str) else str(_integer(tag, v)) for v in values])


def _float(tag: int, value: int) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise NotUnderstood("a number is too large", tag) from error


# ---------------------------------------------------------------- binary numbers


def _integers(code: str) -> Callable[[int, Sequence[object]], bytes]:
    def convert(tag: int, values: Sequence[object]) -> bytes:
        return _pack(tag, code, [_integer(tag, value) for value in values])

    return convert


def _integer(tag: int, value: object) -> int:
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    raise NotUnderstood("a value is no integer", tag)


def _floats(code: str) -> Callable[[int, Sequence[object]], bytes]:
    def convert(tag: int, values: Sequence[object]) -> bytes:
        return _pack(tag, code, [_number(tag, value) for value in values])

    return convert


def _number(tag: int, value: object) -> float:
    """A number, or its text; only text can be NaN or infinite, since those are no JSON (JSON-10)."""
    if type(value) is int:
        return _float(tag, value)
    if isinstance(value, float) and isfinite(value):
        return value
    if isinstance(value, str) and (_DECIMAL.fullmatch(value) or _NOT_FINITE.fullmatch(value)):
        return float(value)
    raise NotUnderstood("a value is no number", tag)


def _pack(tag: int, code: str, values: Sequence[float]) -> bytes:
    try:
        return struct.pack(f"<{len(values)}{code}", *values)
    except (struct.error, OverflowError) as error:
        raise NotUnderstood("a number is beyond what its VR holds", tag) from error


def _tags(tag: int, values: Sequence[object]) -> bytes:
    words: list[int] = []
    for value in values:
        if not isinstance(value, str) or not _TAG.fullmatch(value):
            raise NotUnderstood("a value of AT is no tag of eight hexadecimal digits", tag)
        words += (int(value[:4], 16), int(value[4:], 16))
    return struct.pack(f"<{len(words)}H", *words)


_CONVERTERS: dict[str, Callable[[int, Sequence[object]], bytes]] = {
    **dict.fromkeys(("AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM", "UC", "UI"), _texts),
    **dict.fromkeys(_ONE_VALUE, _text),
    "PN": _names,
    "DS": _decimals,
    "IS": _integer_strings,
    "AT": _tags,
    "US": _integers("H"),
    "SS": _integers("h"),
    "UL": _integers("I"),
    "SL": _integers("i"),
    "UV": _integers("Q"),
    "SV": _integers("q"),
    "FL": _floats("f"),
    "FD": _floats("d"),
}
