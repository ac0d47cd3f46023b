"""Frame positions: what a table gives is the frame and nothing else (PS3.5 8.2, A.4; PS3.3 C.7.6.3)."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import data_store
import numpy as np
import pydicom
import pydicom.data
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.pixels.utils import pixel_array

from gateway.dicom.fragments import MAX_LOOKED_AT, Fragments, frame_starts
from gateway.dicom.frames import EncapsulatedFrames, FrameTable, NativeFrames
from gateway.dicom.header import read_header
from gateway.dicom.part10 import FileMeta, build_head
from gateway.errors import Damaged, GatewayError, NotFound
from tests.gateway.dicom.building import explicit, fragments

EXPLICIT = "1.2.840.10008.1.2.1"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
JPEG = "1.2.840.10008.1.2.4.50"
J2K = "1.2.840.10008.1.2.4.90"
JPEG_XL = "1.2.840.10008.1.2.4.110"
RLE = "1.2.840.10008.1.2.5"
UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
MPEG4 = "1.2.840.10008.1.2.4.102"

FOLDERS = (Path(pydicom.data.__file__).parent / "test_files", Path(data_store.__file__).parent / "data")


def part10(syntax: str, pixel: bytes, **values: Any) -> bytes:
    """A file with these values by keyword, and `pixel`, the bytes of a whole element, at its end."""
    ds = Dataset()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.SOPInstanceUID = "1.2.3.4"
    given_values = {
        "Rows": 2,
        "Columns": 2,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 8,
    } | values
    for keyword, value in given_values.items():
        if value is not None:
            setattr(ds, keyword, value)
    out = DicomBytesIO()
    out.is_implicit_VR = False
    out.is_little_endian = syntax != BIG_ENDIAN
    write_dataset(out, ds)
    return build_head(FileMeta(ds.SOPClassUID, ds.SOPInstanceUID, syntax)) + out.getvalue() + pixel


def element(value: bytes, vr: str = "OW", tag: int = 0x7FE00010, order: str = "<") -> bytes:
    return explicit(tag, vr, value, order=order)


def encapsulated(values: Sequence[bytes], basic: Sequence[int] = ()) -> bytes:
    return fragments(*values, table=struct.pack(f"<{len(basic)}I", *basic))


def table_of(data: bytes) -> FrameTable | None:
    stream = BytesIO(data)
    header = read_header(stream, len(data))
    table = FrameTable.read(header.inflated or stream, header)
    return None if table is None else FrameTable.from_bytes(table.to_bytes())


def known_table(data: bytes) -> FrameTable:
    table = table_of(data)
    assert table is not None
    return table


def frames(table: FrameTable, data: bytes) -> list[bytes]:
    """All frames, each by one ranged read."""
    found = []
    for number in range(1, table.count + 1):
        offset, length = table.span(number)
        found.append(table.extract(number, data[offset : offset + length]))
    return found


def bundled_files() -> Iterator[Path]:
    yield from (path for folder in FOLDERS for path in sorted(folder.rglob("*.dcm")))


def pydicom_frames(path: Path, table: FrameTable) -> list[bytes]:
    """The frames as pydicom cuts them; native ones little endian, 1-bit ones packed one by one."""
    ds = pydicom.dcmread(path, force=True)
    keyword = next(name for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if name in ds)
    value: bytes = ds[keyword].value
    if table.encapsulated:
        extended = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths) if "ExtendedOffsetTable" in ds else None
        return list(generate_frames(value, number_of_frames=table.count, extended_offsets=extended))
    size = table.frame_bits // 8
    if table.frame_bits % 8 == 0 and ds.file_meta.TransferSyntaxUID != BIG_ENDIAN:
        return [value[n * size : (n + 1) * size] for n in range(table.count)]
    array = pixel_array(path, raw=True)
    if ds.get("PlanarConfiguration") == 1:
        array = np.moveaxis(array, -1, -3)
    rows = array.reshape(table.count, -1)
    if ds.BitsAllocated == 1:
        return [np.packbits(row, bitorder="little").tobytes() for row in rows]
    return [row.astype(row.dtype.newbyteorder("<")).tobytes() for row in rows]


@pytest.mark.filterwarnings("ignore")
def test_frames_of_all_bundled_files_are_those_that_pydicom_cuts() -> None:
    """S-38, TS-12, TS-14 on every file of pydicom and pydicom-data that has frames."""
    logging.disable(logging.CRITICAL)
    compared = dict.fromkeys(("native", "encapsulated"), 0)
    without = set()
    try:
        for path in bundled_files():
            data = path.read_bytes()
            try:
                header = read_header(BytesIO(data), len(data))
            except GatewayError:
                continue
            if header.pixel is None:
                continue
            stream = header.inflated or BytesIO(data)
            table = FrameTable.read(stream, header)
            if table is None:
                without.add(path.name)
                continue
            stream.seek(0)
            assert frames(table, stream.read()) == pydicom_frames(path, table), path.name
            compared["encapsulated" if table.encapsulated else "native"] += 1
    finally:
        logging.disable(logging.NOTSET)
    # Number of Frames `1A`; an image without Rows and Columns
    assert without == {"badVR.dcm", "nested_priv_SQ.dcm"}
    assert compared["native"] > 60
    assert compared["encapsulated"] > 50


def test_native_frames_lie_one_after_the_other() -> None:
    pixels = bytes(range(24))
    data = part10(EXPLICIT, element(pixels), BitsAllocated=16, NumberOfFrames=3)
    table = known_table(data)
    assert table.count == 3
    assert not table.encapsulated
    assert table.frame_bits == 64
    assert table.ranges(2) == [(len(data) - 16, 8)]
    assert frames(table, data) == [pixels[:8], pixels[8:16], pixels[16:]]
    assert table.stream() == [(len(data) - 24, 24)]
    assert len(table.to_bytes()) < 64


def test_padding_of_odd_native_pixel_data_is_not_in_the_last_frame() -> None:
    pixels = bytes(range(9))
    table = known_table(data := part10(EXPLICIT, element(pixels + b"\0", "OB"), Rows=3, Columns=3))
    assert frames(table, data) == [pixels]


@pytest.mark.parametrize(("syntax", "order", "vr"), [(EXPLICIT, "<", "OB"), (BIG_ENDIAN, ">", "OW")])
def test_single_bits_are_packed_anew_for_each_frame(syntax: str, order: str, vr: str) -> None:
    """TS-14: frames of 15 bits share bytes in the file (PS3.18 8.7.3.3.1); in big endian, swapped words too."""
    bits = np.random.default_rng(4).integers(0, 2, (5, 15), np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    stored = packed if order == "<" else np.frombuffer(packed, "<u2").byteswap().tobytes()
    data = part10(syntax, element(stored, vr, order=order), Rows=3, Columns=5, BitsAllocated=1, NumberOfFrames=5)
    table = known_table(data)
    assert frames(table, data) == [np.packbits(row, bitorder="little").tobytes() for row in bits]
    assert table.frame_bits == 15
    if order == "<":
        assert [table.bit_offset(number) for number in range(1, 6)] == [0, 7, 6, 5, 4]


@pytest.mark.parametrize(("bits", "vr", "code"), [(8, "OW", "B"), (8, "OB", "B"), (16, "OW", "H"), (32, "OW", "I")])
def test_big_endian_frames_come_out_little_endian(bits: int, vr: str, code: str) -> None:
    """GEN-13: Explicit VR Big Endian is never sent. 8-bit values in OW lie swapped in pairs (PS3.5 8.1.1)."""
    values = list(range(1, 19))
    stored = struct.pack(f">18{code}", *values)
    if (bits, vr) == (8, "OW"):
        stored = np.frombuffer(stored, "<u2").byteswap().tobytes()
    pixel = element(stored, vr, order=">")
    data = part10(BIG_ENDIAN, pixel, Rows=3, Columns=3, BitsAllocated=bits, NumberOfFrames=2)
    wanted = [struct.pack(f"<9{code}", *values[:9]), struct.pack(f"<9{code}", *values[9:])]
    assert frames(known_table(data), data) == wanted


@pytest.mark.parametrize(("syntax", "order"), [(EXPLICIT, "<"), (BIG_ENDIAN, ">")])
@pytest.mark.parametrize(("tag", "vr", "code"), [(0x7FE00008, "OF", "f"), (0x7FE00009, "OD", "d")])
def test_float_pixel_data_has_frames(syntax: str, order: str, tag: int, vr: str, code: str) -> None:
    values = [0.5, -1.25, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    pixel = element(struct.pack(f"{order}8{code}", *values), vr, tag, order)
    table = known_table(data := part10(syntax, pixel, BitsAllocated=None, NumberOfFrames=2))
    assert (table.tag, table.vr) == (tag, vr)
    assert frames(table, data) == [struct.pack(f"<4{code}", *values[:4]), struct.pack(f"<4{code}", *values[4:])]


@pytest.mark.parametrize(("stored", "bits"), [(16, 64), (24, 96)])
def test_native_422_has_two_samples_a_pixel_unless_all_are_stored(stored: int, bits: int) -> None:
    photometric = {"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL_422", "NumberOfFrames": 2}
    data = part10(EXPLICIT, element(bytes(range(stored)), "OB"), **photometric)
    table = known_table(data)
    assert table.frame_bits == bits
    assert b"".join(frames(table, data)) == bytes(range(stored))


@pytest.mark.parametrize(
    "values",
    [
        {"NumberOfFrames": 4},
        {"Rows": 0},
        {"Rows": None},
        {"BitsAllocated": 12},
        {"BitsAllocated": None},
        {"NumberOfFrames": 0},
        {"NumberOfFrames": -1},
        {"NumberOfFrames": 2**31 - 1},
        {"SamplesPerPixel": 0},
        {"Rows": 65535, "Columns": 65535},
    ],
    ids=str,
)
def test_no_native_frames_where_the_header_and_the_value_disagree(values: dict[str, Any]) -> None:
    """S-38"""
    assert table_of(part10(EXPLICIT, element(bytes(12), "OB"), **values)) is None


def test_an_instance_without_pixels_has_no_frames() -> None:
    assert table_of(part10(EXPLICIT, b"")) is None


@pytest.mark.parametrize("pixel", [element(bytes(12), "OB"), encapsulated([b"ab", b"cd", b"ef"])])
def test_frame_numbers_outside_are_not_found(pixel: bytes) -> None:
    syntax = EXPLICIT if pixel[8:12] != b"\xff" * 4 else JPEG
    table = known_table(part10(syntax, pixel, NumberOfFrames=3))
    for number in (0, -1, 4, 2**40):
        with pytest.raises(NotFound):
            table.span(number)
        with pytest.raises(NotFound):
            table.bit_offset(number)
        with pytest.raises(NotFound):
            table.extract(number, b"abcd")


def jpeg(body: bytes, size: int = 40) -> bytes:
    """Looks like a JPEG codestream from outside, of an even length."""
    return b"\xff\xd8\xff\xe0" + body.ljust(size, b".") + b"\xff\xd9"


def j2k(body: bytes, size: int = 40) -> bytes:
    return b"\xff\x4f\xff\x51" + body.ljust(size, b".") + b"\xff\xd9"


def cut(frame: bytes, pieces: int) -> list[bytes]:
    """A frame in so many fragments of even length."""
    size = len(frame) // pieces // 2 * 2
    return [frame[n * size : (n + 1) * size if n < pieces - 1 else None] for n in range(pieces)]


def offsets(pieces: Sequence[Sequence[bytes]]) -> list[int]:
    """The offset of each frame's first item, as a true offset table has them."""
    found, position = [], 0
    for frame in pieces:
        found.append(position)
        position += sum(8 + len(piece) for piece in frame)
    return found


