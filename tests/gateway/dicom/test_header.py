"""The header of whole files: real ones, as pydicom reads them, and hostile ones."""

from __future__ import annotations

import gc
import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import data_store
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from gateway.dicom.elements import PIXEL_TAGS, Element
from gateway.dicom.header import MARGIN, Header, parse_header, read_header
from gateway.dicom.limits import Limits
from gateway.dicom.uids import (
    DEFLATED_LITTLE_ENDIAN,
    EXPLICIT_BIG_ENDIAN,
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
)
from gateway.errors import NotUnderstood, SyntaxNotSupported
from tests.gateway.dicom.building import (
    CLASS,
    INSTANCE,
    JPEG_2000,
    explicit,
    fragments,
    identity,
    implicit,
    item,
    part10,
    sequence,
)

REFUSED = {
    # file: why, where pydicom reads it
    "winter.dcm": "SOP Instance UID is there twice",
    "MR_truncated.dcm": "its Pixel Data is cut off",
    "rtplan_truncated.dcm": "it is cut off",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "it is cut off",
    "DICOMDIR-nooffset": "the last item is longer than its sequence",
    "meta_missing_tsyntax.dcm": "no transfer syntax",
}


def corpus() -> Iterator[Path]:
    """Every file with the DICM prefix in the test sets of pydicom and pydicom-data."""
    for package in (pydicom, data_store):
        for path in sorted((Path(str(package.__file__)).parent / "data").rglob("*")):
            if path.is_file():
                with path.open("rb") as stream:
                    if stream.read(132)[128:] == b"DICM":
                        yield path


def read(data: bytes, *, keep: int = 65536, limits: Limits | None = None) -> Header:
    return read_header(io.BytesIO(data), len(data), keep=keep, limits=limits or Limits())


def refused(data: bytes, message: str = ".") -> None:
    with pytest.raises(NotUnderstood, match=message):
        read(data)


# Real files


@pytest.mark.parametrize("path", list(corpus()), ids=lambda path: path.name)
def test_real_files_read_as_pydicom_reads_them(path: Path) -> None:
    """The same tags, VRs, raw values and items at all levels.

    Group lengths apart: pydicom reports them, we do not.
    """
    data = path.read_bytes()
    if path.name in REFUSED:
        refused(data)
        return
    header = read(data, keep=1 << 30)
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compared = compare(pydicom.dcmread(path), [*header.elements, *([header.pixel] if header.pixel else [])])
        finally:
            logging.disable(logging.NOTSET)
    assert compared > 0
    assert header.meta.transfer_syntax_uid == header.syntax.uid
    assert_located(header, data)
    assert_head_suffices(header, data)
    assert_sequences_are_passed_over(header, data)


def assert_sequences_are_passed_over(header: Header, data: bytes) -> None:
    """With every second sequence asked for, all else is as it is without asking."""
    head = data[: header.size + MARGIN]
    whole = parse_header(head, len(data), keep=1 << 30)
    wanted = frozenset([element.tag for element in whole.elements if element.items is not None][::2])
    lean = parse_header(head, len(data), keep=1 << 30, sequences=wanted)
    assert [one.tag for one in lean.elements] == [one.tag for one in whole.elements]
    for one, other in zip(lean.elements, whole.elements, strict=True):
        passed = one.vr == "SQ" and one.items is None
        assert (one.offset, one.length) == (other.offset, other.length)
        assert (passed and one.tag not in wanted and not lean.sequence(one.tag)) or one == other


def compare(ds: Dataset, elements: list[Element]) -> int:
    theirs = {int(tag): ds.get_item(tag) for tag in ds.keys() if tag.element}  # noqa: SIM118  values() converts
    assert sorted(theirs) == sorted(element.tag for element in elements)
    compared = 0
    for element in elements:
        raw: object = theirs[element.tag]
        if isinstance(raw, RawDataElement) and element.items is None:
            assert (raw.value or b"") == element.value or element.tag in PIXEL_TAGS
        converted = ds[Tag(element.tag)]
        assert element.vr == converted.VR
        if element.items is not None:
            assert len(converted.value) == len(element.items)
            compared += sum(compare(*pair) for pair in zip(converted.value, element.items, strict=True))
        compared += 1
    return compared


