"""The header of a Part 10 file: everything but Pixel Data, with the whole file's structure checked."""

from __future__ import annotations

import weakref
from array import array
from dataclasses import replace
from io import BytesIO
from typing import BinaryIO

from gateway.dicom.deflate import inflate
from gateway.dicom.elements import PIXEL_DATA, PIXEL_TAGS, Element, ElementReader
from gateway.dicom.limits import DEFAULT, KEEP, Limits
from gateway.dicom.part10 import MAX_HEAD, FileMeta, parse_head
from gateway.dicom.uids import TransferSyntax, syntax
from gateway.dicom.view import ItemView, View
from gateway.errors import NotUnderstood

__all__ = ["MARGIN", "Header", "ItemView", "parse_header", "read_header"]

MARGIN = 12
"""`parse_header` tells where Pixel Data lies when it is given this many bytes beyond `Header.size`."""

_FIRST_READ = 65536
_NUMBER_OF_FRAMES = 0x00280008
_PIXEL_VRS = frozenset({"OB", "OW", "OF", "OD", "UN"})


class Header(View):
    """What a Part 10 file says of its instance.

    `elements` are those of the top level without Pixel Data. `pixel` is Pixel Data, Float or Double Float Pixel Data,
    if there is any; its value is never loaded. `dataset_offset` is where the data set starts in the file, and `size`
    the length of the file's head, up to the Pixel Data element; the whole file where there is none or the data set is
    deflated, or where elements that belong before Pixel Data follow it. All in bytes.

    `fragments`: offset and length of each fragment of encapsulated Pixel Data, flat, the Basic Offset Table first;
    None where it is not encapsulated or was not looked at (`parse_header`).

    `syntax` is what File Meta Information declares, but whether VRs are explicit is what the data set shows.

    Of a deflated data set, all offsets of elements are those in `inflated`, a stream that lives as long as this
    header; otherwise `inflated` is None and offsets are those in the file.
    """

    __slots__ = ("__weakref__", "dataset_offset", "fragments", "inflated", "meta", "pixel", "size", "syntax")

    def __init__(
        self,
        meta: FileMeta,
        transfer_syntax: TransferSyntax,
        elements: list[Element],
        pixel: Element | None,
        dataset_offset: int,
        size: int,
        fragments: array[int] | None = None,
        inflated: BinaryIO | None = None,
    ) -> None:
        super().__init__(elements, (), transfer_syntax.little_endian)
        self.meta = meta
        self.syntax = transfer_syntax
        self.pixel = pixel
        self.dataset_offset = dataset_offset
        self.size = size
        self.fragments = fragments
        self.inflated = inflated
        if inflated is not None:
            weakref.finalize(self, inflated.close)

    @property
    def is_encapsulated(self) -> bool:
        """Whether Pixel Data lies in fragments (PS3.5 A.4)."""
        return self.pixel is not None and self.pixel.encapsulated

    @property
    def number_of_frames(self) -> int:
        """Number of Frames; 1 where it is absent or unreadable and there is Pixel Data, else 0."""
        if self.pixel is None:
            return 0
        return max(self.number(_NUMBER_OF_FRAMES) or 1, 1)


def read_header(stream: BinaryIO, size: int, *, keep: int = KEEP, limits: Limits = DEFAULT) -> Header:
    """The header of the Part 10 file of `size` bytes in `stream`, with the structure of the whole file checked.

    Values longer than `keep` bytes are not loaded. Raises NotUnderstood, or SyntaxNotSupported.
    """
    stream.seek(0)
    head = stream.read(_FIRST_READ)
    parsed = parse_head(head)
    if parsed is None and size > len(head):
        head += stream.read(MAX_HEAD + _FIRST_READ - len(head))
        parsed = parse_head(head)
    if parsed is None:
        raise NotUnderstood("the file ends within File Meta Information")
    return _read(stream, head, parsed, size, keep, limits, to_pixels=False)


