"""A whole instance to Explicit VR Little Endian (PS3.5 A.2), element by element and frame by frame.

Nothing longer than one frame or one block is held in memory: the elements are where the header found them, and long
values are copied in blocks. What changes with the pixel data is corrected: Photometric Interpretation, Planar
Configuration, the offset tables; what was lost to compression stays marked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import BinaryIO

import numpy
from numpy.typing import NDArray

from gateway.dicom.codecs import DECODED
from gateway.dicom.description import PixelDescription
from gateway.dicom.elements import Element
from gateway.dicom.frames import FrameTable
from gateway.dicom.header import Header
from gateway.dicom.native import swap, word_size
from gateway.dicom.part10 import FileMeta, build_head
from gateway.dicom.pixels import frame_to_native
from gateway.dicom.uids import EXPLICIT_LITTLE_ENDIAN
from gateway.dicom.vr import SHORT_FORM, WIDTH
from gateway.errors import Damaged, NotAcceptable, NotRenderable

MAX_VALUE = 0xFFFFFFFE
"""Longest value of a defined length, in bytes (PS3.5 7.1.2)."""

_BLOCK = 1 << 20
_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<HH2sHI")
_UNDEFINED = 0xFFFFFFFF
_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, _UNDEFINED)
_ITEM_END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
_SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)

_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_PHOTOMETRIC, _PLANAR, _LOSSY = 0x00280004, 0x00280006, 0x00282110
_PIXEL_DATA, _TRAILING_PADDING = 0x7FE00010, 0xFFFCFFFC
_OFFSET_TABLES = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00003})
_PIXEL_VRS = frozenset({"OB", "OW", "OF", "OD"})
_SHORT_VRS = frozenset(SHORT_FORM.values())


def to_explicit_little_endian(source: BinaryIO, header: Header, out: BinaryIO) -> None:
    """Write the instance as a Part 10 file in Explicit VR Little Endian to `out`; neither stream is closed.

    `source` is the stored file and `header` its header, read with the whole structure checked. Compressed frames are
    decoded. The SOP Instance UID stays. When this raises, what `out` holds is of no use.

    Raises:
        NotAcceptable: the result cannot be written: a video, pixel data by reference (JPIP), frames that cannot be
            decoded or told apart, or more than 4 GiB - 2 bytes of pixel data.
        Damaged: `source` is shorter than its header says.
    """
    writer = _Writer(header.inflated or source, header.syntax.little_endian, out)
    pixel = header.pixel
    compressed = pixel is not None and header.syntax.encapsulated and pixel.length > 0
    frames = _Frames(writer.source, header) if compressed else None
    if pixel is None and header.find(0x00287FE0) is not None:
        raise NotAcceptable("the pixel data is elsewhere", stored=header.meta.transfer_syntax_uid)
    meta = FileMeta(
        header.meta.sop_class_uid or header.text(_SOP_CLASS) or "",
        header.meta.sop_uid or header.text(_SOP_INSTANCE) or "",
        EXPLICIT_LITTLE_ENDIAN,
    )
    out.write(build_head(meta))
    changed = frames.changes() if frames is not None else {}
    elements = {element.tag: element for element in header.elements if element.tag != _TRAILING_PADDING}
    if frames is not None:
        elements = {tag: element for tag, element in elements.items() if tag not in _OFFSET_TABLES}
    tags = elements.keys() | changed.keys()
    if pixel is not None:
        tags = tags | {pixel.tag}
    for tag in sorted(tags):
        if pixel is not None and tag == pixel.tag:
            if frames is not None:
                frames.write(writer)
            else:
                _write_native(writer, header, pixel)
        elif tag in changed:
            writer.short(tag, *changed[tag])
        else:
            writer.element(elements[tag])


class _Writer:
    """Writes data elements in Explicit VR Little Endian, with values taken from a file of either byte order."""

    def __init__(self, source: BinaryIO, little_endian: bool, out: BinaryIO) -> None:
        self.source = source
        self.out = out
        self._little_endian = little_endian

    def short(self, tag: int, vr: str, value: bytes) -> None:
        """A made-up element of a VR with a 16-bit length."""
        self.out.write(_SHORT.pack(tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value)

    def element(self, element: Element) -> None:
        """An element as it is in the file, sequences with all their items."""
        if element.items is not None:
            self._sequence(element.tag, element.items)
            return
        vr = element.vr
        size = element.length + element.length % 2
        if vr in _SHORT_VRS and size <= 0xFFFE:
            self.out.write(_SHORT.pack(element.tag >> 16, element.tag & 0xFFFF, vr.encode(), size))
        else:
            self.long(element.tag, "UN" if vr in _SHORT_VRS else vr, size)  # NEG-13, PS3.5 6.2.2 note 4
        self.value(element, 2 if vr == "AT" else WIDTH.get(vr, 1))  # a tag is two numbers (PS3.5 6.2)
        if element.length % 2:
            self.out.write(b"\0" if vr in WIDTH or vr in ("OB", "UN", "UI") else b" ")

    def long(self, tag: int, vr: str, length: int) -> None:
        """The head of an element with a 32-bit length."""
        self.out.write(_LONG.pack(tag >> 16, tag & 0xFFFF, vr.encode(), 0, length))

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
            block = _exactly(self.source, min(left, _BLOCK))  # a whole number of words, but for the last block
            left -= len(block)
            self.out.write(swap(block, word))

    def _sequence(self, tag: int, items: list[list[Element]]) -> None:
        self.long(tag, "SQ", _UNDEFINED)
        for item in items:
            self.out.write(_ITEM)
            # A compressed icon has no business in a native file, and is not worth a decoder.
            compressed = any(element.encapsulated for element in item)
            for element in sorted(item, key=_tag) if not compressed else ():
                self.element(element)
            self.out.write(_ITEM_END)
        self.out.write(_SEQUENCE_END)


def _tag(element: Element) -> int:
    return element.tag


def _exactly(source: BinaryIO, length: int) -> bytes:
    pieces: list[bytes] = []
    while length:
        piece = source.read(length)
        if not piece:
            raise Damaged("the stored object is shorter than its header says")
        pieces.append(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _write_native(writer: _Writer, header: Header, pixel: Element) -> None:
    """Native pixel data: the same cells, little endian."""
    vr = pixel.vr
    if vr not in _PIXEL_VRS:
        vr = "OW" if (header.number(0x00280100) or 8) > 8 else "OB"
    writer.long(pixel.tag, vr, pixel.length + pixel.length % 2)
    writer.value(pixel, word_size(header, pixel.tag, pixel.vr))
    if pixel.length % 2:
        writer.out.write(b"\0")


class _Frames:
    """The compressed frames of an instance, decoded one after the other."""

    def __init__(self, source: BinaryIO, header: Header) -> None:
        self._source = source
        self._uid = header.meta.transfer_syntax_uid
        if self._uid not in DECODED:
            raise self._refusal(f"transfer syntax {self._uid} cannot be decoded")
        try:
            self._description = PixelDescription.from_header(header)
        except NotRenderable as error:
            raise self._refusal(str(error)) from error
        table = FrameTable.read(source, header)
        if table is None:
            raise self._refusal("the frames cannot be told apart")
        self._table = table
        self._lossy_marked = header.text(_LOSSY) is not None
        self._lossy = header.syntax.lossy
        self._first = self._decode(1)
        bits = len(self._first[0]) * 8 if self._description.bits_allocated > 1 else self._pixels
        self._size = (bits * table.count + 7) // 8
        if self._size > MAX_VALUE - 1:
            raise self._refusal("the decoded pixel data is longer than 4 GiB")

    @property
    def _pixels(self) -> int:
        return self._description.rows * self._description.columns

    def _refusal(self, why: str) -> NotAcceptable:
        return NotAcceptable(why, stored=self._uid)

    def _decode(self, number: int) -> tuple[bytes, str]:
        offset, length = self._table.span(number)
        self._source.seek(offset)
        data = self._table.extract(number, _exactly(self._source, length))
        try:
            return frame_to_native(data, self._description, self._uid)
        except NotRenderable as error:
            raise self._refusal(str(error)) from error

    def changes(self) -> dict[int, tuple[str, bytes]]:
        """Elements that the decoded pixel data makes different."""
        photometric = self._first[1].encode("ascii")
        changes = {_PHOTOMETRIC: ("CS", photometric + b" " * (len(photometric) % 2))}
        if self._description.samples_per_pixel > 1:
            changes[_PLANAR] = ("US", b"\0\0")
        if self._lossy and not self._lossy_marked:
            changes[_LOSSY] = ("CS", b"01")
        return changes

    def write(self, writer: _Writer) -> None:
        """Pixel Data, one frame at a time."""
        vr = "OW" if self._description.bits_allocated > 8 else "OB"
        writer.long(_PIXEL_DATA, vr, self._size + self._size % 2)
        for piece in self._packed() if self._description.bits_allocated == 1 else self._frames():
            writer.out.write(piece)
        if self._size % 2:
            writer.out.write(b"\0")

    def _frames(self) -> Iterable[bytes]:
        for number in range(1, self._table.count + 1):
            data, photometric = self._first if number == 1 else self._decode(number)
            if photometric != self._first[1] or len(data) != len(self._first[0]):
                raise self._refusal("the frames differ in their encoding")
            yield data

    def _packed(self) -> Iterable[bytes]:
        """1-bit frames follow each other without a gap, whether or not they fill bytes (PS3.5 8.1.1)."""
        rest: NDArray[numpy.uint8] = numpy.zeros(0, numpy.uint8)
        for data in self._frames():
            bits = numpy.unpackbits(numpy.frombuffer(data, numpy.uint8), count=self._pixels, bitorder="little")
            bits = numpy.concatenate((rest, bits))
            whole = len(bits) // 8 * 8
            yield numpy.packbits(bits[:whole], bitorder="little").tobytes()
            rest = bits[whole:]
        yield numpy.packbits(rest, bitorder="little").tobytes()
