"""Coercion at ingest: what the rules set, what the data set then says of it, and that all other bytes stay."""

from __future__ import annotations

import hashlib
import re
import warnings
from io import BytesIO
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from gateway.coerce import Coercer
from gateway.dicom.header import read_header
from gateway.dicom.part10 import FileMeta, build_head
from gateway.errors import Duplicate
from gateway.rebuild import rebuild
from gateway.settings import BadSettings, load
from gateway.store import receive, store
from storage.archive import Archive
from tests.gateway.stored import CALLER, MAX, put, put_bytes
from tests.gateway.test_rebuild import rows
from tests.parts.datasets import ct_slice, part10_bytes, sequence_item
from tests.parts.files import dataset_bytes, readable_files
from tests.parts.sealed import sealed


def coercer(**rule: Any) -> Coercer:
    """A gateway's that has one rule."""
    made = Coercer.of(load({"coerce": [rule], "aet": "HERE"}))
    assert made is not None
    return made


def kept_bytes(archive: Archive, sop_uid: str) -> bytes:
    located = archive.find(sop_uid)
    assert located is not None
    return archive.read(located)


def kept(archive: Archive, ds: Dataset) -> Dataset:
    return dcmread(BytesIO(kept_bytes(archive, ds.SOPInstanceUID)))


def test_nothing_is_coerced_unless_a_rule_says_so() -> None:
    """STOW-07: what comes in goes out, by default."""
    assert Coercer.of(load()) is None


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_original_attributes_say_what_stood_there(archive: Archive, syntax: str) -> None:
    """STOW-07: in the form that the data set has; what was absent is there without a value."""
    rule = coercer(missing={"IssuerOfPatientID": "HOSP", "PatientName": "Nobody"}, replace={"InstitutionName": "Süd"})
    ds = ct_slice(InstitutionName="Nord", IssuerOfPatientID=None)
    stored = put(archive, ds, syntax, coercer=rule)
    assert (stored.outcome, stored.coerced) == ("stored", (0x00080080, 0x00100021))
    got, was = kept(archive, ds), dcmread(BytesIO(part10_bytes(ds, syntax)))
    assert (got.InstitutionName, got.IssuerOfPatientID, got.PatientName) == ("Süd", "HOSP", ds.PatientName)
    (item,) = got.OriginalAttributesSequence
    assert (item.ModifyingSystem, item.SourceOfPreviousValues) == ("HERE", "")
    assert item.ReasonForTheAttributeModification == "COERCE"
    assert re.fullmatch(r"[0-9]{14}\.[0-9]{6}[+-][0-9]{4}", str(item.AttributeModificationDateTime))
    (before,) = item.ModifiedAttributesSequence
    assert [element.keyword for element in before] == ["InstitutionName", "IssuerOfPatientID"]
    assert before.InstitutionName == "Nord"
    assert before["IssuerOfPatientID"].is_empty
    for keyword in ("InstitutionName", "IssuerOfPatientID", "OriginalAttributesSequence"):
        for one in (got, was):
            if keyword in one:
                delattr(one, keyword)
    assert got == was


def test_all_other_bytes_stay_as_they_came(archive: Archive) -> None:
    """STOW-07."""
    ds = ct_slice(IssuerOfPatientID=None)
    sent = part10_bytes(ds)
    put_bytes(archive, sent, coercer=coercer(missing={"IssuerOfPatientID": "HOSP"}))
    data = kept_bytes(archive, ds.SOPInstanceUID)
    got = dataset_bytes(data)
    new = b"\x10\x00\x21\x00LO\x04\x00HOSP"
    assert got.count(new) == 1
    header = read_header(BytesIO(data), len(data))
    sequence = header.find(0x04000561)
    assert sequence is not None
    start = sequence.offset - 12
    without = data[:start] + data[sequence.offset + sequence.length :]
    assert dataset_bytes(without).replace(new, b"") == dataset_bytes(sent)


