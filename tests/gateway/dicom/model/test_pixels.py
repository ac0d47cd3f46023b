"""Compressed bulk data stored as they are, and pictures that have to be decoded (PS3.18 Table 10.5.2-1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gateway.dicom.description import PixelDescription
from gateway.dicom.frames import EncapsulatedFrames, FrameTable
from gateway.dicom.model import Model, ModelElement
from gateway.dicom.model.bulk_parts import BulkPart, read_frame
from gateway.dicom.model.image_description import Described
from gateway.dicom.model.pixels import Encapsulated
from gateway.dicom.model.writer import Picture, write
from gateway.dicom.pixels import frame_to_native
from gateway.dicom.uids import EXPLICIT_LITTLE_ENDIAN
from gateway.errors import ClassMismatch, NotUnderstood, ProcessingFailure, Refused, SyntaxNotSupported
from tests.gateway.dicom.model.storing import Sink, minimal, stored
from tests.gateway.dicom.opened import Opened

PREFIX = "1.2.840.10008.1.2."
ROWS, COLUMNS = 48, 64
GREY8: NDArray[np.uint8] = (np.arange(ROWS * COLUMNS) % 251).astype(np.uint8).reshape(ROWS, COLUMNS)
GREY12: NDArray[np.uint16] = GREY8.astype(np.uint16) * 16
GREY16: NDArray[np.uint16] = GREY8.astype(np.uint16) * 257
COLOUR: NDArray[np.uint8] = np.stack([GREY8, GREY8[::-1], GREY8[:, ::-1]], -1)


def encoded(codec: str, pixels: NDArray[Any], **options: Any) -> bytes:
    """A codestream of one of imagecodecs' codecs."""
    return bytes(getattr(imagecodecs, f"{codec}_encode")(pixels, **options))


def picture(*elements: tuple[int, str, Sequence[object]]) -> Model:
    """Metadata of an image without any Image Pixel Description."""
    return minimal(*elements) | {0x7FE00010: ModelElement("OB", bulk_uri="pixels")}


def saved(pixels: NDArray[Any], kind: str, **options: Any) -> bytes:
    out = BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


def keep(*parts: BulkPart, model: Model | None = None) -> Opened:
    return stored(model or picture(), {"pixels": parts})


def refused(*parts: BulkPart, model: Model | None = None) -> Refused:
    sink = Sink()
    with pytest.raises(Refused) as found:
        write(model or picture(), {"pixels": parts}, sink)
    assert sink.meta is None
    return found.value


