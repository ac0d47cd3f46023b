"""The bounded reader of data elements."""

from __future__ import annotations

import io
import struct
from itertools import count

import pytest

from gateway.dicom.elements import Element, read_elements
from gateway.dicom.limits import Limits
from gateway.errors import NotUnderstood
from tests.gateway.dicom.building import (
    UNDEFINED,
    explicit,
    fragments,
    implicit,
    item,
    item_end,
    sequence,
    sequence_end,
    tag_bytes,
)

DEPTH = 64
REQUEST = 0x00400275
CODE = explicit(0x00080100, "SH", b"T-1 ")


class Counting(io.BytesIO):
    """A stream that counts what is read from it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads = 0
        self.bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.reads += 1
        self.bytes += len(data)
        return data


def read(data: bytes, *, encapsulated: bool = False, keep: int = 65536, limits: Limits | None = None) -> list[Element]:
    stream = io.BytesIO(data)
    return read_elements(
        stream,
        0,
        len(data),
        implicit=False,
        little_endian=True,
        keep=keep,
        encapsulated=encapsulated,
        limits=limits or Limits(),
    )


def read_implicit(data: bytes) -> list[Element]:
    return read_elements(io.BytesIO(data), 0, len(data), implicit=True, little_endian=True)


def refused(data: bytes, message: str = ".", *, encapsulated: bool = False) -> NotUnderstood:
    with pytest.raises(NotUnderstood, match=message) as caught:
        read(data, encapsulated=encapsulated)
    return caught.value


def test_every_element_is_located() -> None:
    data = explicit(0x00080060, "CS", b"CT") + explicit(0x00280010, "US", b"\0\2") + explicit(0x00420011, "OB", b"%PDF")
    elements = read(data)
    assert [(e.tag, e.vr, e.value) for e in elements] == [
        (0x00080060, "CS", b"CT"),
        (0x00280010, "US", b"\0\2"),
        (0x00420011, "OB", b"%PDF"),
    ]
    assert all(data[e.offset : e.offset + e.length] == e.value for e in elements)


def test_a_data_set_may_lie_within_a_stream() -> None:
    data = explicit(0x00080060, "CS", b"CT")
    stream = io.BytesIO(b"x" * 1000 + data + b"y" * 1000)
    (element,) = read_elements(stream, 1000, 1000 + len(data), implicit=False, little_endian=True)
    assert (element.offset, element.value) == (1008, b"CT")


def test_big_endian() -> None:
    content = explicit(0x00280010, "US", b"\2\0", order=">")
    data = sequence(0x00081140, item(content, order=">"), order=">") + content
    elements = read_elements(io.BytesIO(data), 0, len(data), implicit=False, little_endian=False)
    assert elements[0].items is not None
    assert [(e.tag, e.vr, e.value) for e in elements[0].items[0]] == [(0x00280010, "US", b"\2\0")]
    assert elements[1].value == b"\2\0"


@pytest.mark.parametrize("undefined_items", [False, True])
@pytest.mark.parametrize("undefined", [False, True])
def test_sequences_of_any_length_form(undefined: bool, undefined_items: bool) -> None:
    data = sequence(REQUEST, item(CODE, undefined_items), item(b"", undefined_items), undefined=undefined)
    element, after = read(data + explicit(0x7FE10010, "LO", b"X "))
    assert element.vr == "SQ"
    assert element.value is None
    assert element.items is not None
    assert [[e.value for e in one] for one in element.items] == [[b"T-1 "], []]
    assert element.offset == 12
    assert element.length == len(data) - 12 - (8 if undefined else 0)
    assert after.value == b"X "


def test_group_lengths_are_left_out() -> None:
    """S-24: and not believed."""
    data = explicit(0x00080000, "UL", b"\xff\xff\xff\xff") + explicit(0x00080060, "CS", b"CT")
    assert [e.tag for e in read(data)] == [0x00080060]


def test_trailing_padding_is_an_element() -> None:
    assert [e.tag for e in read(CODE + explicit(0xFFFCFFFC, "OB", bytes(10)))] == [0x00080100, 0xFFFCFFFC]


def test_disorder_is_tolerated() -> None:
    data = explicit(0x00100010, "PN", b"A^B ") + explicit(0x00080060, "CS", b"CT") + explicit(0x00280010, "US", b"\0\2")
    assert [e.tag for e in read(data)] == [0x00100010, 0x00080060, 0x00280010]


def test_odd_lengths_are_read_as_they_are() -> None:
    """S-24: real files have them; the next element starts where the length says."""
    data = explicit(0x00080060, "CS", b"CTX") + explicit(0x00280010, "US", b"\0\2")
    assert [e.value for e in read(data)] == [b"CTX", b"\0\2"]


def test_a_vr_of_the_future_has_the_long_form() -> None:
    data = tag_bytes(0x00091001) + b"ZY" + struct.pack("<HI", 0, 2) + b"ab" + explicit(0x00280010, "US", b"\0\2")
    assert [(e.vr, e.value) for e in read(data)] == [("UN", b"ab"), ("US", b"\0\2")]


# What is large


def test_large_values_are_not_loaded() -> None:
    """S-26."""
    data = explicit(0x00420011, "OB", bytes(10_000_000)) + explicit(0x00420012, "LO", b"application/pdf ")
    stream = Counting(data)
    large, small = read_elements(stream, 0, len(data), implicit=False, little_endian=True)
    assert (large.value, large.offset, large.length) == (None, 12, 10_000_000)
    assert small.value == b"application/pdf "
    assert stream.bytes < 200_000


def test_what_to_keep_is_the_callers_choice() -> None:
    data = explicit(0x00080100, "SH", b"1234") + explicit(0x00080102, "SH", b"12")
    assert [e.value for e in read(data, keep=3)] == [None, b"12"]
    assert [e.value for e in read(explicit(0x00080100, "UT", b"x" * 500_000), keep=500_000)] == [b"x" * 500_000]


def test_memory_for_values_is_bounded() -> None:
    """S-25: beyond the bound values stay in the file."""
    data = b"".join(explicit(0x00091000 + n, "UN", bytes(100)) for n in range(20))
    kept = [e.value for e in read(data, limits=Limits(kept=1000))]
    assert kept == [bytes(100)] * 10 + [None] * 10


def test_few_reads_for_many_elements() -> None:
    data = b"".join(explicit(0x00091000 + n, "LO", b"value of it ") for n in range(10_000))
    stream = Counting(data)
    assert len(read_elements(stream, 0, len(data), implicit=False, little_endian=True)) == 10_000
    assert stream.reads <= len(data) // 65536 + 2


def test_values_across_buffers_are_whole() -> None:
    data = b"".join(explicit(0x00091000 + n, "OB", bytes([n]) * (40_000 + n)) for n in range(9))
    assert [e.value for e in read(data)] == [bytes([n]) * (40_000 + n) for n in range(9)]


# Implicit VR


def test_implicit_vrs_come_from_the_dictionary() -> None:
    data = b"".join(
        [
            implicit(0x00080060, b"CT"),
            implicit(0x00180050, b"1.5 "),
            implicit(0x00280010, b"\0\2"),
            implicit(0x60020010, b"\0\2"),  # a repeating group
            implicit(0x60023000, b"\0\2"),
            implicit(0x7FE00010, b"\0\2"),
            implicit(0x7FE00012, b"\0\2"),
        ]
    )
    assert [e.vr for e in read_implicit(data)] == ["CS", "DS", "US", "US", "OW", "OW", "UN"]


def test_private_vrs_come_from_the_creators_dictionary() -> None:
    """PS3.5 7.8.1."""
    data = b"".join(
        [
            implicit(0x00430010, b"GEMS_PARM_01"),
            implicit(0x00430011, b"NOBODY"),
            implicit(0x00431039, b"1000\\0\\0\\0 "),
            implicit(0x00431139, b"1000"),
            implicit(0x00431239, b"1000"),
        ]
    )
    assert [e.vr for e in read_implicit(data)] == ["LO", "LO", "IS", "UN", "UN"]


@pytest.mark.parametrize(("signed", "vr"), [(b"\1\0", "SS"), (b"\0\0", "US"), (b"", "US")])
def test_pixel_representation_decides_the_sign(signed: bytes, vr: str) -> None:
    inner = implicit(0x00409096, implicit_item(implicit(0x00409211, b"\1\0")))
    data = implicit(0x00280103, signed) + implicit(0x00280106, b"\xff\xff") + inner
    _, smallest, mapping = read_implicit(data)
    assert smallest.vr == vr
    assert mapping.items is not None
    assert mapping.items[0][0].vr == vr


def implicit_item(content: bytes) -> bytes:
    return item(content)


def test_undefined_length_makes_a_sequence_of_any_implicit_element() -> None:
    """PS3.5 7.5.1."""
    data = implicit(0x00091001, item(implicit(0x00080100, b"X "), True) + sequence_end(), UNDEFINED)
    (element,) = read_implicit(data)
    assert element.vr == "SQ"
    assert element.items is not None
    assert [(e.vr, e.value) for e in element.items[0]] == [("SH", b"X ")]


# UN


def test_un_of_undefined_length_is_a_sequence_in_implicit_vr() -> None:
    """PS3.5 6.2.2."""
    content = item(implicit(0x00080100, b"X "), True) + item(implicit(0x00280010, b"\0\2")) + sequence_end()
    element, after = read(explicit(0x00091001, "UN", content, UNDEFINED) + explicit(0x00100010, "PN", b"A "))
    assert element.vr == "SQ"
    assert element.items is not None
    assert [[(e.vr, e.value) for e in one] for one in element.items] == [[("SH", b"X ")], [("US", b"\0\2")]]
    assert after.value == b"A "


def test_un_of_a_known_element_gets_its_vr() -> None:
    assert [(e.vr, e.value) for e in read(explicit(0x00280010, "UN", b"\0\2"))] == [("US", b"\0\2")]
    assert [(e.vr, e.value) for e in read(explicit(0x00100010, "UN", b"A^B "))] == [("PN", b"A^B ")]
    assert [e.vr for e in read(explicit(0x00091001, "UN", b"A^B "))] == ["UN"]


def test_un_stays_where_the_value_does_not_fit() -> None:
    assert [e.vr for e in read(explicit(0x00280010, "UN", b"\0\2\0"))] == ["UN"]


def test_un_of_a_known_sequence_is_read_if_it_is_one() -> None:
    value = item(implicit(0x00401001, b"RP "))
    (element,) = read(explicit(REQUEST, "UN", value))
    assert element.vr == "SQ"
    assert element.items is not None
    assert element.items[0][0].value == b"RP "
    (element,) = read(explicit(REQUEST, "UN", value[:-1]))
    assert (element.vr, element.value, element.items) == ("UN", value[:-1], None)


def test_un_in_big_endian_stays_closed() -> None:
    """What is inside is little endian: no reader of its items could tell."""
    content = item(implicit(0x00280010, b"\0\2")) + sequence_end()
    data = explicit(0x00091001, "UN", content, UNDEFINED, ">") + explicit(0x00280010, "US", b"\2\0", order=">")
    closed, after = read_elements(io.BytesIO(data), 0, len(data), implicit=False, little_endian=False)
    assert (closed.vr, closed.items, closed.length) == ("UN", None, len(content) - 8)
    assert after.value == b"\2\0"


# Encapsulated Pixel Data


def test_fragments_are_walked_over() -> None:
    data = CODE + fragments(b"one!", b"", b"three3", table=b"\0\0\0\0") + explicit(0xFFFCFFFC, "OB", b"\0\0")
    _, pixels, padding = read(data, encapsulated=True)
    assert pixels.encapsulated
    assert pixels.value is None
    assert data[pixels.offset + pixels.length :].startswith(sequence_end())
    assert data[pixels.offset :].startswith(tag_bytes(0xFFFEE000))
    assert padding.tag == 0xFFFCFFFC


@pytest.mark.parametrize("size", [0, 10, 5000, 30_000, 70_000])
def test_any_number_of_fragments_costs_few_bytes(size: int) -> None:
    data = fragments(*[bytes(size)] * 300)
    stream = Counting(data)
    (pixels,) = read_elements(stream, 0, len(data), implicit=False, little_endian=True, encapsulated=True)
    assert pixels.length == len(data) - 12 - 8
    assert stream.reads <= 310
    assert stream.bytes <= max(200_000, len(data) // 3 if size > 8192 else len(data) + 65536)


def test_an_icon_may_be_encapsulated_too() -> None:
    data = sequence(0x00880200, item(fragments(b"icon"), True)) + fragments(b"frame1")
    icon, pixels = read(data, encapsulated=True)
    assert icon.items is not None
    assert icon.items[0][0].encapsulated
    assert pixels.encapsulated


@pytest.mark.parametrize(
    "data",
    [
        fragments(b"one!")[:-8],
        fragments(b"one!")[:-1],
        fragments(b"one!")[:-8] + item_end(),
        fragments(b"one!")[:-8] + explicit(0xFFFCFFFC, "OB", b"\0\0"),
        fragments(b"one!")[:-4] + b"\1\0\0\0",
        explicit(0x7FE00010, "OB", item(b"x" * 20, True) + sequence_end(), UNDEFINED),
        explicit(0x7FE00010, "OB", tag_bytes(0xFFFEE000) + struct.pack("<I", 0xFFFFFFF0), UNDEFINED),
        explicit(0x7FE00010, "OB", tag_bytes(0xFFFEE000) + struct.pack("<I", 9) + b"12345678", UNDEFINED),
        explicit(0x7FE00010, "OB", b"", UNDEFINED),
        explicit(0x7FE00010, "OB", b"\xff\xd8\xff\xe0" * 10, UNDEFINED),
    ],
    ids=count(),
)
def test_broken_fragments_are_not_understood(data: bytes) -> None:
    """S-23, S-38: no delimiter, another one, one with a length, fragments beyond the file."""
    refused(data, encapsulated=True)


def test_fragments_need_a_syntax_that_has_them() -> None:
    refused(fragments(b"one!"), "not")


def test_the_number_of_fragments_is_bounded() -> None:
    with pytest.raises(NotUnderstood, match="too many fragments"):
        read(fragments(*[b""] * 1000), encapsulated=True, limits=Limits(fragments=999))
    read(fragments(*[b""] * 998), encapsulated=True, limits=Limits(fragments=999))


# Hostile files


def nested(depth: int, undefined: bool) -> bytes:
    if undefined:
        opening = explicit(REQUEST, "SQ", b"", UNDEFINED) + tag_bytes(0xFFFEE000) + struct.pack("<I", UNDEFINED)
        return opening * depth + (item_end() + sequence_end()) * depth
    data = b""
    for _ in range(depth):
        data = sequence(REQUEST, item(data))
    return data


@pytest.mark.parametrize("undefined", [False, True])
def test_nesting_is_bounded(undefined: bool) -> None:
    """S-22: 64 levels are read; 65, or 100 000, are refused without exhausting Python's stack."""
    (element,) = read(nested(DEPTH, undefined))
    levels = 0
    while element.items and element.items[0]:
        element = element.items[0][0]
        levels += 1
    assert levels == DEPTH - 1
    refused(nested(DEPTH + 1, undefined), "nested too deep")
    refused(nested(2000 if not undefined else 100_000, undefined), "nested too deep")


