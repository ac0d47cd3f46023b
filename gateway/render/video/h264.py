"""H.264: NAL units, sequence parameter sets and slice headers, as far as a container needs them (ITU-T H.264 7.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.errors import NotRenderable
from gateway.render.video.transport import Piece

SLICE, IDR, SEI, SPS, PPS, DELIMITER = 1, 5, 6, 7, 8, 9
MAX_UNIT = 64 << 20
"""Longest NAL unit, in bytes."""

_MAX_SEQUENCE = 4096
_START = b"\0\0\1"
_HIGH = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})


@dataclass(frozen=True, slots=True)
class Unit:
    """A NAL unit without its start code, and the times of the piece that it starts in, if it is the first there."""

    data: bytes
    pts: int | None
    dts: int | None

    @property
    def kind(self) -> int:
        """nal_unit_type."""
        return self.data[0] & 31


def units_of(pieces: Iterable[Piece]) -> Iterator[Unit]:
    """The NAL units of a byte stream (Annex B)."""
    buffer = b""
    times: tuple[int | None, int | None] = (None, None)
    for piece in pieces:
        fresh = len(buffer)
        buffer += piece.data
        mark: tuple[int | None, int | None] = (piece.pts, piece.dts)
        begin = buffer.find(_START)
        while begin >= 0:
            end = buffer.find(_START, begin + 3)
            if end < 0:
                break
            if begin + 3 >= fresh and mark != (None, None):
                times, mark = mark, (None, None)
            data = buffer[begin + 3 : end].rstrip(b"\0")
            if data:
                yield Unit(data, *times)
                times = (None, None)
            begin = end
        # What is left may begin in this piece: then the times are its.
        if mark != (None, None) and begin + 3 >= fresh:
            times = mark
        buffer = buffer[begin:] if begin >= 0 else buffer[-2:]
        if len(buffer) > MAX_UNIT:
            raise NotRenderable("a unit of the video stream has no end")
    data = buffer[3:].rstrip(b"\0") if buffer.startswith(_START) else b""
    if data:
        yield Unit(data, *times)


class Bits:
    """Reads a raw byte sequence payload, emulation prevention taken out (7.3.1)."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data := data.replace(b"\0\0\3", b"\0\0"), "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """u(n). Raises NotRenderable at the end."""
        self._left -= count
        if self._left < 0:
            raise NotRenderable("the video stream is cut off")
        return self._value >> self._left & ((1 << count) - 1)

    def unsigned(self) -> int:
        """ue(v)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 32:
                raise NotRenderable("the video stream cannot be read")
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """se(v)."""
        value = self.unsigned()
        return (value + 1) // 2 if value & 1 else -(value // 2)


@dataclass(frozen=True, slots=True)
class Sequence:
    """What a sequence parameter set says; `rate` in frames per second, 0 where it does not tell."""

    width: int
    height: int
    chroma: int
    luma_bits: int
    chroma_bits: int
    planes: bool
    frame_bits: int
    order_type: int
    order_bits: int
    frames_only: bool
    rate: float


def read_sequence(data: bytes) -> Sequence:
    """A sequence parameter set (7.3.2.1.1)."""
    bits = Bits(data[1:_MAX_SEQUENCE])
    profile = bits.take(8)
    bits.take(16)
    bits.unsigned()
    chroma, planes, luma_bits, chroma_bits = 1, False, 8, 8
    if profile in _HIGH:
        chroma = bits.unsigned()
        planes = chroma == 3 and bool(bits.take(1))
        luma_bits, chroma_bits = 8 + bits.unsigned(), 8 + bits.unsigned()
        bits.take(1)
        if bits.take(1):
            for place in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling(bits, 16 if place < 6 else 64)
    frame_bits = bits.unsigned() + 4
    order_type, order_bits = bits.unsigned(), 0
    if order_type == 0:
        order_bits = bits.unsigned() + 4
    elif order_type == 1:
        bits.take(1)
        bits.signed()
        bits.signed()
        for _ in range(min(bits.unsigned(), 255)):
            bits.signed()
    bits.unsigned()
    bits.take(1)
    width, map_height = 16 * (bits.unsigned() + 1), 16 * (bits.unsigned() + 1)
    frames_only = bool(bits.take(1))
    if not frames_only:
        bits.take(1)
    bits.take(1)
    height = map_height * (1 if frames_only else 2)
    if bits.take(1):
        left, right, top, bottom = (bits.unsigned() for _ in range(4))
        across, down = (1 if chroma in (0, 3) else 2), (2 if chroma == 1 else 1) * (1 if frames_only else 2)
        width, height = width - across * (left + right), height - down * (top + bottom)
    rate = _rate(bits) if bits.take(1) else 0.0
    if not (0 < width <= 16384 and 0 < height <= 16384 and chroma <= 3 and frame_bits <= 16 and order_bits <= 16):
        raise NotRenderable("the video stream has no size that can be")
    return Sequence(
        width, height, chroma, luma_bits, chroma_bits, planes, frame_bits, order_type, order_bits, frames_only, rate
    )


def _skip_scaling(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _rate(bits: Bits) -> float:
    """Frames per second, of video usability information (E.1.1)."""
    if bits.take(1) and bits.take(8) == 255:
        bits.take(32)
    if bits.take(1):
        bits.take(1)
    if bits.take(1):
        bits.take(4)
        if bits.take(1):
            bits.take(24)
    if bits.take(1):
        bits.unsigned()
        bits.unsigned()
    if not bits.take(1):
        return 0.0
    tick, scale = bits.take(32), bits.take(32)
    rate = scale / (2 * tick) if tick else 0.0
    return rate if 0.1 <= rate <= 1000 else 0.0


@dataclass(frozen=True, slots=True)
class Slice:
    """The head of a slice (7.3.3): `order` is pic_order_cnt_lsb."""

    first: int
    bidirectional: bool
    frame: int
    field: bool
    bottom: bool
    order: int


def read_slice(unit: bytes, sequence: Sequence) -> Slice:
    """The head of a slice of a picture."""
    bits = Bits(unit[1:64])
    first, kind = bits.unsigned(), bits.unsigned() % 5
    bits.unsigned()
    if sequence.planes:
        bits.take(2)
    frame = bits.take(sequence.frame_bits)
    field = not sequence.frames_only and bool(bits.take(1))
    bottom = field and bool(bits.take(1))
    if unit[0] & 31 == IDR:
        bits.unsigned()
    order = bits.take(sequence.order_bits) if sequence.order_type == 0 else 0
    return Slice(first, kind == 1, frame, field, bottom, order)
