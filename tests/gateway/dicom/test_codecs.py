"""Codecs: what comes out of each transfer syntax, and what is refused before a decoder sees it."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.dicom import codecs
from gateway.dicom.codestream import read_jpeg, read_jpeg_2000, read_jpeg_xl
from gateway.dicom.pixels import PixelDescription, decode_frame
from gateway.errors import NotRenderable
from tests.parts.datasets import phantom

ROOT = "1.2.840.10008.1.2."
Image = NDArray[Any]


def described(image: Image, bits: int | None = None, **values: Any) -> PixelDescription:
    allocated = image.dtype.itemsize * 8
    samples = 3 if image.ndim == 3 else 1
    stored = bits or allocated
    base = PixelDescription(
        image.shape[0],
        image.shape[1],
        samples,
        "RGB" if samples == 3 else "MONOCHROME2",
        allocated,
        stored,
        stored - 1,
        int(image.dtype.kind == "i"),
    )
    return replace(base, **values)


def grey(bits: int = 12, rows: int = 48, columns: int = 56) -> Image:
    image = (
        phantom(rows, columns).astype(np.uint32) << (bits - 12) if bits >= 12 else phantom(rows, columns) >> (12 - bits)
    )
    return image.astype(np.uint8 if bits <= 8 else np.uint16)


def colour(rows: int = 48, columns: int = 56) -> Image:
    y, x = np.mgrid[0:rows, 0:columns]
    return np.stack([x * 4, y * 5, (x + y) * 2], axis=-1).astype(np.uint8)


def rle(image: Image) -> bytes:
    """A segment for each byte of each sample, the highest first; each row by itself (PS3.5 G.2)."""
    cells = np.ascontiguousarray(image).view(np.uint8).reshape(*image.shape, -1)
    planes = np.moveaxis(cells.reshape(*image.shape[:2], -1, image.dtype.itemsize)[..., ::-1], (2, 3), (0, 1))
    segments = [bytes(imagecodecs.packbits_encode(plane)) for plane in planes.reshape(-1, *image.shape[:2])]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    offsets = np.cumsum([64, *(len(segment) for segment in segments[:-1])])
    header = np.zeros(16, "<u4")
    header[0], header[1 : 1 + len(segments)] = len(segments), offsets
    return header.tobytes() + b"".join(segments)


def deflated(image: Image) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(image.tobytes()) + machine.flush()


def jpeg_lossless(image: Image, bits: int) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(image, lossless=True, predictor=1, bitspersample=bits))


def j2k(image: Image, bits: int, **more: Any) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(image, reversible=True, codecformat="j2k", bitspersample=bits, **more))


def jxl(image: Image, bits: int, container: bool = False) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(image, lossless=True, effort=1, bitspersample=bits, usecontainer=container))


LOSSLESS: dict[str, tuple[str, Callable[[Image, int], bytes]]] = {
    "jpeg-lossless": (ROOT + "4.70", jpeg_lossless),
    "jpeg-ls": (ROOT + "4.80", lambda image, bits: bytes(imagecodecs.jpegls_encode(image))),
    "jpeg-2000": (ROOT + "4.90", j2k),
    "htj2k": (ROOT + "4.201", lambda image, bits: bytes(imagecodecs.htj2k_encode(image, reversible=True))),
    "jpeg-xl": (ROOT + "4.110", jxl),
    "jpeg-xl-container": (ROOT + "4.110", lambda image, bits: jxl(image, bits, container=True)),
    "rle": (codecs.RLE, lambda image, bits: rle(image)),
    "deflated": (codecs.DEFLATED_FRAMES, lambda image, bits: deflated(image)),
}


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_grey_comes_back_bit_for_bit(name: str, bits: int) -> None:
    syntax_uid, encode = LOSSLESS[name]
    image = grey(bits)
    frame = decode_frame(encode(image, bits), described(image, bits), syntax_uid)
    assert frame.pixels.dtype == image.dtype and np.array_equal(frame.pixels, image)
    assert frame.photometric_interpretation == "MONOCHROME2"


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_colour_comes_back_bit_for_bit_by_pixel(name: str) -> None:
    """IMG-02: Planar Configuration says nothing of what a codec gives."""
    syntax_uid, encode = LOSSLESS[name]
    image = colour()
    planes = 0 if name == "deflated" else 1
    frame = decode_frame(encode(image, 8), described(image, planar_configuration=planes), syntax_uid)
    assert np.array_equal(frame.pixels, image)
    assert frame.photometric_interpretation == "RGB"


def test_rle_of_32_bit_cells() -> None:
    image = (grey(12).astype(np.uint32) << 18) + 3
    frame = decode_frame(rle(image), described(image), codecs.RLE)
    assert np.array_equal(frame.pixels, image)


def test_jpeg_of_8_bits_in_16_bit_cells() -> None:
    image = grey(8)
    data = bytes(imagecodecs.jpeg8_encode(image, level=95))
    frame = decode_frame(data, described(image.astype(np.uint16), 8), ROOT + "4.50")
    assert frame.pixels.dtype == np.uint16
    assert np.abs(frame.pixels.astype(int) - image).max() <= 24


def test_jpeg_extended_of_12_bits() -> None:
    image = grey(12)
    data = bytes(imagecodecs.jpeg8_encode(image, level=95, bitspersample=12))
    frame = decode_frame(data, described(image, 12), ROOT + "4.51")
    assert np.abs(frame.pixels.astype(int) - image).mean() < 8


@pytest.mark.parametrize("syntax_uid", [ROOT + "4.90", ROOT + "4.201"])
def test_signed_samples_keep_their_sign(syntax_uid: str) -> None:
    image = grey(12).astype(np.int16) - 1024
    data = j2k(image, 16) if syntax_uid.endswith("90") else bytes(imagecodecs.htj2k_encode(image, reversible=True))
    frame = decode_frame(data, described(image), syntax_uid)
    assert frame.pixels.dtype == np.int16 and np.array_equal(frame.pixels, image)


def test_a_codec_without_signs_gives_the_sign_back_from_bits_stored() -> None:
    """JPEG lossless of 12-bit two's complement: the top bit of 12 is the sign."""
    image = grey(12).astype(np.int16) - 1024
    data = jpeg_lossless((image & 0x0FFF).astype(np.uint16), 12)
    frame = decode_frame(data, described(image, 12), ROOT + "4.70")
    assert frame.pixels.dtype == np.int16 and np.array_equal(frame.pixels, image)