def assert_located(header: Header, data: bytes) -> None:
    if header.inflated is not None:
        header.inflated.seek(0)
        data = header.inflated.read()
    for element in header.elements:
        if element.value is not None:
            assert data[element.offset : element.offset + element.length] == element.value


def assert_head_suffices(header: Header, data: bytes) -> None:
    """The first `size` bytes give the same elements, but for those behind Pixel Data; with a margin, Pixel Data."""
    for margin in (0, MARGIN):
        again = parse_header(data[: header.size + margin], len(data))
        tags = [element.tag for element in again.elements]
        assert tags == [element.tag for element in header.elements][: len(tags)]
        if header.size < len(data):
            assert (again.pixel is None) is (margin == 0)
    if header.pixel is not None:
        assert again.pixel is not None
        assert (again.pixel.tag, again.pixel.vr, again.pixel.offset, again.pixel.encapsulated) == (
            header.pixel.tag,
            header.pixel.vr,
            header.pixel.offset,
            header.pixel.encapsulated,
        )
        if len(again.elements) == len(header.elements):
            assert again.pixel.length == header.pixel.length


# What a header tells


def test_head_and_pixels() -> None:
    head = identity() + explicit(0x00280008, "IS", b"3 ")
    data = part10(head + explicit(0x7FE00010, "OW", bytes(30)) + explicit(0xFFFCFFFC, "OB", bytes(2)))
    header = read(data)
    assert header.size == len(part10(head))
    assert header.dataset_offset == len(part10(b""))
    assert header.pixel is not None
    assert (header.pixel.offset, header.pixel.length) == (header.size + 12, 30)
    assert [e.tag for e in header.elements] == [0x00080016, 0x00080018, 0x00280008, 0xFFFCFFFC]
    assert header.find(0x7FE00010) is None
    assert (header.is_encapsulated, header.number_of_frames, header.fragments) == (False, 3, None)


@pytest.mark.parametrize(("declared", "explicit_vr"), [(EXPLICIT_LITTLE_ENDIAN, False), (IMPLICIT_LITTLE_ENDIAN, True)])
def test_vrs_are_explicit_or_implicit_as_written_not_as_declared(declared: str, explicit_vr: bool) -> None:
    """As pydicom reads such files, and in the same way from their head alone."""
    one = explicit if explicit_vr else lambda tag, _, value: implicit(tag, value)
    data = part10(one(0x00080016, "UI", CLASS.encode() + b"\0") + one(0x7FE00010, "OW", bytes(16)), declared)
    with pytest.warns(UserWarning, match="VR"):
        assert pydicom.dcmread(io.BytesIO(data)).SOPClassUID == CLASS
    for header in (read(data), parse_header(data[:-16], len(data))):
        assert (header.syntax.uid, header.syntax.explicit) == (declared, explicit_vr)
        assert header.text(0x00080016) == CLASS
        assert header.pixel is not None
        assert (header.pixel.offset, header.pixel.length) == (len(data) - 16, 16)
        assert header.size == len(data) - 16 - (12 if explicit_vr else 8)


def test_a_file_without_pixels_is_all_head() -> None:
    data = part10(identity())
    header = read(data)
    assert (header.size, header.pixel, header.number_of_frames) == (len(data), None, 0)


def test_elements_out_of_order_behind_pixels_belong_to_the_head() -> None:
    data = part10(explicit(0x7FE00010, "OW", bytes(30)) + identity())
    header = read(data)
    assert header.size == len(data)
    assert parse_header(data, len(data)).text(0x00080018) == INSTANCE


def test_fragments_are_told() -> None:
    data = part10(identity() + fragments(b"one!", b"second", table=b"\0\0\0\0\x0c\0\0\0"), JPEG_2000)
    header = read(data)
    assert header.is_encapsulated
    assert header.fragments is not None
    pairs = list(zip(header.fragments[::2], header.fragments[1::2], strict=True))
    assert [data[offset : offset + length] for offset, length in pairs] == [b"\0\0\0\0\x0c\0\0\0", b"one!", b"second"]


