"""Where each frame of an instance lies in its file, so that one frame is one ranged read.

A table is made once, at ingest, and kept in the index as a few bytes (native: a formula; encapsulated: the fragments'
lengths). To get a frame: `offset, length = table.span(number)`, read that range of the file, `table.extract(number,
data)`. Frame numbers are 1-based. PS3.5 8.2 and A.4, PS3.3 C.7.6.3.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from functools import cached_property
from struct import Struct
from struct import error as StructError
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from gateway.dicom.elements import PIXEL_DATA, PIXEL_TAGS
from gateway.dicom.fragments import ITEM, ITEM_HEADER, Fragments, fragments_of, frame_starts
from gateway.dicom.native import frame_bits_of, stored_frame_bits, swap, word_size
from gateway.dicom.packed import GROUPED, pack, unpack
from gateway.errors import Damaged, NotFound

if TYPE_CHECKING:
    from gateway.dicom.header import Header

_MAX_COUNT = 2**31 - 1
_MAX_FRAGMENTS = 2**24
"""More than any header's reader lets through; what a table from the index may claim."""
_EXTENDED_OFFSET_TABLE = 0x7FE00001

_VERSION = 1
_NATIVE, _ENCAPSULATED, _VIDEO = 1, 2, 3
_HEAD = Struct("<BBI2sI")
_NATIVE_BODY = Struct("<QQQB")
_ENCAPSULATED_BODY = Struct("<QIB")
_CHECKSUM = Struct("<I")


