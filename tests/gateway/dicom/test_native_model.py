"""The Native DICOM Model: metadata and search results as XML (PS3.19 A.1)."""

from __future__ import annotations

import subprocess
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import orjson
import pydicom.data
import pytest

from gateway.dicom.header import Header, read_header
from gateway.dicom.metadata import Cache, to_json
from gateway.dicom.model import Model
from gateway.dicom.model.json_reader import read_json
from gateway.dicom.model.xml_reader import read_xml
from gateway.dicom.native_model import NAMESPACE, json_to_xml, to_xml
from gateway.errors import NotUnderstood
from tests.gateway.dicom.building import explicit, identity, item, part10, sequence

TEST_FILES = Path(pydicom.data.__file__).parent / "test_files"


def header_of(data_set: bytes) -> Header:
    data = part10(data_set)
    return read_header(BytesIO(data), len(data))


def body(model: dict[str, object]) -> str:
    """What stands within the root element."""
    document = json_to_xml(model).decode()
    return document.partition('preserve">')[2].removesuffix("</NativeDicomModel>\n")


def test_a_document_is_utf_8_with_the_namespace_of_the_model() -> None:
    """XML-01, XML-02"""
    document = to_xml(header_of(identity()), str)
    assert document.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel ')
    root = ElementTree.fromstring(document)
    assert root.tag == f"{{{NAMESPACE}}}NativeDicomModel"
    assert root.attrib == {"{http://www.w3.org/XML/1998/namespace}space": "preserve"}
    assert [child.attrib for child in root][:2] == [
        {"tag": "00080016", "vr": "UI", "keyword": "SOPClassUID"},
        {"tag": "00080018", "vr": "UI", "keyword": "SOPInstanceUID"},
    ]


def test_values_are_numbered_from_one_and_empty_ones_are_there() -> None:
    """XML-02; the example of PS3.19 Table A.1.5-2"""
    assert body({"00080061": {"vr": "CS", "Value": ["MPG", None, "XR3"]}}) == (
        '<DicomAttribute tag="00080061" vr="CS" keyword="ModalitiesInStudy">'
        '<Value number="1">MPG</Value><Value number="2"/><Value number="3">XR3</Value></DicomAttribute>'
    )
    assert body({"00080061": {"vr": "CS"}}) == '<DicomAttribute tag="00080061" vr="CS" keyword="ModalitiesInStudy"/>'


def test_numbers_are_written_as_they_are() -> None:
    model: dict[str, object] = {
        "00280010": {"vr": "US", "Value": [512]},
        "00281050": {"vr": "DS", "Value": [40.0, -1.5, 1e-5]},
        "00289999": {"vr": "UV", "Value": ["18446744073709551615"]},
        "00209165": {"vr": "AT", "Value": ["00181063"]},
    }
    texts = [value.text for value in ElementTree.fromstring(json_to_xml(model)).iter(f"{{{NAMESPACE}}}Value")]
    assert texts == ["512", "40", "-1.5", "1e-05", "18446744073709551615", "00181063"]


def test_decimal_strings_have_no_more_than_16_characters() -> None:
    """XML-01, PS3.5 6.2"""
    written = body({"00181310": {"vr": "DS", "Value": [5.87105751038e-05, 0.1, 12.0, 1e300]}})
    texts = ElementTree.fromstring(f"<x>{written}</x>").findall(".//Value")
    assert [float(one.text or "") for one in texts] == [5.87105751038e-05, 0.1, 12.0, 1e300]
    assert all(len(one.text or "") <= 16 for one in texts)


def test_person_names_have_all_groups_and_components() -> None:
    """XML-01; JSON-05. A delimiter at the end of a name counts its components."""
    name = {"Alphabetic": "Adams^John Robert Quincy^^Rev.^B.A. M.Div.", "Ideographic": "山田^太郎", "Phonetic": "^x^"}
    assert body({"00100010": {"vr": "PN", "Value": [name, None]}}) == (
        '<DicomAttribute tag="00100010" vr="PN" keyword="PatientName"><PersonName number="1">'
        "<Alphabetic><FamilyName>Adams</FamilyName><GivenName>John Robert Quincy</GivenName>"
        "<NamePrefix>Rev.</NamePrefix><NameSuffix>B.A. M.Div.</NameSuffix></Alphabetic>"
        "<Ideographic><FamilyName>山田</FamilyName><GivenName>太郎</GivenName></Ideographic>"
        "<Phonetic><GivenName>x</GivenName><MiddleName/></Phonetic>"
        '</PersonName><PersonName number="2"/></DicomAttribute>'
    )


def test_items_binary_values_and_bulk_data() -> None:
    """XML-01, WADO-10"""
    data_set = (
        sequence(0x00081140, item(explicit(0x00081150, "UI", b"1.2\0")), item())
        + explicit(0x00420011, "OB", b"\1\2\3\4")
        + explicit(0x7FE00010, "OW", bytes(4))
    )
    root = ElementTree.fromstring(to_xml(header_of(data_set), "http://h/a?b&c/{}".format))
    found = {child.get("tag"): child for child in root}
    items = found["00081140"]
    assert [(child.tag.rpartition("}")[2], child.get("number"), len(child)) for child in items] == [
        ("Item", "1", 1),
        ("Item", "2", 0),
    ]
    assert found["00420011"][0].text == "AQIDBA=="
    assert found["7FE00010"][0].attrib == {"uri": "http://h/a?b&c/7FE00010"}