def flat(pieces: Sequence[Sequence[bytes]]) -> list[bytes]:
    return [piece for frame in pieces for piece in frame]


def test_one_fragment_a_frame_needs_no_offset_table() -> None:
    wanted = [b"first!", b"second", b"", b"4th."]
    table = known_table(data := part10(DEFLATED_FRAMES, encapsulated(wanted), NumberOfFrames=4))
    assert table.encapsulated
    assert frames(table, data) == wanted


def test_all_fragments_are_the_only_frame() -> None:
    """PS3.5 A.4: a frame in several fragments is one ranged read, with the item headers taken out."""
    frame = j2k(b"only", 100)
    table = known_table(data := part10(J2K, encapsulated(cut(frame, 5))))
    assert len(table.ranges(1)) == 5
    assert b"".join(data[offset : offset + length] for offset, length in table.ranges(1)) == frame
    assert frames(table, data) == [frame]
    assert table.stream() == table.ranges(1)


@pytest.mark.parametrize(("syntax", "make"), [(JPEG, jpeg), (J2K, j2k)])
def test_codestreams_tell_frames_apart_without_an_offset_table(syntax: str, make: Any) -> None:
    wanted = [make(b"one"), make(b"two", 90), make(b"three")]
    pieces = [cut(wanted[0], 1), cut(wanted[1], 4), cut(wanted[2], 2)]
    table = known_table(data := part10(syntax, encapsulated(flat(pieces)), NumberOfFrames=3))
    assert frames(table, data) == wanted


