"""Bulk data of a store request: where its bytes are, and what they can be stored as (PS3.18 8.7.3.3.2, 10.5.2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from gateway.dicom.codecs import HTJ2K, JPEG, JPEG_2000, JPEG_XL, RLE
from gateway.dicom.codestream import Codestream
from gateway.dicom.elements import PIXEL_DATA
from gateway.dicom.model.boxes import JP2_SIGNATURE, boxes
from gateway.dicom.model.codestreams import HEAD, MAGIC, is_rle, jpeg, jpeg_2000, jpeg_xl
from gateway.dicom.uids import EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN, syntax
from gateway.errors import NotRenderable, NotUnderstood, ProcessingFailure, SyntaxNotSupported

OCTET_STREAM = "application/octet-stream"
TRANSFORMED = frozenset({"image/gif", "image/png"})
"""No transfer syntax holds these: their frames are stored native (PS3.18 Table 10.5.2-1)."""

_BLOCK = 1 << 20
_PREFIX = "1.2.840.10008.1.2."


def _uids(*ends: str) -> tuple[str, ...]:
    return tuple(_PREFIX + end for end in ends)


_J2K, _JPX = _uids("4.90", "4.91"), _uids("4.92", "4.93")
_HTJ2K = _uids("4.201", "4.202", "4.203")
COMPRESSED: dict[str, tuple[str, ...]] = {
    "image/jpeg": _uids("4.70", "4.50", "4.51", "4.57", "4.55"),
    "image/jls": _uids("4.80", "4.81"),
    "image/x-jls": _uids("4.80", "4.81"),
    "image/jp2": _J2K + _JPX,
    "image/jpx": _JPX + _J2K,
    "image/jphc": _HTJ2K,
    "image/jph": _HTJ2K,
    "image/jxl": _uids("4.110", "4.111", "4.112"),
    "image/dicom-rle": (RLE,),
    "image/x-dicom-rle": (RLE,),
    "video/mpeg": _uids("4.101", "4.100", "4.101.1", "4.100.1"),
    "video/mpeg2": _uids("4.101", "4.100", "4.101.1", "4.100.1"),
    "video/mp4": _uids(*(f"4.{number}{end}" for end in ("", ".1") for number in range(102, 107))),
    "video/h265": _uids("4.107", "4.108"),
}
"""Media types that are stored as they are, and the transfer syntaxes that they may be, the default first (TS-02 to
TS-11). Where the codestream tells more, it is believed."""


@dataclass(frozen=True, slots=True)
class BulkPart:
    """One part of a request that holds bulk data, in memory or in a spool file that whoever made it removes.

    `media_type` is in lower case and without parameters; `transfer_syntax_uid` its parameter of that name.
    """

    source: bytes | Path
    media_type: str = OCTET_STREAM
    transfer_syntax_uid: str | None = None

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The bytes as a stream, closed at the end."""
        if isinstance(self.source, bytes):
            yield BytesIO(self.source)
        else:
            with self.source.open("rb") as stream:
                yield stream

    @property
    def compressed(self) -> bool:
        """Whether this is pixel data that goes into a fragment as it is. Raises SyntaxNotSupported."""
        if self.media_type in COMPRESSED:
            return True
        uid = self.transfer_syntax_uid
        return self.media_type == OCTET_STREAM and uid is not None and syntax(uid).encapsulated

    def check_native(self, tag: int) -> None:
        """Raises Refused unless these are the plain little endian bytes of an element's value (TS-01)."""
        if self.compressed or (tag == PIXEL_DATA and self.media_type != OCTET_STREAM):
            raise NotUnderstood(f"bulk data of type {self.media_type[:40]} is not taken for this element", tag)
        if self.media_type == OCTET_STREAM and self.transfer_syntax_uid not in (
            None,
            EXPLICIT_LITTLE_ENDIAN,
            IMPLICIT_LITTLE_ENDIAN,  # the same bytes, once they are taken out of their data set
        ):
            raise SyntaxNotSupported("octet-stream bulk data is Explicit VR Little Endian", tag)


def pieces(part: BulkPart, offset: int, length: int) -> Iterator[bytes]:
    """That many bytes of a part, in blocks. Raises ProcessingFailure where it has become shorter."""
    with part.open() as stream:
        stream.seek(offset)
        while length:
            piece = stream.read(min(_BLOCK, length))
            if not piece:
                raise ProcessingFailure("a spooled part is shorter than it was")
            length -= len(piece)
            yield piece


@dataclass(frozen=True, slots=True)
class CompressedFrame:
    """One frame to be put into fragments: the bytes from `offset` on, `length` of them.

    `syntaxes` are those it can be stored in, the best first. `stream` is its image header, where it has one.
    """

    part: BulkPart
    offset: int
    length: int
    syntaxes: tuple[str, ...]
    stream: Codestream | None = None


def read_frame(part: BulkPart) -> CompressedFrame:
    """Look at a compressed part: what it is, as far as it tells (STOW-06).

    Of a JP2, JPX or JPH file only the codestream is a frame (PS3.5 A.4.4). Raises NotUnderstood for a part that is not
    what its media type says, SyntaxNotSupported for a named transfer syntax that it cannot have.
    """
    named = part.transfer_syntax_uid
    allowed = COMPRESSED.get(part.media_type)
    if named is not None:
        if not syntax(named).encapsulated or (allowed is not None and named not in allowed):
            raise SyntaxNotSupported("the transfer syntax is none of the bulk data's media type", PIXEL_DATA)
        allowed = (named,)
    assert allowed is not None  # `compressed` says so
    with part.open() as stream:
        offset, length = _codestream(stream, part.size)
        stream.seek(offset)
        head = stream.read(min(HEAD, length))
    if not head:
        raise NotUnderstood("a part of pixel data is empty", PIXEL_DATA)
    try:
        found, told = _look(head, allowed)
    except NotRenderable as error:
        if named is None or named not in MAGIC or not head.startswith(MAGIC[named]):
            raise NotUnderstood(str(error), PIXEL_DATA) from error
        # Odd, but of the kind that it is called: stored like any instance, if the metadata describe it.
        found, told = None, ()
    true = tuple(uid for uid in allowed if uid in told) if told else allowed
    if not true:
        raise NotUnderstood("the codestream is none of the transfer syntax or media type that was named", PIXEL_DATA)
    return CompressedFrame(part, offset, length, true, found)


def _look(head: bytes, allowed: tuple[str, ...]) -> tuple[Codestream | None, tuple[str, ...]]:
    """Image header and true syntaxes; no header and no syntaxes where the format tells nothing of the kind."""
    uid = allowed[0]
    if uid in JPEG:
        return jpeg(head)
    if uid in JPEG_2000 or uid in HTJ2K:
        return jpeg_2000(head)
    if uid in JPEG_XL:
        return jpeg_xl(head)
    if uid == RLE and not is_rle(head):
        raise NotRenderable("the frame is no RLE frame")
    return None, ()


def _codestream(stream: BinaryIO, size: int) -> tuple[int, int]:
    """Offset and length of the codestream in a JP2 family file; all of anything else (15444-1 I.4)."""
    if stream.read(len(JP2_SIGNATURE)) != JP2_SIGNATURE:
        return 0, size
    for kind, offset, length in boxes(stream, 0, size):
        if kind == b"jp2c":
            return offset, length
    raise NotUnderstood("the image file holds no codestream", PIXEL_DATA)