def test_nesting_in_un_is_bounded() -> None:
    """S-22, S-23."""
    opening = implicit(REQUEST, b"", UNDEFINED) + tag_bytes(0xFFFEE000) + struct.pack("<I", UNDEFINED)
    refused(
        explicit(0x00091001, "UN", item(b"")[:4] + struct.pack("<I", UNDEFINED) + opening * 5000, UNDEFINED), "deep"
    )


@pytest.mark.parametrize(
    "data",
    [
        explicit(REQUEST, "SQ", b"", UNDEFINED),
        explicit(REQUEST, "SQ", item(CODE), UNDEFINED),
        explicit(REQUEST, "SQ", item(CODE, True)[:-8], UNDEFINED),
        explicit(REQUEST, "SQ", item(CODE, True)[:-8] + sequence_end(), UNDEFINED),
        explicit(REQUEST, "SQ", item(CODE) + item_end(), UNDEFINED),
        explicit(REQUEST, "SQ", CODE + sequence_end(), UNDEFINED),
        sequence(REQUEST, item(CODE) + sequence_end()),
        sequence(REQUEST, item(CODE + item_end())),
        item_end() + CODE,
        CODE + sequence_end(),
        CODE + item(b""),
        explicit(REQUEST, "SQ", item(CODE, True)[:-4] + b"\1\0\0\0" + sequence_end(), UNDEFINED),
        explicit(REQUEST, "SQ", item(CODE) + sequence_end()[:-4] + b"\1\0\0\0", UNDEFINED),
        explicit(0x00091001, "UN", bytes(2000), UNDEFINED),
        explicit(0x00091001, "UN", item(implicit(0x00080100, b"X ")), UNDEFINED),
        explicit(0x00091001, "OB", item(b"X ") + sequence_end(), UNDEFINED),
        explicit(0x00091001, "UT", b"", UNDEFINED),
    ],
    ids=count(),
)
def test_delimiters_belong_in_their_places(data: bytes) -> None:
    """S-23: missing, astray, or with a length; undefined length where none is allowed."""
    refused(data)


