"""Store, whatever the door."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian

from gateway.dicom.part10 import FileMeta, parse_head
from gateway.errors import (
    ClassMismatch,
    ClassNotSupported,
    Duplicate,
    InvalidInstance,
    NotUnderstood,
    OutOfResources,
    Refused,
    SyntaxNotSupported,
    TooLarge,
)
from gateway.store import GATHERED, receive, store
from storage.archive import Archive
from storage.attributes import Level
from storage.query import Query
from tests.gateway.stored import CALLER, EXPLICIT, put, put_bytes
from tests.parts.datasets import ct_slice, part10_bytes, report, sequence_item, uid
from tests.parts.received import received


def dataset_of(data: bytes) -> bytes:
    found = parse_head(data)
    assert found is not None
    return data[found[1] :]


def spooled(archive: Archive) -> list[str]:
    return [path.name for path in received(archive.spool.folder)]


@pytest.mark.parametrize("piece", [1, 131, 133, 1 << 20])
def test_the_data_set_is_kept_byte_for_byte_however_it_arrives(archive: Archive, piece: int) -> None:
    data = part10_bytes(ct_slice(rows=8, columns=8), ImplicitVRLittleEndian)
    stored = put_bytes(archive, data, piece=piece)
    assert stored.outcome == "stored"
    (located,) = archive.locate(stored.study_uid, stored.series_uid, stored.sop_uid)
    kept = archive.read(located)
    assert dataset_of(kept) == dataset_of(data)
    assert located.size == len(kept)
    assert dcmread(BytesIO(kept)).file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert spooled(archive) == []


def test_pieces_of_every_size_follow_each_other_in_their_order(archive: Archive) -> None:
    ds = ct_slice(rows=512, columns=1024)
    dataset = dataset_of(part10_bytes(ds))
    sizes = [1, GATHERED - 2, 3, GATHERED, 5, 131_066, 131_066, 131_066, 131_066]
    with receive(archive, max_bytes=1 << 21) as incoming:
        incoming.begin(FileMeta(ds.SOPClassUID, ds.SOPInstanceUID, EXPLICIT))
        at = 0
        for size in [*sizes, len(dataset)]:
            incoming.write(memoryview(dataset)[at : at + size])
            at += size
        stored = store(archive, incoming, CALLER)
    assert sum(sizes) < len(dataset)
    (located,) = archive.locate(stored.study_uid)
    assert dataset_of(archive.read(located)) == dataset
    assert located.dataset_digest == sha256(dataset).hexdigest()


def test_the_preamble_is_zeroed_and_file_meta_rebuilt(archive: Archive) -> None:
    """S-20"""
    data = b"MZ\x90\0#!/bin/sh<script>".ljust(128, b"x") + part10_bytes(ct_slice())[128:]
    stored = put_bytes(archive, data)
    (located,) = archive.locate(stored.study_uid)
    kept = archive.read(located)
    assert kept[:128] == bytes(128)
    assert "GANTRY" in str(dcmread(BytesIO(kept)).file_meta.ImplementationVersionName)


def test_a_data_set_behind_a_command_gets_its_file_meta_from_it(archive: Archive) -> None:
    ds = ct_slice()
    dataset = dataset_of(part10_bytes(ds))
    with receive(archive, max_bytes=1 << 20) as incoming:
        incoming.begin(FileMeta(ds.SOPClassUID, ds.SOPInstanceUID, EXPLICIT), "MODALITY")
        incoming.write(memoryview(dataset)[:50])
        incoming.write(dataset[50:])
        stored = store(archive, incoming, CALLER, affected=(ds.SOPClassUID, ds.SOPInstanceUID))
    (located,) = archive.locate(stored.study_uid)
    assert dcmread(BytesIO(archive.read(located))).file_meta.SourceApplicationEntityTitle == "MODALITY"


def test_file_meta_that_names_another_instance_is_put_right(archive: Archive) -> None:
    ds = ct_slice()
    data = part10_bytes(ds)
    wrong = data.replace(ds.SOPInstanceUID.encode(), uid("other").encode().ljust(len(ds.SOPInstanceUID), b"1"), 1)
    assert wrong != data
    stored = put_bytes(archive, wrong)
    assert stored.sop_uid == ds.SOPInstanceUID
    (located,) = archive.locate(stored.study_uid)
    assert dcmread(BytesIO(archive.read(located))).file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    assert dataset_of(archive.read(located)) == dataset_of(data)
    assert spooled(archive) == []


def test_the_same_instance_again_is_a_duplicate_even_with_another_preamble(archive: Archive) -> None:
    """STORE-08, F-48"""
    data = part10_bytes(ct_slice())
    assert put_bytes(archive, data).outcome == "stored"
    assert put_bytes(archive, b"x" * 128 + data[128:]).outcome == "duplicate"
    assert spooled(archive) == []


def test_other_bytes_under_the_same_uid_are_refused_with_0111(archive: Archive) -> None:
    """STOW-13, F-47, F-53"""
    put(archive, ct_slice())
    with pytest.raises(Duplicate) as refused:
        put(archive, ct_slice(PatientID="another"))
    assert refused.value.code == 0x0111
    with pytest.raises(Duplicate, match="reuse across study"):
        put(archive, ct_slice(StudyInstanceUID="1.2.3"))
    assert archive.index.count() == (1, 1, 1)


BAD = [
    ("nothing", b"", NotUnderstood, 0xC000),
    ("no DICOM", b"%PDF-1.7 and more" * 40, NotUnderstood, 0xC000),
    ("ends in the head", part10_bytes(ct_slice())[:200], NotUnderstood, 0xC000),
    ("ends in the header", part10_bytes(ct_slice())[:600], NotUnderstood, 0xC000),
    ("ends in the pixels", part10_bytes(ct_slice())[:-1], NotUnderstood, 0xC000),
    ("no SOP Instance UID", part10_bytes(ct_slice(SOPInstanceUID=None)), NotUnderstood, 0xC000),
    ("no Study Instance UID", part10_bytes(ct_slice(StudyInstanceUID=None)), NotUnderstood, 0xC000),
    ("empty Series Instance UID", part10_bytes(ct_slice(SeriesInstanceUID="")), NotUnderstood, 0xC000),
    ("a directory", part10_bytes(ct_slice(SOPClassUID="1.2.840.10008.1.3.10")), ClassNotSupported, 0x0122),
]


@pytest.mark.parametrize(("what", "data", "kind", "code"), BAD, ids=[row[0] for row in BAD])
def test_what_cannot_be_stored_says_why_and_leaves_nothing(
    archive: Archive, what: str, data: bytes, kind: type[Refused], code: int
) -> None:
    """STORE-06, S-24, S-41, S-42"""
    with pytest.raises(kind) as refused:
        put_bytes(archive, data)
    assert refused.value.code == code
    assert archive.index.count() == (0, 0, 0)
    assert list(archive.objects.keys("obj/")) == []
    assert spooled(archive) == []


PATHS = ["../../../tmp/x", "/etc/passwd", "1.2\\3", "1.2.3\0.4", "1.02.3", "1.2.3.", "1" * 65, "1.2.٣", ".1", "1..2"]


@pytest.mark.parametrize("hostile", PATHS)
@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_a_malformed_uid_is_refused_and_names_its_element(archive: Archive, keyword: str, hostile: str) -> None:
    """S-21"""
    ds = ct_slice()
    right = ds[keyword].value.encode()
    wrong = hostile.encode()
    data = part10_bytes(ds)
    at = data.rindex(right)
    padded = right + b"\0" * (len(right) % 2)
    value = wrong + b"\0" * (len(wrong) % 2)
    data = data[: at - 2] + len(value).to_bytes(2, "little") + value + data[at + len(padded) :]
    with pytest.raises(NotUnderstood) as refused:
        put_bytes(archive, data)
    assert refused.value.tag == ds[keyword].tag
    assert "PS3.5 9.1" in str(refused.value)


def test_an_unknown_transfer_syntax_is_refused(archive: Archive) -> None:
    data = part10_bytes(ct_slice()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0", 1)
    with pytest.raises(SyntaxNotSupported):
        put_bytes(archive, data)


def test_what_the_command_names_has_to_be_what_the_data_set_is(archive: Archive) -> None:
    """STORE-05, STORE-07, S-14"""
    ds = ct_slice()
    with pytest.raises(ClassMismatch) as mismatch:
        put(archive, ds, affected=(ds.SOPClassUID, "1.2.3"))
    assert (mismatch.value.code, mismatch.value.sop_uid) == (0xA900, ds.SOPInstanceUID)
    with pytest.raises(ClassMismatch):
        put(archive, ds, affected=("1.2.840.10008.5.1.4.1.1.4", ds.SOPInstanceUID))
    with pytest.raises(InvalidInstance):
        put(archive, ds, affected=(ds.SOPClassUID, "../x"))
    with pytest.raises(ClassMismatch):
        put(archive, ds, study_uid="1.2.3")
    assert put(archive, ds, study_uid=ds.StudyInstanceUID).outcome == "stored"


def test_private_classes_are_stored_unless_the_setting_says_no(archive: Archive) -> None:
    """S-17, STORE-07"""
    ds = ct_slice(SOPClassUID="1.3.6.1.4.1.99999.1")
    with pytest.raises(ClassNotSupported):
        put(archive, ds, accept_unknown_classes=False)
    assert put(archive, ds).outcome == "stored"
    assert put(archive, ct_slice(number=2), accept_unknown_classes=False).outcome == "stored"


def test_an_object_beyond_the_limit_is_refused_while_it_arrives(archive: Archive) -> None:
    """S-10"""
    data = part10_bytes(ct_slice())
    with receive(archive, max_bytes=1000) as incoming:
        with pytest.raises(TooLarge) as refused:
            for start in range(0, len(data), 100):
                incoming.write(data[start : start + 100])
        assert incoming.size < 1300
    assert refused.value.code == 0xA700
    assert spooled(archive) == []


def test_a_spool_that_cannot_be_written_is_out_of_resources(archive: Archive) -> None:
    """F-10, F-69"""
    archive.spool.reserve = 1 << 60
    with pytest.raises(OutOfResources) as refused:
        receive(archive, max_bytes=1000)
    assert refused.value.full
    archive.spool.reserve = 0
    archive.spool.folder.rmdir()
    assert put(archive, ct_slice()).outcome == "stored"


def test_the_index_knows_what_the_header_says(archive: Archive) -> None:
    ds = ct_slice(
        PatientName="Yamada^Tarou=山田^太郎",
        StudyDate="20240229",
        StudyTime="101500.25",
        InstanceNumber=7,
        RequestAttributesSequence=[
            sequence_item(ScheduledProcedureStepID="SPS1", RequestedProcedureID="RP1"),
            sequence_item(RequestedProcedureID="RP2"),
        ],
    )
    put(archive, ds)
    (match,) = archive.search(Query(Level.IMAGE)).matches
    values = match.values
    assert values["PatientName"] == "Yamada^Tarou=山田^太郎"
    assert (values["StudyDate"], values["StudyTime"], values["InstanceNumber"]) == ("20240229", "101500.25", 7)
    assert (values["Rows"], values["Columns"], values["BitsAllocated"]) == (64, 64, 16)
    assert values["RequestAttributesSequence"] == (
        {"ScheduledProcedureStepID": "SPS1", "RequestedProcedureID": "RP1"},
        {"RequestedProcedureID": "RP2"},
    )


def test_values_that_no_database_takes_are_tamed_not_refused(archive: Archive) -> None:
    """S-27, S-29"""
    ds = report(number=1)
    data = part10_bytes(ds)
    data = data.replace(b"Study study", b"Stu\0y stu\0y").replace(b"Gantry tests", b"Gantry\xff\xfetest")
    assert put_bytes(archive, data).outcome == "stored"
    (match,) = archive.search(Query(Level.STUDY)).matches
    assert "\0" not in str(match.values["StudyDescription"])
