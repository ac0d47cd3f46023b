"""Data elements of a Part 10 file, found by a bounded reader that skips what is large (PS3.5 7)."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import BinaryIO

from gateway.dicom.forms import EXPLICIT, FORMS, IMPLICIT, Form
from gateway.dicom.limits import DEFAULT, KEEP, Limits
from gateway.dicom.vr import LONG_FORM, PUBLIC, SHORT_FORM, US_OR_SS, WIDTH, Creators, public_vr
from gateway.errors import NotUnderstood

PIXEL_DATA = 0x7FE00010
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})
"""Float Pixel Data, Double Float Pixel Data, Pixel Data."""

UNDEFINED = 0xFFFFFFFF
"""Undefined length (PS3.5 7.1.3)."""

_ITEM = 0xFFFEE000
_ITEM_END = 0xFFFEE00D
_SEQUENCE_END = 0xFFFEE0DD
_PIXEL_REPRESENTATION = 0x00280103
_NO_TAG = 1 << 32
_BLOCK = 65536


@dataclass(slots=True)
class Element:
    """One data element where it lies in the file.

    `tag` is (group << 16) | element; `vr` two letters, looked up for Implicit VR. `offset` and `length` are those of
    the value in the file, in bytes (`length` of an undefined-length value counts up to, without, its delimiter).
    `value` holds the raw bytes in the file's byte order, or None when they are longer than the reader was told to keep
    (then read them at `offset`), or when it is a sequence. `items` holds the items of a sequence, else None.
    `encapsulated` marks Pixel Data of undefined length: fragments (PS3.5 A.4).
    """

    tag: int
    vr: str
    offset: int
    length: int
    value: bytes | None = None
    items: list[list[Element]] | None = None
    encapsulated: bool = False


def read_elements(
    stream: BinaryIO,
    start: int,
    end: int,
    *,
    implicit: bool,
    little_endian: bool,
    keep: int = KEEP,
    encapsulated: bool = False,
    limits: Limits = DEFAULT,
) -> list[Element]:
    """The elements of the data set that fills `stream` from `start` to `end`, in bytes.

    Group lengths are left out. `encapsulated` allows Pixel Data in fragments. Raises NotUnderstood unless every length
    lies within its parent, every delimiter is in its place and no limit is passed.
    """
    return ElementReader(stream, keep=keep, encapsulated=encapsulated, limits=limits).read(
        start, end, implicit=implicit, little_endian=little_endian
    )


class ElementReader:
    """Reads one data set of `stream`.

    `fragments` then holds offset and length of each fragment of the top-level Pixel Data, flat and in file order, the
    Basic Offset Table first; None where Pixel Data is not encapsulated. `head` are bytes of the stream from offset 0
    on, read already. With `to_pixels` the reader looks at nothing beyond the header of the top-level Pixel Data
    element, whose length it believes (0 when undefined). Where `sequences` is given, those of the top level with other
    tags are passed over as far as their length is known: neither their items nor their value are there.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        keep: int = KEEP,
        encapsulated: bool = False,
        limits: Limits = DEFAULT,
        head: bytes = b"",
        to_pixels: bool = False,
        sequences: frozenset[int] | None = None,
    ) -> None:
        self.fragments: array[int] | None = None
        self._stream = stream
        self._keep = keep
        self._encapsulated = encapsulated
        self._depth = limits.depth
        self._left = limits.elements
        self._fragments_left = limits.fragments
        self._memory = limits.kept
        self._buffer = head
        self._base = 0
        self._halt = min(PIXEL_TAGS) if to_pixels else _NO_TAG
        self._sequences = sequences
        self._undecided: list[tuple[Element, list[Element]]] = []

    def read(self, start: int, end: int, *, implicit: bool, little_endian: bool) -> list[Element]:
        """The elements between `start` and `end`; see `read_elements`."""
        form = FORMS[implicit, little_endian]
        elements, _ = self._data_set(start, end, False, form, 0)
        self._decide(elements, form)
        return elements

    def _data_set(self, at: int, end: int, undefined: bool, form: Form, depth: int) -> tuple[list[Element], int]:
        """Elements of a data set or item, and where it ends (after the delimiter of an item of undefined length)."""
        elements: list[Element] = []
        append = elements.append
        header, implicit, keep = form.header, form.implicit, self._keep
        halt = _NO_TAG if depth else self._halt
        wanted, passing = self._sequences or frozenset(), self._sequences is not None and not depth
        buffer, base = self._buffer, self._base
        filled = base + len(buffer)
        room = self._left
        memory = self._memory
        last = 0x0002FFFF  # groups 0000 and 0002 are no part of a data set
        seen: set[int] = set()
        creators = Creators(elements)
        try:
            while at < end:
                if at + 12 > filled:
                    if at + 8 > end:
                        raise NotUnderstood("an element is cut off")
                    buffer = self._fill(at, 8)
                    base, filled = at, at + len(buffer)
                if implicit:
                    group, number, length = header(buffer, at - base)
                    tag = group << 16 | number
                    start = at + 8
                    vr = ""
                else:
                    group, number, code, length = header(buffer, at - base)
                    tag = group << 16 | number
                    start = at + 8
                    vr = SHORT_FORM.get(code, "")
                if not last < tag < 0xFFFE0000:
                    if tag == _ITEM_END and undefined:
                        self._left, self._memory = room - len(elements), memory
                        if form.item(buffer, at - base)[2]:
                            raise NotUnderstood("an Item Delimitation has a length", tag)
                        return elements, start
                    if tag >= 0xFFFE0000 and group == 0xFFFE:
                        raise NotUnderstood("a delimiter is out of place", tag)
                    if group in (0, 2):
                        raise NotUnderstood("an element of group 0000 or 0002 stands in the data set", tag)
                    if last != UNDEFINED:
                        seen = {element.tag for element in elements}
                        last = UNDEFINED
                    if tag in seen:
                        raise NotUnderstood("an element is there twice", tag)
                    seen.add(tag)
                else:
                    last = tag
                if not vr:
                    if implicit:
                        vr = PUBLIC.get(tag) or (creators.vr(tag) if group & 1 else public_vr(tag))
                    else:
                        vr = LONG_FORM.get(code, "")
                        if not vr:
                            if not (code.isalpha() and code.isupper()):
                                raise NotUnderstood("an element has no VR", tag)
                            vr = "UN"  # a VR of the future: long form (PS3.5 6.2)
                        start = at + 12
                        if start > end:
                            raise NotUnderstood("an element is cut off", tag)
                        if start > filled:
                            buffer = self._fill(at, 12)
                            base, filled = at, at + len(buffer)
                        (length,) = form.long(buffer, start - 4 - base)
                    if tag >= halt and tag in PIXEL_TAGS:
                        append(_pixels_ahead(tag, vr, start, length, implicit))
                        break
                    if passing and vr == "SQ" and length != UNDEFINED and tag not in wanted:
                        at = start + length
                        if at > end:
                            raise NotUnderstood("a value is longer than what holds it", tag)
                        append(Element(tag, vr, start, length))
                        continue
                    if number and (length == UNDEFINED or vr == "SQ" or (vr == "UN" and not implicit)):
                        self._left, self._memory = room - len(elements), memory
                        element, at = self._nested(tag, vr, start, length, end, form, depth, creators)
                        append(element)
                        if element.vr == US_OR_SS:
                            self._undecided.append((element, elements))
                        room = self._left + len(elements) - 1
                        memory = self._memory
                        buffer, base = self._buffer, self._base
                        filled = base + len(buffer)
                        if len(elements) > room:
                            raise NotUnderstood("the data set has too many elements")
                        continue
                at = start + length
                if at > end:
                    raise NotUnderstood("a value is longer than what holds it", tag)
                if not number:  # group length, retired (PS3.5 7.2)
                    room -= 1
                    if room < len(elements):
                        raise NotUnderstood("the data set has too many elements")
                    continue
                value = None
                if length <= keep and length <= memory:
                    if at > filled:
                        buffer = self._fill(start, length)
                        base, filled = start, start + len(buffer)
                    value = buffer[start - base : at - base]
                    memory -= length
                element = Element(tag, vr, start, length, value)
                if vr == US_OR_SS:
                    self._undecided.append((element, elements))
                append(element)
                if len(elements) > room:
                    raise NotUnderstood("the data set has too many elements")
        except NotUnderstood:
            self._left = min(self._left, room - len(elements))  # counts, should the caller try otherwise
            raise
        if undefined:
            raise NotUnderstood("an item of undefined length has no delimiter")
        self._left, self._memory = room - len(elements), memory
        return elements, at

    def _nested(
        self, tag: int, vr: str, start: int, length: int, end: int, form: Form, depth: int, creators: Creators
    ) -> tuple[Element, int]:
        """An element that is a sequence, may be one, or has undefined length; and where the next one starts."""
        if length == UNDEFINED:
            if tag == PIXEL_DATA and vr != "SQ":
                return self._pixel_fragments(tag, vr, start, end, form, depth)
            if not (form.implicit or vr in ("SQ", "UN")):
                raise NotUnderstood("undefined length where none is allowed", tag)
            inner = form if vr == "SQ" else IMPLICIT  # PS3.5 6.2.2
            items, stop, at = self._sequence(start, end, True, inner, depth + 1)
            if inner.little_endian != form.little_endian:
                return Element(tag, "UN", start, stop - start, None), at  # readers of its items would mistake the order
            return Element(tag, "SQ", start, stop - start, None, items), at
        stop = start + length
        if stop > end:
            raise NotUnderstood("a value is longer than what holds it", tag)
        if vr == "SQ":
            items, _, _ = self._sequence(start, stop, False, form, depth + 1)
            return Element(tag, vr, start, length, None, items), stop
        if form is EXPLICIT:
            vr = public_vr(tag) if not tag & 0x10000 else creators.vr(tag)
            if vr == "SQ":
                items_or_none = self._sequence_if_any(start, stop, depth + 1)
                if items_or_none is not None:
                    return Element(tag, vr, start, length, None, items_or_none), stop
                vr = "UN"
            elif not _fits(vr, length):
                vr = "UN"
        return Element(tag, vr, start, length, self._value(start, length)), stop

    def _sequence(
        self, at: int, end: int, undefined: bool, form: Form, depth: int
    ) -> tuple[list[list[Element]], int, int]:
        """Items of a sequence, where its value ends, and where the next element starts (PS3.5 7.5)."""
        if depth > self._depth:
            raise NotUnderstood("sequences are nested too deep")
        items: list[list[Element]] = []
        while True:
            if at == end:
                if undefined:
                    raise NotUnderstood("a sequence of undefined length has no delimiter")
                return items, at, at
            tag, length = self._item(at, end, form)
            at += 8
            if tag == _SEQUENCE_END and undefined:
                if length:
                    raise NotUnderstood("a Sequence Delimitation has a length", tag)
                return items, at - 8, at
            if tag != _ITEM:
                raise NotUnderstood("something other than an item stands in a sequence", tag)
            self._left -= 1
            if self._left < 0:
                raise NotUnderstood("the data set has too many items")
            if length == UNDEFINED:
                elements, at = self._data_set(at, end, True, form, depth)
            elif at + length > end:
                raise NotUnderstood("an item is longer than what holds it", tag)
            else:
                elements, at = self._data_set(at, at + length, False, form, depth)
            items.append(elements)

    def _sequence_if_any(self, start: int, stop: int, depth: int) -> list[list[Element]] | None:
        """Items of a value that the file calls UN and the dictionary a sequence, if it is one (PS3.5 6.2.2)."""
        undecided = len(self._undecided)
        memory = self._memory
        try:
            return self._sequence(start, stop, False, IMPLICIT, depth)[0]
        except NotUnderstood:
            if self._left <= 0:
                raise
            del self._undecided[undecided:]
            self._memory = memory
            return None

    def _pixel_fragments(self, tag: int, vr: str, start: int, end: int, form: Form, depth: int) -> tuple[Element, int]:
        """Encapsulated Pixel Data (PS3.5 A.4): one item after the other up to the Sequence Delimitation."""
        if not self._encapsulated:
            raise NotUnderstood("Pixel Data is encapsulated in a transfer syntax that is not", tag)
        found = array("Q")
        item = form.item
        at = start
        while True:
            buffer, base = self._buffer, self._base
            # Headers that lie within the buffer; small fragments come many to a buffer
            last = base + len(buffer) - 8
            length = 0
            while base <= at <= last and at + 8 <= end:
                group, number, length = item(buffer, at - base)
                if group != 0xFFFE or number != 0xE000 or at + 8 + length > end or length == UNDEFINED:
                    break
                found.append(at + 8)
                found.append(length)
                at += 8 + length
            if len(found) > 2 * self._fragments_left:
                raise NotUnderstood("Pixel Data has too many fragments", tag)
            name, length = self._item(at, end, form, small=length < 8192)
            if name == _SEQUENCE_END and not length:
                break
            if name != _ITEM or length == UNDEFINED:
                raise NotUnderstood("something other than a fragment stands in Pixel Data", name)
            if at + 8 + length > end:
                raise NotUnderstood("a fragment is longer than the file", name)
        self._fragments_left -= len(found) // 2
        if not depth:
            self.fragments = found
        return Element(tag, _fragments_vr(vr, form.implicit), start, at - start, None, None, True), at + 8

    def _item(self, at: int, end: int, form: Form, small: bool = True) -> tuple[int, int]:
        """Tag and length of the item or delimiter at `at`."""
        if at + 8 > end:
            raise NotUnderstood("a delimiter is missing")
        place = at - self._base
        if not 0 <= place <= len(self._buffer) - 8:
            self._fill(at, 8, _BLOCK if small else 8)
            place = 0
        group, number, length = form.item(self._buffer, place)
        return group << 16 | number, length

    def _value(self, start: int, length: int) -> bytes | None:
        if length > self._keep or length > self._memory:
            return None
        self._memory -= length
        place = start - self._base
        if not 0 <= place <= len(self._buffer) - length:
            self._fill(start, length)
            place = 0
        return self._buffer[place : place + length]

    def _fill(self, at: int, needed: int, block: int = _BLOCK) -> bytes:
        """Moves the buffer to `at`; it then holds `needed` bytes at least."""
        self._stream.seek(at)
        self._buffer = self._stream.read(max(needed, block))
        self._base = at
        if len(self._buffer) < needed:
            raise NotUnderstood("the file is shorter than it says")
        return self._buffer

    def _decide(self, top: list[Element], form: Form) -> None:
        """US or SS, as Pixel Representation of the same data set, else of the whole, says."""
        signed: dict[int, bool] = {}
        overall = _signed(top, form, False)
        for element, elements in self._undecided:
            if id(elements) not in signed:
                signed[id(elements)] = _signed(elements, form, overall)
            element.vr = "SS" if signed[id(elements)] else "US"
        self._undecided.clear()


def _fits(vr: str, length: int) -> bool:
    """Whether a value of `length` bytes can be one of `vr`."""
    return length % WIDTH.get("US" if vr == US_OR_SS else vr, 1) == 0


def _fragments_vr(vr: str, implicit: bool) -> str:
    """The VR of Pixel Data in fragments: OB (PS3.5 A.4), unless the file says another."""
    return "OB" if implicit or vr == "UN" else vr


def _pixels_ahead(tag: int, vr: str, start: int, length: int, implicit: bool) -> Element:
    """Pixel Data of which only the header is read: the same as when all of it is."""
    if length == UNDEFINED:
        return Element(tag, _fragments_vr(vr, implicit), start, 0, encapsulated=True)
    known = public_vr(tag)
    return Element(tag, known if vr == "UN" and _fits(known, length) else vr, start, length)


def _signed(elements: list[Element], form: Form, otherwise: bool) -> bool:
    for element in elements:
        if element.tag == _PIXEL_REPRESENTATION and element.value:
            return int.from_bytes(element.value, "little" if form.little_endian else "big") == 1
    return otherwise