def test_the_record_of_earlier_systems_is_kept(archive: Archive) -> None:
    """STOW-07: an item is added to those that are there, in sequences of either kind of length."""
    for number, undefined in enumerate((True, False), 1):
        earlier = sequence_item(ModifyingSystem="OTHER", ReasonForTheAttributeModification="CORRECT")
        ds = ct_slice(number=number, OriginalAttributesSequence=[earlier])
        ds["OriginalAttributesSequence"].is_undefined_length = undefined
        put(archive, ds, coercer=coercer(replace={"StudyDescription": "CT"}))
        systems = [item.ModifyingSystem for item in kept(archive, ds).OriginalAttributesSequence]
        assert systems == ["OTHER", "HERE"]


def test_conditions_and_order_of_rules(archive: Archive) -> None:
    """STOW-07: a rule holds for those whom it names; a later one sees what an earlier one wants."""
    rules = [
        {"modality": ["MR"], "replace": {"InstitutionName": "not this one"}},
        {"calling_aet": ["CT1"], "missing": {"IssuerOfPatientID": "CT"}},
        {"missing": {"IssuerOfPatientID": "HOSP"}, "replace": {"StationName": "S1"}},
        {"modality": ["CT"], "replace": {"StationName": "S2"}},
    ]
    made = Coercer.of(load({"coerce": rules}))
    for number, sender in enumerate(("CT1", "CT2"), 1):
        ds = ct_slice(number=number, IssuerOfPatientID=None)
        meta = FileMeta(ds.SOPClassUID, ds.SOPInstanceUID, ExplicitVRLittleEndian)
        with receive(archive, max_bytes=MAX) as incoming:
            incoming.begin(meta, sender)
            incoming.write(dataset_bytes(part10_bytes(ds)))
            store(archive, incoming, CALLER, coercer=made)
        got = kept(archive, ds)
        assert (got.IssuerOfPatientID, got.StationName) == ("CT" if sender == "CT1" else "HOSP", "S2")
        assert got.OriginalAttributesSequence[0].SourceOfPreviousValues == sender
        assert "InstitutionName" not in got


def test_the_same_instance_again_is_a_duplicate_and_so_is_what_is_kept_of_it(archive: Archive) -> None:
    """STOW-07, STOW-13: by the digest of what was received, which a rebuild finds too; the index has the new values."""
    rule = coercer(replace={"InstitutionName": "HERE"})
    ds = ct_slice()
    first = put(archive, ds, coercer=rule)
    located = archive.find(ds.SOPInstanceUID)
    assert located is not None
    data = kept_bytes(archive, ds.SOPInstanceUID)
    assert located.digest == sealed(data)
    assert located.dataset_digest == hashlib.sha256(dataset_bytes(part10_bytes(ds))).hexdigest()
    before = rows(archive)
    for attempt in range(2):
        again = put(archive, ds, coercer=rule if attempt else None)
        assert (again.outcome, again.coerced) == ("duplicate", ())
        came_back = put_bytes(archive, data, coercer=rule if attempt else None)
        assert (came_back.outcome, came_back.coerced) == ("duplicate", ())
        with pytest.raises(Duplicate):
            put(archive, ct_slice(InstitutionName="HERE"), coercer=rule)
        rebuild(archive)
        assert rows(archive) == before
    assert kept_bytes(archive, first.sop_uid) == data


def test_a_digest_in_a_file_from_elsewhere_is_not_believed(archive: Archive) -> None:
    """STOW-07: or anybody could make a re-sent instance look like another one."""
    ds = ct_slice()
    lie = build_head(FileMeta(ds.SOPClassUID, ds.SOPInstanceUID, ExplicitVRLittleEndian, "00" * 32))
    put_bytes(archive, lie + dataset_bytes(part10_bytes(ds)))
    assert put(archive, ds).outcome == "duplicate"
    assert b"2.25.1842701953" not in kept_bytes(archive, ds.SOPInstanceUID)