def test_more_precision_than_bits_stored_is_cut_as_a_native_cell() -> None:
    image = grey(12)
    overlay = image | np.uint16(0x8000)
    frame = decode_frame(jpeg_lossless(overlay, 16), described(image, 12), ROOT + "4.70")
    assert np.array_equal(frame.pixels, image)


# ---------------------------------------------------------------- colour transforms


def ycbcr_jpeg(image: Image) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(image, level=98, colorspace="RGB", outcolorspace="YCBCR", subsampling="444"))


def rgb_jpeg(image: Image) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(image, level=98, colorspace="RGB", outcolorspace="RGB", subsampling="444"))


def without_markers(data: bytes) -> bytes:
    """The codestream without its application segments, and with component identifiers 1, 2, 3."""
    out, position = b"\xff\xd8", 2
    while data[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        segment = bytearray(data[position:end])
        if segment[1] == 0xC0:
            segment[10::3] = b"\x01\x02\x03"
        if not 0xE0 <= segment[1] <= 0xEF:
            out += bytes(segment)
        position = end
    scan = bytearray(data[position:])
    scan[5:11:2] = b"\x01\x02\x03"
    return out + bytes(scan)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL_422"])
def test_a_jfif_marker_means_ycbcr_whatever_the_header_says(photometric: str) -> None:
    """IMG-14"""
    data = ycbcr_jpeg(colour())
    assert read_jpeg(data).colour == "YBR"
    frame = decode_frame(data, described(colour(), photometric_interpretation=photometric), ROOT + "4.50")
    assert frame.photometric_interpretation == "RGB"
    assert np.abs(frame.pixels.astype(int) - colour()).max() <= 6


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_an_adobe_marker_without_transform_means_rgb_whatever_the_header_says(photometric: str) -> None:
    """IMG-14"""
    data = rgb_jpeg(colour())
    assert read_jpeg(data).colour == "RGB"
    frame = decode_frame(data, described(colour(), photometric_interpretation=photometric), ROOT + "4.50")
    assert np.abs(frame.pixels.astype(int) - colour()).max() <= 6


@pytest.mark.parametrize(("photometric", "encode"), [("RGB", rgb_jpeg), ("YBR_FULL", ycbcr_jpeg)])
def test_without_a_marker_the_header_decides(photometric: str, encode: Callable[[Image], bytes]) -> None:
    """IMG-14"""
    data = without_markers(encode(colour()))
    assert read_jpeg(data).colour is None
    frame = decode_frame(data, described(colour(), photometric_interpretation=photometric), ROOT + "4.50")
    assert frame.photometric_interpretation == "RGB"
    assert np.abs(frame.pixels.astype(int) - colour()).max() <= 6


def test_the_component_transform_of_jpeg_2000_is_not_undone_twice() -> None:
    """IMG-14"""
    data = j2k(colour(), 8)
    assert read_jpeg_2000(data).colour == "RGB"
    frame = decode_frame(data, described(colour(), photometric_interpretation="YBR_RCT"), ROOT + "4.90")
    assert frame.photometric_interpretation == "RGB" and np.array_equal(frame.pixels, colour())


def test_ybr_full_that_jpeg_2000_did_not_transform_stays_ybr_full() -> None:
    data = j2k(colour(), 8, mct=False)
    frame = decode_frame(data, described(colour(), photometric_interpretation="YBR_FULL"), ROOT + "4.90")
    assert frame.photometric_interpretation == "YBR_FULL" and np.array_equal(frame.pixels, colour())


# ---------------------------------------------------------------- announcements


OTHERS: dict[str, dict[str, Any]] = {
    "rows": {"rows": 47},
    "columns": {"columns": 57},
    "samples": {"samples_per_pixel": 3, "photometric_interpretation": "RGB"},
}


@pytest.mark.parametrize(
    ("name", "other"),
    # A deflated frame announces nothing: one that is longer than it has to be is cut.
    [(name, other) for name in LOSSLESS for other in OTHERS if (name, other) != ("deflated", "rows")],
)
def test_another_picture_than_the_header_announces_is_refused(name: str, other: str) -> None:
    """S-32"""
    syntax_uid, encode = LOSSLESS[name]
    image = grey(12)
    with pytest.raises(NotRenderable):
        decode_frame(encode(image, 12), replace(described(image, 12), **OTHERS[other]), syntax_uid)


def test_more_bits_than_bits_allocated_are_refused() -> None:
    """S-32"""
    image = grey(12)
    with pytest.raises(NotRenderable, match="more bits"):
        decode_frame(j2k(image, 12), described(grey(8)), ROOT + "4.90")


def test_a_jpeg_2000_codestream_of_very_many_tiles_is_refused_unread() -> None:
    """S-32: tiles of 1 x 1 pixel."""
    image = grey(12, 300, 300)
    data = bytearray(j2k(image, 12))
    data[24:32] = struct.pack(">II", 1, 1)
    with pytest.raises(NotRenderable, match="tiles"):
        decode_frame(bytes(data), described(image, 12), ROOT + "4.90")


def test_a_jpeg_of_65500_by_65500_is_refused_unread() -> None:
    """S-32"""
    image = grey(8)
    data = bytearray(imagecodecs.jpeg8_encode(image))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    tracemalloc.start()
    with pytest.raises(NotRenderable, match="65500"):
        decode_frame(bytes(data), described(image), ROOT + "4.50")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_jpeg_xl_header_is_read_with_and_without_its_container() -> None:
    image = grey(12, 40, 24)
    for data in (jxl(image, 12), jxl(image, 12, container=True)):
        stream = read_jpeg_xl(data)
        assert (stream.rows, stream.columns, stream.samples, stream.bits) == (40, 24, 1, 12)
    assert read_jpeg_xl(jxl(colour(), 8)).samples == 3


def test_a_jpeg_xl_animation_is_refused() -> None:
    frames = np.stack([colour(), colour()])
    data = bytes(imagecodecs.jpegxl_encode(frames, lossless=True, effort=1))
    with pytest.raises(NotRenderable):
        decode_frame(data, described(colour()), ROOT + "4.110")


def test_an_rle_bomb_is_decoded_no_further_than_rows_and_columns_allow() -> None:
    """S-31: 1 MB that would become 64 MB."""
    image = grey(8)
    bomb = struct.pack("<16I", 1, 64, *([0] * 14)) + b"\x81\x07" * 500_000
    tracemalloc.start()
    with pytest.raises(NotRenderable):
        decode_frame(bomb, described(image), codecs.RLE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000


def test_a_deflate_bomb_is_inflated_no_further_than_rows_and_columns_allow() -> None:
    image = grey(8)
    machine = zlib.compressobj(wbits=-15)
    bomb = machine.compress(bytes(64_000_000)) + machine.flush()
    tracemalloc.start()
    decode_frame(bomb, described(image), codecs.DEFLATED_FRAMES)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000


@pytest.mark.parametrize("padding", [b"", b"\0", b"\0\0", b"\xff", b"\x80\x80", b"\x05\x05"])
def test_padding_after_an_rle_segment_is_left_alone(padding: bytes) -> None:
    image = grey(8, 4, 5)
    data = struct.pack("<16I", 1, 64, *([0] * 14)) + b"\x13" + image.tobytes() + padding
    assert np.array_equal(decode_frame(data, described(image), codecs.RLE).pixels, image)


@pytest.mark.parametrize(
    "header",
    [(0, 64), (3, 64, 70, 80), (2, 64, 64), (2, 64, 32), (2, 63, 70), (2, 64, 1 << 31), (15, *range(64, 79))],
    ids=str,
)
def test_an_rle_header_that_lies_is_refused(header: tuple[int, ...]) -> None:
    image = grey(12)
    data = struct.pack("<16I", *header, *([0] * (16 - len(header)))) + rle(image)[64:]
    with pytest.raises(NotRenderable):
        decode_frame(data, described(image, 12), codecs.RLE)


# What OpenJPH's binding cannot raise it reports to sys.unraisablehook.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", LOSSLESS)
def test_a_damaged_codestream_is_refused_or_decoded_to_the_announced_shape(name: str) -> None:
    """S-32: cut short, or with bytes changed; nothing else may come out."""
    syntax_uid, encode = LOSSLESS[name]
    image = grey(12)
    data = encode(image, 12)
    description = described(image, 12)
    chance = random.Random(name)
    damaged = [data[:length] for length in (0, 1, 2, 11, 63, 64, len(data) // 2, len(data) - 3)]
    for _ in range(40):
        copy = bytearray(data)
        for _ in range(3):
            copy[chance.randrange(len(copy))] = chance.randrange(256)
        damaged.append(bytes(copy))
    refused = 0
    for one in damaged:
        try:
            assert decode_frame(one, description, syntax_uid).pixels.shape == image.shape
        except NotRenderable:
            refused += 1
    assert refused >= 4


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_htj2k_frame_that_breaks_off_is_refused_not_shown_in_part() -> None:
    image = grey(12)
    data = bytearray(imagecodecs.htj2k_encode(image, reversible=True))
    start = data.index(b"\xff\x93") + 2
    data[start + 40 : start + 60] = b"\xff" * 20
    with pytest.raises(NotRenderable):
        decode_frame(bytes(data), described(image, 12), ROOT + "4.201")


def test_an_htj2k_frame_that_ends_in_black_is_decoded() -> None:
    image = grey(12)
    image[-8:] = 0
    data = bytes(imagecodecs.htj2k_encode(image, reversible=True))
    assert np.array_equal(decode_frame(data, described(image, 12), ROOT + "4.201").pixels, image)


@pytest.mark.parametrize("syntax_uid", [ROOT + "4.100", ROOT + "4.102", ROOT + "4.107"])
def test_video_has_no_decoder_here(syntax_uid: str) -> None:
    with pytest.raises(NotRenderable):
        decode_frame(b"\0\0\1\xb3", described(grey(8)), syntax_uid)


@pytest.mark.parametrize("prog", [ROOT + "4.201", ROOT + "4.202", ROOT + "4.203"])
def test_htj2k_is_decoded_at_a_fraction_of_its_size_when_asked(prog: str) -> None:
    image = grey(12, 64, 80)
    data = bytes(imagecodecs.htj2k_encode(image, reversible=True))
    assert decode_frame(data, described(image, 12), prog, halvings=2).pixels.shape == (16, 20)