def parse_header(
    data: bytes,
    size: int | None = None,
    *,
    keep: int = KEEP,
    limits: Limits = DEFAULT,
    sequences: frozenset[int] | None = None,
) -> Header:
    """The header in the first `Header.size` bytes of a file, or `MARGIN` more so that `Header.pixel` is known as well.

    `size` is that of the whole file, if known. Pixel Data is not looked at unless `data` is the whole file; of
    undefined length, its `length` is then what is left of the file without the last delimiter (0 without `size`).
    `sequences` are the tags of those of the top level whose items are needed, None for all: reading the items takes
    most of the time.
    Raises NotUnderstood, or SyntaxNotSupported.
    """
    parsed = parse_head(data)
    if parsed is None:
        raise NotUnderstood("the file ends within File Meta Information")
    whole = size is not None and len(data) >= size
    header = _read(BytesIO(data), data, parsed, len(data), keep, limits, not whole, sequences)
    if size is not None and not whole and header.pixel is not None and header.pixel.encapsulated:
        header.pixel.length = max(size - header.pixel.offset - 8, 0)
    return header


def _read(
    stream: BinaryIO,
    head: bytes,
    parsed: tuple[FileMeta, int],
    size: int,
    keep: int,
    limits: Limits,
    to_pixels: bool,
    sequences: frozenset[int] | None = None,
) -> Header:
    meta, offset = parsed
    transfer_syntax = syntax(meta.transfer_syntax_uid)
    start, end, inflated = offset, size, None
    if transfer_syntax.deflated:
        stream = inflated = inflate(stream, offset, size, limits)
        head, start, to_pixels = b"", 0, False
        end = inflated.seek(0, 2)
    transfer_syntax = _as_written(transfer_syntax, stream, start)
    reader = ElementReader(
        stream,
        keep=keep,
        encapsulated=transfer_syntax.encapsulated,
        limits=limits,
        head=head,
        to_pixels=to_pixels,
        sequences=sequences,
    )
    try:
        elements = reader.read(
            start, end, implicit=not transfer_syntax.explicit, little_endian=transfer_syntax.little_endian
        )
    except NotUnderstood:
        if inflated is not None:
            inflated.close()
        raise
    pixel, header_size = _take_pixels(elements, transfer_syntax, size, inflated is not None)
    return Header(meta, transfer_syntax, elements, pixel, offset, header_size, reader.fragments, inflated)


def _as_written(declared: TransferSyntax, stream: BinaryIO, start: int) -> TransferSyntax:
    """The declared transfer syntax, with VRs explicit or implicit as the first element has them.

    Some programs write one and declare the other, and common readers go by what is written. Where a VR would stand,
    Implicit VR has the low half of a length that no first element reaches. Big endian is taken at its word.
    """
    if not declared.little_endian:
        return declared
    stream.seek(start)
    code = stream.read(6)[4:]
    return declared if len(code) < 2 else replace(declared, explicit=code.isalpha() and code.isupper())


def _take_pixels(
    elements: list[Element], transfer_syntax: TransferSyntax, size: int, deflated: bool
) -> tuple[Element | None, int]:
    """Takes Pixel Data out of `elements`; it, and the length of the head."""
    places = [place for place, element in enumerate(elements) if element.tag in PIXEL_TAGS]
    if not places:
        return None, size
    if len(places) > 1:
        raise NotUnderstood("there is more than one kind of Pixel Data", PIXEL_DATA)
    pixel = elements.pop(places[0])
    if pixel.vr not in _PIXEL_VRS:
        raise NotUnderstood("Pixel Data has a VR that it cannot have", pixel.tag)
    pixel.value = None  # small ones came along; a head alone has none
    if deflated or any(element.tag < pixel.tag for element in elements[places[0] :]):
        return pixel, size
    long_form = transfer_syntax.explicit
    return pixel, pixel.offset - (12 if long_form else 8)