class FrameTable(ABC):
    """Where the frames of one instance lie in its file.

    `count` is the number of frames; `tag` and `vr` are those of the pixel element. `video` marks a stream whose frames
    cannot be addressed: only `stream()` has something to give. `frame_bits` is the size of a native frame in bits, 0
    for an encapsulated one.
    """

    encapsulated = False
    video = False
    frame_bits = 0

    def __init__(self, count: int, tag: int, vr: str) -> None:
        self.count = count
        self.tag = tag
        self.vr = vr

    @staticmethod
    def read(stream: BinaryIO, header: Header) -> FrameTable | None:
        """The table of the file in `stream` (of the inflated file where its syntax is deflated).

        None where there are no frames, or where they cannot be told apart beyond doubt.
        """
        pixel = header.pixel
        if pixel is None:
            return None
        number_of_frames = header.find(0x00280008)
        count = header.number(0x00280008) if number_of_frames and number_of_frames.length else 1
        if count is None or not 1 <= count <= _MAX_COUNT:
            return None
        frame_bits = frame_bits_of(header, pixel.tag)
        if not pixel.encapsulated:
            if not frame_bits or (header.syntax.encapsulated and pixel.tag == PIXEL_DATA):
                return None
            word = 1 if header.syntax.little_endian else word_size(header, pixel.tag, pixel.vr)
            frame_bits = stored_frame_bits(header, frame_bits, count, pixel.length)
            if frame_bits * count > pixel.length * 8:
                return None
            return NativeFrames(count, pixel.tag, pixel.vr, pixel.offset, pixel.length, frame_bits, word)
        fragments = fragments_of(stream, header)
        if fragments is None:
            return None
        if header.syntax.video:
            return EncapsulatedFrames.of_video(count, pixel.vr, fragments)
        starts = frame_starts(
            stream,
            fragments,
            count,
            header.meta.transfer_syntax_uid,
            frame_bytes=-(-frame_bits // 8),
            extended=lambda: _extended_offsets(stream, header),
        )
        return None if starts is None else EncapsulatedFrames.of_fragments(pixel.vr, fragments, starts)

    @staticmethod
    def from_bytes(data: bytes) -> FrameTable:
        """The table that `to_bytes` wrote. Raises Damaged for anything else."""
        if len(data) < _HEAD.size + _CHECKSUM.size:
            raise Damaged("the frame table is cut short")
        body, checksum = data[: -_CHECKSUM.size], data[-_CHECKSUM.size :]
        if zlib.crc32(body) != _CHECKSUM.unpack(checksum)[0]:
            raise Damaged("the frame table does not agree with its checksum")
        version, kind, count, vr, tag = _HEAD.unpack_from(body)
        if version != _VERSION or count < 1 or tag not in PIXEL_TAGS:
            raise Damaged("the frame table is of an unknown form")
        rest = body[_HEAD.size :]
        try:
            if kind == _NATIVE:
                return NativeFrames(count, tag, vr.decode("ascii"), *_NATIVE_BODY.unpack(rest))
            if kind in (_ENCAPSULATED, _VIDEO):
                start, total, flags = _ENCAPSULATED_BODY.unpack_from(rest)
                packed = rest[_ENCAPSULATED_BODY.size :]
                video = kind == _VIDEO
                return EncapsulatedFrames(count, vr.decode("ascii"), start, total, flags, packed, video=video)
        except (StructError, UnicodeDecodeError) as error:
            raise Damaged("the frame table is damaged") from error
        raise Damaged("the frame table is of an unknown kind")

    @abstractmethod
    def to_bytes(self) -> bytes:
        """A compact form with a version and a checksum, for the index."""

    @abstractmethod
    def ranges(self, number: int) -> list[tuple[int, int]]:
        """The (offset, length) pieces of frame `number` in the file, in order, without item headers.

        Of a native frame that does not fill whole bytes these are the bytes it has a part in. Raises NotFound for a
        number outside 1..count and for the frames of a video.
        """

    @abstractmethod
    def stream(self) -> list[tuple[int, int]]:
        """The (offset, length) pieces of the whole pixel value in the file, in order, without item headers."""

    @abstractmethod
    def extract(self, number: int, data: bytes) -> bytes:
        """Frame `number` alone out of `data`, the bytes of `span(number)`: as PS3.18 8.7.3 has it in a response.

        Fragments are joined without item headers; single bits are packed anew from the first byte's lowest bit on
        (PS3.18 8.7.3.3.1); native values are little endian whatever the file is. Raises NotFound as `ranges` does,
        Damaged when `data` is not what must be there.
        """

    def span(self, number: int) -> tuple[int, int]:
        """The one (offset, length) that covers all of frame `number`. Raises NotFound as `ranges` does."""
        pieces = self.ranges(number)
        first, last = pieces[0], pieces[-1]
        return first[0], last[0] + last[1] - first[0]

    def bit_offset(self, number: int) -> int:
        """The first bit of frame `number` in the first byte of its span: 0 but for frames of single bits."""
        self._check(number)
        return 0

    def _check(self, number: int) -> None:
        if not 1 <= number <= self.count:
            raise NotFound(f"there is no frame {number}: the instance has {self.count}")

    def _pack(self, kind: int, body: bytes) -> bytes:
        data = _HEAD.pack(_VERSION, kind, self.count, self.vr.encode("ascii"), self.tag) + body
        return data + _CHECKSUM.pack(zlib.crc32(data))


class NativeFrames(FrameTable):
    """Frames of native Pixel Data: one after the other, `frame_bits` each, without gaps (PS3.5 8.1.1).

    `offset` and `length` are those of the value in the file; `word` is the size in bytes of the values to be swapped
    to little endian, 1 where there is nothing to swap.
    """

    def __init__(self, count: int, tag: int, vr: str, offset: int, length: int, frame_bits: int, word: int) -> None:
        super().__init__(count, tag, vr)
        if frame_bits < 1 or frame_bits * count > length * 8 or word not in (1, 2, 4, 8):
            raise Damaged("the frames are larger than the pixel data")
        self.offset = offset
        self.length = length
        self.frame_bits = frame_bits
        self.word = word

    @property
    def as_stored(self) -> bool:
        """Whether `extract` leaves a frame as it lies in the file."""
        return self.word == 1 and self.frame_bits % 8 == 0

    def to_bytes(self) -> bytes:
        return self._pack(_NATIVE, _NATIVE_BODY.pack(self.offset, self.length, self.frame_bits, self.word))

    def ranges(self, number: int) -> list[tuple[int, int]]:
        self._check(number)
        first_bit = (number - 1) * self.frame_bits
        first = first_bit // 8 // self.word * self.word
        last = (first_bit + self.frame_bits + 7) // 8
        last = min(last + -last % self.word, self.length)
        return [(self.offset + first, last - first)]

    def stream(self) -> list[tuple[int, int]]:
        return [(self.offset, self.length)]

    def bit_offset(self, number: int) -> int:
        first = self.span(number)[0] - self.offset
        return (number - 1) * self.frame_bits - first * 8

    def extract(self, number: int, data: bytes) -> bytes:
        if len(data) != self.span(number)[1]:
            raise Damaged(f"frame {number} is cut short")
        data = swap(data, self.word)
        skip = self.bit_offset(number)
        size = (self.frame_bits + 7) // 8
        if skip % 8 == 0 and self.frame_bits % 8 == 0:
            return data if len(data) == size else data[skip // 8 : skip // 8 + size]
        bits = int.from_bytes(data, "little") >> skip & ((1 << self.frame_bits) - 1)
        return bits.to_bytes(size, "little")


class EncapsulatedFrames(FrameTable):
    """Frames of encapsulated Pixel Data: one or more fragments each (PS3.5 A.4).

    Kept packed, as `to_bytes` has it, and unpacked at the first question. `start` is the file offset of the first
    fragment's item tag.
    """

    encapsulated = True

    def __init__(
        self, count: int, vr: str, start: int, fragment_count: int, flags: int, packed: bytes, *, video: bool
    ) -> None:
        super().__init__(count, PIXEL_DATA, vr)
        if not 1 <= fragment_count <= _MAX_FRAGMENTS or (not video and count > fragment_count) or start >= 2**62:
            raise Damaged("the frame table has fewer fragments than frames")
        self.video = video
        self._start = start
        self._fragment_count = fragment_count
        self._flags = flags
        self._packed = packed

    @classmethod
    def of_fragments(cls, vr: str, fragments: Fragments, starts: NDArray[np.int64]) -> EncapsulatedFrames:
        """A table from fragments, and the index of the first fragment of each frame."""
        total = len(fragments.lengths)
        one_each = len(starts) == total
        pieces = None if one_each else np.diff(np.append(starts, total)).astype(np.uint32)
        flags, packed = pack(fragments.lengths, pieces)
        return cls(len(starts), vr, fragments.start, total, flags, packed, video=False)

    @classmethod
    def of_video(cls, count: int, vr: str, fragments: Fragments) -> EncapsulatedFrames:
        """A table of a video: its stream is one item (PS3.5 A.4.5), in as many fragments as it needs."""
        flags, packed = pack(fragments.lengths, None)
        return cls(count, vr, fragments.start, len(fragments.lengths), flags, packed, video=True)

    def to_bytes(self) -> bytes:
        body = _ENCAPSULATED_BODY.pack(self._start, self._fragment_count, self._flags)
        return self._pack(_VIDEO if self.video else _ENCAPSULATED, body + self._packed)

    @cached_property
    def _unpacked(self) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.int64] | None]:
        """Offset in the file and length of each fragment; the index of each frame's first fragment and the end's."""
        frames = self.count if self._flags & GROUPED else 0
        lengths, pieces = unpack(self._packed, self._flags, self._fragment_count, frames)
        ends = np.cumsum(lengths.astype(np.int64) + ITEM_HEADER.size) + self._start
        offsets = ends - lengths
        if pieces is None:
            if not self.video and self.count != self._fragment_count:
                raise Damaged("the frame table has other fragments than frames")
            return offsets, lengths, None
        bounds = np.concatenate((np.zeros(1, np.int64), np.cumsum(pieces.astype(np.int64))))
        if bounds[-1] != self._fragment_count or not bool(pieces.all()):
            raise Damaged("the frame table has other fragments than frames")
        return offsets, lengths, bounds

    def ranges(self, number: int) -> list[tuple[int, int]]:
        if self.video:
            raise NotFound("the frames of a video cannot be addressed")
        self._check(number)
        offsets, lengths, bounds = self._unpacked
        if bounds is None:
            return [(int(offsets[number - 1]), int(lengths[number - 1]))]
        first, end = int(bounds[number - 1]), int(bounds[number])
        return list(zip(offsets[first:end].tolist(), lengths[first:end].tolist(), strict=True))

    def stream(self) -> list[tuple[int, int]]:
        offsets, lengths, _ = self._unpacked
        return list(zip(offsets.tolist(), lengths.tolist(), strict=True))

    def extract(self, number: int, data: bytes) -> bytes:
        pieces = self.ranges(number)
        origin = pieces[0][0]
        if len(data) != pieces[-1][0] + pieces[-1][1] - origin:
            raise Damaged(f"frame {number} is cut short")
        if len(pieces) == 1:
            return data
        for offset, length in pieces[1:]:
            if ITEM_HEADER.unpack_from(data, offset - origin - ITEM_HEADER.size) != (ITEM, length):
                raise Damaged(f"frame {number} is not where it was")
        return b"".join([data[offset - origin : offset - origin + length] for offset, length in pieces])


def _extended_offsets(stream: BinaryIO, header: Header) -> NDArray[np.uint64]:
    """Extended Offset Table (PS3.3 C.7.6.3.1.8); empty where there is none or it is no list of 64-bit numbers."""
    element = header.find(_EXTENDED_OFFSET_TABLE)
    if element is None or element.length % 8 or element.length > 8 * _MAX_FRAGMENTS:
        return np.zeros(0, np.uint64)
    data = element.value
    if data is None:
        stream.seek(element.offset)
        data = stream.read(element.length)
    if len(data) != element.length:
        return np.zeros(0, np.uint64)
    return np.frombuffer(data, "<u8").astype(np.uint64)