def test_the_head_of_an_encapsulated_file_tells_where_pixels_lie() -> None:
    data = part10(identity() + fragments(b"one!"), JPEG_2000)
    header = read(data)
    again = parse_header(data[: header.size + MARGIN], len(data)).pixel
    assert again == header.pixel
    unsized = parse_header(data[: header.size + MARGIN]).pixel
    assert unsized is not None
    assert (unsized.encapsulated, unsized.length) == (True, 0)


@pytest.mark.parametrize(
    "pixels", [explicit(0x7FE00010, "UN", bytes(4)), explicit(0x7FE00010, "UN", bytes(3))], ids=count()
)
def test_the_head_gives_pixels_the_vr_that_the_file_gives_them(pixels: bytes) -> None:
    data = part10(identity() + pixels)
    header = read(data)
    assert parse_header(data[: header.size + MARGIN], len(data) + 1).pixel == header.pixel


def test_unbuffered_files_serve_as_well(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(part10(identity() + explicit(0x7FE00010, "OW", bytes(200_000))))
    with path.open("rb", buffering=0) as stream:
        assert read_header(stream, path.stat().st_size).text(0x00080018) == INSTANCE


@pytest.mark.parametrize(
    ("vr", "value", "text"),
    [
        ("LO", b" padded ", "padded"),
        ("LO", b"a \\ b", "a\\b"),
        ("LO", b"a\\\\b ", "a\\\\b"),
        ("LO", b"  ", None),
        ("LO", b"", None),
        ("LO", b"\\\\", None),
        ("LO", b"nul\0", "nul"),
        ("LO", b"n\0l ", "n\ufffdl"),
        ("ST", b"  keeps\\lead ", "  keeps\\lead"),
        ("UC", b" a \\ b ", " a\\ b"),
        ("UR", b"http://x/a\\b  ", "http://x/a\\b"),
        ("UI", b"1.2\0", "1.2"),
        ("UI", b"1.2 ", "1.2"),
        ("UI", b"1.2\0.3\0", "1.2\ufffd.3"),
        ("UI", b"1.2\\1.3\0", "1.2\\1.3"),
        ("UI", b"1.\xd9\xa2", "1.\ufffd\ufffd"),
        ("CS", b"ORIGINAL\\PRIMARY ", "ORIGINAL\\PRIMARY"),
        ("PN", b"Doe^John==", "Doe^John"),
        ("PN", b"A^B= \\C^D ", "A^B\\C^D"),
        ("DS", b" 1.50\\2 ", "1.50\\2"),
        ("US", b"\1\0\2\0", "1\\2"),
        ("SS", b"\xff\xff", "-1"),
        ("FD", struct.pack("<d", 1.5), "1.5"),
        ("AT", b"\x10\0\x20\0", "00100020"),
        ("AT", b"\x10\0\x20\0\x10", "00100020"),
        ("US", b"\1\0\2", None),
        ("OB", b"text", None),
        ("UN", b"text", None),
    ],
)
def test_text_is_normalised_by_vr(vr: str, value: bytes, text: str | None) -> None:
    """S-21, S-29: no padding, no NUL, and no UID that padding or NUL turns into another."""
    assert read(part10(identity() + explicit(0x00091001, vr, value))).text(0x00091001) == text


@pytest.mark.parametrize(
    ("vr", "value", "numbers", "floats"),
    [
        ("IS", b"12", [12], [12.0]),
        ("IS", b" -12\\+3 ", [-12, 3], [-12.0, 3.0]),
        ("IS", b"12.0", [12], [12.0]),
        ("IS", b"12.5", [], [12.5]),
        ("IS", b"1e400 ", [], []),
        ("IS", b"inf ", [], []),
        ("IS", b"nan ", [], []),
        ("IS", b"1" * 400, [], []),
        ("IS", b"2147483647", [2147483647], [2147483647.0]),
        ("IS", b"2147483648", [], [2147483648.0]),
        ("IS", b"1_0 ", [], []),
        ("IS", b"0x1F", [], []),
        ("IS", b"\xd9\xa2", [], []),
        ("IS", b"1\\\\2 ", [], []),
        ("IS", b"", [], []),
        ("DS", b"1.5\\-2e1 ", [], [1.5, -20.0]),
        ("DS", b"1.5\\nan ", [], []),
        ("DS", b".5", [], [0.5]),
        ("DS", b"5.", [5], [5.0]),
        ("DS", b"1e9999", [], []),
        ("DS", b".", [], []),
        ("US", b"\xff\xff\0\0", [65535, 0], [65535.0, 0.0]),
        ("SS", b"\xff\xff", [-1], [-1.0]),
        ("UL", b"\xff\xff\xff\xff", [2**32 - 1], [2.0**32 - 1]),
        ("SL", b"\xff\xff\xff\xff", [-1], [-1.0]),
        ("UV", b"\xff" * 8, [2**64 - 1], [2.0**64]),
        ("SV", b"\xff" * 8, [-1], [-1.0]),
        ("US", b"\1\0\1", [], []),
        ("FL", struct.pack("<ff", 1.5, -2), [], [1.5, -2.0]),
        ("FD", struct.pack("<d", 1.5), [], [1.5]),
        ("FD", struct.pack("<d", float("nan")), [], []),
        ("FL", struct.pack("<f", float("inf")), [], []),
        ("LO", b"12", [], []),
        ("OW", b"\1\0", [], []),
    ],
    ids=count(),
)
def test_numbers_are_finite_or_none(vr: str, value: bytes, numbers: list[int], floats: list[float]) -> None:
    """S-27."""
    header = read(part10(identity() + explicit(0x00091001, vr, value)))
    assert header.numbers(0x00091001) == numbers
    assert header.floats(0x00091001) == floats
    assert header.number(0x00091001) == (numbers[0] if numbers else None)
    assert header.float(0x00091001) == (floats[0] if floats else None)


def test_what_is_absent_or_too_long_is_none() -> None:
    """S-26: 16 million values are not looked at."""
    header = read(part10(identity() + explicit(0x00091001, "UC", b"1\\" * 100_000)))
    for tag in (0x00091001, 0x00091002):
        assert header.text(tag) is None
        assert header.texts(tag) == []
        assert header.number(tag) is None
        assert header.numbers(tag) == []
        assert header.float(tag) is None
        assert header.floats(tag) == []
        assert header.sequence(tag) == []


def test_numbers_in_big_endian() -> None:
    data = explicit(0x00280010, "US", b"\2\0", order=">") + explicit(0x00280009, "AT", b"\0\x18\x10\x63", order=">")
    header = read(part10(data, EXPLICIT_BIG_ENDIAN))
    assert header.number(0x00280010) == 512
    assert header.text(0x00280009) == "00181063"


def test_items_have_their_own_character_sets() -> None:
    """PS3.3 C.12.1.1.2: those of the item, else those of what holds it."""
    inner = explicit(0x00080005, "CS", b"ISO_IR 144") + explicit(0x00400007, "LO", b"\xbb\xee")
    plain = explicit(0x00400007, "LO", b"\xe9 ") + sequence(0x00081140, item(explicit(0x00080104, "LO", b"\xe8 ")))
    data = explicit(0x00080005, "CS", b"ISO_IR 100") + sequence(0x00400275, item(inner), item(plain))
    first, second = read(part10(data)).sequence(0x00400275)
    assert first.text(0x00400007) == "\u041b\u044e"
    assert second.text(0x00400007) == "é"
    assert second.sequence(0x00081140)[0].text(0x00080104) == "è"


@pytest.mark.parametrize(
    "term", [b"punycode", b"idna", b"hex ", b"zlib", b"utf_7 ", b"x\\" * 1000, b"\xff\xfe", b"\x1b(B "]
)
def test_character_sets_of_nowhere_do_no_harm(term: bytes) -> None:
    """S-28."""
    data = explicit(0x00080005, "CS", term) + explicit(0x00100010, "PN", b"D\xf6e^J ")
    header = read(part10(data))
    assert header.text(0x00100010) in ("D\ufffde^J", "Döe^J")
    assert len(header.charsets) <= 16


def test_code_extensions_name_several_sets() -> None:
    data = explicit(0x00080005, "CS", b"\\ISO 2022 IR 87") + explicit(0x00100010, "PN", b"Yamada=\x1b$B;3ED\x1b(B")
    header = read(part10(data))
    assert header.charsets == ("", "ISO 2022 IR 87")
    assert header.text(0x00100010) == "Yamada=山田"


# Deflated data sets


def deflated(data: bytes) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return machine.compress(data) + machine.flush()


@pytest.mark.parametrize("pixels", [100, 3_000_000])
@pytest.mark.parametrize("rest", [b"", b"\0"])
def test_deflated_data_sets_are_inflated(rest: bytes, pixels: int) -> None:
    """PS3.5 A.5. Offsets are those in the inflated data set; the head is the whole file."""
    data = part10(deflated(identity() + explicit(0x7FE00010, "OW", bytes(pixels))) + rest, DEFLATED_LITTLE_ENDIAN)
    header = read(data)
    assert header.text(0x00080018) == INSTANCE
    assert header.size == len(data)
    assert header.dataset_offset == len(part10(b"", DEFLATED_LITTLE_ENDIAN))
    assert header.pixel is not None
    assert header.inflated is not None
    header.inflated.seek(header.pixel.offset)
    assert header.inflated.read() == bytes(pixels)
    assert parse_header(data, len(data)).text(0x00080018) == INSTANCE


def test_the_inflated_data_set_goes_with_its_header() -> None:
    header = read(part10(deflated(identity() + bytes(0)), DEFLATED_LITTLE_ENDIAN))
    inflated = header.inflated
    assert inflated is not None
    del header
    gc.collect()
    assert inflated.closed


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (deflated(identity())[:-1], Limits()),
        (deflated(identity()) + b"\0\0", Limits()),
        (deflated(identity()) + deflated(identity()), Limits()),
        (b"\xff" * 100, Limits()),
        (b"", Limits()),
        (zlib.compress(identity()), Limits()),
        (deflated(identity() + b"\0"), Limits()),
        (deflated(identity() + explicit(0x7FE00010, "OW", bytes(100_000))), Limits(inflated=100_000)),
        (
            deflated(identity() + explicit(0x7FE00010, "OW", bytes(100_000))),
            Limits(inflated_freely=1000, inflate_ratio=9),
        ),
    ],
    ids=count(),
)
def test_bad_deflation_is_not_understood(data: bytes, limits: Limits) -> None:
    """S-30: cut off, trailing data, no deflate stream, more than is allowed; S-24 inside."""
    with pytest.raises(NotUnderstood):
        read(part10(data, DEFLATED_LITTLE_ENDIAN), limits=limits)


