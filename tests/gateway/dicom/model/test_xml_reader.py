"""Reading the Native DICOM Model from anybody (PS3.19 A.1)."""

from __future__ import annotations

import pytest

from gateway.dicom.limits import Limits
from gateway.dicom.model import Model, ModelElement
from gateway.dicom.model.xml_reader import MAX_TAG, read_xml
from gateway.errors import NotUnderstood, TooLarge

NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"


def document(body: str, declaration: str = "") -> bytes:
    return f'{declaration}<NativeDicomModel xmlns="{NAMESPACE}">{body}</NativeDicomModel>'.encode()


def read(body: str) -> Model:
    return read_xml(document(body))


def attribute(content: str, vr: str = "LO", tag: str = "00081030", more: str = "") -> str:
    return f'<DicomAttribute tag="{tag}" vr="{vr}" {more}>{content}</DicomAttribute>'


def name(components: str) -> str:
    return attribute(f'<PersonName number="1"><Alphabetic>{components}</Alphabetic></PersonName>', "PN")


def only(content: str, vr: str = "LO") -> ModelElement:
    (element,) = read(attribute(content, vr)).values()
    return element


def test_elements_have_values_items_bytes_or_a_bulk_data_uri() -> None:
    """XML-01"""
    assert only('<Value number="1">a</Value>').value == b"a"
    assert only('<Value number="1">40</Value><Value number="2">-1.5</Value>', "DS").value == b"40\\-1.5"
    assert only('<Value number="1">65535</Value>', "US").value == b"\xff\xff"
    assert only("<InlineBinary>\n AQ\n ID </InlineBinary>", "OB").value == b"\1\2\3"
    assert only('<BulkData uri="http://h/1?a&amp;b"/>', "OW") == ModelElement("OW", bulk_uri="http://h/1?a&b")
    items = only(f'<Item number="1">{attribute("")}</Item>\n<Item number="2"/>', "SQ").items
    assert items == [{0x00081030: ModelElement("LO")}, {}]
    assert only("", "SQ").items == []
    assert only("", "OF") == ModelElement("OF")


@pytest.mark.parametrize("prefix", ["", "d:"])
def test_the_namespace_may_be_missing_or_have_a_prefix(prefix: str) -> None:
    bound = f' xmlns:d="{NAMESPACE}"' if prefix else ""
    text = (
        f'<{prefix}NativeDicomModel{bound}><{prefix}DicomAttribute tag="00081030" vr="LO"/></{prefix}NativeDicomModel>'
    )
    assert read_xml(text.encode()) == {0x00081030: ModelElement("LO")}


def test_numbers_order_the_values_and_gaps_are_empty() -> None:
    """XML-02"""
    assert only('<Value number="3">c</Value><Value number="1">a</Value>').value == b"a\\\\c"
    assert only('<Value number="1"/><Value number="2">b</Value>').value == b"\\b"
    items = only(f'<Item number="2">{attribute("")}</Item>', "SQ").items
    assert items is not None
    assert [len(item) for item in items] == [0, 1]


def test_person_names_are_put_together() -> None:
    """XML-01, JSON-05"""
    name = (
        "<Alphabetic><FamilyName>A</FamilyName><NameSuffix>e^f</NameSuffix></Alphabetic>"
        "<Phonetic><GivenName>g</GivenName><MiddleName/></Phonetic>"
    )
    assert only(f'<PersonName number="1">{name}</PersonName>', "PN").value == b"A^^^^e^f==^g^"
    second = "<Ideographic><FamilyName>山</FamilyName></Ideographic>"
    assert only(f'<PersonName number="1"/><PersonName number="2">{second}</PersonName>', "PN").value == "\\=山".encode()


def test_spaces_count_where_they_belong_to_the_value() -> None:
    assert only('<Value number="1"> \n a b \n</Value>', "LO").value == b"a b"
    assert only('<Value number="1">  a\r\nb&#13;\n</Value>', "LT").value == b"  a\nb\r\n"


def test_cdata_comments_and_other_encodings_are_xml_too() -> None:
    assert only('<Value number="1"><![CDATA[a<b]]>&amp;<!-- c -->d</Value>').value == b"a<b&d"
    for encoding in ("UTF-8", "ISO-8859-1", "UTF-16"):
        text = (
            f'<?xml version="1.0" encoding="{encoding}"?>' + document(attribute('<Value number="1">é</Value>')).decode()
        )
        assert read_xml(text.encode(encoding))[0x00081030].value == "é".encode()


