"""Elements of the top level put into a data set, everything else left byte for byte as it is (PS3.5 7).

Nothing is decoded and nothing is held in memory but what is put in; values may be as long as they like.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

from gateway.dicom.element_writer import Deflating, Sink, exactly
from gateway.dicom.elements import UNDEFINED
from gateway.dicom.header import Header
from gateway.dicom.vr import LONG_FORM, SHORT_FORM
from gateway.errors import NotUnderstood

_BLOCK = 1 << 20
_ITEM = 0xFFFEE000


@dataclass(frozen=True, slots=True)
class _Place:
    """An element in the data set: head from `start`, value from `value` to `value_end`, next one from `end`.

    `code` is the VR that is written there, b"" for Implicit VR.
    """

    start: int
    value: int
    value_end: int
    end: int
    code: bytes


Piece = bytes | tuple[int, int]
"""Bytes to write, or from where to where they are copied."""


class Editor:
    """Edits the data set of the Part 10 file `source`, whose `header` was read with the whole structure checked.

    Elements are written in the form that the data set has: VRs explicit or implicit, its byte order.
    """

    def __init__(self, source: BinaryIO, header: Header, size: int) -> None:
        self._source = header.inflated or source
        self._deflated = header.inflated is not None
        self._explicit = header.syntax.explicit
        self._order = "<" if header.little_endian else ">"
        self._begin = 0 if self._deflated else header.dataset_offset
        self._end = self._source.seek(0, 2) if self._deflated else size
        elements = [*header.elements, header.pixel] if header.pixel is not None else header.elements
        ordered = sorted(elements, key=lambda element: element.offset)
        self._places = {one.tag: self._place(one.tag, one.offset, one.length) for one in ordered}
        self._put: dict[int, list[Piece]] = {}

    def put(self, tag: int, vr: str, value: bytes) -> None:
        """Give the element `tag` this value, of even length, in place of the one that it has, if any."""
        self._put[tag] = [self.encoded(tag, vr, value)]

    def append_item(self, tag: int, elements: Iterable[bytes]) -> None:
        """Add an item of these encoded elements to the sequence `tag`. Raises NotUnderstood where that is none."""
        content = b"".join(elements)
        item = struct.pack(self._order + "HHI", _ITEM >> 16, _ITEM & 0xFFFF, len(content)) + content
        place = self._places.get(tag)
        if place is None:
            self._put[tag] = [self.encoded(tag, "SQ", item)]
            return
        if place.code not in (b"SQ", b""):
            raise NotUnderstood("this element is no sequence here", tag)
        head = self._head(tag, "SQ", place.value_end - place.value + len(item))
        self._put[tag] = [head, (place.value, place.value_end), item]

    def encoded(self, tag: int, vr: str, value: bytes) -> bytes:
        """An element in the form of this data set."""
        return self._head(tag, vr, len(value)) + value

    def sequence(self, tag: int, elements: Iterable[bytes]) -> bytes:
        """A sequence of one item, which holds these encoded elements."""
        content = b"".join(elements)
        item = struct.pack(self._order + "HHI", _ITEM >> 16, _ITEM & 0xFFFF, len(content)) + content
        return self.encoded(tag, "SQ", item)

    def as_it_is(self, tag: int) -> bytes | None:
        """The element `tag`, head and value, as the data set has it; None where it has none."""
        place = self._places.get(tag)
        if place is None:
            return None
        self._source.seek(place.start)
        return exactly(self._source, place.end - place.start)

    def write(self, out: Sink) -> None:
        """Write the data set with what was put in; without the lengths of groups that changed (PS3.5 7.2)."""
        deflating = Deflating(out) if self._deflated else None
        sink: Sink = deflating or out
        for piece in self._pieces():
            if isinstance(piece, bytes):
                sink.write(piece)
            else:
                self._copy(*piece, sink)
        if deflating is not None:
            deflating.finish()

    def _pieces(self) -> Iterable[Piece]:
        groups = {tag >> 16 for tag in self._put}
        waiting = sorted(self._put)
        at = self._begin
        for tag, place in self._places.items():
            while waiting and waiting[0] < tag:
                yield from self._put[waiting.pop(0)]
            yield from self._gap(at, place.start, groups)
            if tag in self._put:
                waiting.remove(tag)
                yield from self._put[tag]
            else:
                yield place.start, place.end
            at = place.end
        for tag in waiting:
            yield from self._put[tag]
        yield from self._gap(at, self._end, groups)

    def _gap(self, start: int, end: int, groups: set[int]) -> Iterable[Piece]:
        """What the reader passed over: group lengths."""
        while start < end:
            self._source.seek(start)
            (group,) = struct.unpack(self._order + "H", exactly(self._source, 2))
            self._source.seek(start + (6 if self._explicit else 4))
            kind = self._order + ("H" if self._explicit else "I")
            (length,) = struct.unpack(kind, exactly(self._source, struct.calcsize(kind)))
            stop = start + 8 + length
            if stop > end:
                raise NotUnderstood("an element has a form that cannot be edited", group << 16)
            if group not in groups:
                yield start, stop
            start = stop

    def _place(self, tag: int, value: int, length: int) -> _Place:
        back = 12 if self._explicit and value - self._begin >= 12 else 8
        self._source.seek(value - back)
        head = exactly(self._source, back)
        name = struct.pack(self._order + "HH", tag >> 16, tag & 0xFFFF)
        if not self._explicit:
            code, start = b"", value - 8
            (written,) = struct.unpack(self._order + "I", head[-4:])
        elif head[-8:-4] == name and head[-4:-2] in SHORT_FORM:
            code, start = head[-4:-2], value - 8
            (written,) = struct.unpack(self._order + "H", head[-2:])
        else:
            code, start = head[4:6], value - 12
            (written,) = struct.unpack(self._order + "I", head[-4:])
        end = value + length
        return _Place(start, value, end, end + 8 if written == UNDEFINED else end, code)

    def _head(self, tag: int, vr: str, length: int) -> bytes:
        group, number = tag >> 16, tag & 0xFFFF
        if not self._explicit:
            return struct.pack(self._order + "HHI", group, number, length)
        if vr.encode() in LONG_FORM:
            return struct.pack(self._order + "HH2sHI", group, number, vr.encode(), 0, length)
        return struct.pack(self._order + "HH2sH", group, number, vr.encode(), length)

    def _copy(self, start: int, end: int, out: Sink) -> None:
        self._source.seek(start)
        while start < end:
            block = exactly(self._source, min(_BLOCK, end - start))
            start += len(block)
            out.write(block)