def test_a_lost_end_marker_does_not_hide_the_next_frame() -> None:
    wanted = [jpeg(b"one")[:-2], jpeg(b"two"), jpeg(b"three")]
    pieces = [cut(wanted[0], 2), cut(wanted[1], 1), cut(wanted[2], 2)]
    table = known_table(data := part10(JPEG, encapsulated(flat(pieces)), NumberOfFrames=3))
    assert frames(table, data) == wanted


def test_an_embedded_thumbnail_is_no_frame() -> None:
    """A fragment may begin with the JPEG inside another's APP segment; no codestream ends before it."""
    first, second = jpeg(b"one", 60), jpeg(b"two")
    pieces = [[first[:20], b"\xff\xd8\xff\xdb" + first[20:]], [second]]
    table = known_table(data := part10(JPEG, encapsulated(flat(pieces)), NumberOfFrames=2))
    assert frames(table, data) == [b"".join(frame) for frame in pieces]


@pytest.mark.parametrize("extended", [False, True])
def test_offset_tables_decide_where_codestreams_do_not_tell(extended: bool) -> None:
    pieces = [[b"aa", b"bbbb"], [b"cc"], [b"dddd", b"eeee", b"ff"]]
    places = offsets(pieces)
    tables: dict[str, Any] = {}
    if extended:
        tables["ExtendedOffsetTable"] = struct.pack("<3Q", *places)
        tables["ExtendedOffsetTableLengths"] = struct.pack("<3Q", 14, 2, 26)
    pixel = encapsulated(flat(pieces), () if extended else places)
    table = known_table(data := part10(DEFLATED_FRAMES, pixel, NumberOfFrames=3, **tables))
    assert frames(table, data) == [b"".join(frame) for frame in pieces]