def test_a_large_un_without_delimiter_costs_one_look() -> None:
    """S-23: the measured killer of other readers, 2 MB."""
    data = explicit(0x00091001, "UN", bytes(2_000_000), UNDEFINED)
    stream = Counting(data)
    with pytest.raises(NotUnderstood):
        read_elements(stream, 0, len(data), implicit=False, little_endian=True)
    assert stream.bytes <= 65536


@pytest.mark.parametrize(
    "data",
    [
        explicit(0x00080060, "CS", b"CT", 3),
        explicit(0x00080060, "CS", b"CT", 0xFFFF),
        explicit(0x00420011, "OB", b"CT", 0xFFFFFFFE),
        explicit(0x7FE00010, "OW", bytes(100), 101),
        explicit(0x00420011, "OB", b"CT")[:-3],
        explicit(0x00080060, "CS", b"CT")[:5],
        explicit(0x00420011, "OB")[:9],
        CODE + b"\0\0\0",
        sequence(REQUEST, item(explicit(0x00080060, "CS", b"CT", 3)), item(CODE)),
        sequence(REQUEST, tag_bytes(0xFFFEE000) + struct.pack("<I", 100) + CODE) + bytes(200),
        explicit(REQUEST, "SQ", item(CODE), len(item(CODE)) + 1),
        explicit(REQUEST, "SQ", item(CODE), len(item(CODE)) - 1) + b"\0",
        explicit(0x00080000, "UL", b"", 4),
    ],
    ids=count(),
)
def test_lengths_stay_within_what_holds_them(data: bytes) -> None:
    """S-24: a truncated last value, among others, is not understood."""
    refused(data)