LOSSLESS_16 = encoded("jpeg8", GREY12, lossless=True, bitspersample=12)
CASES: dict[str, tuple[str, bytes, str, tuple[object, ...]]] = {
    "baseline colour": ("image/jpeg", encoded("jpeg8", COLOUR), "4.50", (3, "YBR_FULL_422", 8, 8, 7, 0)),
    "baseline grey": ("image/jpeg", encoded("jpeg8", GREY8), "4.50", (1, "MONOCHROME2", 8, 8, 7, 0)),
    "progressive": ("image/jpeg", saved(COLOUR, "JPEG", progressive=True), "4.55", (3, "YBR_FULL_422", 8, 8, 7, 0)),
    "lossless, predictor 1": ("image/jpeg", LOSSLESS_16, "4.70", (1, "MONOCHROME2", 16, 12, 11, 0)),
    "lossless": ("image/jpeg", encoded("ljpeg", GREY16), "4.57", (1, "MONOCHROME2", 16, 16, 15, 0)),
    "JPEG-LS": ("image/jls", encoded("jpegls", GREY16), "4.80", (1, "MONOCHROME2", 16, 16, 15, 0)),
    "JPEG-LS colour": ("image/x-jls", encoded("jpegls", COLOUR), "4.80", (3, "RGB", 8, 8, 7, 0)),
    "JPEG-LS near": ("image/jls", encoded("jpegls", GREY8, level=3), "4.81", (1, "MONOCHROME2", 8, 8, 7, 0)),
    "J2K": (
        "image/jp2",
        encoded("jpeg2k", COLOUR, codecformat="j2k", reversible=True),
        "4.90",
        (3, "YBR_RCT", 8, 8, 7, 0),
    ),
    "J2K signed": (
        "image/jp2",
        encoded("jpeg2k", GREY16.astype(np.int16), codecformat="j2k", reversible=True),
        "4.90",
        (1, "MONOCHROME2", 16, 16, 15, 1),
    ),
    "J2K without transform": (
        "image/jp2",
        encoded("jpeg2k", COLOUR, codecformat="j2k", reversible=True, mct=False),
        "4.90",
        (3, "RGB", 8, 8, 7, 0),
    ),
    "J2K lossy": (
        "image/jp2",
        encoded("jpeg2k", COLOUR, codecformat="j2k", level=40, reversible=False),
        "4.91",
        (3, "YBR_ICT", 8, 8, 7, 0),
    ),
    "JPX": (
        "image/jpx",
        encoded("jpeg2k", GREY8, codecformat="j2k", reversible=True),
        "4.92",
        (1, "MONOCHROME2", 8, 8, 7, 0),
    ),
    "HTJ2K": ("image/jphc", encoded("htj2k", COLOUR, reversible=True), "4.201", (3, "YBR_RCT", 8, 8, 7, 0)),
    "HTJ2K lossy": (
        "image/jph",
        encoded("htj2k", COLOUR, reversible=False),
        "4.203",
        (3, "YBR_ICT", 8, 8, 7, 0),
    ),
    "JPEG XL": (
        "image/jxl",
        encoded("jpegxl", GREY16, lossless=True),
        "4.110",
        (1, "MONOCHROME2", 16, 16, 15, 0),
    ),
    "JPEG XL in its container": (
        "image/jxl",
        encoded("jpegxl", COLOUR, lossless=True, usecontainer=True),
        "4.110",
        (3, "RGB", 8, 8, 7, 0),
    ),
    "JPEG XL lossy": (
        "image/jxl",
        encoded("jpegxl", COLOUR, lossless=False, distance=1.0),
        "4.112",
        (3, "XYB", 8, 8, 7, 0),
    ),
    "JPEG XL of a JPEG": (
        "image/jxl",
        bytes(imagecodecs.jpegxl_encode_jpeg(encoded("jpeg8", COLOUR), usecontainer=True)),
        "4.111",
        (3, "YBR_FULL_422", 8, 8, 7, 0),
    ),
}
DESCRIPTION = (0x00280002, 0x00280004, 0x00280100, 0x00280101, 0x00280102, 0x00280103)


def described(opened: Opened) -> tuple[object, ...]:
    header = opened.header
    return tuple(header.text(tag) if tag == 0x00280004 else header.number(tag) for tag in DESCRIPTION)


@pytest.mark.parametrize("name", CASES)
def test_compressed_pixel_data_are_kept_and_described(name: str) -> None:
    """STOW-05, STOW-06, TS-02 to TS-08: what the codestream says goes into the metadata, and decodes."""
    media_type, data, syntax, expected = CASES[name]
    opened = keep(BulkPart(data, media_type))
    assert opened.syntax_uid == PREFIX + syntax
    assert described(opened) == expected
    assert (opened.header.number(0x00280010), opened.header.number(0x00280011)) == (ROWS, COLUMNS)
    assert opened.header.number(0x00280006) == (0 if expected[0] == 3 else None)
    assert opened.header.find(0x00280008) is None
    assert opened.frame()[: len(data)] == data
    native, _ = frame_to_native(opened.frame(), PixelDescription.from_header(opened.header), opened.syntax_uid)
    assert len(native) == PixelDescription.from_header(opened.header).frame_bytes


@pytest.mark.parametrize("name", CASES)
def test_what_the_metadata_say_stays(name: str) -> None:
    media_type, data, _, (samples, *_) = CASES[name]
    photometric = "RGB" if samples == 3 else "MONOCHROME1"
    numbers = ((0x00280100, 16), (0x00280101, 16), (0x00280103, 1), (0x00280006, 1))
    model = picture((0x00280004, "CS", [photometric]), *((tag, "US", [value]) for tag, value in numbers))
    found = keep(BulkPart(data, media_type), model=model)
    assert described(found) == (samples, photometric, 16, 16, 15, 1)
    assert found.header.number(0x00280006) == 1


@pytest.mark.parametrize("kind", ["jp2", "j2k"])
@pytest.mark.parametrize("in_file", [False, True])
def test_only_the_codestream_of_a_jp2_file_is_stored(kind: str, in_file: bool, tmp_path: Path) -> None:
    """TS-12, PS3.5 A.4.4"""
    data = encoded("jpeg2k", COLOUR, codecformat=kind, reversible=True)
    spooled = tmp_path / "part"
    spooled.write_bytes(data)
    frame = keep(BulkPart(spooled if in_file else data, "image/jp2")).frame()
    assert frame.startswith(b"\xff\x4f\xff\x51")
    assert frame.rstrip(b"\0").endswith(b"\xff\xd9")
    assert frame.rstrip(b"\0") in data


