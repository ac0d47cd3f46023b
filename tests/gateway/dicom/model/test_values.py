"""Values of the JSON and XML models as Explicit VR Little Endian (PS3.5 6.2)."""

from __future__ import annotations

import struct
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dicom.model.values import DS_LENGTH, decimal_string, decode_inline, encode
from gateway.errors import NotUnderstood

TAG = 0x00091001


@pytest.mark.parametrize(
    ("vr", "values", "encoded"),
    [
        ("CS", ["A", None, "B"], b"A\\\\B"),
        ("LO", ["é", "王"], "é\\王".encode()),
        ("UI", ["1.2", "1.3"], b"1.2\\1.3"),
        ("LT", ["a\\b\r\nc"], b"a\\b\r\nc"),
        ("UR", ["http://h/\\"], b"http://h/\\"),
        ("PN", [{"Alphabetic": "A^B", "Phonetic": "P"}, None, {}, "C^D=E"], b"A^B==P\\\\\\C^D=E"),
        ("DS", [1, 2.5, "3.50", None, -0.0], b"1\\2.5\\3.50\\\\-0"),
        ("IS", [12, "+7", None, 3.0], b"12\\+7\\\\3"),
        ("AT", ["00181063", "7fe00010"], b"\x18\x00\x63\x10\xe0\x7f\x10\x00"),
        ("US", [1, 65535, "7", 8.0], struct.pack("<4H", 1, 65535, 7, 8)),
        ("SS", [-1], struct.pack("<h", -1)),
        ("UL", [2**32 - 1], struct.pack("<I", 2**32 - 1)),
        ("SL", ["-5"], struct.pack("<i", -5)),
        ("UV", ["18446744073709551615", 1], struct.pack("<2Q", 2**64 - 1, 1)),
        ("SV", [-(2**63)], struct.pack("<q", -(2**63))),
        ("FL", [0.5, "1e3", 2], struct.pack("<3f", 0.5, 1000, 2)),
        ("FD", ["NaN", "-Infinity", "INF"], struct.pack("<3d", float("nan"), float("-inf"), float("inf"))),
        ("OB", [], b""),
        ("US", [None], b""),
        ("PN", [None], b""),
    ],
)
def test_values_are_encoded(vr: str, values: list[object], encoded: bytes) -> None:
    """JSON-03 to JSON-09"""
    assert encode(TAG, vr, values) == encoded


@pytest.mark.parametrize(
    ("vr", "values"),
    [
        ("LO", [1]),
        ("LO", [["a"]]),
        ("LO", [{"Alphabetic": "a"}]),
        ("LO", ["a\\b"]),
        ("LO", ["\ud800"]),
        ("CS", [True]),
        ("LT", ["a", "b"]),
        ("PN", [["A"]]),
        ("PN", [{"alphabetic": "A"}]),
        ("PN", [{"Alphabetic": 1}]),
        ("PN", [{"Alphabetic": "A=B"}]),
        ("PN", [{"Alphabetic": "A\\B"}]),
        ("DS", [True]),
        ("DS", [float("inf")]),
        ("DS", [10**400]),
        ("DS", ["1\\2"]),
        ("IS", [1.5]),
        ("IS", [True]),
        ("IS", [{}]),
        ("AT", [1]),
        ("AT", ["0018106"]),
        ("AT", ["0018_063"]),
        ("AT", ["(0018,1063)"]),
        ("US", [65536]),
        ("US", [-1]),
        ("US", [None, 1]),
        ("US", [True]),
        ("US", [1.5]),
        ("US", ["1.0"]),
        ("US", ["0x10"]),
        ("US", ["\u0661"]),
        ("US", ["1_0"]),
        ("SS", [2**15]),
        ("UV", [2**64]),
        ("UV", ["1" * 5000]),
        ("FL", [1e300]),
        ("FL", ["1,5"]),
        ("FD", [10**400]),
        ("FD", ["1" * 5000]),
        ("FD", [float("nan")]),
        ("OB", ["AA=="]),
        ("UN", [1]),
        ("XX", ["a"]),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_what_a_vr_cannot_have_is_refused_and_named(vr: str, values: list[object]) -> None:
    with pytest.raises(NotUnderstood) as refused:
        encode(TAG, vr, values)
    assert refused.value.tag == TAG


@pytest.mark.parametrize(
    ("vr", "text", "value"), [("OB", "AQID", b"\1\2\3"), ("OW", "", b""), ("FL", "AACAPw==", b"\0\0\x80?")]
)
def test_inline_binary_is_base64(vr: str, text: str, value: bytes) -> None:
    """JSON-06"""
    assert decode_inline(TAG, vr, text) == value


@pytest.mark.parametrize(
    ("vr", "text"),
    [
        ("OB", "AQI"),
        ("OB", "AQID=="),
        ("OB", "AQID\n"),
        ("OB", "AQ ID"),
        ("OB", "AQ-_"),
        ("OB", "=AQID"),
        ("OB", "AQIDé"),
        ("OB", ["AQID"]),
        ("OB", None),
        ("OB", 1),
        ("OW", "AQID"),
        ("US", "AQID"),
        ("LO", "AQID"),
        ("PN", "AQID"),
    ],
    ids=str,
)
def test_inline_binary_is_strict(vr: str, text: object) -> None:
    """JSON-06: nothing but RFC 4648, a whole number of words, and no text"""
    with pytest.raises(NotUnderstood) as refused:
        decode_inline(TAG, vr, text)
    assert refused.value.tag == TAG


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(5e-324)
@example(1.7976931348623157e308)
@example(-0.0)
@example(-1.2345678901234567e-300)
@example(123456789012345680.0)
def test_any_number_fits_a_decimal_string(value: float) -> None:
    """PS3.5 6.2: 16 characters, and as near as they allow"""
    text = decimal_string(value)
    assert len(text) <= DS_LENGTH
    assert float(text) == pytest.approx(value, rel=1e-8)


@given(st.decimals(allow_nan=False, allow_infinity=False).map(str) | st.from_regex(r"\A-?[0-9]{0,9}\.[0-9]{1,9}\Z"))
@example(".123456789012345")
@example("-.12345678901234")
@example("1234567890123456")
@example("123456789012E-30")
def test_every_decimal_string_survives_as_a_number(text: str) -> None:
    """JSON-04: what fitted once fits again, to the last digit"""
    if len(text) <= DS_LENGTH and abs(Decimal(text).adjusted()) < 300:
        assert float(decimal_string(float(text))) == float(text)
