"""The DICOM JSON Model of an instance (PS3.18 Annex F)."""

from __future__ import annotations

import json
import logging
import struct
from base64 import b64decode, b64encode
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import data_store
import orjson
import pydicom
import pydicom.data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dicom.header import MARGIN, Header, parse_header, read_header
from gateway.dicom.json_values import as_little_endian
from gateway.dicom.metadata import VALUE_LIMIT, Cache, bulk_element, to_json
from gateway.dicom.uids import EXPLICIT_BIG_ENDIAN, EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN
from gateway.errors import GatewayError, NotFound
from tests.gateway.dicom.building import JPEG_2000, explicit, fragments, identity, implicit, item, part10, sequence

FOLDERS = (
    Path(pydicom.data.__file__).parent / "test_files",
    Path(pydicom.data.__file__).parent / "charset_files",
    Path(data_store.__file__).parent / "data",
)
ROOT = "studies/1/series/2/instances/3/bulkdata/"
Object = dict[str, Any]


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


def strict(model: Mapping[str, object]) -> Object:
    """What a strict reader finds in the JSON text of a model."""
    text = orjson.dumps(model)
    read: Object = json.loads(text, parse_constant=refuse)
    assert read == orjson.loads(text)
    return read


def uri(path: str) -> str:
    return ROOT + path


def header_of(data_set: bytes, syntax: str = EXPLICIT_LITTLE_ENDIAN) -> Header:
    data = part10(data_set, syntax)
    return read_header(BytesIO(data), len(data))


def model(data_set: bytes, syntax: str = EXPLICIT_LITTLE_ENDIAN, **options: Any) -> Object:
    return strict(to_json(header_of(data_set, syntax), uri, **options))


def padded(text: str | bytes, encoding: str = "ascii") -> bytes:
    raw = text if isinstance(text, bytes) else text.encode(encoding)
    return raw + b" " * (len(raw) % 2)


def one(vr: str, value: str | bytes, tag: int = 0x00091001, *, charset: str = "") -> Object:
    """The member of an element of this VR; the private tag is no question of dictionaries."""
    head = explicit(0x00080005, "CS", padded(charset)) if charset else b""
    found: Object = model(head + explicit(tag, vr, padded(value)))[f"{tag:08X}"]
    return found


# Against pydicom


def explained(ours: Object, theirs: Object, little_endian: bool) -> bool:
    """Whether one member differs from pydicom's in a way that is meant."""
    vr = ours["vr"]
    if "BulkDataURI" in ours:
        # Pixel Data never stands inline here; pydicom's handler of this test gives another URI
        return bool(theirs.keys() & {"BulkDataURI", "InlineBinary"})
    if "InlineBinary" in ours:
        # pydicom leaves the bytes of a big endian file as they are; JSON-06
        mine, other = b64decode(ours["InlineBinary"]), b64decode(theirs["InlineBinary"])
        return not little_endian and mine == as_little_endian(vr, other, False)
    if vr == "PN":
        # a name of nothing but delimiters, and groups without content
        names = [normal_name(name) for name in theirs.get("Value", [])]
        return bool(ours.get("Value", []) == [name for name in names if name] or ours.get("Value") == names)
    # pydicom has '' for an empty value among others (JSON-03: null), and leaves padding within codes and names
    values = [value.strip(" \0") or None if isinstance(value, str) else value for value in theirs.get("Value", [])]
    return bool(ours.get("Value", []) == values)


def normal_name(name: Mapping[str, str]) -> dict[str, str] | None:
    groups = {key: text.strip() for key, text in name.items() if text.strip("^ ")}
    return groups or None


def unexplained(ours: Object, theirs: Object, little_endian: bool, path: str = "") -> list[str]:
    """Paths of the members that differ without reason."""
    found = []
    for key in sorted(ours.keys() | theirs.keys()):
        if key in ("00080005", "00083002") or key.endswith("0000"):
            continue
        if key not in theirs:
            # values that pydicom cannot read and leaves out, with all that holds them
            found.append(f"{path}{key} only here")
            continue
        if key not in ours:
            found.append(f"{path}{key} is missing")
            continue
        mine, other = ours[key], theirs[key]
        if mine == other:
            continue
        items, others = mine.get("Value", []), other.get("Value", [])
        if mine["vr"] == other["vr"] == "SQ" and len(items) == len(others):
            for number, (inner, outer) in enumerate(zip(items, others, strict=True), 1):
                found += unexplained(inner, outer, little_endian, f"{path}{key}/{number}/")
        elif mine["vr"] != other["vr"] or not explained(mine, other, little_endian):
            found.append(f"{path}{key} {mine} {other}"[:300])
    return found