def test_a_stream_shorter_than_said_is_not_understood() -> None:
    data = explicit(0x00080060, "CS", b"CT") + explicit(0x00100010, "PN", b"A^B ")
    for cut in range(len(data)):
        with pytest.raises(NotUnderstood):
            read_elements(io.BytesIO(data[:cut]), 0, len(data), implicit=False, little_endian=True)


def test_elements_are_counted_at_all_levels() -> None:
    """S-25: items, empty ones too, elements and group lengths."""
    limits = Limits(elements=1000)
    tiny = b"".join(explicit(0x00091000 + n, "LO") for n in range(1001))
    items = sequence(REQUEST, *[item()] * 1000)
    groups = b"".join(explicit(0x00090000 + (n << 16), "UL", bytes(4)) for n in range(1001))
    mixed = sequence(REQUEST, *[item(CODE)] * 500)
    for data in (tiny, items, groups, mixed):
        with pytest.raises(NotUnderstood, match="too many"):
            read(data, limits=limits)
    read(tiny[:-8], limits=limits)
    read(sequence(REQUEST, *[item(CODE)] * 499), limits=limits)


def test_a_failed_look_into_un_counts_too() -> None:
    """S-25: values that nearly are sequences buy no more elements than others."""
    bad = item(b"".join(implicit(0x00091000 + n) for n in range(100))) + b"x"
    data = b"".join(explicit(tag, "UN", bad) for tag in (0x00081110, 0x00081111, 0x00081115, 0x00081120))
    with pytest.raises(NotUnderstood, match="too many"):
        read(data, limits=Limits(elements=300))
    assert [e.vr for e in read(data)] == ["UN"] * 4