@pytest.mark.parametrize(
    "boxes",
    [
        b"",
        struct.pack(">I4s", 8, b"ftyp"),
        struct.pack(">I4s", 7, b"jp2c"),
        struct.pack(">I4s", 2**31, b"jp2c"),
        struct.pack(">I4sQ", 1, b"jp2c", 2**63),
        struct.pack(">I4s", 8, b"free") * 1000,
        struct.pack(">I4s", 8, b"jp2c"),
    ],
    ids=range(7),
)
def test_a_jp2_file_without_a_codestream_is_refused(boxes: bytes) -> None:
    assert isinstance(refused(BulkPart(b"\x00\x00\x00\x0cjP  \r\n\x87\n" + boxes, "image/jp2")), NotUnderstood)


def test_a_codestream_may_go_to_the_end_of_its_file() -> None:
    bare = encoded("jpeg2k", GREY8, codecformat="j2k", reversible=True)
    for head in (struct.pack(">I4s", 0, b"jp2c"), struct.pack(">I4sQ", 1, b"jp2c", 16 + len(bare))):
        boxed = b"\x00\x00\x00\x0cjP  \r\n\x87\n" + struct.pack(">I4s", 12, b"free") + bytes(4) + head + bare
        assert keep(BulkPart(boxed, "image/jp2")).frame()[: len(bare)] == bare


# ---------------------------------------------------------------- transfer syntaxes


@pytest.mark.parametrize(
    ("name", "syntax"), [("J2K", "4.91"), ("JPX", "4.93"), ("baseline grey", "4.51"), ("lossless, predictor 1", "4.57")]
)
def test_a_transfer_syntax_that_was_named_is_taken_where_it_is_true(name: str, syntax: str) -> None:
    media_type, data, *_ = CASES[name]
    assert keep(BulkPart(data, media_type, PREFIX + syntax)).syntax_uid == PREFIX + syntax


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("J2K lossy", "4.90"),
        ("JPEG-LS near", "4.80"),
        ("HTJ2K lossy", "4.201"),
        ("progressive", "4.50"),
        ("baseline grey", "4.70"),
        ("lossless", "4.70"),
    ],
)
def test_a_transfer_syntax_that_is_not_true_is_refused(name: str, syntax: str) -> None:
    """A frame that lost something is never stored as lossless, nor under a process that it is not of."""
    media_type, data, *_ = CASES[name]
    assert isinstance(refused(BulkPart(data, media_type, PREFIX + syntax)), NotUnderstood)


@pytest.mark.parametrize("syntax", ["4.90", "1", "5", "9.9.9"])
def test_a_transfer_syntax_of_another_media_type_is_refused(syntax: str) -> None:
    assert isinstance(refused(BulkPart(CASES["JPEG-LS"][1], "image/jls", PREFIX + syntax)), SyntaxNotSupported)


@pytest.mark.parametrize(
    ("media_type", "data"),
    [
        ("image/jpeg", b""),
        ("image/jpeg", b"\xff\xd8\xff"),
        ("image/jpeg", b"GIF89a"),
        ("image/jpeg", CASES["JPEG-LS"][1]),
        ("image/jls", CASES["baseline grey"][1]),
        ("image/jp2", CASES["HTJ2K"][1]),
        ("image/jphc", CASES["J2K"][1]),
        ("image/jp2", CASES["J2K"][1][:60]),
        ("image/jxl", CASES["J2K"][1]),
        ("image/jxl", b"\xff\x0a"),
        ("image/dicom-rle", CASES["baseline grey"][1]),
        ("image/dicom-rle", bytes(100)),
        (
            "image/jpeg",
            encoded("jpeg8", np.zeros((8, 8, 4), np.uint8), colorspace="CMYK", outcolorspace="CMYK"),
        ),
        ("image/jpeg", b"\xff\xd8" + b"\xff\xe0\x00\x02" * 100_000),
        ("image/jpeg", b"\xff\xd8" + b"\xff" * 100_000),
    ],
    ids=range(15),
)
def test_a_part_that_is_not_what_it_is_called_is_refused(media_type: str, data: bytes) -> None:
    """STOW-06, S-32"""
    error = refused(BulkPart(data, media_type))
    assert isinstance(error, NotUnderstood)
    assert error.tag in (0x7FE00010, 0x00280002)