PYDICOM_CANNOT = {
    "badVR.dcm": {"00280008 only here", "300C0002 only here"},
    "bad_sequence.dcm": {f"{tag} only here" for tag in ("00080018", "0020000D", "0020000E", "00200010")},
    "rtdose.dcm": {"300C0002 only here"},
    "rtdose_1frame.dcm": {"300C0002 only here"},
    "rtdose_expb.dcm": {"300C0002 only here"},
    "rtdose_expb_1frame.dcm": {"300C0002 only here"},
    "rtdose_rle.dcm": {"300C0002 only here"},
    "rtdose_rle_1frame.dcm": {"300C0002 only here"},
}
"""Malformed values (IS `1A`, an IS beyond 32 bits, UIDs and SH that are too long) that pydicom refuses to convert."""


@pytest.mark.filterwarnings("ignore")
def test_all_bundled_files_have_the_model_that_pydicom_makes() -> None:
    """JSON-01 to JSON-09 on every file of pydicom and pydicom-data that can be stored, character sets included."""
    logging.disable(logging.CRITICAL)
    compared = 0
    try:
        for path in sorted(path for folder in FOLDERS for path in folder.rglob("*.dcm")):
            data = path.read_bytes()
            try:
                header = read_header(BytesIO(data), len(data))
            except GatewayError:
                continue
            ours = strict(to_json(header, uri, inline_limit=1024))
            theirs = pydicom.dcmread(path, force=True).to_json_dict(
                bulk_data_threshold=1028 * 4 // 3,
                bulk_data_element_handler=lambda _: "elsewhere",
                suppress_invalid_tags=True,
            )
            theirs = strict(theirs)
            differing = unexplained(ours, theirs, header.syntax.little_endian)
            assert set(differing) == PYDICOM_CANNOT.get(path.name, set()), path.name
            assert ours["00083002"]["Value"] == [header.meta.transfer_syntax_uid]
            assert list(ours) == sorted(ours)
            compared += 1
    finally:
        logging.disable(logging.NOTSET)
    assert compared > 140


# Row by row


def test_keys_are_ascending_and_neither_group_2_nor_group_lengths_are_there() -> None:
    """JSON-01, WADO-10"""
    data_set = explicit(0x00080000, "UL", bytes(4)) + identity() + explicit(0x00100000, "UL", bytes(4))
    data_set += explicit(0x00200013, "IS", b"1 ") + explicit(0x00100020, "LO", b"P1")  # out of order
    found = model(data_set)
    assert list(found) == ["00080016", "00080018", "00083002", "00100020", "00200013"]


def test_available_transfer_syntax_is_that_of_the_stored_instance() -> None:
    found = model(identity() + explicit(0x00083002, "UI", padded("1.2.840.10008.1.2")) + fragments(b"ab"), JPEG_2000)
    assert found["00083002"] == {"vr": "UI", "Value": [JPEG_2000]}


@pytest.mark.parametrize("vr", ["CS", "PN", "DS", "US", "OB", "UI", "UN", "LT", "AT", "FD"])
def test_an_empty_element_has_its_vr_only(vr: str) -> None:
    """JSON-03"""
    assert one(vr, b"") == {"vr": vr}


def test_empty_values_are_null_and_empty_items_are_objects() -> None:
    """JSON-03"""
    assert one("LO", r"A\\C") == {"vr": "LO", "Value": ["A", None, "C"]}
    assert one("DS", r"\1.5") == {"vr": "DS", "Value": [None, 1.5]}
    assert one("PN", r"A^B\\C") == {"vr": "PN", "Value": [{"Alphabetic": "A^B"}, None, {"Alphabetic": "C"}]}
    assert model(sequence(0x00081140))["00081140"] == {"vr": "SQ"}
    assert model(sequence(0x00081140, item(), item(undefined=True)))["00081140"] == {"vr": "SQ", "Value": [{}, {}]}