def test_an_extended_offset_table_may_be_too_long_to_be_kept() -> None:
    pieces = [[b"%06d" % n] for n in range(9000)]
    pieces[17].append(b"more")
    tables = {"ExtendedOffsetTable": struct.pack("<9000Q", *offsets(pieces)), "ExtendedOffsetTableLengths": b""}
    pixel = encapsulated(flat(pieces))
    table = known_table(data := part10(DEFLATED_FRAMES, pixel, NumberOfFrames=9000, **tables))
    assert frames(table, data) == [b"".join(frame) for frame in pieces]


@pytest.mark.parametrize(
    "basic",
    [(), (0, 10), (0, 12, 13), (0, 0, 24), (0, 24, 12), (4, 12, 24), (0, 12, 2**32 - 1), (0, 12, 24, 36)],
    ids=str,
)
def test_frames_are_not_guessed(basic: tuple[int, ...]) -> None:
    """S-38: an offset table that is absent, outside, backwards or of another count."""
    pixel = encapsulated([b"aaaa", b"bbbb", b"cccc", b"dddd"], basic)
    assert table_of(part10(DEFLATED_FRAMES, pixel, NumberOfFrames=3)) is None


def test_an_offset_table_that_points_into_a_codestream_is_not_believed() -> None:
    """S-38: the offsets are those of items, yet no JPEG XL codestream begins there."""
    wanted = [b"\xff\x0aone.", b"\xff\x0atwo."]
    pieces = [cut(wanted[0], 2), cut(wanted[1], 1)]
    good = part10(JPEG_XL, encapsulated(flat(pieces), offsets(pieces)), NumberOfFrames=2)
    assert frames(known_table(good), good) == wanted
    lying = part10(JPEG_XL, encapsulated(flat(pieces), (0, 10)), NumberOfFrames=2)
    assert table_of(lying) is None