def test_a_value_that_the_character_set_cannot_hold_is_not_set(archive: Archive) -> None:
    """STOW-07: the instance is stored nevertheless, as it came; a character set can be set where none is."""
    greek = coercer(replace={"InstitutionName": "Νοσοκομείο"})
    for number, charset in enumerate((None, "ISO_IR 100"), 1):
        ds = ct_slice(number=number, SpecificCharacterSet=charset)
        assert put(archive, ds, coercer=greek).coerced == ()
        assert dataset_bytes(kept_bytes(archive, ds.SOPInstanceUID)) == dataset_bytes(part10_bytes(ds))
    ds = ct_slice(number=3, SpecificCharacterSet=None)
    both = coercer(missing={"SpecificCharacterSet": "ISO_IR 126"}, replace={"InstitutionName": "Νοσοκομείο"})
    put(archive, ds, coercer=both)
    got = kept(archive, ds)
    assert (got.SpecificCharacterSet, got.InstitutionName) == ("ISO_IR 126", "Νοσοκομείο")


def test_group_lengths_of_changed_groups_go_and_others_stay(archive: Archive) -> None:
    """STOW-07: a wrong length would lead readers of old astray (PS3.5 7.2)."""
    ds = ct_slice()
    data = dataset_bytes(part10_bytes(ds))
    length = b"\x08\x00\x00\x00UL\x04\x00\x10\x00\x00\x00"
    patient = b"\x10\x00\x00\x00UL\x04\x00\x10\x00\x00\x00"
    at = data.index(b"\x10\x00\x10\x00PN")
    head = build_head(FileMeta(ds.SOPClassUID, ds.SOPInstanceUID, ExplicitVRLittleEndian))
    put_bytes(archive, head + length + data[:at] + patient + data[at:], coercer=coercer(replace={"StationName": "S"}))
    got = kept_bytes(archive, ds.SOPInstanceUID)
    assert length not in got
    assert got.index(patient) + len(patient) == got.index(b"\x10\x00\x10\x00PN")
    assert kept(archive, ds).StationName == "S"


def test_every_real_file_can_be_coerced(archive: Archive) -> None:
    """STOW-07: odd ones too; nothing but the two attributes changes."""
    rule = coercer(missing={"PatientComments": "none"}, replace={"InstitutionName": "Gantry"})
    done: set[str] = set()
    for file in readable_files():
        if file.sop_uid in done or file.path.stat().st_size > 1 << 18:
            continue
        done.add(file.sop_uid)
        data = file.path.read_bytes()
        stored = put_bytes(archive, data, piece=1 << 20, coercer=rule)
        assert 0x00080080 in stored.coerced, file.name
        assert not {0x00080080, 0x00104000} < set(stored.coerced) or stored.coerced == (0x00080080, 0x00104000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            got = dcmread(BytesIO(kept_bytes(archive, file.sop_uid)))
            was = dcmread(BytesIO(data))
            assert got.InstitutionName == "Gantry", file.name
            for keyword in ("InstitutionName", "PatientComments", "OriginalAttributesSequence"):
                for one in (got, was):
                    if keyword in one:
                        delattr(one, keyword)
            tags = [one.tag for one in was if one.tag.element]  # group lengths may go
            assert [one.tag for one in got if one.tag.element] == tags, file.name
            for tag in tags:
                assert got[tag] == was[tag], (file.name, tag)
    assert len(done) > 60


@pytest.mark.parametrize(
    "rule",
    [
        {"replace": {"NoSuchKeyword": "x"}},
        {"replace": {"StudyInstanceUID": "1.2"}},
        {"replace": {"SOPClassUID": "1.2"}},
        {"replace": {"Rows": "512"}},
        {"replace": {"PhotometricInterpretation": "RGB"}},
        {"replace": {"SpecificCharacterSet": "ISO_IR 100"}},
        {"replace": {"PatientSex": "not a code string"}},
        {"replace": {"PatientBirthDate": "1970"}},
        {"replace": {"PatientID": "a\\b"}},
        {"replace": {"StationName": "seventeen letters"}},
        {"missing": {"RequestAttributesSequence": "x"}},
        {"missing": {"InstitutionName": " "}},
    ],
)
def test_a_rule_that_cannot_be_followed_stops_the_start(rule: dict[str, Any]) -> None:
    """STOW-07, S-71: the UIDs and what describes the pixels are never coerced; the message names the attribute."""
    ((_, values),) = rule.items()
    with pytest.raises(BadSettings, match=f"coerce: .*{next(iter(values))}"):
        coercer(**rule)
