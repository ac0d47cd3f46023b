"""Retrieve: instances, metadata, frames and bulk data, as they were stored."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from gateway import retrieve
from gateway.dicom.encoders import ENCODERS
from gateway.dicom.part10 import parse_head
from gateway.errors import Damaged, NotAcceptable, NotFound
from gateway.store import Stored
from storage.archive import Archive
from storage.records import Located
from tests.gateway.stored import CALLER, put, put_bytes
from tests.parts.datasets import ct_slice, multi_frame, part10_bytes, pdf, report, segmentation, series_of

ROOT = "http://gantry.example/dicomweb"
LOSSLESS = [uid for uid, encoder in ENCODERS.items() if encoder.method is None]


def locate(archive: Archive, stored: Stored) -> Located:
    (located,) = retrieve.find(archive, CALLER, stored.study_uid, stored.series_uid, stored.sop_uid)
    return located


def whole(blob: retrieve.Blob, start: int = 0, length: int | None = None) -> bytes:
    with blob.open(start, length) as chunks:
        return b"".join(chunks)


def damage(archive: Archive, located: Located, at: int) -> None:
    data = bytearray(archive.objects.read(located.key))
    data[at] ^= 1
    archive.objects.put_bytes(located.key, bytes(data))


def test_finding_by_study_series_and_instance_in_the_order_of_numbers(archive: Archive) -> None:
    """WADO-01, WADO-18"""
    slices = series_of(12)
    for ds in reversed(slices):
        put(archive, ds)
    other = put(archive, ct_slice(series=2))
    study = slices[0].StudyInstanceUID
    found = retrieve.find(archive, CALLER, study)
    assert [located.sop_uid for located in found] == [*(ds.SOPInstanceUID for ds in slices), other.sop_uid]
    assert len(retrieve.find(archive, CALLER, study, slices[0].SeriesInstanceUID)) == 12
    for missing in [
        ("1.2.3", None, None),
        (study, "1.2.3", None),
        (study, other.series_uid, slices[0].SOPInstanceUID),
    ]:
        with pytest.raises(NotFound):
            retrieve.find(archive, CALLER, *missing)


def test_a_stored_file_comes_back_as_it_is_kept_and_in_ranges(archive: Archive) -> None:
    located = locate(archive, put(archive, ct_slice()))
    blob = retrieve.part10(archive, located)
    data = whole(blob)
    assert len(data) == blob.length
    assert data == archive.read(located)
    assert whole(blob, 100, 50) == data[100:150]
    assert whole(blob, blob.length - 5) == data[-5:]


@pytest.mark.parametrize(
    "stored_as", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
def test_every_syntax_can_be_had_in_explicit_little_endian(archive: Archive, stored_as: str) -> None:
    """GEN-13, NEG-09"""
    ds = ct_slice()
    located = locate(archive, put(archive, ds, stored_as))
    assert located.transfer_syntax_uid == stored_as
    blob = retrieve.part10(archive, located, ExplicitVRLittleEndian)
    read = dcmread(BytesIO(whole(blob)))
    assert blob.length == len(whole(blob))
    assert read.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(read.pixel_array, dcmread(BytesIO(part10_bytes(ds))).pixel_array)
    assert read.PatientName == ds.PatientName
    assert blob.etag != located.digest


@pytest.mark.parametrize("syntax_uid", LOSSLESS)
def test_every_codec_can_be_had_and_loses_nothing(archive: Archive, syntax_uid: str) -> None:
    ds = multi_frame(frames=3)
    located = locate(archive, put(archive, ds))
    data = whole(retrieve.part10(archive, located, syntax_uid))
    parsed = parse_head(data)
    assert parsed is not None and parsed[0].transfer_syntax_uid == syntax_uid
    kept = list(retrieve.frames(archive, located, [2, 3, 1], syntax_uid))
    assert [(frame.number, frame.syntax_uid) for frame in kept] == [(n, syntax_uid) for n in (2, 3, 1)]
    again = locate(archive, put_again(archive, data))
    assert again.transfer_syntax_uid == syntax_uid
    for number, frame in zip((2, 3, 1), kept, strict=True):
        (stored,) = retrieve.frames(archive, again, [number])
        assert stored.data == frame.data + b"\0" * (len(frame.data) % 2)
        (native,) = retrieve.frames(archive, again, [number], ExplicitVRLittleEndian)
        assert native == next(retrieve.frames(archive, located, [number]))


def put_again(archive: Archive, data: bytes) -> Stored:
    """The file as another instance: its UID is changed in place."""
    parsed = parse_head(data)
    assert parsed is not None
    uid = parsed[0].sop_uid.encode()
    return put_bytes(archive, data.replace(uid, uid[:-1] + (b"8" if uid.endswith(b"9") else b"9")))


def test_a_syntax_that_cannot_be_made_lists_those_that_can(archive: Archive) -> None:
    located = locate(archive, put(archive, ct_slice()))
    for wrong in ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.2", "1.2.3"):
        with pytest.raises(NotAcceptable) as refused:
            retrieve.part10(archive, located, wrong)
        assert refused.value.stored == ExplicitVRLittleEndian
        assert {ExplicitVRLittleEndian, "1.2.840.10008.1.2.4.80"} <= set(refused.value.offered)
        with pytest.raises(NotAcceptable):
            retrieve.frames(archive, located, [1], wrong)
    with pytest.raises(NotAcceptable):
        retrieve.frames(archive, located, [1], "1.2.840.10008.1.2.1.99")


def test_a_transcoding_is_made_once_and_kept(archive: Archive) -> None:
    located = locate(archive, put(archive, ct_slice()))
    first = retrieve.part10(archive, located, "1.2.840.10008.1.2.4.201")
    data = whole(first)
    archive.objects.delete(located.key)
    again = retrieve.part10(archive, located, "1.2.840.10008.1.2.4.201")
    assert (again.etag, again.length, whole(again)) == (first.etag, first.length, data)
    assert first.etag not in (located.digest, retrieve.part10(archive, located).etag)
    assert whole(first, 100, 50) == data[100:150]
    with pytest.raises(Damaged):
        retrieve.part10(archive, located, "1.2.840.10008.1.2.4.80")


def test_a_damaged_object_is_not_transcoded(archive: Archive) -> None:
    """F-16"""
    located = locate(archive, put(archive, ct_slice()))
    damage(archive, located, located.size - 10)
    with pytest.raises(Damaged):
        retrieve.part10(archive, located, "1.2.840.10008.1.2.5")


def test_a_large_object_is_transcoded_from_a_copy_without_a_name(archive: Archive) -> None:
    ds = multi_frame(frames=40, rows=512, columns=512)
    located = locate(archive, put_bytes(archive, part10_bytes(ds), piece=1 << 20))
    assert located.size > retrieve.MAX_IN_MEMORY
    out = dcmread(BytesIO(whole(retrieve.part10(archive, located, RLELossless))))
    assert out.NumberOfFrames == 40 and len(out.PixelData) < located.size
    assert not list(archive.spool.folder.iterdir())


def test_metadata_is_the_json_model_with_links_to_bulk_data(archive: Archive) -> None:
    """WADO-10, JSON-01"""
    ds = ct_slice()
    located = locate(archive, put(archive, ds))
    metadata = json.loads(retrieve.metadata(archive, located, ROOT))
    place = f"{ROOT}/studies/{located.study_uid}/series/{located.series_uid}/instances/{located.sop_uid}/bulkdata/"
    assert metadata["7FE00010"] == {"vr": "OW", "BulkDataURI": f"{place}7FE00010"}
    assert metadata["00080018"]["Value"] == [ds.SOPInstanceUID]
    assert not any(tag.startswith("0002") for tag in metadata)
    bulk = retrieve.bulk(archive, located, "7FE00010")
    assert bulk.media_type == "application/octet-stream"
    assert whole(bulk.blob) == ds.PixelData


@pytest.mark.parametrize(
    "stored_as",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless],
)
def test_each_frame_comes_as_little_endian_or_as_its_own_codestream(archive: Archive, stored_as: str) -> None:
    """WADO-03, TS-01, GEN-13"""
    ds = multi_frame(frames=5)
    located = locate(archive, put(archive, ds, stored_as))
    size = len(ds.PixelData) // 5
    expected = [ds.PixelData[n * size : (n + 1) * size] for n in range(5)]
    numbers = [3, 1, 5]
    native = list(retrieve.frames(archive, located, numbers, ExplicitVRLittleEndian))
    assert [(frame.number, frame.data) for frame in native] == [(n, expected[n - 1]) for n in numbers]
    kept = list(retrieve.frames(archive, located, numbers))
    if stored_as == RLELossless:
        assert {frame.syntax_uid for frame in kept} == {RLELossless}
        assert kept[0].data != native[0].data
    else:
        assert kept == native


def test_frames_of_single_bits_are_packed_from_their_first_byte(archive: Archive) -> None:
    """TS-14"""
    ds = segmentation(frames=3, rows=5, columns=7)
    located = locate(archive, put(archive, ds))
    bits = np.unpackbits(np.frombuffer(ds.PixelData, np.uint8), bitorder="little")[: 3 * 35].reshape(3, 35)
    for frame, wanted in zip(retrieve.frames(archive, located, [1, 2, 3]), bits, strict=True):
        assert frame.data == np.packbits(wanted, bitorder="little").tobytes()


def test_frames_that_are_not_there_are_not_found_before_anything_is_sent(archive: Archive) -> None:
    """WADO-14"""
    located = locate(archive, put(archive, multi_frame(frames=3)))
    for numbers in ([4], [1, 2, 99], [0]):
        with pytest.raises(NotFound):
            retrieve.frames(archive, located, numbers)
    with pytest.raises(NotFound):
        retrieve.frames(archive, locate(archive, put(archive, report())), [1])


def test_an_encapsulated_document_comes_in_its_own_type_without_padding(archive: Archive) -> None:
    """WADO-17"""
    document = b"%PDF-1.4\n" + b"x" * 4000
    located = locate(archive, put(archive, pdf(document=document)))
    bulk = retrieve.bulk(archive, located, "00420011")
    assert bulk.media_type == "application/pdf"
    assert whole(bulk.blob) == document
    assert whole(bulk.blob, 5, 10) == document[5:15]


def test_bulk_values_of_big_endian_files_leave_as_little_endian(archive: Archive) -> None:
    """GEN-13"""
    ds = ct_slice(RedPaletteColorLookupTableData=bytes(range(256)) * 8, rows=300, columns=300)
    big = ct_slice(RedPaletteColorLookupTableData=ds.RedPaletteColorLookupTableData, rows=300, columns=300)
    big.RedPaletteColorLookupTableData = np.frombuffer(ds.RedPaletteColorLookupTableData, "<u2").byteswap().tobytes()
    located = locate(archive, put(archive, big, ExplicitVRBigEndian))
    for path, expected in (("7FE00010", ds.PixelData), ("00281201", ds.RedPaletteColorLookupTableData)):
        blob = retrieve.bulk(archive, located, path).blob
        assert whole(blob) == expected
        assert whole(blob, 3, 1000) == expected[3:1003]


@pytest.mark.parametrize("path", ["", "7FE0", "../../etc", "00081140", "00100010/1/00100010", "7FE00010/1", "0" * 2000])
def test_a_path_that_names_no_bulk_value_is_not_found(archive: Archive, path: str) -> None:
    """S-65"""
    located = locate(archive, put(archive, ct_slice()))
    with pytest.raises(NotFound):
        retrieve.bulk(archive, located, path)


def test_a_flipped_byte_is_never_served_as_good(archive: Archive) -> None:
    """F-16"""
    located = locate(archive, put(archive, ct_slice(rows=1024, columns=1024)))
    damage(archive, located, located.size - 10)
    blob = retrieve.part10(archive, located)
    given = 0
    with blob.open(0, None) as chunks, pytest.raises(Damaged):
        for chunk in chunks:
            given += len(chunk)
    assert given < blob.length


def test_a_missing_object_is_damage_and_not_absence(archive: Archive) -> None:
    """F-17"""
    located = locate(archive, put(archive, ct_slice()))
    archive.objects.delete(located.key)
    with pytest.raises(Damaged):
        retrieve.metadata(archive, located, ROOT)
    with pytest.raises(Damaged):
        list(retrieve.frames(archive, located, [1]))