def test_rle_segments_tell_frames_apart() -> None:
    wanted = [struct.pack("<16I", 1, 64, *[0] * 14) + body for body in (b"aaaa", b"bbbbbb")]
    table = known_table(data := part10(RLE, encapsulated([wanted[0], *cut(wanted[1], 2)]), NumberOfFrames=2))
    assert frames(table, data) == wanted


def test_encapsulated_uncompressed_frames_are_told_apart_by_their_size() -> None:
    pieces = [[b"abcd", b"efgh", b"i\0"], [b"ABCDEFGHI\0"], [b"12", b"3456789\0"]]
    values = {"Rows": 3, "Columns": 3, "NumberOfFrames": 3}
    table = known_table(data := part10(UNCOMPRESSED, encapsulated(flat(pieces)), **values))
    assert frames(table, data) == [b"".join(frame) for frame in pieces]
    assert table_of(part10(UNCOMPRESSED, encapsulated([b"abcdefghi\0", b"12", b"3456"]), **values)) is None
    shifted = encapsulated([b"abcdefgh", b"i\0ABCDEF", b"GHI123", b"456789"])
    assert table_of(part10(UNCOMPRESSED, shifted, **values)) is None


@pytest.mark.parametrize("count", [2, 5, 6])
def test_another_number_of_frames_than_there_are_gives_no_table(count: int) -> None:
    """S-38: four codestreams in five fragments."""
    pieces = [[jpeg(b"1")], cut(jpeg(b"2"), 2), [jpeg(b"3")], [jpeg(b"4")]]
    for basic in ((), offsets(pieces)):
        table = table_of(part10(JPEG, encapsulated(flat(pieces), basic), NumberOfFrames=count))
        assert table is None or count == 5  # one fragment each: no more can be said of it


def test_the_effort_to_tell_frames_apart_is_bounded() -> None:
    """A file of empty fragments cannot keep a store busy: nothing of it is read."""
    many = Fragments(0, np.zeros(MAX_LOOKED_AT + 1, np.uint32), np.zeros(0, np.uint32))
    none = np.zeros(0, np.uint64)
    assert frame_starts(BytesIO(), many, 2, JPEG, frame_bytes=None, extended=lambda: none) is None


lies = st.lists(st.integers(0, 400) | st.integers(0, 2**32 - 1), max_size=6)


@settings(deadline=None, max_examples=150)
@given(
    sizes=st.lists(st.tuples(st.integers(4, 40), st.integers(1, 3)), min_size=1, max_size=5),
    basic=lies,
    extended=st.none() | st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 400), max_size=6),
    truth=st.sampled_from(["basic", "extended", "neither"]),
)
@example(sizes=[(4, 1), (4, 2)], basic=[0, 18], extended=None, truth="neither")
def test_lying_offset_tables_never_give_another_frames_bytes(
    sizes: list[tuple[int, int]], basic: list[int], extended: list[int] | None, truth: str
) -> None:
    """S-38"""
    wanted = [jpeg(b"%d" % n, size * 2) for n, (size, _) in enumerate(sizes)]
    pieces = [cut(frame, count) for frame, (_, count) in zip(wanted, sizes, strict=True)]
    if truth == "basic":
        basic = offsets(pieces)
    if truth == "extended":
        extended = offsets(pieces)
    tables = {}
    if extended is not None:
        tables["ExtendedOffsetTable"] = struct.pack(f"<{len(extended)}Q", *extended)
        tables["ExtendedOffsetTableLengths"] = struct.pack(f"<{len(extended)}Q", *extended)
    data = part10(JPEG, encapsulated(flat(pieces), basic), NumberOfFrames=len(wanted), **tables)
    assert frames(known_table(data), data) == wanted


