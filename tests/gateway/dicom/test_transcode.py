"""Whole instances in Explicit VR Little Endian: every value kept, what changes with the pixels corrected."""

from __future__ import annotations

import tracemalloc
import warnings
import zlib
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from gateway.dicom.part10 import FileMeta, build_head, parse_head
from gateway.dicom.pixels import PixelDescription, decode_frame
from gateway.dicom.transcode import transcode
from gateway.errors import NotAcceptable
from tests.gateway.dicom.opened import EXPLICIT, Opened
from tests.parts.datasets import (
    color,
    ct_slice,
    encapsulated,
    mr_slice,
    multi_frame,
    part10_bytes,
    pdf,
    report,
    segmentation,
    sequence_item,
)
from tests.parts.files import SampleFile, dataset_bytes, readable_files

IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4.50"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"


def transcoded(data: bytes) -> bytes:
    out = BytesIO()
    transcode(BytesIO(data), Opened(data).header, out)
    return out.getvalue()


def read(data: bytes) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # many of the files at hand are there because they are odd
        return dcmread(BytesIO(data))


CHANGED = {"PixelData", "PhotometricInterpretation", "PlanarConfiguration", "LossyImageCompression"}
CHANGED |= {"ExtendedOffsetTable", "ExtendedOffsetTableLengths", "DataSetTrailingPadding"}


def plain(ds: Dataset, big_endian: bool = False) -> dict[str, object]:
    """Everything but what may change, as comparable values. pydicom leaves the bytes of OW as they are."""
    values: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for element in ds:
            value = element.value
            if element.VR == "SQ":
                value = [plain(item, big_endian) for item in value]
            elif element.VR == "OW" and big_endian and value:
                value = np.frombuffer(value, "u2").byteswap().tobytes()
            if element.keyword not in CHANGED and element.tag.element:
                values[f"{element.tag}"] = value
    return values


def deflated_frames(ds: Dataset, frames: list[bytes]) -> bytes:
    """A file in Deflated Image Frame Compression, which pydicom does not know."""
    even = [frame + b"\0" * (len(frame) % 2) for frame in frames]
    other = part10_bytes(encapsulated(ds, even), JPEG_2000)
    meta = FileMeta(ds.SOPClassUID, ds.SOPInstanceUID, DEFLATED_FRAMES)
    return build_head(meta) + dataset_bytes(other)


@pytest.mark.parametrize("file", readable_files(), ids=lambda file: file.name)
def test_every_file_comes_out_with_its_values_and_pixels(file: SampleFile) -> None:
    data = file.path.read_bytes()
    if file.name == "JPEG2000-embedded-sequence-delimiter.dcm":
        with pytest.raises(NotAcceptable):
            transcoded(data)
        return
    out = transcoded(data)
    parsed = parse_head(out)
    assert parsed is not None and parsed[0].transfer_syntax_uid == EXPLICIT
    theirs, ours = read(data), read(out)
    one, again = Opened(data), Opened(out)
    assert plain(ours) == plain(theirs, one.syntax_uid == BIG_ENDIAN)
    if one.table is None:
        return
    assert again.table is not None and again.table.count == one.table.count
    before, after = PixelDescription.from_header(one.header), PixelDescription.from_header(again.header)
    for number in {1, one.table.count}:
        expected = decode_frame(one.frame(number), before, one.syntax_uid)
        result = decode_frame(again.frame(number), after, EXPLICIT)
        assert np.array_equal(result.pixels, expected.pixels)
        assert result.photometric_interpretation == expected.photometric_interpretation


@pytest.mark.parametrize("syntax_uid", [IMPLICIT, BIG_ENDIAN, DEFLATED, EXPLICIT])
def test_native_syntaxes_give_the_same_bytes(syntax_uid: str) -> None:
    ds = ct_slice(ContentSequence=[sequence_item(TextValue="a", NumericValue=["1.5", "2"])])
    assert transcoded(part10_bytes(ds, syntax_uid)) == transcoded(part10_bytes(ds))


def test_big_endian_numbers_in_sequences_are_swapped() -> None:
    ds = ct_slice(
        ReferencedImageSequence=[sequence_item(ReferencedFrameNumber=[3, 4], SimpleFrameList=[1, 2**20])],
        FrameIncrementPointer=Tag(0x0018, 0x1063),
        RealWorldValueFirstValueMapped=-5,
    )
    out = read(transcoded(part10_bytes(ds, BIG_ENDIAN)))
    assert list(out.ReferencedImageSequence[0].SimpleFrameList) == [1, 2**20]
    assert out.FrameIncrementPointer == Tag(0x0018, 0x1063)
    assert out.RealWorldValueFirstValueMapped == -5