@pytest.mark.parametrize(
    ("vr", "code", "numbers"),
    [
        ("US", "H", [0, 65535]),
        ("SS", "h", [-32768, 1]),
        ("UL", "I", [2**32 - 1, 5]),
        ("SL", "i", [-(2**31), 5]),
        ("FL", "f", [0.5, -1.25]),
        ("FD", "d", [0.1, 1e300]),
        ("SV", "q", [-(2**53), 2**53]),
        ("UV", "Q", [0, 2**53]),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_binary_numbers_are_numbers(vr: str, code: str, numbers: list[float], order: str) -> None:
    """JSON-04, GEN-13"""
    syntax = EXPLICIT_LITTLE_ENDIAN if order == "<" else EXPLICIT_BIG_ENDIAN
    element = explicit(0x00091001, vr, struct.pack(f"{order}2{code}", *numbers), order=order)
    assert model(element, syntax)["00091001"] == {"vr": vr, "Value": numbers}


def test_long_integers_beyond_what_every_reader_has_are_strings() -> None:
    """JSON-04"""
    assert one("SV", struct.pack("<q", -(2**53) - 1)) == {"vr": "SV", "Value": [str(-(2**53) - 1)]}
    assert one("UV", struct.pack("<2Q", 2**64 - 1, 1)) == {"vr": "UV", "Value": ["18446744073709551615", 1]}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1.5 ", [1.5]),
        (r" 1\-2.50 \+3e2", [1, -2.5, 300]),
        ("1e400", ["1e400"]),
        (r"nan\inf\-Infinity", ["nan", "inf", "-Infinity"]),
        ("1_000", ["1_000"]),
        (r"1\1_0", [1, "1_0"]),
        ("0x10", ["0x10"]),
        ("1,5", ["1,5"]),
        ("- 5", ["- 5"]),
        ("1.5\0", [1.5]),
        ("9" * 400, ["9" * 400]),
    ],
)
def test_decimal_strings_are_numbers_where_they_are_finite(text: str, values: list[object]) -> None:
    """JSON-04, S-27"""
    assert one("DS", text) == {"vr": "DS", "Value": values}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (r"12\-7 \ +3", [12, -7, 3]),
        (str(2**53), [2**53]),
        (str(2**53 + 1), [str(2**53 + 1)]),
        ("1e400", ["1e400"]),
        ("10.0", [10]),
        ("10.5", ["10.5"]),
        ("1_0", ["1_0"]),
        ("inf", ["inf"]),
        ("1" * 5000, ["1" * 5000]),
    ],
)
def test_integer_strings_are_numbers_where_they_are_exact(text: str, values: list[object]) -> None:
    """JSON-04, S-27"""
    assert one("IS", text) == {"vr": "IS", "Value": values}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(("vr", "code"), [("FL", "f"), ("FD", "d")])
def test_numbers_that_json_has_not_are_bulk_data(number: float, vr: str, code: str) -> None:
    """JSON-10, S-27"""
    assert one(vr, struct.pack(f"<2{code}", 1, number)) == {"vr": vr, "BulkDataURI": uri("00091001")}


def test_tags_are_eight_digits() -> None:
    """JSON-04"""
    assert one("AT", b"\x18\x00\x63\x10\xe0\x7f\x10\x00") == {"vr": "AT", "Value": ["00181063", "7FE00010"]}
    big = explicit(0x00091001, "AT", b"\x00\x18\x10\x63", order=">")
    assert model(big, EXPLICIT_BIG_ENDIAN)["00091001"]["Value"] == ["00181063"]


@pytest.mark.parametrize("vr", ["US", "FD", "AT", "UV"])
def test_bytes_that_are_no_whole_number_of_values_are_bulk_data(vr: str) -> None:
    header = header_of(explicit(0x00091001, "UN", bytes(22)))
    header.elements[0].vr = vr
    header.elements[0].value = bytes(11)
    assert strict(to_json(header, uri))["00091001"] == {"vr": vr, "BulkDataURI": uri("00091001")}


