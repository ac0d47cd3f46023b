"""Reading the DICOM JSON Model from anybody (PS3.18 Annex F)."""

from __future__ import annotations

import json

import pytest

from gateway.dicom.limits import Limits
from gateway.dicom.model import Model, ModelElement, bulk_uris
from gateway.dicom.model.json_reader import MAX_URI, read_json
from gateway.errors import NotUnderstood, TooLarge

UIDS = '"00080016":{"vr":"UI","Value":["1.2.3"]},"00080018":{"vr":"UI","Value":["1.2.4"]}'


def one(text: str) -> Model:
    (model,) = read_json(text.encode())
    assert not isinstance(model, NotUnderstood), model
    return model


def refused(text: str) -> NotUnderstood:
    (model,) = read_json(text.encode())
    assert isinstance(model, NotUnderstood)
    return model


def test_an_array_of_instances_is_read_in_its_order() -> None:
    """STOW-03"""
    text = '\ufeff [ {"00200013":{"vr":"IS","Value":[1]}} , {"00200013":{"vr":"IS","Value":["2"]}}\n]\r\n'
    assert read_json(text.encode()) == [{0x00200013: ModelElement("IS", b"1")}, {0x00200013: ModelElement("IS", b"2")}]
    assert read_json(b" [ ] ") == []
    assert read_json(b' {"00200013":{"vr":"IS"}} ') == [{0x00200013: ModelElement("IS")}]


def test_elements_have_values_items_bytes_or_a_bulk_data_uri() -> None:
    """JSON-02, JSON-03"""
    found = one(
        '[{"00081140":{"vr":"SQ","Value":[{"00081155":{"vr":"UI","Value":["1.2"]}},{},null]},"00081199":{"vr":"SQ"},'
        '"00090010":{"vr":"LO","Value":["X"]},"00091001":{"vr":"UN","InlineBinary":"AQI="},'
        '"00100010":{"vr":"PN","Value":[]},"7fe00010":{"vr":"OW","BulkDataURI":"bulk/1"}}]'
    )
    assert found == {
        0x00081140: ModelElement("SQ", items=[{0x00081155: ModelElement("UI", b"1.2")}, {}, {}]),
        0x00081199: ModelElement("SQ", items=[]),
        0x00090010: ModelElement("LO", b"X"),
        0x00091001: ModelElement("UN", b"\1\2"),
        0x00100010: ModelElement("PN"),
        0x7FE00010: ModelElement("OW", bulk_uri="bulk/1"),
    }
    assert list(bulk_uris(found)) == [(0x7FE00010, "bulk/1")]


def test_group_2_and_group_lengths_are_passed_over() -> None:
    """STOW-04"""
    found = one('[{"00020010":{"vr":"UI","Value":["1.2"]},"00080000":{"vr":"UL","Value":[1]},"00020001":7}]')
    assert found == {}


def test_one_bad_instance_does_not_take_the_others_with_it() -> None:
    """STOW-14; PS3.18 I.2.2 wants it named"""
    text = f'[{{{UIDS},"00280010":{{"vr":"US","Value":["x"]}}}},{{{UIDS}}}]'
    bad, good = read_json(text.encode())
    assert isinstance(bad, NotUnderstood)
    assert (bad.tag, bad.sop_class_uid, bad.sop_uid) == (0x00280010, "1.2.3", "1.2.4")
    assert not isinstance(good, NotUnderstood)