def test_an_odd_codestream_is_kept_where_the_request_says_all_about_it() -> None:
    data = b"\xff\x4f\xff\x51" + bytes(100)
    complete = picture(*((tag, "US", [16]) for tag in (0x00280010, 0x00280011, 0x00280100, 0x00280101)))
    complete |= picture(*((tag, "US", [1]) for tag in (0x00280002, 0x00280102, 0x00280103)))
    complete |= picture((0x00280004, "CS", ["MONOCHROME2"]))
    part = BulkPart(data, "image/jp2", PREFIX + "4.90")
    assert keep(part, model=dict(complete)).frame() == data
    assert isinstance(refused(replace(part, transfer_syntax_uid=None), model=dict(complete)), NotUnderstood)
    del complete[0x00280010]
    assert refused(part, model=complete).tag == 0x00280010


@pytest.mark.parametrize(
    ("tag", "value"), [(0x00280010, 47), (0x00280011, 65), (0x00280002, 3), (0x00280100, 8), (0x00280008, 2)]
)
def test_pixel_data_that_contradict_the_metadata_are_refused(tag: int, value: int) -> None:
    """STOW-06: A900"""
    model = picture((tag, "IS" if tag == 0x00280008 else "US", [value]))
    error = refused(BulkPart(CASES["JPEG-LS"][1], "image/jls"), model=model)
    assert isinstance(error, ClassMismatch)
    assert error.tag == tag


# ---------------------------------------------------------------- several frames


def frames(count: int) -> list[bytes]:
    return [encoded("jpegls", GREY8 + number) for number in range(count)]


def test_every_frame_is_one_fragment_and_the_offset_table_finds_it() -> None:
    """STOW-05, TS-13, PS3.5 A.4"""
    data = frames(5)
    opened = keep(*(BulkPart(frame, "image/jls") for frame in data))
    assert opened.header.number(0x00280008) == 5
    assert opened.header.fragments is not None
    assert len(opened.header.fragments) // 2 == 6
    table = opened.header.fragments[0], opened.header.fragments[1]
    offsets = struct.unpack("<5I", opened.data[table[0] : sum(table)])
    first = opened.header.fragments[2] - 8
    assert [first + offset + 8 for offset in offsets] == opened.header.fragments[2::2].tolist()
    for number, frame in enumerate(data, 1):
        assert opened.frame(number)[: len(frame)] == frame


def test_offsets_beyond_32_bits_go_into_an_extended_offset_table() -> None:
    """PS3.3 C.7.6.3.1.8; the limit is lowered so that few bytes pass it"""
    parts = [BulkPart(frame, "image/jls") for frame in frames(3)]
    model = picture()
    found = Encapsulated.of(parts, model)
    reach = found.frames[0].length + found.frames[0].length % 2 + 8
    assert replace(found, max_offset=3 * reach).extended_offset_table() == {}
    extended = replace(found, max_offset=reach)
    table = extended.extended_offset_table()
    offsets = struct.unpack("<3Q", table[0x7FE00001].value)
    lengths = struct.unpack("<3Q", table[0x7FE00002].value)
    value = b"".join(extended.fragments())
    assert value.startswith(b"\xfe\xff\x00\xe0\0\0\0\0")
    for offset, length, part in zip(offsets, lengths, parts, strict=True):
        start = 8 + offset
        assert struct.unpack_from("<HHI", value, start) == (0xFFFE, 0xE000, length)
        assert isinstance(part.source, bytes)
        assert value[start + 8 : start + 8 + length].rstrip(b"\0") == part.source.rstrip(b"\0")


def test_frames_agree_with_each_other() -> None:
    assert refused(BulkPart(frames(1)[0], "image/jls"), BulkPart(CASES["J2K"][1], "image/jp2")).tag == 0x7FE00010
    other = encoded("jpegls", GREY8[:40])
    assert refused(BulkPart(frames(1)[0], "image/jls"), BulkPart(other, "image/jls")).tag == 0x00280010


def test_frames_with_and_without_loss_are_stored_as_lossy() -> None:
    parts = (BulkPart(frames(1)[0], "image/jls"), BulkPart(CASES["JPEG-LS near"][1], "image/jls"))
    assert keep(*parts).syntax_uid == PREFIX + "4.81"


