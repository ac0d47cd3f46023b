"""A data set from metadata and bulk data: the instance of a store request as Explicit VR Little Endian (PS3.18 10.5).

Written as a stream: bulk data are copied in blocks from where they were spooled, a transformed picture goes through
frame by frame. All that can be found wrong beforehand is found before the first byte is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Protocol

from gateway.dicom.elements import PIXEL_DATA
from gateway.dicom.model import SOP_CLASS_UID, SOP_INSTANCE_UID, Model, ModelElement, bulk_uris, number, text
from gateway.dicom.model.bulk_parts import TRANSFORMED, BulkPart, pieces
from gateway.dicom.model.image_description import (
    BITS_ALLOCATED,
    PLANAR,
    Described,
    check_frames,
    complete,
    set_number,
)
from gateway.dicom.model.pixels import Encapsulated
from gateway.dicom.model.values import check_width
from gateway.dicom.part10 import FileMeta
from gateway.dicom.uids import EXPLICIT_LITTLE_ENDIAN, is_uid
from gateway.dicom.view import SPECIFIC_CHARACTER_SET
from gateway.dicom.vr import LONG_FORM, WIDTH
from gateway.errors import ClassMismatch, NotUnderstood, ProcessingFailure, Refused

MAX_SHORT = 0xFFFE
"""Longest value of a VR with a 16-bit length, in bytes: lengths are even (PS3.5 7.1.2)."""
MAX_LONG = 0xFFFFFFFE

_SHORT = Struct("<HH2sH")
_LONG = Struct("<HH2sHI")
_DELIMITER = Struct("<HHI")
_UNDEFINED = 0xFFFFFFFF
_ITEM = _DELIMITER.pack(0xFFFE, 0xE000, _UNDEFINED)
_ITEM_END = _DELIMITER.pack(0xFFFE, 0xE00D, 0)
_SEQUENCE_END = _DELIMITER.pack(0xFFFE, 0xE0DD, 0)

_LONG_VRS = frozenset(LONG_FORM.values())
_NUL_PADDED = frozenset({"OB", "UI", "UN"}) | WIDTH.keys()
_NOT_STORED = frozenset({0x00083002, 0x7FE00001, 0x7FE00002, 0x7FE00003})
"""Available Transfer Syntax UID speaks of the answer that it was read from; the offset tables of other fragments."""
_UNICODE = b"ISO_IR 192"


class Sink(Protocol):
    """Where the data set goes: `gateway.store.Incoming`."""

    def begin(self, meta: FileMeta) -> None: ...

    def write(self, data: bytes | memoryview) -> None: ...


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that no transfer syntax holds, ready to be decoded.

    `described` has `bits_allocated` 8 or 16. `frames` gives each of `count` frames native and little endian, colour by
    pixel (Planar Configuration 0); it may be called only once, and closes what it opened.
    """

    described: Described
    count: int
    frames: Callable[[], Iterator[bytes]]


Decode = Callable[[BulkPart], Picture]
"""Opens a part of type image/gif or image/png. Raises NotUnderstood where it is none."""

Bulk = Mapping[str, Sequence[BulkPart]]
"""The parts of a request by BulkDataURI: one, or one for each frame of compressed pixel data in their order."""


def write(model: Model, bulk: Bulk, sink: Sink, *, decode: Decode | None = None) -> FileMeta:
    """Write the instance to `sink`, and say what it is. `model` is made complete in doing so.

    Pixel data of a type in `bulk_parts.COMPRESSED` are encapsulated as they are, one fragment each; image/gif and
    image/png are stored native, by `decode`. What these need of the Image Pixel Description Macro and the metadata lack
    comes from the picture. Text is written in UTF-8, and Specific Character Set says so wherever it has to.

    Raises:
        ClassMismatch: a BulkDataURI is no part of the request (S-63), or pixel data contradict the metadata.
        NotUnderstood: no SOP Class or Instance UID, a value longer than its VR allows, or bulk data that are not what
            they are called.
        SyntaxNotSupported: bulk data in a transfer syntax that they cannot have.
        Refused: whatever the sink raises. All of them name the instance where they can.
    """
    sop_class_uid, sop_uid = text(model, SOP_CLASS_UID) or "", text(model, SOP_INSTANCE_UID) or ""
    try:
        for tag, uid in ((SOP_CLASS_UID, sop_class_uid), (SOP_INSTANCE_UID, sop_uid)):
            if not is_uid(uid):
                raise NotUnderstood("a UID is missing or malformed", tag)
        for tag, uri in bulk_uris(model):
            if not bulk.get(uri):
                raise ClassMismatch("a BulkDataURI names nothing in this request", tag)
        return _Writer(model, bulk, sink, decode).write(sop_class_uid, sop_uid)
    except Refused as refused:
        refused.sop_uid, refused.sop_class_uid = sop_uid or None, sop_class_uid or None
        raise


