"""Writes the data elements of an instance anew: Explicit or Implicit VR Little Endian, from a file of any syntax."""

from __future__ import annotations

import struct
import zlib
from typing import BinaryIO, Protocol

from gateway.dicom.compress import DEFLATE_LEVEL
from gateway.dicom.elements import Element
from gateway.dicom.native import swap
from gateway.dicom.vr import SHORT_FORM, WIDTH
from gateway.errors import Damaged

_BLOCK = 1 << 20
_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<HH2sHI")
_BARE = struct.Struct("<HHI")
_UNDEFINED = 0xFFFFFFFF
_ITEM = _BARE.pack(0xFFFE, 0xE000, _UNDEFINED)
_ITEM_END = _BARE.pack(0xFFFE, 0xE00D, 0)
_SEQUENCE_END = _BARE.pack(0xFFFE, 0xE0DD, 0)
_SHORT_VRS = frozenset(SHORT_FORM.values())


class Sink(Protocol):
    """What takes the bytes."""

    def write(self, data: bytes, /) -> object: ...


class Deflating:
    """A sink that deflates into another (PS3.5 A.5)."""

    def __init__(self, out: Sink) -> None:
        self._out = out
        self._machine = zlib.compressobj(DEFLATE_LEVEL, wbits=-zlib.MAX_WBITS)
        self._length = 0

    def write(self, data: bytes, /) -> None:
        """Take these bytes."""
        self._put(self._machine.compress(data))

    def finish(self) -> None:
        """Write what is held back, padded to an even length."""
        self._put(self._machine.flush())
        self._put(b"\0" * (self._length % 2))

    def _put(self, data: bytes) -> None:
        self._length += len(data)
        self._out.write(data)


class ElementWriter:
    """Writes data elements, with values taken from `source`, a data set or file of either byte order.

    Nothing longer than a block is held in memory.
    """

    def __init__(self, source: BinaryIO, little_endian: bool, out: Sink, *, implicit: bool = False) -> None:
        self.source = source
        self.out = out
        self._little_endian = little_endian
        self._implicit = implicit

    def short(self, tag: int, vr: str, value: bytes) -> None:
        """A made-up element of a VR with a 16-bit length."""
        self.out.write(self._head(tag, vr, len(value)) + value)

    def element(self, element: Element) -> None:
        """An element as it is in the file, sequences with all their items."""
        if element.items is not None:
            self._sequence(element.tag, element.items)
            return
        vr = element.vr
        self.head(element.tag, vr, element.length + element.length % 2)
        self.value(element, 2 if vr == "AT" else WIDTH.get(vr, 1))  # a tag is two numbers (PS3.5 6.2)
        if element.length % 2:
            self.out.write(b"\0" if vr in WIDTH or vr in ("OB", "UN", "UI") else b" ")

    def head(self, tag: int, vr: str, length: int) -> None:
        """The head of an element whose value is written next."""
        self.out.write(self._head(tag, vr, length))

    def value(self, element: Element, word: int) -> None:
        """A value, swapped in words of that many bytes where the file is big endian."""
        if self._little_endian:
            word = 1
        if element.value is not None:
            self.out.write(swap(element.value, word))
            return
        self.source.seek(element.offset)
        left = element.length
        while left:
            block = exactly(self.source, min(left, _BLOCK))  # a whole number of words, but for the last block
            left -= len(block)
            self.out.write(swap(block, word))

    def _head(self, tag: int, vr: str, length: int) -> bytes:
        group, number = tag >> 16, tag & 0xFFFF
        if self._implicit:
            return _BARE.pack(group, number, length)
        if vr in _SHORT_VRS and length <= 0xFFFE:
            return _SHORT.pack(group, number, vr.encode(), length)
        # NEG-13: a value too long for its VR is UN (PS3.5 6.2.2 note 4)
        return _LONG.pack(group, number, b"UN" if vr in _SHORT_VRS else vr.encode(), 0, length)

    def _sequence(self, tag: int, items: list[list[Element]]) -> None:
        self.head(tag, "SQ", _UNDEFINED)
        for item in items:
            self.out.write(_ITEM)
            # A compressed icon has no business beside pixels in another form, and is not worth a decoder.
            compressed = any(element.encapsulated for element in item)
            for element in sorted(item, key=_tag) if not compressed else ():
                self.element(element)
            self.out.write(_ITEM_END)
        self.out.write(_SEQUENCE_END)


def exactly(source: BinaryIO, length: int) -> bytes:
    """The next `length` bytes. Raises Damaged when the file ends before them."""
    pieces: list[bytes] = []
    while length:
        piece = source.read(length)
        if not piece:
            raise Damaged("the stored object is shorter than its header says")
        pieces.append(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _tag(element: Element) -> int:
    return element.tag