def test_run_length_encoded_frames_need_their_description() -> None:
    """TS-03: an RLE frame does not say its size"""
    rle = struct.pack("<16I", 1, 64, *[0] * 14) + encoded("packbits", GREY8)
    part = BulkPart(rle, "image/dicom-rle")
    assert refused(part).tag == 0x00280010
    model = picture(*((tag, "US", [value]) for tag, value in ((0x00280010, ROWS), (0x00280011, COLUMNS))))
    model |= picture(*((tag, "US", [8]) for tag in (0x00280100, 0x00280101)), (0x00280002, "US", [1]))
    model |= picture((0x00280102, "US", [7]), (0x00280103, "US", [0]), (0x00280004, "CS", ["MONOCHROME2"]))
    opened = keep(part, model=model)
    assert opened.syntax_uid == PREFIX + "5"
    native, _ = frame_to_native(opened.frame(), PixelDescription.from_header(opened.header), opened.syntax_uid)
    assert native == GREY8.tobytes()


def test_octet_stream_may_name_a_compressed_transfer_syntax() -> None:
    """TS-15: not every syntax has a media type"""
    data = CASES["JPEG-LS"][1]
    assert keep(BulkPart(data, transfer_syntax_uid=PREFIX + "4.80")).frame()[: len(data)] == data
    assert isinstance(refused(BulkPart(b"abc", transfer_syntax_uid=PREFIX + "4.80")), NotUnderstood)


# ---------------------------------------------------------------- video


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def movie(rows: int, columns: int) -> bytes:
    """An MP4 file that has one visual track with its sample entry, and nothing to see."""
    entry = box(b"avc1", bytes(24) + struct.pack(">HH", columns, rows) + bytes(50))
    table = box(b"stbl", box(b"stsd", struct.pack(">II", 0, 1) + entry))
    sound = box(b"trak", box(b"mdia", box(b"minf", b"")))
    track = box(b"trak", box(b"tkhd", bytes(80)) + box(b"mdia", box(b"minf", table)))
    return box(b"ftyp", b"isom" + bytes(4)) + box(b"mdat", b"stream") + box(b"moov", sound + track)


VIDEOS = [
    ("video/mp4", movie(480, 640), "4.102", 8),
    ("video/h265", movie(480, 640), "4.107", 8),
    ("video/mpeg", bytes(100) + b"\x00\x00\x01\xb3" + (640 << 12 | 480).to_bytes(3, "big") + bytes(100), "4.101", 8),
]


@pytest.mark.parametrize(("media_type", "data", "syntax", "bits"), VIDEOS)
def test_a_video_is_one_stream_in_one_fragment(media_type: str, data: bytes, syntax: str, bits: int) -> None:
    """STOW-05, STOW-06, TS-09 to TS-11"""
    opened = keep(BulkPart(data, media_type), model=picture((0x00280008, "IS", [25])))
    assert opened.syntax_uid == PREFIX + syntax
    assert described(opened) == (3, "YBR_PARTIAL_420", bits, bits, bits - 1, 0)
    assert (opened.header.number(0x00280010), opened.header.number(0x00280011)) == (480, 640)
    table = FrameTable.read(BytesIO(opened.data), opened.header)
    assert isinstance(table, EncapsulatedFrames)
    assert table.video
    ((offset, length),) = table.stream()
    assert opened.data[offset : offset + length].rstrip(b"\0") == data.rstrip(b"\0")


def test_a_video_that_does_not_say_its_size_needs_it_in_the_metadata() -> None:
    assert refused(BulkPart(b"\0\0\0\1 stream", "video/mp4", PREFIX + "4.103")).tag == 0x00280010
    assert refused(BulkPart(box(b"ftyp", b"") + box(b"moov", b"x" * 7), "video/mp4")).tag == 0x00280010
    assert isinstance(refused(*[BulkPart(VIDEOS[0][1], "video/mp4")] * 2), ClassMismatch)


# ---------------------------------------------------------------- pictures


def decode(part: BulkPart) -> Picture:
    """What a use case does with Pillow: any mode to grey or colour, transparency dropped."""

    def image() -> Image.Image:
        source = part.source
        return Image.open(BytesIO(source) if isinstance(source, bytes) else source)

    with image() as first:
        grey = first.mode in ("1", "L", "LA", "I", "I;16")
        deep = first.mode.startswith("I")
        count = getattr(first, "n_frames", 1)
        facts = Described(
            first.height,
            first.width,
            1 if grey else 3,
            16 if deep else 8,
            "MONOCHROME2" if grey else "RGB",
            bits_allocated=16 if deep else 8,
        )

    def each() -> Iterator[bytes]:
        with image() as opened:
            for number in range(count):
                opened.seek(number)
                pixels = np.asarray(opened if deep else opened.convert("L" if grey else "RGB"))
                yield pixels.astype("<u2" if deep else "u1").tobytes()

    return Picture(facts, count, each)