def test_private_elements_name_their_creator_and_no_block() -> None:
    """XML-01, PS3.19 Table A.1.5-2"""
    inner = explicit(0x00110010, "LO", b"B ") + explicit(0x00111001, "SH", b"in")
    data_set = (
        explicit(0x00090010, "LO", b'A"<&>')
        + b""
        + explicit(0x00090011, "LO", b"OTHER ")
        + explicit(0x00091000, "SH", b"00")
        + explicit(0x00091001, "SH", b"01")
        + explicit(0x00091101, "SH", b"11")
        + explicit(0x00091201, "SH", b"no")
        + sequence(0x0040A730, item(inner))
    )
    root = ElementTree.fromstring(to_xml(header_of(data_set), str))
    found = [(a.get("tag"), a.get("privateCreator"), a.get("keyword")) for a in root if a.get("tag", "")[3] == "9"]
    assert found == [
        ("00090010", None, None),
        ("00090011", None, None),
        ("00090000", 'A"<&>', None),
        ("00090001", 'A"<&>', None),
        ("00090001", "OTHER", None),
        ("00091201", None, None),  # nobody has reserved its block
    ]
    nested = [a for a in root.iter(f"{{{NAMESPACE}}}DicomAttribute") if a.get("privateCreator") == "B"]
    assert [a.get("tag") for a in nested] == ["00110001"]


def test_a_creator_that_has_two_blocks_keeps_them_apart() -> None:
    data_set = identity() + b"".join(
        (
            explicit(0x00090010, "LO", b"A "),
            explicit(0x00090011, "LO", b"A "),
            explicit(0x00091001, "SH", b"01"),
            explicit(0x00091101, "SH", b"11"),
        )
    )
    model = read_xml(to_xml(header_of(data_set), str))
    assert (model[0x00091001].value, model[0x00091101].value) == (b"01", b"11")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a<b>&\"'c", "a<b>&\"'c"),
        ("]]>", "]]>"),
        ("a\tb\nc\r\nd\re", "a\tb\nc\r\nd\re"),
        (" spaces  count ", " spaces  count "),
        ("\x0c\x1b\x00\x0b", "\ufffd\ufffd\ufffd\ufffd"),
        ("\ufffe\uffff", "\ufffd\ufffd"),
        ("\U0001f600 é 王 \x7f\x85", "\U0001f600 é 王 \x7f\x85"),
    ],
)
def test_text_is_escaped_and_what_xml_cannot_hold_is_replaced(text: str, found: str) -> None:
    """S-60"""
    model: dict[str, object] = {
        "00104000": {"vr": "LT", "Value": [text]},
        "00090010": {"vr": "LO", "Value": ["X"]},
    }
    root = ElementTree.fromstring(json_to_xml(model))
    assert root[0][0].text == found


def test_a_creator_with_line_breaks_survives_as_an_attribute() -> None:
    model: dict[str, object] = {
        "00090010": {"vr": "LO", "Value": ['a\n\t"b\x1b']},
        "00091001": {"vr": "SH", "Value": ["x"]},
    }
    assert ElementTree.fromstring(json_to_xml(model))[1].get("privateCreator") == 'a\n\t"b\ufffd'


def test_json_and_xml_share_what_was_converted() -> None:
    header = header_of(identity() + explicit(0x00200013, "IS", b"7 "))
    cache: Cache = {}
    first = to_xml(header, str, cache=cache)
    assert cache
    assert to_xml(header, str, cache=cache) == first == json_to_xml(to_json(header, str, cache=cache))


# ---------------------------------------------------------------- another implementation


@pytest.mark.parametrize("path", [TEST_FILES / "CT_small.dcm", TEST_FILES / "rtplan.dcm"], ids=lambda path: path.name)
def test_documents_of_dcmtk_are_read_as_what_they_were_made_from(path: Path) -> None:
    """XML-01, with private elements; dcmtk writes gggg00ee and no BulkData."""
    made = subprocess.run(["dcm2xml", "-nat", "+Xn", "+U8", "+Eb", str(path)], capture_output=True, check=True).stdout
    data = path.read_bytes()
    (ours,) = read_json(_json(data))
    assert not isinstance(ours, NotUnderstood)
    theirs = read_xml(made)
    for model in (ours, theirs):
        for tag in (0x00080005, 0x00083002, 0x7FE00010, 0xFFFCFFFC):
            model.pop(tag, None)
    assert _plain(theirs) == _plain(ours)


def _json(data: bytes) -> bytes:
    return orjson.dumps([to_json(read_header(BytesIO(data), len(data)), str, inline_limit=1 << 16)])


def _plain(model: Model) -> dict[int, object]:
    """Values without the form of numbers as text, and without base64 words, whose order dcmtk turns around."""
    found: dict[int, object] = {}
    for tag, element in model.items():
        if element.items is not None:
            found[tag] = [_plain(item) for item in element.items]
        elif element.vr in ("DS", "IS"):
            found[tag] = [float(value) for value in element.value.split(b"\\") if value]
        else:
            found[tag] = (element.vr, sorted(element.value) if element.vr == "OW" else element.value.rstrip(b"\0"))
    return found