def test_a_million_of_anything_ends_at_the_budget() -> None:
    """S-25 at full size: the reader stops after 200 000, having read a part of the file only."""
    data = sequence(REQUEST, *[item()] * 1_000_000)
    stream = Counting(data)
    with pytest.raises(NotUnderstood, match="too many items"):
        read_elements(stream, 0, len(data), implicit=False, little_endian=True)
    assert stream.bytes < 200_000 * 8 + 200_000


@pytest.mark.parametrize(
    "data",
    [
        explicit(0x00080018, "UI", b"1.2\0") * 2,
        explicit(0x00080018, "UI", b"1.2\0") + CODE + explicit(0x00080018, "UI", b"1.2\0"),
        explicit(0x0020000D, "UI", b"1.2\0") + CODE + explicit(0x0020000D, "UI", b"1.3\0"),
        CODE + explicit(0x00080016, "UI", b"1.2\0") + explicit(0x00200010, "SH") + explicit(0x00080016, "UI", b"1.2\0"),
        CODE + explicit(0x00080016, "UI", b"1.2\0") + explicit(0x00200010, "SH") + explicit(0x00200010, "SH"),
        sequence(REQUEST, item(CODE + CODE)),
    ],
    ids=count(),
)
def test_no_element_is_there_twice(data: bytes) -> None:
    """S-40: two readers might disagree which one counts."""
    refused(data, "twice")


@pytest.mark.parametrize("tag", [0x00000010, 0x00000000, 0x00020010, 0x00020000, 0x0002FFFF])
def test_command_and_meta_groups_are_no_data_set(tag: int) -> None:
    """S-40."""
    element = explicit(tag, "UI", b"1.2\0")
    assert refused(element + CODE, "group").tag == tag
    assert refused(CODE + element, "group").tag == tag
    assert refused(sequence(REQUEST, item(element)), "group").tag == tag


@pytest.mark.parametrize("vr", [b"\0\0", b"  ", b"??", b"cs", b"4\0", b"C\xc3"])
def test_an_explicit_element_without_vr_is_not_understood(vr: bytes) -> None:
    """S-24, S-43: among them data sets in Implicit VR whose File Meta Information says otherwise."""
    refused(tag_bytes(0x00080060) + vr + b"\2\0CT" + bytes(20), "no VR")


def test_messages_hold_no_values() -> None:
    assert "DOE" not in str(refused(explicit(0x00100010, "PN", b"DOE^JOHN", 9)))
