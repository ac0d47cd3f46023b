"""Instances in another compressed transfer syntax: pixels, attributes, offset tables; read by dcmtk and pydicom too."""

from __future__ import annotations

import subprocess
import tracemalloc
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import parse_basic_offsets

from gateway.dicom.encoders import ENCODERS
from gateway.dicom.pixels import PixelDescription, decode_frame
from gateway.dicom.transcode import offered, transcode
from gateway.errors import NotAcceptable
from tests.gateway.dicom.opened import Opened
from tests.gateway.dicom.test_transcode import plain
from tests.parts.datasets import (
    color,
    ct_slice,
    encapsulated,
    mr_slice,
    multi_frame,
    part10_bytes,
    pdf,
    pixels,
    report,
    segmentation,
)
from tests.parts.debian import find
from tests.parts.files import SampleFile, readable_files

ROOT = "1.2.840.10008.1.2."
EXPLICIT, IMPLICIT, DEFLATED, BIG_ENDIAN = ROOT + "1", ROOT.rstrip("."), ROOT + "1.99", ROOT + "2"
RLE, JPEG, JPEG_LOSSLESS, JPEG_LS = ROOT + "5", ROOT + "4.50", ROOT + "4.70", ROOT + "4.80"
JPEG_2000, JPEG_2000_LOSSY, HTJ2K = ROOT + "4.90", ROOT + "4.91", ROOT + "4.201"
LOSSLESS = [uid for uid, encoder in ENCODERS.items() if encoder.method is None]
LOSSY = [uid for uid, encoder in ENCODERS.items() if encoder.method is not None]
CHANGED = {
    "(0028,0102)",  # High Bit
    "(0028,2110)",
    "(0028,2112)",
    "(0028,2114)",
}


def recoded(data: bytes, syntax_uid: str, **options: int) -> bytes:
    out = BytesIO()
    transcode(BytesIO(data), Opened(data).header, out, syntax_uid, **options)
    return out.getvalue()


def read(data: bytes) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # many of the files at hand are there because they are odd
        return dcmread(BytesIO(data))


def values(data: bytes, number: int = 1) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], str]:
    one = Opened(data)
    frame = decode_frame(one.frame(number), PixelDescription.from_header(one.header), one.syntax_uid)
    return frame.pixels.astype(np.int64), frame.photometric_interpretation


