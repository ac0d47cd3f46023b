"""Instances from metadata and bulk data (PS3.18 10.5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gateway.dicom.metadata import to_json
from gateway.dicom.model import Model, ModelElement
from gateway.dicom.model.bulk_parts import BulkPart
from gateway.dicom.model.writer import MAX_SHORT, write
from gateway.dicom.part10 import FileMeta
from gateway.dicom.uids import EXPLICIT_BIG_ENDIAN, EXPLICIT_LITTLE_ENDIAN
from gateway.errors import ClassMismatch, NotUnderstood, Refused, SyntaxNotSupported
from tests.gateway.dicom.model.storing import CLASS, INSTANCE, Sink, minimal, stored


def bulk(tag: int, vr: str, uri: str = "u") -> Model:
    return minimal() | {tag: ModelElement(vr, bulk_uri=uri)}


def raw(model: Model, tag: int, parts: dict[str, list[BulkPart]] | None = None) -> bytes:
    opened = stored(model, parts)
    element = opened.header.find(tag) or opened.header.pixel
    assert element is not None and element.tag == tag
    return opened.data[element.offset : element.offset + element.length]


def refusal(model: Model, parts: dict[str, list[BulkPart]] | None = None) -> Refused:
    """Why it is refused; nothing may have been written by then."""
    sink = Sink()
    with pytest.raises(Refused) as refused:
        write(model, parts or {}, sink)
    assert sink.meta is None
    return refused.value


def test_the_instance_says_what_it_is() -> None:
    """STOW-04"""
    sink = Sink()
    meta = FileMeta(CLASS, INSTANCE, EXPLICIT_LITTLE_ENDIAN)
    assert write(minimal(), {}, sink) == sink.meta == meta
    opened = stored(minimal((0x00200013, "IS", [7])))
    assert opened.header.meta == meta
    assert [element.tag for element in opened.header.elements] == [0x00080016, 0x00080018, 0x00200013]


@pytest.mark.parametrize("tag", [0x00080016, 0x00080018])
@pytest.mark.parametrize("value", [None, b"", b"1.2.x", b"1..2", b"1." + b"2" * 64, b"../../etc/passwd"])
def test_an_instance_without_its_uids_is_refused(tag: int, value: bytes | None) -> None:
    model = minimal()
    if value is None:
        del model[tag]
    else:
        model[tag] = ModelElement("UI", value)
    error = refusal(model)
    assert isinstance(error, NotUnderstood)
    assert error.tag == tag


def test_values_are_padded_to_even_length() -> None:
    """JSON-08"""
    model = minimal((0x00080060, "CS", ["CTX"]), (0x0020000D, "UI", ["1.2"]), (0x00104000, "LT", ["abc"]))
    model[0x00420011] = ModelElement("OB", b"\1\2\3")
    assert raw(model, 0x00080060) == b"CTX "
    assert raw(model, 0x0020000D) == b"1.2\0"
    assert raw(model, 0x00104000) == b"abc "
    assert raw(model, 0x00420011) == b"\1\2\3\0"


def test_elements_are_in_order_whatever_the_metadata_have() -> None:
    model: Model = {0x7FE00010: ModelElement("OW", b"\0\0"), 0x00100020: ModelElement("LO", b"P")} | minimal()
    opened = stored(model)
    assert opened.header.pixel is not None
    assert [element.tag for element in opened.header.elements] == [0x00080016, 0x00080018, 0x00100020]


# ---------------------------------------------------------------- character sets


def test_text_beyond_ascii_declares_utf_8() -> None:
    """JSON-07"""
    opened = stored(minimal((0x00100010, "PN", ["Buc^Jérôme"])))
    assert opened.header.text(0x00080005) == "ISO_IR 192"
    assert opened.header.text(0x00100010) == "Buc^Jérôme"
    assert stored(minimal((0x00100010, "PN", ["Doe"]))).header.find(0x00080005) is None


def test_text_beyond_ascii_in_an_item_declares_it_for_all() -> None:
    item = minimal((0x00080104, "LO", ["λ"]))
    opened = stored(minimal() | {0x00081140: ModelElement("SQ", items=[{}, item])})
    assert opened.header.text(0x00080005) == "ISO_IR 192"
    assert opened.header.sequence(0x00081140)[1].text(0x00080104) == "λ"


@pytest.mark.parametrize("declared", [["ISO_IR 100"], ["", "ISO 2022 IR 87"], ["GB18030"], []])
def test_another_character_set_becomes_utf_8_at_every_level(declared: Sequence[str]) -> None:
    """JSON-07: metadata are UTF-8 whatever they say of their source"""
    charset = (0x00080005, "CS", declared)
    item = minimal(charset, (0x00080104, "LO", ["é"]))
    opened = stored(minimal(charset, (0x00100010, "PN", ["王"])) | {0x00081140: ModelElement("SQ", items=[item])})
    assert opened.header.text(0x00080005) == "ISO_IR 192"
    assert opened.header.text(0x00100010) == "王"
    assert opened.header.sequence(0x00081140)[0].text(0x00080104) == "é"


# ---------------------------------------------------------------- lengths


@pytest.mark.parametrize("vr", ["LO", "PN", "DS", "US", "LT", "UI"])
def test_a_value_too_long_for_its_vr_is_refused_and_named(vr: str) -> None:
    model = minimal() | {0x00091001: ModelElement(vr, b"1" * MAX_SHORT)}
    assert len(raw(model, 0x00091001)) == MAX_SHORT
    model[0x00091001].value += b"1"
    error = refusal(model)
    assert (type(error), error.tag, error.sop_uid, error.sop_class_uid) == (NotUnderstood, 0x00091001, INSTANCE, CLASS)


@pytest.mark.parametrize("vr", ["UT", "UC", "UN", "OB"])
def test_long_vrs_hold_more(vr: str) -> None:
    assert len(raw(minimal() | {0x00091001: ModelElement(vr, b"1" * 70000)}, 0x00091001)) == 70000


def test_bulk_data_have_the_limits_of_their_vr(tmp_path: Path) -> None:
    sparse = tmp_path / "part"
    with sparse.open("wb") as file:
        file.truncate(2**32 - 1)
    assert refusal(bulk(0x7FE00010, "OW"), {"u": [BulkPart(sparse)]}).tag == 0x7FE00010
    assert refusal(bulk(0x00091001, "LO"), {"u": [BulkPart(b"1" * 65535)]}).tag == 0x00091001
    assert refusal(bulk(0x00091001, "FD"), {"u": [BulkPart(b"1" * 12)]}).tag == 0x00091001


# ---------------------------------------------------------------- bulk data


def test_bulk_data_come_from_memory_or_from_spool_files(tmp_path: Path) -> None:
    """STOW-05"""
    spooled = tmp_path / "part"
    spooled.write_bytes(b"from a file")
    model = bulk(0x00420011, "OB", "a") | {0x00091001: ModelElement("UN", bulk_uri="b")}
    model[0x54000100] = ModelElement("SQ", items=[{0x54001010: ModelElement("OW", bulk_uri="c")}])
    parts = {"a": [BulkPart(spooled, "application/pdf")], "b": [BulkPart(b"xyz")], "c": [BulkPart(b"\1\2")]}
    opened = stored(model, parts)
    found = {element.tag: element.value for element in opened.header.elements}
    assert found[0x00420011] == b"from a file\0"  # an odd length is padded
    assert found[0x00091001] == b"xyz\0"
    assert opened.header.sequence(0x54000100)[0].elements[0].value == b"\1\2"


def test_native_pixel_data_are_kept_as_they_are() -> None:
    """STOW-05, TS-01"""
    model = bulk(0x7FE00010, "OW")
    for part in (BulkPart(b"\1\2\3\4"), BulkPart(b"\1\2\3\4", transfer_syntax_uid=EXPLICIT_LITTLE_ENDIAN)):
        opened = stored(dict(model), {"u": [part]})
        assert opened.syntax_uid == EXPLICIT_LITTLE_ENDIAN
        assert opened.data.endswith(b"\1\2\3\4")
    assert raw(bulk(0x7FE00010, "OB"), 0x7FE00010, {"u": [BulkPart(b"\1\2\3")]}) == b"\1\2\3\0"


def test_large_bulk_data_are_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    spooled = tmp_path / "part"
    spooled.write_bytes(np.arange(3 << 20, dtype=np.uint32).tobytes())
    sink = Sink()
    write(bulk(0x7FE00010, "OW"), {"u": [BulkPart(spooled)]}, sink)
    assert sink.longest <= 1 << 20
    assert sink.data.endswith(spooled.read_bytes())


@pytest.mark.parametrize(
    "uri",
    ["http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "gopher://h/", "cid:nowhere", "../bulk", "x"],
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_bulk_data_uri_that_is_no_part_of_the_request_is_refused(uri: str, nested: bool) -> None:
    """S-63: A900, and nothing is written"""
    element = {0x00420011: ModelElement("OB", bulk_uri=uri)}
    model = minimal() | ({0x00081140: ModelElement("SQ", items=[element])} if nested else element)
    others: list[dict[str, list[BulkPart]]] = [{}, {"other": [BulkPart(b"")]}, {uri: []}]
    for parts in others:
        error = refusal(model, parts)
        assert isinstance(error, ClassMismatch)
        assert (error.code, error.tag, error.sop_uid) == (0xA900, 0x00420011, INSTANCE)


def test_an_element_has_one_part_of_bulk_data() -> None:
    parts = {"u": [BulkPart(b"12"), BulkPart(b"34")]}
    for tag, vr in ((0x00420011, "OB"), (0x7FE00010, "OW")):
        assert isinstance(refusal(bulk(tag, vr), parts), ClassMismatch)


@pytest.mark.parametrize(
    "part",
    [
        BulkPart(b"ab", transfer_syntax_uid=EXPLICIT_BIG_ENDIAN),
        BulkPart(b"ab", transfer_syntax_uid="1.2.3"),
        BulkPart(b"ab", transfer_syntax_uid="no uid"),
        BulkPart(b"ab", transfer_syntax_uid="1.2.840.10008.1.2.1.99"),
    ],
    ids=lambda part: part.transfer_syntax_uid,
)
def test_native_bulk_data_are_little_endian(part: BulkPart) -> None:
    """TS-01, GEN-13"""
    assert isinstance(refusal(bulk(0x7FE00010, "OW"), {"u": [part]}), SyntaxNotSupported)


@pytest.mark.parametrize("media_type", ["application/dicom", "text/plain", "image/tiff", "image/png"])
def test_pixel_data_of_another_type_are_refused(media_type: str) -> None:
    """STOW-06; image/png needs somebody who decodes it"""
    assert isinstance(refusal(bulk(0x7FE00010, "OW"), {"u": [BulkPart(b"ab", media_type)]}), NotUnderstood)


def test_compressed_bulk_data_are_for_the_top_level_pixel_data_only() -> None:
    icon = {0x7FE00010: ModelElement("OB", bulk_uri="u")}
    model = minimal() | {0x00880200: ModelElement("SQ", items=[icon])}
    assert isinstance(refusal(model, {"u": [BulkPart(b"\xff\xd8\xff", "image/jpeg")]}), NotUnderstood)
    assert isinstance(refusal(bulk(0x00420011, "OB"), {"u": [BulkPart(b"\xff\xd8\xff", "image/jpeg")]}), NotUnderstood)


def test_what_speaks_of_another_representation_is_not_stored() -> None:
    """PS3.18 10.4.1.1.2: Available Transfer Syntax UID is part of an answer; offset tables are those of fragments"""
    model = minimal((0x00083002, "UI", ["1.2"]), (0x7FE00003, "UV", [1]))
    model[0x7FE00001] = ModelElement("OV", bytes(8))
    found = to_json(stored(model).header, str)
    assert list(found) == ["00080016", "00080018", "00083002"]
    assert found["00083002"] == {"vr": "UI", "Value": [EXPLICIT_LITTLE_ENDIAN]}