def shown(model: Model, *parts: BulkPart) -> Opened:
    return stored(model, {"pixels": parts}, decode=decode)


def test_a_grey_png_becomes_native_pixels() -> None:
    """STOW-06"""
    opened = shown(picture(), BulkPart(saved(GREY8, "PNG"), "image/png"))
    assert opened.syntax_uid == EXPLICIT_LITTLE_ENDIAN
    assert described(opened) == (1, "MONOCHROME2", 8, 8, 7, 0)
    assert opened.frame() == GREY8.tobytes()
    deep = shown(picture((0x00280101, "US", [12])), BulkPart(saved(GREY12, "PNG"), "image/png"))
    assert described(deep) == (1, "MONOCHROME2", 16, 12, 11, 0)
    assert deep.header.pixel is not None
    assert deep.header.pixel.vr == "OW"
    assert deep.frame() == GREY12.tobytes()


def test_transparency_is_dropped() -> None:
    """STOW-06"""
    alpha = np.dstack([COLOUR, GREY8])
    opened = shown(picture((0x00280006, "US", [1])), BulkPart(saved(alpha, "PNG"), "image/png"))
    assert described(opened) == (3, "RGB", 8, 8, 7, 0)
    assert opened.header.number(0x00280006) == 0  # that is how the pixels are written
    assert opened.frame() == COLOUR.tobytes()


def test_an_animation_becomes_a_multi_frame_image() -> None:
    """STOW-06"""
    images = [Image.fromarray(COLOUR + np.uint8(number * 40)).quantize(32) for number in range(3)]
    out = BytesIO()
    images[0].save(out, "GIF", save_all=True, append_images=images[1:])
    opened = shown(picture(), BulkPart(out.getvalue(), "image/gif"))
    assert opened.header.number(0x00280008) == 3
    assert described(opened) == (3, "RGB", 8, 8, 7, 0)
    for number in (1, 2, 3):
        assert opened.frame(number) == images[number - 1].convert("RGB").tobytes()


def test_pictures_one_a_frame_and_of_odd_size() -> None:
    small = GREY8[:3, :3]
    opened = shown(picture(), *(BulkPart(saved(small + number, "PNG"), "image/png") for number in range(3)))
    assert [opened.frame(number) for number in (1, 2, 3)] == [(small + number).tobytes() for number in range(3)]
    assert len(opened.data) % 2 == 0


@pytest.mark.parametrize(
    ("tag", "value"), [(0x00280010, 47), (0x00280002, 3), (0x00280100, 16), (0x00280008, 2), (0x00280011, 1)]
)
def test_a_picture_that_contradicts_the_metadata_is_refused(tag: int, value: int) -> None:
    model = picture((tag, "IS" if tag == 0x00280008 else "US", [value]))
    with pytest.raises(ClassMismatch) as found:
        shown(model, BulkPart(saved(GREY8, "PNG"), "image/png"))
    assert found.value.tag == tag


@pytest.mark.parametrize("frames_given", [[], [b"short"], [GREY8.tobytes()] * 2])
def test_a_decoder_that_breaks_its_word_is_a_failure(frames_given: list[bytes]) -> None:
    """Lengths are written before the frames: what follows has to fit them."""
    facts = Described(ROWS, COLUMNS, 1, 8, "MONOCHROME2", bits_allocated=8)
    with pytest.raises(ProcessingFailure):
        stored(
            picture(),
            {"pixels": [BulkPart(b"", "image/png")]},
            decode=lambda _: Picture(facts, 1, lambda: iter(frames_given)),
        )


def test_frames_are_read_once_and_in_blocks(tmp_path: Path) -> None:
    spooled = tmp_path / "frame"
    noise = np.random.default_rng(1).integers(0, 2**12, (1200, 1200), dtype=np.uint16)
    spooled.write_bytes(encoded("jpegls", noise))
    sink = Sink()
    write(picture(), {"pixels": [BulkPart(spooled, "image/jls")] * 2}, sink)
    assert 1 << 19 < sink.longest <= 1 << 20
    assert read_frame(BulkPart(spooled, "image/jls")).length > 1 << 20
