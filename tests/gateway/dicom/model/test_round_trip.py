"""Instances out as metadata and bulk data, and back in again: the same elements with the same values."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import data_store
import orjson
import pydicom
import pydicom.data
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dicom.elements import PIXEL_DATA, PIXEL_TAGS, Element
from gateway.dicom.frames import FrameTable
from gateway.dicom.header import Header, read_header
from gateway.dicom.json_values import as_little_endian
from gateway.dicom.metadata import bulk_element, to_json
from gateway.dicom.model import Model, ModelElement
from gateway.dicom.model.bulk_parts import COMPRESSED, OCTET_STREAM, BulkPart
from gateway.dicom.model.json_reader import read_json
from gateway.dicom.model.values import encode
from gateway.dicom.model.writer import write
from gateway.dicom.model.xml_reader import read_xml
from gateway.dicom.native import swap, word_size
from gateway.dicom.native_model import json_to_xml
from gateway.errors import GatewayError, NotUnderstood
from tests.gateway.dicom.model.storing import Sink, minimal, stored

FOLDERS = (
    Path(pydicom.data.__file__).parent / "test_files",
    Path(pydicom.data.__file__).parent / "charset_files",
    Path(data_store.__file__).parent / "data",
)
WITHOUT_UIDS = {
    "DICOMDIR-empty.dcm",
    "bad_sequence.dcm",  # its SOP Instance UID is malformed
    "chrSQEncoding.dcm",
    "chrSQEncoding1.dcm",
    "empty_charset_LEI.dcm",
    "nested_priv_SQ.dcm",
    "no_meta_group_length.dcm",
    "priv_SQ.dcm",
    "UN_sequence.dcm",
}
BOXED = {"GDCMJ2K_TextGBR.dcm"}
"""A JP2 file in a fragment, which PS3.5 A.4.4 forbids: only its codestream is stored."""

Bulk = dict[str, list[BulkPart]]


class File:
    """A Part 10 file, as its metadata and its bulk data."""

    def __init__(self, data: bytes) -> None:
        self.header: Header = read_header(BytesIO(data), len(data))
        self._stream = self.header.inflated or BytesIO(data)
        paths: list[str] = []

        def uri(path: str) -> str:
            paths.append(path)
            return path

        self.model = to_json(self.header, uri)
        self.bulk: Bulk = {path: self._parts(bulk_element(self.header, path)) for path in paths}

    def _parts(self, element: Element) -> list[BulkPart]:
        if element.encapsulated:
            return self._frames()
        data = self._read(element.offset, element.length)
        if not self.header.syntax.little_endian:
            pixels = element.tag in PIXEL_TAGS
            word = word_size(self.header, element.tag, element.vr) if pixels else 0
            data = swap(data, word) if pixels else as_little_endian(element.vr, data, False)
        return [BulkPart(data)]

    def _frames(self) -> list[BulkPart]:
        table = FrameTable.read(self._stream, self.header)
        assert table is not None
        uid = self.header.meta.transfer_syntax_uid
        media_type = next((name for name, uids in COMPRESSED.items() if uid in uids), OCTET_STREAM)
        frames = (table.extract(number, self._read(*table.span(number))) for number in range(1, table.count + 1))
        return [BulkPart(frame, media_type, uid) for frame in frames]

    def _read(self, offset: int, length: int) -> bytes:
        self._stream.seek(offset)
        return self._stream.read(length)

    def comparable(self) -> dict[str, object]:
        """The metadata without what depends on the transfer syntax."""
        model = {key: member for key, member in self.model.items() if key != "00083002"}
        pixel = self.header.pixel
        if pixel is not None and pixel.encapsulated:  # OB, whatever some writers put there (PS3.5 A.4)
            model[f"{PIXEL_DATA:08X}"] = {"vr": "OB", "BulkDataURI": f"{PIXEL_DATA:08X}"}
        return model


def from_json(file: File) -> Model:
    (model,) = read_json(orjson.dumps([file.model]))
    assert not isinstance(model, NotUnderstood), model
    return model


def from_xml(file: File) -> Model:
    return read_xml(json_to_xml(file.model))


def written(model: Model, bulk: Bulk) -> bytes:
    sink = Sink()
    write(model, bulk, sink)
    return sink.data


def test_every_bundled_file_comes_back_by_json_and_by_xml() -> None:
    """STOW-03, STOW-05, JSON-01 to JSON-09, XML-01: files of pydicom and pydicom-data, both ways the same bytes."""
    compared: list[str] = []
    refused: set[str] = set()
    for path in sorted(path for folder in FOLDERS for path in folder.rglob("*.dcm")):
        try:
            file = File(path.read_bytes())
        except GatewayError:  # no Part 10 file, or none that could be stored
            continue
        try:
            data = written(from_json(file), file.bulk)
        except NotUnderstood as error:
            assert error.tag in (0x00080016, 0x00080018), path.name
            refused.add(path.name)
            continue
        assert written(from_xml(file), file.bulk) == data, path.name
        again = File(data)
        assert again.comparable() == file.comparable(), path.name
        if path.name in BOXED:
            assert again.bulk.keys() == file.bulk.keys()
        else:
            assert again.bulk == file.bulk, path.name
        if file.header.syntax.encapsulated:
            assert again.header.meta.transfer_syntax_uid == file.header.meta.transfer_syntax_uid
        compared.append(path.name)
    assert refused == WITHOUT_UIDS
    assert len(compared) > 140


@pytest.mark.filterwarnings("ignore")
def test_pydicom_finds_the_same_values_in_what_was_written() -> None:
    names = ("CT_small.dcm", "MR_small_expb.dcm", "JPEG2000.dcm", "rtplan.dcm", "waveform_ecg.dcm", "liver_1frame.dcm")
    for name in names:
        source = FOLDERS[0] / name
        file = File(source.read_bytes())
        theirs, ours = pydicom.dcmread(source), pydicom.dcmread(BytesIO(written(from_xml(file), file.bulk)))
        theirs.remove_private_tags()
        ours.remove_private_tags()
        if "SpecificCharacterSet" in theirs:
            theirs.SpecificCharacterSet = "ISO_IR 192"
        if name == "MR_small_expb.dcm":  # pydicom keeps the order of bytes
            theirs.PixelData = theirs.pixel_array.astype("<i2").tobytes()
        if "PixelData" in ours and file.header.is_encapsulated:
            assert (ours.pixel_array == theirs.pixel_array).all()
            del ours.PixelData, theirs.PixelData
        # pydicom tells 2.50 from 2.5, and has a padded value where ours was padded anew
        assert normal(ours) == normal(theirs), name


def normal(ds: pydicom.Dataset) -> list[object]:
    found: list[object] = []
    for element in ds:
        if element.VR == "SQ":
            found.append((element.tag, [normal(item) for item in element.value]))
        elif isinstance(element.value, bytes):
            found.append((element.tag, element.value.rstrip(b"\0")))
        else:
            found.append((element.tag, element.value if element.value != "" else None))
    return found


# ---------------------------------------------------------------- any data set

BINARY = {"OB": 1, "OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8, "UN": 1}
INTEGERS = {"US": (0, 2**16), "SS": (-(2**15), 2**15), "UL": (0, 2**32), "SL": (-(2**31), 2**31)}
LONG_INTEGERS = {"UV": (0, 2**64), "SV": (-(2**63), 2**63)}
characters = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\\^=\ufffe\uffff")
words = st.text(characters, max_size=12).map(lambda text: text.strip(" \0"))
long_text = st.text(characters | st.sampled_from("\n\t\r\f\\&<>"), max_size=20).map(lambda text: text.rstrip(" \0"))
names = st.lists(st.lists(words, max_size=5).map("^".join), max_size=3).map(
    lambda groups: "=".join(group if group.strip("^ ") else "" for group in groups).rstrip("=").strip()
)


@st.composite
def values(draw: st.DrawFn, vr: str) -> list[object]:
    """Values that a VR can have and that have one form only."""
    if vr in INTEGERS or vr in LONG_INTEGERS:
        low, high = (INTEGERS | LONG_INTEGERS)[vr]
        one: st.SearchStrategy[object] = st.integers(low, high - 1)
    elif vr in ("FL", "FD"):
        one = st.floats(allow_nan=False, allow_infinity=False, width=32 if vr == "FL" else 64)
    elif vr == "DS":
        one = st.floats(allow_nan=False, allow_infinity=False, width=16)
    elif vr == "IS":
        one = st.integers(-(2**31), 2**31 - 1)
    elif vr == "AT":
        one = st.integers(0, 2**32 - 1).map("{:08X}".format)
    elif vr == "PN":
        one = names
    elif vr in ("LT", "ST", "UT", "UR"):
        return [draw(long_text.map(lambda text: text.replace("\f", "")))]
    elif vr in ("LO", "SH", "UC"):
        one = words
    else:
        one = st.text("ABC123._ ", max_size=8).map(str.strip)
    found = draw(st.lists(one, max_size=3))
    return found if any(found) or vr in INTEGERS or vr in LONG_INTEGERS or vr in ("FL", "FD") else []


SIMPLE = (*INTEGERS, *LONG_INTEGERS, "FL", "FD", "DS", "IS", "AT", "PN", "LT", "ST", "UT", "LO", "SH", "UC", "CS", "UI")


@st.composite
def elements(draw: st.DrawFn, depth: int) -> tuple[int, ModelElement]:
    tag = draw(st.integers(0x0009, 0x5FFF).filter(lambda group: group % 2 == 0)) << 16 | draw(st.integers(1, 0xFFFF))
    kind = draw(st.sampled_from((*SIMPLE, *BINARY, "SQ") if depth else (*SIMPLE, *BINARY)))
    if kind == "SQ":
        items = draw(st.lists(data_sets(depth - 1), max_size=2))
        return tag, ModelElement("SQ", items=items)
    if kind == "UN":
        tag |= 0x00011000  # a reader gives public elements the VR of the dictionary
    if kind in BINARY:
        return tag, ModelElement(kind, draw(st.binary(max_size=6)) * BINARY[kind])
    return tag, ModelElement(kind, encode(tag, kind, draw(values(kind))))


def data_sets(depth: int) -> st.SearchStrategy[Model]:
    return st.lists(elements(depth), max_size=4).map(dict)


def padded_off(model: Model) -> Model:
    """As a reader of the file has it: without a character set, and with padding that may as well be value."""
    found: Model = {}
    for tag, element in sorted(model.items()):
        if tag in (0x00080005, 0x00083002):
            continue
        items = None if element.items is None else [padded_off(item) for item in element.items]
        value = element.value
        if element.vr in BINARY and len(value) % 2:
            value += b"\0"
        found[tag] = ModelElement(element.vr, value, items, element.bulk_uri)
    return found


@settings(max_examples=150, deadline=None)
@given(data_sets(2))
def test_any_data_set_comes_back_by_json_and_by_xml(content: Model) -> None:
    """JSON-03 to JSON-09, XML-01"""
    model = minimal() | {tag: element for tag, element in content.items() if tag not in minimal()}
    expected = padded_off(model)
    opened = stored(model)
    metadata = to_json(opened.header, str, inline_limit=1 << 20)
    (by_json,) = read_json(orjson.dumps([metadata]))
    assert not isinstance(by_json, NotUnderstood), by_json
    assert padded_off(by_json) == expected
    assert padded_off(read_xml(json_to_xml(metadata))) == expected