def test_a_text_too_long_for_its_vr_is_written_as_un() -> None:
    """NEG-13"""
    long = "\\".join(["1.25"] * 30_000)
    ds = report(ContourData=long.split("\\"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = part10_bytes(ds, IMPLICIT)
    out = transcoded(data)
    at = out.index(b"\x06\x30\x50\x00")
    assert out[at + 4 : at + 12] == b"UN\0\0" + len(long + " ").to_bytes(4, "little")
    assert out[at + 12 : at + 12 + len(long)] == long.encode()
    assert read(out).ContourData == (long + " ").encode()


def test_jpeg_colour_becomes_rgb_and_stays_marked_as_lossy() -> None:
    ds = color(rows=40, columns=48)
    original = np.frombuffer(ds.PixelData, np.uint8).reshape(40, 48, 3)
    data = bytes(imagecodecs.jpeg8_encode(original, level=95))
    ds.PlanarConfiguration = 0
    out = read(transcoded(part10_bytes(encapsulated(ds, [data], photometric="YBR_FULL_422"), JPEG)))
    assert out.PhotometricInterpretation == "RGB" and out.PlanarConfiguration == 0
    assert out.LossyImageCompression == "01"
    assert np.abs(out.pixel_array.astype(int) - original).mean() < 4


def test_a_lossy_mark_that_is_there_is_kept() -> None:
    ds = color(rows=16, columns=16, LossyImageCompression="01", LossyImageCompressionRatio="12")
    pixels = np.frombuffer(ds.PixelData, np.uint8).reshape(16, 16, 3)
    data = bytes(imagecodecs.jpeg8_encode(pixels, level=95))
    out = read(transcoded(part10_bytes(encapsulated(ds, [data], photometric="YBR_FULL_422"), JPEG)))
    assert out.LossyImageCompression == "01" and out.LossyImageCompressionRatio == 12


def test_offset_tables_go_with_the_fragments_they_point_to() -> None:
    ds = multi_frame(frames=3)
    frames = np.frombuffer(ds.PixelData, "<u2").reshape(3, 16, 16)
    encoded = [bytes(imagecodecs.jpeg2k_encode(one, reversible=True, codecformat="j2k")) for one in frames]
    out = read(transcoded(part10_bytes(encapsulated(ds, encoded, table="extended"), JPEG_2000)))
    assert "ExtendedOffsetTable" not in out and "ExtendedOffsetTableLengths" not in out
    assert np.array_equal(out.pixel_array, frames)
    assert out["PixelData"].VR == "OW"


def test_single_bits_of_frames_are_joined_without_gaps() -> None:
    ds = segmentation(frames=3, rows=5, columns=7)
    native = ds.PixelData
    bits = np.unpackbits(np.frombuffer(native, np.uint8), bitorder="little")[:105].reshape(3, 35)
    frames = [zlib.compress(np.packbits(one, bitorder="little").tobytes(), wbits=-15) for one in bits]
    out = read(transcoded(deflated_frames(ds, frames)))
    assert out.PixelData == native


def test_an_odd_number_of_bytes_is_padded() -> None:
    ds = color(rows=3, columns=3)
    frame = np.frombuffer(ds.PixelData, np.uint8, 27).reshape(3, 3, 3)
    data = bytes(imagecodecs.jpegls_encode(frame))
    out = read(transcoded(part10_bytes(encapsulated(ds, [data]), "1.2.840.10008.1.2.4.80")))
    assert len(out.PixelData) == 28 and np.array_equal(out.pixel_array, frame)


def test_what_has_no_pixels_is_transcoded_too() -> None:
    out = read(transcoded(part10_bytes(report(), IMPLICIT)))
    assert out.ContentSequence[0].TextValue == report().ContentSequence[0].TextValue
    document = bytes(range(256)) * 1000
    assert read(transcoded(part10_bytes(pdf(document=document), IMPLICIT))).EncapsulatedDocument == document


def test_a_compressed_icon_is_left_out() -> None:
    ds = mr_slice()
    icon = encapsulated(mr_slice(rows=8, columns=8), [b"\xff\x4f\xff\x51"])
    ds.IconImageSequence = [icon]
    frame = bytes(imagecodecs.jpeg2k_encode(np.frombuffer(ds.PixelData, "<u2").reshape(64, 64), reversible=True))
    pixels = ds.PixelData
    out = read(transcoded(part10_bytes(encapsulated(ds, [frame]), JPEG_2000)))
    assert out.PixelData == pixels
    assert "PixelData" not in out.IconImageSequence[0]


@pytest.mark.parametrize("syntax_uid", ["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.102"])
def test_a_video_is_refused(syntax_uid: str) -> None:
    ds = encapsulated(color(frames=2), [b"\0\0\1\xb3" + bytes(100)])
    with pytest.raises(NotAcceptable):
        transcoded(part10_bytes(ds, syntax_uid))


def test_more_than_4_gib_of_pixels_are_refused_before_they_are_written() -> None:
    """NEG-10: 129 frames of 32 MiB, deflated to nothing."""
    ds = multi_frame(frames=1)
    frame = zlib.compress(bytes(4096 * 4096 * 2), wbits=-15)
    ds.Rows = ds.Columns = 4096
    data = deflated_frames(ds, [frame] * 129)
    out = BytesIO()
    with pytest.raises(NotAcceptable, match="4 GiB"):
        transcode(BytesIO(data), Opened(data).header, out)
    assert not out.getvalue()


class Discarded(BytesIO):
    """Counts what is written."""

    written = 0

    def write(self, data: object) -> int:
        size = len(memoryview(data))  # type: ignore[arg-type]
        self.written += size
        return size


def test_memory_holds_a_frame_not_the_instance() -> None:
    """200 frames of 512 KiB."""
    ds = multi_frame(frames=1, rows=512, columns=512)
    frame = zlib.compress(ds.PixelData, wbits=-15)
    data = deflated_frames(ds, [frame] * 200)
    header, source, out = Opened(data).header, BytesIO(data), Discarded()
    tracemalloc.start()
    transcode(source, header, out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert out.written > 200 * 512 * 1024
    assert peak < 8 * 512 * 1024


def test_long_native_pixels_are_copied_in_blocks() -> None:
    data = part10_bytes(multi_frame(frames=40, rows=512, columns=512), BIG_ENDIAN)
    header, source, out = Opened(data).header, BytesIO(data), Discarded()
    tracemalloc.start()
    transcode(source, header, out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert out.written > 20_000_000
    assert peak < 8_000_000