@pytest.mark.parametrize(
    ("member", "why"),
    [
        ('{"vr":"CS","Value":"A"}', "no array"),
        ('{"vr":"CS","Value":null}', "no array"),
        ('{"vr":"CS","Value":{}}', "no array"),
        ('{"vr":"CS","value":["A"]}', "other members"),
        ('{"vr":"CS","Value":["A"],"BulkDataURI":"x"}', "other members"),
        ('{"vr":"OB","InlineBinary":"AA==","BulkDataURI":"x"}', "other members"),
        ('{"vr":"OB","DataFragment":[]}', "other members"),
        ('{"Value":["A"]}', "no VR"),
        ('{"vr":"ZZ","Value":["A"]}', "no VR"),
        ('{"vr":"cs","Value":["A"]}', "no VR"),
        ('{"vr":["CS"]}', "no VR"),
        ('{"vr":null}', "no VR"),
        ('{"vr":"SQ","Value":{}}', "no array"),
        ('{"vr":"SQ","Value":["a"]}', "no object"),
        ('{"vr":"SQ","Value":[[]]}', "no object"),
        ('{"vr":"SQ","BulkDataURI":"x"}', "no array"),
        ('{"vr":"SQ","InlineBinary":""}', "no array"),
        ('{"vr":"OB","BulkDataURI":""}', "BulkDataURI"),
        ('{"vr":"OB","BulkDataURI":7}', "BulkDataURI"),
        ('{"vr":"OB","BulkDataURI":["x"]}', "BulkDataURI"),
        (json.dumps({"vr": "OB", "BulkDataURI": "x" * (MAX_URI + 1)}), "BulkDataURI"),
        ('{"vr":"OB","InlineBinary":["AA=="]}', "no string"),
        ('{"vr":"LO","Value":["\\ud800"]}', "surrogate"),
        ('{"vr":"FD","Value":[1e999]}', "number"),
        ('{"vr":"IS","Value":[true]}', "integer"),
        ("[]", "no JSON object"),
        ("null", "no JSON object"),
        ('"A"', "no JSON object"),
    ],
)
def test_elements_that_are_none_are_refused_and_named(member: str, why: str) -> None:
    """JSON-02"""
    error = refused(f'[{{"00091001":{member}}}]')
    assert error.tag == 0x00091001
    assert why in str(error)


@pytest.mark.parametrize(
    "key",
    ["PatientName", "0010001", "001000100", "(0010,0010)", "0x100010", "0010_010", "+0100010", "\u06610100010", ""],
)
def test_names_of_elements_are_tags(key: str) -> None:
    assert refused(f'[{{"{key}":{{"vr":"LO"}}}}]').tag is None


@pytest.mark.parametrize("key", ["00000010", "FFFEE000", "FFFEE0DD"])
def test_commands_and_delimiters_are_no_data(key: str) -> None:
    assert refused(f'[{{"{key}":{{"vr":"UL"}}}}]').tag == int(key, 16)


def test_an_element_that_is_there_twice_is_refused() -> None:
    assert refused('[{"0008000F":{"vr":"LO"},"0008000f":{"vr":"LO"}}]').tag == 0x0008000F
    with pytest.raises(NotUnderstood, match="twice"):
        read_json(b'[{"00080018":{"vr":"UI","Value":["1.2"]},"00080018":{"vr":"UI","Value":["1.3"]}}]')
    with pytest.raises(NotUnderstood, match="twice"):
        read_json(b'[{"00080018":{"vr":"UI","Value":["1.2"],"Value":["1.3"]}}]')


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"[",
        b"]",
        b"{",
        b"null",
        b"7",
        b'"a"',
        b"[7]",
        b"[[]]",
        b"[null]",
        b"[{}",
        b"[{},]",
        b"[{} {}]",
        b"[{}]]",
        b"[{}] x",
        b"{} {}",
        b"[{'a':1}]",
        b'[{"00091001":{"vr":"FD","Value":[NaN]}}]',
        b'[{"00091001":{"vr":"FD","Value":[-Infinity]}}]',
        b'[{"00091001":{"vr":"FD","Value":[01]}}]',
        b'[{"00091001":{"vr":"LO","Value":["\t"]}}]',
        b'[{"00091001":{"vr":"LO","Value":["\xff"]}}]',
        "[{}]".encode("utf-16"),
        b"// comment\n[]",
    ],
)
def test_what_is_no_json_array_of_objects_is_refused_as_a_whole(text: bytes) -> None:
    """STOW-08"""
    with pytest.raises(NotUnderstood):
        read_json(text)


def test_limits_are_kept_to_the_last() -> None:
    """S-64"""
    element = '"00091001":{"vr":"LO"}'
    read_json(f"[{{{element}}}]".encode(), limits=Limits(elements=2))
    with pytest.raises(NotUnderstood, match="too many"):
        read_json(f"[{{{element}}}]".encode(), limits=Limits(elements=1))
    with pytest.raises(TooLarge):
        read_json(b"[{}]", max_bytes=3)
    assert read_json(b"[{}]", max_bytes=4) == [{}]
    nested = "{}"
    for _ in range(3):
        nested = f'{{"00081140":{{"vr":"SQ","Value":[{nested}]}}}}'
    read_json(f"[{nested}]".encode(), limits=Limits(depth=3))
    (deep,) = read_json(f"[{nested}]".encode(), limits=Limits(depth=2))
    assert isinstance(deep, NotUnderstood)