def test_group_2_and_group_lengths_are_passed_over() -> None:
    """STOW-04"""
    body = attribute('<Value number="1">1.2</Value>', "UI", "00020010") + attribute("", "UL", "00080000")
    assert read(body) == {}


def test_a_missing_vr_is_the_dictionarys() -> None:
    """PS3.19 Table A.1.5-2: vr is optional"""
    found = read('<DicomAttribute tag="00100020"><Value number="1">P</Value></DicomAttribute>')
    assert found == {0x00100020: ModelElement("LO", b"P")}
    assert read('<DicomAttribute tag="00280106"/>')[0x00280106].vr == "US"


# ---------------------------------------------------------------- private elements


def private(tag: str, creator: str | None, value: str = "x") -> str:
    more = "" if creator is None else f'privateCreator="{creator}"'
    return attribute(f'<Value number="1">{value}</Value>', "LO", tag, more)


@pytest.mark.parametrize(
    ("body", "values"),
    [
        # into the block that the creator has, or the first that is free, which is reserved
        (private("00090011", None, "A") + private("00090001", "A"), {0x00090011: "A", 0x00091101: "x"}),
        (private("00090001", "A"), {0x00090010: "A", 0x00091001: "x"}),
        (
            private("00090001", "A") + private("00090002", "B") + private("000900FF", "A"),
            {0x00090010: "A", 0x00090011: "B", 0x00091001: "x", 0x000910FF: "x", 0x00091102: "x"},
        ),
        (private("00090000", "A"), {0x00090010: "A", 0x00091000: "x"}),
        (private("00090010", "A"), {0x00090010: "A", 0x00091010: "x"}),
        # other blocks are not given away
        (private("00091001", None) + private("00090001", "A"), {0x00090011: "A", 0x00091001: "x", 0x00091101: "x"}),
        # a block that is brought along is kept, where it is the creator's to have
        (private("00091501", "A"), {0x00090015: "A", 0x00091501: "x"}),
        (
            private("00090015", None, "B") + private("00091501", "A"),
            {0x00090010: "A", 0x00090015: "B", 0x00091001: "x"},
        ),
        # groups are not mixed up
        (
            private("00090001", "A") + private("00110001", "A"),
            {0x00090010: "A", 0x00091001: "x", 0x00110010: "A", 0x00111001: "x"},
        ),
    ],
)
def test_private_elements_get_the_block_of_their_creator(body: str, values: dict[int, str]) -> None:
    """XML-01, PS3.18 F.3.1"""
    assert {tag: element.value.decode() for tag, element in read(body).items()} == values


def test_items_have_blocks_of_their_own() -> None:
    items = f'<Item number="1">{private("00090001", "B")}</Item>'
    found = read(private("00090001", "A") + attribute(items, "SQ", "00081140"))
    assert found[0x00081140].items == [{0x00090010: ModelElement("LO", b"B"), 0x00091001: ModelElement("LO", b"x")}]


@pytest.mark.parametrize(
    "body",
    [
        private("00080001", "A"),
        private("00090001", ""),
        private("00090001", "a\\b"),
        private("00090001", "A" * 65),
        private("00090001", "A") * 2,
        "".join(private("00090001", f"C{number}") for number in range(241)),
    ],
    ids=range(6),
)
def test_private_elements_without_a_place_are_refused(body: str) -> None:
    with pytest.raises(NotUnderstood) as refused:
        read(body)
    assert refused.value.tag is not None