def test_a_bomb_is_not_inflated() -> None:
    """S-30: 200 MB from 200 kB ends at the ratio, with no more than that written."""
    data = part10(deflated(explicit(0x7FE00010, "OW", bytes(200_000_000))), DEFLATED_LITTLE_ENDIAN)
    assert len(data) < 250_000
    refused(data, "more than is allowed")


# Hostile files


@pytest.mark.parametrize("syntax", ["1.2.3", "1.2.840.10008.1.2.6.1"])
def test_unknown_syntaxes_are_not_supported(syntax: str) -> None:
    with pytest.raises(SyntaxNotSupported):
        read(part10(identity(), syntax))


@pytest.mark.parametrize(
    "data", [b"", b"x", b"DICM", bytes(131), bytes(200), bytes(128) + b"DICM", part10(b"")[:-1]], ids=count()
)
def test_no_part_10_file(data: bytes) -> None:
    refused(data)
    with pytest.raises(NotUnderstood):
        parse_header(data)


def test_every_cut_is_noticed() -> None:
    """S-24: no prefix of a file is a file, save where an element ends (which no reader can tell)."""
    pieces = [
        identity(),
        sequence(0x00400275, item(explicit(0x00401001, "SH", b"RP"))),
        explicit(0x00420011, "OB", b"%PDF"),
    ]
    whole = part10(b"".join(pieces))
    ends = {len(part10(b"")), *(len(part10(identity()[:length])) for length in (8 + len(CLASS) + 1,))}
    ends |= {len(part10(b"".join(pieces[:number]))) for number in range(len(pieces) + 1)}
    for cut in range(len(whole)):
        if cut not in ends:
            refused(whole[:cut])