class _Writer:
    def __init__(self, model: Model, bulk: Bulk, sink: Sink, decode: Decode | None) -> None:
        self._model = model
        self._bulk = bulk
        self._sink = sink
        self._decode = decode
        self._encapsulated: Encapsulated | None = None
        self._pictures: list[Picture] = []

    def write(self, sop_class_uid: str, sop_uid: str) -> FileMeta:
        model = self._model
        for tag in _NOT_STORED:
            model.pop(tag, None)
        self._prepare_pixels()
        _declare_unicode(model)
        self._check(model, top=True)
        syntax_uid = self._encapsulated.syntax.uid if self._encapsulated else EXPLICIT_LITTLE_ENDIAN
        meta = FileMeta(sop_class_uid, sop_uid, syntax_uid)
        self._sink.begin(meta)
        self._data_set(model, top=True)
        return meta

    def _prepare_pixels(self) -> None:
        """Look at the bulk data of Pixel Data, and complete its description."""
        pixel = self._model.get(PIXEL_DATA)
        if pixel is None or pixel.bulk_uri is None:
            return
        parts = self._bulk[pixel.bulk_uri]
        types = {part.media_type for part in parts}
        if types <= TRANSFORMED and self._decode is not None:
            self._pictures = [self._decode(part) for part in parts]
            check_frames(self._model, sum(picture.count for picture in self._pictures))
            for picture in self._pictures:
                complete(self._model, picture.described)
            if self._pictures[0].described.samples > 1:
                set_number(self._model, PLANAR, 0)
        elif all(part.compressed for part in parts):
            self._encapsulated = Encapsulated.of(parts, self._model)
            self._model.update(self._encapsulated.extended_offset_table())

    def _check(self, model: Model, *, top: bool) -> None:
        """Lengths of everything that will be written. Raises NotUnderstood, which names the tag."""
        for tag, element in model.items():
            for item in element.items or ():
                self._check(item, top=False)
            if element.items is not None or (top and tag == PIXEL_DATA and (self._encapsulated or self._pictures)):
                continue
            length = len(element.value)
            if element.bulk_uri is not None:
                part = _single(tag, self._bulk[element.bulk_uri])
                part.check_native(tag)
                length = part.size
                if element.vr not in ("OW", "UN"):
                    check_width(tag, element.vr, length)
            limit = MAX_LONG if element.vr in _LONG_VRS else MAX_SHORT
            if length > limit:
                raise NotUnderstood(f"a value is longer than the {limit} bytes of its VR", tag)

    # Writing

    def _data_set(self, model: Model, *, top: bool) -> None:
        for tag in sorted(model):
            element = model[tag]
            if element.items is not None:
                self._sequence(tag, element.items)
            elif top and tag == PIXEL_DATA and self._encapsulated is not None:
                self._sink.write(_LONG.pack(tag >> 16, tag & 0xFFFF, b"OB", 0, _UNDEFINED))
                for piece in self._encapsulated.fragments():
                    self._sink.write(piece)
            elif top and tag == PIXEL_DATA and self._pictures:
                self._native()
            elif element.bulk_uri is not None:
                self._bulk_value(tag, element, self._bulk[element.bulk_uri][0])
            else:
                self._value(tag, element)

    def _sequence(self, tag: int, items: list[Model]) -> None:
        self._sink.write(_LONG.pack(tag >> 16, tag & 0xFFFF, b"SQ", 0, _UNDEFINED))
        for item in items:
            self._sink.write(_ITEM)
            self._data_set(item, top=False)
            self._sink.write(_ITEM_END)
        self._sink.write(_SEQUENCE_END)

    def _head(self, tag: int, vr: str, length: int) -> bytes:
        if vr in _LONG_VRS:
            return _LONG.pack(tag >> 16, tag & 0xFFFF, vr.encode(), 0, length)
        return _SHORT.pack(tag >> 16, tag & 0xFFFF, vr.encode(), length)

    def _value(self, tag: int, element: ModelElement) -> None:
        value = element.value
        padding = _padding(element.vr, len(value))
        self._sink.write(self._head(tag, element.vr, len(value) + len(padding)) + value + padding)

    def _bulk_value(self, tag: int, element: ModelElement, part: BulkPart) -> None:
        length = part.size
        padding = _padding(element.vr, length)
        self._sink.write(self._head(tag, element.vr, length + len(padding)))
        for piece in pieces(part, 0, length):
            self._sink.write(piece)
        self._sink.write(padding)

    def _native(self) -> None:
        """The frames of pictures, decoded one after the other."""
        described = self._pictures[0].described
        cell = (number(self._model, BITS_ALLOCATED) or 8) // 8
        size = described.rows * described.columns * described.samples * cell
        length = size * sum(picture.count for picture in self._pictures)
        self._sink.write(self._head(PIXEL_DATA, "OB" if cell == 1 else "OW", length + length % 2))
        for picture in self._pictures:
            left = picture.count
            for frame in picture.frames():
                left -= 1
                if len(frame) != size or left < 0:
                    raise ProcessingFailure("a picture was decoded to another size than it announced", PIXEL_DATA)
                self._sink.write(frame)
            if left:
                raise ProcessingFailure("a picture has fewer frames than it announced", PIXEL_DATA)
        self._sink.write(b"\0" * (length % 2))


def _single(tag: int, parts: Sequence[BulkPart]) -> BulkPart:
    if len(parts) != 1:
        raise ClassMismatch("several parts of the request are named as the bulk data of one element", tag)
    return parts[0]


def _padding(vr: str, length: int) -> bytes:
    """What makes a length even (PS3.5 6.2)."""
    if not length % 2:
        return b""
    return b"\0" if vr in _NUL_PADDED else b" "


def _declare_unicode(model: Model) -> None:
    """Specific Character Set: UTF-8 wherever one is named, and for the whole where text needs it (PS3.3 C.12.1.1.2)."""
    needed = _restate_charsets(model)
    if needed and SPECIFIC_CHARACTER_SET not in model:
        model[SPECIFIC_CHARACTER_SET] = ModelElement("CS", _UNICODE)


def _restate_charsets(model: Model) -> bool:
    """Whether there is text beyond ASCII in it, at any level; every Specific Character Set says UTF-8 afterwards."""
    found = False
    for tag, element in model.items():
        if tag == SPECIFIC_CHARACTER_SET:
            model[tag] = ModelElement("CS", _UNICODE)
        elif element.items is not None:
            for item in element.items:
                found = _restate_charsets(item) or found
        elif element.vr in _IN_CHARSET and not element.value.isascii():
            found = True
    return found


_IN_CHARSET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