def test_a_group_has_room_for_240_creators() -> None:
    assert len(read("".join(private("00090001", f"C{number}") for number in range(240)))) == 480


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "body",
    [
        "text",
        "<DicomAttribute/>",
        '<DicomAttribute tag="PatientName" vr="PN"/>',
        '<DicomAttribute tag="00080_18" vr="UI"/>',
        '<DicomAttribute tag="00081030" vr="ZZ"/>',
        '<DicomAttribute tag="00081030" vr="OB or OW"/>',
        '<DicomAttribute tag="00000010" vr="UL"/>',
        '<DicomAttribute tag="FFFEE000" vr="UL"/>',
        '<Value number="1">a</Value>',
        '<Other xmlns="urn:other"/>',
        '<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="file:///etc/passwd"/>',
        f"<NativeDicomModel>{attribute('')}</NativeDicomModel>",
        attribute("text"),
        attribute("<Value>a</Value>"),
        attribute('<Value number="0">a</Value>'),
        attribute('<Value number="-1">a</Value>'),
        attribute('<Value number="\u0661">a</Value>'),
        attribute('<Value number="1">a</Value><Value number="1">b</Value>'),
        attribute('<Value number="999999999">a</Value>'),
        attribute('<Value number="9999999999">a</Value>'),
        attribute('<Value number="1">a<Value number="2">b</Value></Value>'),
        attribute('<Value number="1">a\\b</Value>'),
        attribute('<Value number="1">a</Value><BulkData uri="x"/>'),
        attribute('<BulkData uri="x"/><BulkData uri="y"/>', "OB"),
        attribute("<BulkData/>", "OB"),
        attribute('<BulkData uri=""/>', "OB"),
        attribute('<BulkData uuid="x"/>', "OB"),
        attribute('<BulkData uri="x">text</BulkData>', "OB"),
        attribute('<BulkData uri="x"/>', "SQ"),
        attribute("<InlineBinary>A</InlineBinary>", "OB"),
        attribute("<InlineBinary>AA==</InlineBinary>", "LO"),
        attribute("<InlineBinary/><InlineBinary/>", "OB"),
        attribute('<Value number="1">a</Value>', "SQ"),
        attribute('<Value number="1">a</Value>', "PN"),
        attribute('<Value number="1">a</Value>', "OB"),
        attribute('<Value number="1">a</Value>', "US"),
        attribute('<Value number="2">1</Value>', "US"),
        attribute('<Item number="1"/>', "LO"),
        attribute('<PersonName number="1"/>', "LO"),
        attribute('<PersonName number="1">A</PersonName>', "PN"),
        attribute('<PersonName number="1"><Alphabetic/><Alphabetic/></PersonName>', "PN"),
        attribute('<PersonName number="1"><Alphabetic>A</Alphabetic></PersonName>', "PN"),
        name("<FamilyName>a</FamilyName><FamilyName>b</FamilyName>"),
        name("<FamilyName>a^b</FamilyName><GivenName>c</GivenName>"),
        name("<FamilyName>a=b</FamilyName>"),
        attribute("") + attribute(""),
        "<DicomAttribute>",
        "&undefined;",
        attribute('<Value number="1">\x1b</Value>'),
    ],
    ids=lambda body: ascii(body)[:60],
)
def test_what_is_no_native_dicom_model_is_refused(body: str) -> None:
    """S-64"""
    with pytest.raises(NotUnderstood):
        read(body)


def test_a_refusal_names_the_element_and_the_instance() -> None:
    """PS3.18 I.2.2"""
    uids = attribute('<Value number="1">1.2.3</Value>', "UI", "00080016")
    uids += attribute('<Value number="1">1.2.4</Value>', "UI", "00080018")
    for rest in (attribute('<Value number="1">x</Value>', "US", "00280010"), "<unclosed>"):
        with pytest.raises(NotUnderstood) as refused:
            read(uids + rest)
        assert (refused.value.sop_class_uid, refused.value.sop_uid) == ("1.2.3", "1.2.4")
    with pytest.raises(NotUnderstood) as refused:
        read(attribute('<Value number="1">x</Value>', "US", "00280010"))
    assert refused.value.tag == 0x00280010


def test_limits_are_kept_to_the_last() -> None:
    """S-64"""
    two = attribute("") + attribute("", tag="00081031")
    assert len(read_xml(document(two), limits=Limits(elements=2))) == 2
    with pytest.raises(NotUnderstood, match="too many"):
        read_xml(document(two), limits=Limits(elements=1))
    nested = ""
    for _ in range(3):
        nested = attribute(f'<Item number="1">{nested}</Item>', "SQ")
    read_xml(document(nested), limits=Limits(depth=3))
    with pytest.raises(NotUnderstood, match="deep"):
        read_xml(document(nested), limits=Limits(depth=2))
    data = document(attribute(""))
    read_xml(data, max_bytes=len(data))
    with pytest.raises(TooLarge):
        read_xml(data, max_bytes=len(data) - 1)
    with pytest.raises(NotUnderstood, match="tag"):
        read(f'<DicomAttribute tag="00081030" vr="LO" {"x" * MAX_TAG}=""/>')
