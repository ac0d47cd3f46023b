"""A whole instance to another transfer syntax, element by element and frame by frame (PS3.5 A).

Nothing longer than one frame or one block is held in memory: the elements are where the header found them, and long
values are copied in blocks. What changes with the pixel data is corrected: Photometric Interpretation, Planar
Configuration, High Bit, the offset tables, Lossy Image Compression and what belongs to it; what was lost to compression
stays marked. The SOP Instance UID stays, lossy compression or not: what is made is a representation of the instance
for one answer (PS3.18 10.4), not a new instance, and is never stored as one.
"""

from __future__ import annotations

from typing import BinaryIO

from gateway.dicom.description import PixelDescription
from gateway.dicom.element_writer import Deflating, ElementWriter
from gateway.dicom.elements import Element
from gateway.dicom.encoders import ENCODERS, available
from gateway.dicom.fragment_writer import BASIC_LIMIT
from gateway.dicom.header import Header
from gateway.dicom.native import word_size
from gateway.dicom.part10 import FileMeta, build_head
from gateway.dicom.recode import LOSSY_RATIO, Recoded
from gateway.dicom.uids import DEFLATED_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN
from gateway.errors import NotAcceptable, NotRenderable

NATIVE = frozenset({EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, DEFLATED_LITTLE_ENDIAN})
"""Native transfer syntaxes that can be written."""

_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_PROVIDER_URL, _SEGMENTATION_TYPE, _TRAILING_PADDING = 0x00287FE0, 0x00620001, 0xFFFCFFFC
_OFFSET_TABLES = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00003})
_PIXEL_VRS = frozenset({"OB", "OW", "OF", "OD"})


def offered(header: Header) -> tuple[str, ...]:
    """The transfer syntaxes that the instance can be had in: as `encoders.available`, less what its data set forbids.

    Segments are never offered with loss: their values are names. Overlays of old that lie in unused bits of the pixels
    are lost by every codec that knows Bits Stored.
    """
    stored = header.meta.transfer_syntax_uid
    if header.pixel is None:
        return (stored,) if header.find(_PROVIDER_URL) is not None else available(None, stored)
    try:
        found = available(PixelDescription.from_header(header), stored)
    except NotRenderable:  # no frames can be made out, but native values can be copied
        native = not header.syntax.encapsulated
        return tuple(dict.fromkeys([stored, EXPLICIT_LITTLE_ENDIAN, DEFLATED_LITTLE_ENDIAN])) if native else (stored,)
    refused = {uid for uid, encoder in ENCODERS.items() if encoder.method} if header.find(_SEGMENTATION_TYPE) else set()
    if _has_embedded_overlay(header):
        refused = set(ENCODERS)
    return tuple(uid for uid in found if uid not in refused or uid == stored)


def _has_embedded_overlay(header: Header) -> bool:
    """Overlays in the bits above or below the stored ones (PS3.5 8.1.2, retired)."""
    groups = range(0x60000000, 0x60200000, 0x20000)
    return any((header.number(group | 0x0100) or 1) > 1 and not header.find(group | 0x3000) for group in groups)


def transcode(
    source: BinaryIO,
    header: Header,
    out: BinaryIO,
    syntax_uid: str = EXPLICIT_LITTLE_ENDIAN,
    *,
    basic_limit: int = BASIC_LIMIT,
) -> None:
    """Write the instance as a Part 10 file in the transfer syntax `syntax_uid` to `out`; neither stream is closed.

    `source` is the stored file and `header` its header, read with the whole structure checked. `out` is seekable unless
    a native syntax is written. When this raises, what `out` holds is of no use. With more than `basic_limit` bytes of
    native pixels, an Extended Offset Table takes the place of the Basic one.

    Pixels that were compressed with loss are only compressed so again where `syntax_uid` asks for that by name. A step
    of lossy compression adds its method and ratio to those that are there (PS3.3 C.7.6.1.1.5).

    Raises:
        NotAcceptable: the result cannot be written: a video, pixel data by reference (JPIP), frames that cannot be
            decoded or told apart, pixels that the syntax has no room for, or more than 4 GiB - 2 bytes of native ones.
        Damaged: `source` is shorter than its header says.
    """
    stored = header.meta.transfer_syntax_uid
    pixel = header.pixel
    if header.find(_PROVIDER_URL) is not None and pixel is None:
        raise NotAcceptable("the pixel data is elsewhere", stored=stored)
    if syntax_uid not in NATIVE and syntax_uid not in offered(header):
        raise NotAcceptable(f"the instance cannot be had in transfer syntax {syntax_uid}", offered(header), stored)
    data_set = header.inflated or source
    compressed = pixel is not None and header.syntax.encapsulated and pixel.length > 0
    frames = None
    if compressed or syntax_uid not in NATIVE:
        frames = Recoded(data_set, header, syntax_uid, basic_limit)
    meta = FileMeta(
        header.meta.sop_class_uid or header.text(_SOP_CLASS) or "",
        header.meta.sop_uid or header.text(_SOP_INSTANCE) or "",
        syntax_uid,
    )
    out.write(build_head(meta))
    deflating = Deflating(out) if syntax_uid == DEFLATED_LITTLE_ENDIAN else None
    implicit = syntax_uid == IMPLICIT_LITTLE_ENDIAN
    writer = ElementWriter(data_set, header.syntax.little_endian, deflating or out, implicit=implicit)
    _write(writer, header, frames, out)
    if deflating is not None:
        deflating.finish()


def _write(writer: ElementWriter, header: Header, frames: Recoded | None, out: BinaryIO) -> None:
    pixel = header.pixel
    changes = frames.changes() if frames is not None else {}
    elements = {element.tag: element for element in header.elements if element.tag != _TRAILING_PADDING}
    if frames is not None:
        elements = {tag: element for tag, element in elements.items() if tag not in _OFFSET_TABLES}
    tags = elements.keys() | changes.keys()
    if pixel is not None:
        tags = tags | {pixel.tag}
    ratio_end = 0
    for tag in sorted(tags):
        if pixel is not None and tag == pixel.tag:
            if frames is not None:
                frames.write(writer, out, ratio_end)
            else:
                _write_native(writer, header, pixel)
        elif tag in changes:
            writer.short(tag, *changes[tag])
            ratio_end = out.tell() if tag == LOSSY_RATIO else ratio_end
        else:
            writer.element(elements[tag])


def _write_native(writer: ElementWriter, header: Header, pixel: Element) -> None:
    """Native pixel data: the same cells, little endian."""
    vr = pixel.vr
    if vr not in _PIXEL_VRS:
        vr = "OW" if (header.number(0x00280100) or 8) > 8 else "OB"
    writer.head(pixel.tag, vr, pixel.length + pixel.length % 2)
    writer.value(pixel, word_size(header, pixel.tag, pixel.vr))
    if pixel.length % 2:
        writer.out.write(b"\0")