def test_a_video_is_one_stream_whose_frames_cannot_be_addressed() -> None:
    """PS3.5 A.4.5; TS-13"""
    pixel = encapsulated([b"moov", b"mdatmdat"], [0])
    table = known_table(data := part10(MPEG4, pixel, NumberOfFrames=250))
    assert table.video
    assert table.encapsulated
    assert table.count == 250
    with pytest.raises(NotFound):
        table.span(1)
    assert b"".join(data[offset : offset + length] for offset, length in table.stream()) == b"moovmdatmdat"


def test_other_bytes_than_those_of_the_frame_are_damaged() -> None:
    pieces = [cut(jpeg(b"one"), 2), cut(jpeg(b"two"), 2)]
    table = known_table(data := part10(JPEG, encapsulated(flat(pieces)), NumberOfFrames=2))
    offset, length = table.span(1)
    good = data[offset : offset + length]
    for bad in (good[:-1], good + b"\0", data[offset + 2 : offset + length + 2], b""):
        with pytest.raises(Damaged):
            table.extract(1, bad)
    native = known_table(part10(EXPLICIT, element(bytes(4), "OB")))
    with pytest.raises(Damaged):
        native.extract(1, bytes(3))


def large_table(count: int) -> EncapsulatedFrames:
    sizes = np.random.default_rng(1).lognormal(9.2, 0.6, count).clip(200, 2**20).astype(np.uint32) // 2 * 2
    return EncapsulatedFrames.of_fragments("OB", Fragments(4000, sizes, np.zeros(0, np.uint32)), np.arange(count))


def test_a_hundred_thousand_frames_make_a_small_table() -> None:
    table = large_table(100_000)
    data = table.to_bytes()
    assert len(data) < 200_000
    read = FrameTable.from_bytes(data)
    assert read.count == 100_000
    for number in (1, 2, 50_000, 100_000):
        assert read.ranges(number) == table.ranges(number)
    first, last = read.ranges(1)[0], read.ranges(100_000)[0]
    assert first[0] == 4008
    assert last[0] > 2**30


def test_offsets_beyond_4_gib_are_kept() -> None:
    sizes = np.full(3, 2**32 - 2, np.uint32)
    table = EncapsulatedFrames.of_fragments("OB", Fragments(10**12, sizes, np.zeros(0, np.uint32)), np.arange(3))
    assert FrameTable.from_bytes(table.to_bytes()).ranges(3) == [(10**12 + 2 * (2**32 + 6) + 8, 2**32 - 2)]
    native = NativeFrames(10, 0x7FE00010, "OW", 10**12, 10**13, 8 * 10**12, 1)
    assert FrameTable.from_bytes(native.to_bytes()).ranges(10) == [(10**13, 10**12)]


SOME_TABLES = [
    NativeFrames(3, 0x7FE00010, "OW", 1000, 24, 64, 1).to_bytes(),
    large_table(20).to_bytes(),
    EncapsulatedFrames.of_fragments(
        "OB", Fragments(9, np.arange(1, 8, dtype=np.uint32), np.zeros(0, np.uint32)), np.array([0, 2, 3])
    ).to_bytes(),
]


@settings(deadline=None, max_examples=200)
@given(
    data=st.sampled_from(SOME_TABLES), place=st.integers(0, 10_000), change=st.integers(1, 255), cut_at=st.booleans()
)
def test_a_damaged_table_is_refused(data: bytes, place: int, change: int, cut_at: bool) -> None:
    place %= len(data)
    broken = data[:place] if cut_at else data[:place] + bytes([data[place] ^ change]) + data[place + 1 :]
    with pytest.raises(Damaged):
        FrameTable.from_bytes(broken)


@settings(deadline=None, max_examples=300)
@given(
    data=st.sampled_from(SOME_TABLES), changes=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=4)
)
def test_a_table_with_wrong_numbers_is_refused_or_stays_within_its_frames(
    data: bytes, changes: list[tuple[int, int]]
) -> None:
    """Even when the checksum agrees."""
    body = bytearray(data[:-4])
    for place, value in changes:
        body[place % len(body)] = value
    try:
        table = FrameTable.from_bytes(bytes(body) + struct.pack("<I", zlib.crc32(body)))
        pieces = table.ranges(1)
    except (Damaged, NotFound):
        return
    assert all(offset >= 0 and length >= 0 for offset, length in pieces)