def turns() -> list[tuple[SampleFile, str]]:
    """Every file that is not large, with two of the syntaxes that it can be had in: each file with others."""
    found: list[tuple[SampleFile, str]] = []
    for file in readable_files():
        if file.path.stat().st_size > 1_000_000 or file.name == "JPEG2000-embedded-sequence-delimiter.dcm":
            continue
        one = Opened(file.path.read_bytes())
        offers = [uid for uid in offered(one.header) if uid in ENCODERS and uid != one.syntax_uid]
        if offers and one.table is not None and one.table.count <= 40:
            turn = len(found) // 2
            found += [(file, offers[turn % len(offers)]), (file, offers[(turn + 1 + turn // 7) % len(offers)])]
    return found


@pytest.mark.parametrize(("file", "syntax_uid"), turns(), ids=lambda one: getattr(one, "name", one))
def test_every_file_keeps_its_values_and_pixels(file: SampleFile, syntax_uid: str) -> None:
    data = file.path.read_bytes()
    out = recoded(data, syntax_uid)
    theirs, ours = read(data), read(out)
    assert ours.file_meta.TransferSyntaxUID == syntax_uid
    one, again = plain(theirs, theirs.file_meta.TransferSyntaxUID == BIG_ENDIAN), plain(ours)
    for tag in CHANGED:
        one.pop(tag, None)
        again.pop(tag, None)
    assert again == one
    before, colour = values(data)
    after, colour_after = values(out)
    encoder = ENCODERS[syntax_uid]
    if encoder.method is None:
        assert np.array_equal(after, before) and colour_after == colour.removesuffix("_422")
    else:
        assert ours.LossyImageCompression == "01"
        if colour_after == colour:
            noise = np.sqrt(((after - before) ** 2).mean())
            assert noise < max(2, 2.0 ** (ours.BitsStored - 5))


# ---------------------------------------------------------------- dcmtk

TOOLS = {RLE: "dcmdrle", JPEG_LOSSLESS: "dcmdjpeg", ROOT + "4.57": "dcmdjpeg", JPEG_LS: "dcmdjpls"}


def wide_color() -> Dataset:
    ds = color()
    samples = np.frombuffer(ds.PixelData, np.uint8).reshape(48, 64, 3).astype(np.uint16) * 257
    return pixels(ds, samples, "RGB")


def small(stored: int, signed: bool) -> Dataset:
    ds = mr_slice(rows=17, columns=23)
    values = np.arange(17 * 23).reshape(17, 23) * 7 % (1 << stored) - ((1 << (stored - 1)) if signed else 0)
    return pixels(ds, values.astype(f"{'i' if signed else 'u'}{1 if stored <= 8 else 2}"), bits_stored=stored)


SUBJECTS = {
    "ct": ct_slice(),
    "mr": mr_slice(),
    "color": color(),
    "wide-color": wide_color(),
    "frames": multi_frame(frames=3),
    "color-frames": color(frames=3),
    "7-bit": small(7, False),
    "signed-8-bit": small(8, True),
    "signed-12-bit": small(12, True),
    "12-bit": small(12, False),
}


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("syntax_uid", TOOLS)
def test_dcmtk_decodes_the_same_values(tmp_path: Path, syntax_uid: str, subject: str) -> None:
    ds = SUBJECTS[subject]
    tool = find(TOOLS[syntax_uid])
    assert tool is not None
    (tmp_path / "in").write_bytes(recoded(part10_bytes(ds), syntax_uid))
    done = subprocess.run([tool, tmp_path / "in", tmp_path / "out"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    theirs = dcmread(tmp_path / "out")
    found, expected = theirs.pixel_array.astype(np.int64), read(part10_bytes(ds)).pixel_array.astype(np.int64)
    mask = (1 << ds.BitsStored) - 1  # what lies above the stored bits is nobody's
    assert np.array_equal(found & mask, expected & mask)


# ---------------------------------------------------------------- attributes


def test_a_chain_of_lossless_syntaxes_ends_where_it_began() -> None:
    ds = multi_frame(frames=4)
    data = part10_bytes(ds)
    for syntax_uid in [RLE, HTJ2K, JPEG_LS, JPEG_2000, JPEG_LOSSLESS, ROOT + "4.110", ROOT + "8.1", DEFLATED, EXPLICIT]:
        data = recoded(data, syntax_uid)
        assert Opened(data).syntax_uid == syntax_uid
        assert "LossyImageCompression" not in read(data)
    assert data == part10_bytes(ds) or read(data).PixelData == ds.PixelData


@pytest.mark.parametrize("syntax_uid", LOSSY)
def test_lossy_compression_is_said_with_ratio_and_method(syntax_uid: str) -> None:
    """WADO-19; the SOP Instance UID is that of the instance."""
    for ds in (color(rows=64, columns=64), mr_slice()):
        if syntax_uid not in offered(Opened(part10_bytes(ds)).header):
            continue
        out = read(recoded(part10_bytes(ds), syntax_uid))
        assert out.LossyImageCompression == "01"
        assert out.LossyImageCompressionMethod == ENCODERS[syntax_uid].method
        frame = Opened(recoded(part10_bytes(ds), syntax_uid)).frame()
        assert float(out.LossyImageCompressionRatio) == pytest.approx(len(ds.PixelData) / len(frame), rel=0.01)
        assert out.SOPInstanceUID == ds.SOPInstanceUID == out.file_meta.MediaStorageSOPInstanceUID


def test_a_second_lossy_step_is_added_to_the_first() -> None:
    ds = color(LossyImageCompression="01", LossyImageCompressionRatio="12.5", LossyImageCompressionMethod="ISO_10918_1")
    out = read(recoded(part10_bytes(ds), JPEG_2000_LOSSY))
    assert out.LossyImageCompression == "01"
    assert out.LossyImageCompressionRatio[0] == 12.5 and out.LossyImageCompressionRatio[1] > 1
    assert list(out.LossyImageCompressionMethod) == ["ISO_10918_1", "ISO_15444_1"]


def test_lossy_data_stay_marked_in_a_lossless_syntax_and_lose_no_more() -> None:
    lossy = recoded(part10_bytes(color()), JPEG)
    out = recoded(lossy, HTJ2K)
    ds = read(out)
    assert ds.PhotometricInterpretation == "YBR_RCT" and ds.LossyImageCompression == "01"
    assert ds.LossyImageCompressionRatio == read(lossy).LossyImageCompressionRatio
    assert np.array_equal(values(out)[0], values(lossy)[0])


def test_colour_is_by_pixel_and_named_for_what_it_is() -> None:
    """WADO-19"""
    ds = color(rows=8, columns=8)
    planes = np.frombuffer(ds.PixelData, np.uint8).reshape(64, 3).T
    ds.PixelData, ds.PlanarConfiguration = planes.tobytes(), 1
    for syntax_uid in LOSSLESS:
        out = recoded(part10_bytes(ds), syntax_uid)
        assert read(out).PlanarConfiguration == 0
        assert np.array_equal(values(out)[0].reshape(64, 3), planes.T)


def test_stored_bits_that_lie_high_in_their_cells_move_down() -> None:
    ds = mr_slice(rows=8, columns=8)
    low = np.frombuffer(ds.PixelData, "<u2")
    ds.PixelData, ds.HighBit = (low << 4).tobytes(), 15
    for syntax_uid in (HTJ2K, RLE):
        out = recoded(part10_bytes(ds), syntax_uid)
        assert read(out).HighBit == 11
        assert np.array_equal(values(out)[0].ravel(), low)
        assert read(recoded(out, EXPLICIT)).HighBit == 11


def test_overlays_in_unused_bits_are_not_lost() -> None:
    ds = mr_slice(rows=8, columns=8)
    ds.add_new(0x60000010, "US", 8)
    ds.add_new(0x60000011, "US", 8)
    ds.add_new(0x60000100, "US", 16)
    ds.add_new(0x60000102, "US", 12)
    data = part10_bytes(ds)
    assert set(offered(Opened(data).header)) == {EXPLICIT, DEFLATED}
    with pytest.raises(NotAcceptable):
        recoded(data, HTJ2K)
    assert read(recoded(data, DEFLATED)).PixelData == ds.PixelData


def test_segments_are_not_offered_with_loss() -> None:
    ds = mr_slice(SegmentationType="FRACTIONAL")
    assert not set(LOSSY) & set(offered(Opened(part10_bytes(ds)).header))


def test_single_bits_travel_deflated_frame_by_frame() -> None:
    ds = segmentation(frames=3, rows=5, columns=7)
    for syntax_uid in (ROOT + "8.1", ROOT + "1.98"):
        out = recoded(part10_bytes(ds), syntax_uid)
        assert Opened(out).table is not None
        assert read(recoded(out, EXPLICIT)).PixelData == ds.PixelData


@pytest.mark.parametrize("ds", [report(), pdf(document=bytes(range(256)) * 999)], ids=["report", "pdf"])
def test_what_has_no_pixels_is_native_or_deflated_only(ds: Dataset) -> None:
    data = part10_bytes(ds)
    assert set(offered(Opened(data).header)) == {EXPLICIT, DEFLATED}
    with pytest.raises(NotAcceptable) as refused:
        recoded(data, JPEG_2000)
    assert DEFLATED in refused.value.offered
    assert plain(read(recoded(data, DEFLATED))) == plain(ds)


@pytest.mark.parametrize("stored", [EXPLICIT, IMPLICIT, BIG_ENDIAN, RLE])
@pytest.mark.parametrize("ds", [ct_slice(), report(), color()], ids=["ct", "report", "color"])
def test_implicit_and_deflated_files_are_as_others_write_them(stored: str, ds: Dataset) -> None:
    if stored == RLE and "PixelData" not in ds:
        return
    data = part10_bytes(ds, stored)
    for syntax_uid in (IMPLICIT, DEFLATED):
        out = read(recoded(data, syntax_uid))
        assert out.file_meta.TransferSyntaxUID == syntax_uid
        assert plain(out) == plain(read(part10_bytes(ds)))
        assert out.get("PixelData") == ds.get("PixelData")
    assert len(recoded(data, DEFLATED)) % 2 == 0


# ---------------------------------------------------------------- fragments and tables


def test_each_frame_is_one_fragment_that_the_offset_table_finds() -> None:
    ds = multi_frame(frames=7)
    out = recoded(part10_bytes(ds), JPEG_LS)
    again = read(out)
    offsets = parse_basic_offsets(again.PixelData)
    assert len(offsets) == 7 and offsets[0] == 0
    first = out.index(b"\xfe\xff\x00\xe0", out.index(b"\xe0\x7f\x10\x00") + 12 + 8 + 4 * 7)
    for number, offset in enumerate(offsets, 1):
        at = first + offset
        assert out[at : at + 4] == b"\xfe\xff\x00\xe0"
        assert out[at + 8 :].startswith(Opened(out).frame(number)[:20])
        assert int.from_bytes(out[at + 4 : at + 8], "little") % 2 == 0


def test_long_pixel_data_has_an_extended_offset_table() -> None:
    ds = multi_frame(frames=5)
    out = recoded(part10_bytes(ds), RLE, basic_limit=1000)
    again = read(out)
    assert len(again.ExtendedOffsetTable) == 40 and parse_basic_offsets(again.PixelData) == []
    offsets = np.frombuffer(again.ExtendedOffsetTable, "<u8")
    lengths = np.frombuffer(again.ExtendedOffsetTableLengths, "<u8")
    for offset, length, number in zip(offsets.tolist(), lengths.tolist(), range(1, 6), strict=True):
        at = 8 + offset  # after the item of the empty Basic Offset Table
        assert again.PixelData[at + 8 : at + 8 + length] == Opened(out).frame(number)
    assert np.array_equal(again.pixel_array, read(part10_bytes(ds)).pixel_array)


def test_offset_tables_of_the_stored_file_are_replaced() -> None:
    ds = multi_frame(frames=3)
    first = Opened(recoded(part10_bytes(ds), JPEG_2000))
    frames = [first.frame(number) for number in (1, 2, 3)]
    stored = part10_bytes(encapsulated(multi_frame(frames=3), frames, table="extended"), JPEG_2000)
    out = read(recoded(stored, RLE))
    assert "ExtendedOffsetTable" not in out and "ExtendedOffsetTableLengths" not in out
    assert np.array_equal(out.pixel_array, read(part10_bytes(ds)).pixel_array)


def test_pydicom_reads_colour_frames() -> None:
    ds = color(frames=3)
    for syntax_uid in (RLE, JPEG_LS, JPEG_2000):
        assert np.array_equal(
            read(recoded(part10_bytes(ds), syntax_uid)).pixel_array, read(part10_bytes(ds)).pixel_array
        )


def test_a_frame_that_cannot_be_decoded_spoils_the_whole() -> None:
    ds = multi_frame(frames=3)
    good = Opened(recoded(part10_bytes(ds), JPEG_2000))
    frames = [good.frame(1), good.frame(2)[:40], good.frame(3)]
    stored = part10_bytes(encapsulated(multi_frame(frames=3), frames), JPEG_2000)
    with pytest.raises(NotAcceptable):
        recoded(stored, HTJ2K)


def test_memory_holds_a_frame_not_the_instance(tmp_path: Path) -> None:
    """100 frames of 512 KiB."""
    data = part10_bytes(multi_frame(frames=100, rows=512, columns=512))
    header, source = Opened(data).header, BytesIO(data)
    with (tmp_path / "out").open("w+b") as out:
        tracemalloc.start()
        transcode(source, header, out, HTJ2K)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 * 512 * 1024