def test_person_names_have_their_groups() -> None:
    """JSON-05; the names are those of PS3.5 H.3.1 and I.2"""
    name = b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"
    assert one("PN", name, charset=r"\ISO 2022 IR 87")["Value"] == [
        {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    ]
    assert one("PN", "==Ito")["Value"] == [{"Phonetic": "Ito"}]


def test_binary_values_stand_inline_up_to_the_limit() -> None:
    """JSON-06"""
    assert one("OB", b"\1\2\3\4") == {"vr": "OB", "InlineBinary": "AQIDBA=="}
    assert one("UN", bytes(1024)) == {"vr": "UN", "InlineBinary": b64encode(bytes(1024)).decode()}
    assert one("OW", bytes(1026)) == {"vr": "OW", "BulkDataURI": uri("00091001")}
    assert model(explicit(0x00091001, "OB", bytes(6)), inline_limit=4)["00091001"].keys() == {"vr", "BulkDataURI"}


@pytest.mark.parametrize(("vr", "width"), [("OB", 1), ("OW", 2), ("OF", 4), ("OL", 4), ("OD", 8), ("OV", 8), ("UN", 1)])
def test_binary_values_of_big_endian_files_are_swapped(vr: str, width: int) -> None:
    """JSON-06, GEN-13"""
    raw = bytes(range(16))
    found = model(explicit(0x00091001, vr, raw, order=">"), EXPLICIT_BIG_ENDIAN)["00091001"]
    words = [raw[at : at + width][::-1] for at in range(0, 16, width)]
    assert b64decode(found["InlineBinary"]) == b"".join(words)


@pytest.mark.parametrize(
    ("charset", "encoding", "text"),
    [
        ("ISO_IR 100", "latin_1", "Buc^Jérôme"),
        ("ISO_IR 192", "utf_8", "王^小東 é"),
        ("GB18030", "gb18030", "王^小东"),
        ("ISO_IR 144", "iso8859_5", "ЖЩЮЯЛ"),
    ],
)
def test_text_is_unicode_and_says_so(charset: str, encoding: str, text: str) -> None:
    """JSON-07"""
    data_set = explicit(0x00080005, "CS", padded(charset)) + explicit(0x00081030, "LO", padded(text, encoding))
    found = model(data_set)
    assert found["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert found["00081030"] == {"vr": "LO", "Value": [text]}


def test_an_item_may_have_its_own_character_set() -> None:
    """JSON-07: the others have that of the data set (PS3.3 C.12.1.1.2)."""
    latin, greek = padded("é", "latin_1"), padded("λ", "iso8859_7")
    items = [
        item(explicit(0x00080104, "LO", latin)),
        item(explicit(0x00080005, "CS", b"ISO_IR 126") + explicit(0x00080104, "LO", greek)),
        item(explicit(0x00080104, "LO", latin)),
    ]
    data_set = explicit(0x00080005, "CS", b"ISO_IR 100") + sequence(0x00081140, *items)
    cache: Cache = {}
    for _ in range(2):
        found = model(data_set, cache=cache)["00081140"]["Value"]
        assert [one["00080104"]["Value"] for one in found] == [["é"], ["λ"], ["é"]]
        assert found[1]["00080005"]["Value"] == ["ISO_IR 192"]


def test_without_a_character_set_none_is_claimed() -> None:
    assert "00080005" not in model(identity())


@pytest.mark.parametrize("charset", ["punycode", "idna", "hex", "zlib", "utf_7", "\\".join(["ISO 2022 IR 87"] * 1000)])
def test_hostile_character_sets_give_text_all_the_same(charset: str) -> None:
    """S-28"""
    found = one("LO", b"a\xff\xfe\x1b$B~~+AGE-", charset=charset)
    assert found["vr"] == "LO"
    assert found["Value"][0].startswith("a")


def test_values_are_split_at_backslashes_but_not_in_long_text() -> None:
    """JSON-08, JSON-09"""
    for vr in ("SH", "LO", "UC"):
        assert one(vr, r"A B\C ") == {"vr": vr, "Value": ["A B", "C"]}
    for vr in ("ST", "LT", "UT"):
        assert one(vr, " A\\B\r\nC ") == {"vr": vr, "Value": [" A\\B\r\nC"]}
    assert one("UR", r"http://h/a\b ") == {"vr": "UR", "Value": [r"http://h/a\b"]}
    assert one("UI", b"1.2.3\0") == {"vr": "UI", "Value": ["1.2.3"]}
    assert one("UI", b"1.2\\1.3\0") == {"vr": "UI", "Value": ["1.2", "1.3"]}


def test_a_trail_byte_that_looks_like_a_backslash_does_not_split() -> None:
    """JSON-09 in GB18030, where 0x5C ends some characters"""
    text = "俓倇"
    assert b"\\" in text.encode("gb18030")
    assert one("LO", text.encode("gb18030"), charset="GB18030") == {"vr": "LO", "Value": [text]}


def test_private_elements_are_kept_with_their_creator() -> None:
    data_set = explicit(0x00090010, "LO", padded("ACME 1.1")) + explicit(0x00091001, "UN", b"\1\2")
    found = model(data_set)
    assert found["00090010"] == {"vr": "LO", "Value": ["ACME 1.1"]}
    assert found["00091001"] == {"vr": "UN", "InlineBinary": "AQI="}


@pytest.mark.parametrize(("representation", "vr", "value"), [(0, "US", 65535), (1, "SS", -1)])
def test_pixel_representation_decides_between_us_and_ss(representation: int, vr: str, value: int) -> None:
    data_set = implicit(0x00280103, bytes([representation, 0])) + implicit(0x00280106, b"\xff\xff")
    assert model(data_set, IMPLICIT_LITTLE_ENDIAN)["00280106"] == {"vr": vr, "Value": [value]}


@pytest.mark.parametrize("vr", ["DS", "IS", "UI", "UT", "LT", "UC", "OB", "US", "FD"])
@pytest.mark.parametrize("loaded", [False, True])
def test_values_over_64_kib_are_bulk_data_unparsed(vr: str, loaded: bool) -> None:
    """S-26, WADO-10, whether the reader kept the value or not."""
    value = b"1\\" * (VALUE_LIMIT // 2 + 4)
    header = header_of(explicit(0x00091001, "UN", value))
    header.elements[0].vr = vr
    header.elements[0].value = value if loaded else None
    assert strict(to_json(header, uri))["00091001"] == {"vr": vr, "BulkDataURI": uri("00091001")}


@pytest.mark.parametrize("tag", [0x7FE00010, 0x7FE00008, 0x7FE00009])
def test_pixel_data_is_always_bulk_data(tag: int) -> None:
    """However small, at any level; empty it has nothing to link to."""
    vr = {0x7FE00010: "OW", 0x7FE00008: "OF", 0x7FE00009: "OD"}[tag]
    icon = sequence(0x00880200, item(explicit(tag, vr, bytes(8))))
    key = f"{tag:08X}"
    caches: list[Cache | None] = [{}, None]
    for cache in caches:
        found = model(explicit(0x00282000, "OB", bytes(8)) + icon + explicit(tag, vr, bytes(8)), cache=cache)
        assert found[key] == {"vr": vr, "BulkDataURI": uri(key)}
        assert found["00880200"]["Value"][0][key] == {"vr": vr, "BulkDataURI": uri(f"00880200/1/{key}")}
    assert model(explicit(tag, vr, b""))[key] == {"vr": vr}


@pytest.mark.parametrize("size_known", [False, True])
def test_the_head_of_a_file_is_enough(size_known: bool) -> None:
    """One ranged read of the head gives the metadata, Pixel Data's link included."""
    for pixel, syntax in ((explicit(0x7FE00010, "OW", bytes(100)), None), (fragments(b"ab", b"cd"), JPEG_2000)):
        data = part10(identity() + pixel, syntax or EXPLICIT_LITTLE_ENDIAN)
        whole = read_header(BytesIO(data), len(data))
        head = parse_header(data[: whole.size + MARGIN], len(data) if size_known else None)
        assert to_json(head, uri) == to_json(whole, uri)
        assert "BulkDataURI" in str(to_json(head, uri)["7FE00010"])


def test_a_cache_changes_no_result() -> None:
    """Values are shared by VR and bytes; character set, byte order, inline limit and path stay each one's own."""
    latin = explicit(0x00080005, "CS", b"ISO_IR 100") + explicit(0x00081030, "LO", b"\xe9 ")
    greek = explicit(0x00080005, "CS", b"ISO_IR 126") + explicit(0x00081030, "LO", b"\xe9 ")
    nan = struct.pack("<d", float("nan"))
    bulky = explicit(0x00091001, "FD", nan) + sequence(0x00091002, item(explicit(0x00091001, "FD", nan)))
    cases: list[tuple[bytes, str, int]] = [
        (latin + bulky, EXPLICIT_LITTLE_ENDIAN, 1024),
        (greek + bulky, EXPLICIT_LITTLE_ENDIAN, 1024),
        (explicit(0x00281101, "US", b"\0\1", order="<"), EXPLICIT_LITTLE_ENDIAN, 1024),
        (explicit(0x00281101, "US", b"\0\1", order=">"), EXPLICIT_BIG_ENDIAN, 1024),
        (explicit(0x00420011, "OB", bytes(64)), EXPLICIT_LITTLE_ENDIAN, 1024),
        (explicit(0x00420011, "OB", bytes(64)), EXPLICIT_LITTLE_ENDIAN, 10),
        (identity() + explicit(0x00080060, "CS", b"ISO_IR 100"), EXPLICIT_LITTLE_ENDIAN, 1024),
    ]
    cache: Cache = {}
    for _ in range(2):
        for data_set, syntax, limit in cases:
            alone = model(data_set, syntax, inline_limit=limit)
            assert model(data_set, syntax, inline_limit=limit, cache=cache) == alone


VRS = "AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SS ST SV TM UC UI UL UN UR US UT UV"
charsets = st.sampled_from(
    ["", "ISO_IR 100", "ISO_IR 192", "GB18030", r"\ISO 2022 IR 87", r"ISO 2022 IR 13\ISO 2022 IR 149"]
)
values = st.binary(max_size=40) | st.text("\0\\^= 0123456789.eE+-n\x1b$B(é\ud7ff\u202e", max_size=30).map(str.encode)


@settings(deadline=None, max_examples=400)
@given(vr=st.sampled_from(VRS.split()), value=values, charset=charsets)
def test_any_value_gives_strict_json(vr: str, value: bytes, charset: str) -> None:
    """S-27, S-29, JSON-02, JSON-10"""
    value += b" " * (len(value) % 2)
    found = one(vr, value, charset=charset)
    assert len(found) <= 2
    assert found.keys() <= {"vr", "Value", "InlineBinary", "BulkDataURI"}
    assert found.get("Value") != []


# The way back from a BulkDataURI


def nested() -> bytes:
    wave = item(explicit(0x54001010, "OW", b"WAVE"))
    inner = sequence(0x54000100, item(), item(explicit(0x00081140, "LO", b"no") + explicit(0x54001010, "OW", b"WA")))
    return identity() + explicit(0x00420011, "OB", b"%PDF") + inner + sequence(0x54000101, wave)


def test_a_bulk_path_leads_to_its_element() -> None:
    data = part10(nested() + explicit(0x7FE00010, "OW", b"pixels"))
    header = read_header(BytesIO(data), len(data))
    for path, value in (
        ("00420011", b"%PDF"),
        ("54000100/2/54001010", b"WA"),
        ("54000101/1/54001010", b"WAVE"),
        ("7FE00010", b"pixels"),
    ):
        element = bulk_element(header, path)
        assert data[element.offset : element.offset + element.length] == value


def test_every_bulk_uri_of_a_model_leads_back() -> None:
    paths: list[str] = []

    def collect(path: str) -> str:
        paths.append(path)
        return path

    header = header_of(nested() + explicit(0x7FE00010, "OW", b"pixels"))
    to_json(header, collect, inline_limit=0)
    assert paths == ["00420011", "54000100/2/54001010", "54000101/1/54001010", "7FE00010"]
    assert [bulk_element(header, path).length for path in paths] == [4, 2, 4, 6]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "0042001",
        "00420012",
        "00420011/",
        "/00420011",
        "00420011/1",
        "00420011/1/00420011",
        "54000100",
        "54000100/2",
        "54000100/0/54001010",
        "54000100/1/54001010",
        "54000100/3/54001010",
        "54000100/02/54001010",
        "54000100/-1/54001010",
        "54000100/\u0662/54001010",
        "54000100/2/54001010\n",
        "54000100/99999999999999999999/54001010",
        "54000100/2/../2/54001010",
        "../../etc/passwd",
        "00020010",
        "54000100/2/54001010" + "/1/54001010" * 5000,
        "0042 011",
        "+0420011",
    ],
    ids=lambda path: ascii(path)[:40],
)
def test_any_other_path_is_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        bulk_element(header_of(nested()), path)