def test_pixels_of_two_kinds_or_of_no_kind_are_not_understood() -> None:
    refused(part10(explicit(0x7FE00008, "OF", bytes(4)) + explicit(0x7FE00010, "OW", bytes(4))), "more than one")
    refused(part10(explicit(0x7FE00010, "LO", b"ab")), "VR")
    refused(part10(sequence(0x7FE00010)), "VR")


def test_what_pixels_hold_is_not_read() -> None:
    class Unreadable(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert self.tell() < 70_000 or self.tell() > 50_000_000
            return super().read(size)

    data = part10(identity() + explicit(0x7FE00010, "OW", bytes(50_000_000)) + explicit(0xFFFCFFFC, "OB", bytes(2)))
    assert read_header(Unreadable(data), len(data)).number_of_frames == 1


SEEDS = [
    part10(
        identity()
        + explicit(0x00080005, "CS", b"\\ISO 2022 IR 87")
        + explicit(0x00100010, "PN", b"Yamada=\x1b$B;3ED\x1b(B")
        + sequence(0x00400275, item(explicit(0x00401001, "SH", b"RP"), True), item(), undefined=True)
        + explicit(0x00091001, "UN", item(implicit(0x00080100, b"X ")) + b"\xfe\xff\xdd\xe0\0\0\0\0", 0xFFFFFFFF)
        + explicit(0x00280103, "US", b"\1\0")
        + fragments(b"one!", b"two!"),
        JPEG_2000,
    ),
    part10(
        implicit(0x00080016, CLASS.encode() + b"\0")
        + implicit(0x00430010, b"GEMS_PARM_01")
        + implicit(0x00431039, b"1000\\0\\0\\0 ")
        + implicit(0x00400275, item(implicit(0x00401001, b"RP"), True))
        + implicit(0x00280106, b"\0\1")
        + implicit(0x7FE00010, bytes(16)),
        IMPLICIT_LITTLE_ENDIAN,
    ),
    part10(deflated(identity() + explicit(0x7FE00010, "OW", bytes(200))), DEFLATED_LITTLE_ENDIAN),
    part10(explicit(0x00280010, "US", b"\2\0", order=">"), EXPLICIT_BIG_ENDIAN),
]


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_mutations_are_read_or_refused(data: st.DataObject) -> None:
    """S-22 to S-30, S-40, S-43: bytes changed, removed, inserted, doubled; whatever is read can be asked for."""
    file = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(128, len(file) - 1))
        some = data.draw(
            st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff\xff\xff\xff", b"\xfe\xff\xdd\xe0"])
        )
        match data.draw(st.integers(0, 3)):
            case 0:
                file[at : at + len(some)] = some
            case 1:
                del file[at : at + len(some)]
            case 2:
                file[at:at] = some
            case _:
                file += file[at:]
    raw = bytes(file)
    try:
        header = read(raw)
    except (NotUnderstood, SyntaxNotSupported):
        return
    ask(header)
    ask(parse_header(raw[: header.size + MARGIN], len(raw)))


def ask(view: Header) -> None:
    for element in view.elements:
        view.texts(element.tag)
        view.numbers(element.tag)
        view.floats(element.tag)
        (view.text(element.tag) or "").encode()
        for one in view.sequence(element.tag):
            for inner in one.elements:
                one.text(inner.tag)


def test_a_slice_is_read_with_few_bytes() -> None:
    """What a store costs: of a CT slice of 512 x 512 pixels, one read of the head and none of Pixel Data."""
    ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    ds.Rows = ds.Columns = 512
    ds.PixelData = bytes(512 * 512 * 2)
    out = io.BytesIO()
    ds.save_as(out)
    data = out.getvalue()

    class Counting(io.BytesIO):
        total = 0

        def read(self, size: int | None = -1, /) -> bytes:
            found = super().read(size)
            self.total += len(found)
            return found

    stream = Counting(data)
    header = read_header(stream, len(data))
    assert header.syntax.uid == EXPLICIT_LITTLE_ENDIAN
    assert stream.total < 140_000
