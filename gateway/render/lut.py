"""Look-up tables of a data set: Modality, VOI and Palette Color (PS3.3 C.11.1, C.11.2, C.7.6.3.1.5, C.7.9.2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from gateway.dicom.view import View

MAX_ENTRIES = 65_536
"""Most entries of a table; its descriptor writes that as 0."""

ROWS_AT_ONCE = 64
"""Rows of a frame that are worked on at once."""

RAMP_ROWS = 128
"""The same, of those that are worked out and not looked up."""

MAX_SEGMENTS = MAX_ENTRIES
"""Most segments of a segmented palette, those repeated by indirect segments included."""


@dataclass(frozen=True, slots=True)
class Lut:
    """A look-up table: `entries` in 16 bits each, in this machine's byte order, for values from `first` on.

    Values below and above get the first and the last entry. Entries have `bits` significant bits (1..16).
    """

    first: int
    bits: int
    entries: bytes

    @property
    def array(self) -> NDArray[numpy.uint16]:
        """The entries."""
        return numpy.frombuffer(self.entries, numpy.uint16)

    def apply(self, values: NDArray[Any]) -> NDArray[numpy.uint16]:
        """The entries for integer values."""
        entries = self.array
        index = numpy.clip(values.astype(numpy.int64) - self.first, 0, len(entries) - 1)
        return entries[index]

    def apply_8_bit(self, values: NDArray[Any]) -> NDArray[numpy.uint8]:
        """The entries for integer values, scaled from the table's whole range to 0..255, rounding half up."""
        top = (1 << self.bits) - 1
        scaled = (self.array.astype(numpy.uint32) * 510 + top) // (2 * top)
        return Lut(self.first, 8, scaled.astype(numpy.uint16).tobytes()).apply(values).astype(numpy.uint8)


def read_lut(item: View, descriptor_tag: int, data_tag: int, *, signed: bool, segmented: bool = False) -> Lut | None:
    """The table in an item or data set; None where there is none that can be used (S-34).

    `signed` is that of the values to be looked up: it decides how the first value mapped is read. A table with fewer
    entries than its descriptor says ends where its data end.
    """
    descriptor = item.numbers(descriptor_tag)
    element = item.find(data_tag)
    if len(descriptor) != 3 or element is None or not element.value:
        return None
    count, first, bits = descriptor[0] % MAX_ENTRIES or MAX_ENTRIES, descriptor[1] % 65_536, descriptor[2]
    if not 1 <= bits <= 16:
        return None
    if signed and first >= 32_768:
        first -= 65_536
    raw = element.value
    if segmented:
        entries = _expand(raw, bits, item.little_endian, count)
    elif bits <= 8 and len(raw) < 2 * count:
        # Two entries in a word: the first in its low byte.
        packed = numpy.frombuffer(raw, numpy.uint8)
        if not item.little_endian and element.vr != "OB":
            packed = packed[: len(packed) // 2 * 2].reshape(-1, 2)[:, ::-1].reshape(-1)
        entries = packed[:count].astype(numpy.uint16)
    else:
        order = "<u2" if item.little_endian else ">u2"
        entries = numpy.frombuffer(raw, order, min(count, len(raw) // 2)).astype(numpy.uint16)
    if not len(entries):
        return None
    # Some write fewer bits into the descriptor than the entries have.
    return Lut(first, max(bits, int(entries.max()).bit_length()), entries.tobytes())


def _expand(raw: bytes, bits: int, little_endian: bool, count: int) -> NDArray[numpy.uint16]:
    """Expand a segmented palette (PS3.3 C.7.9.2.2); nothing at all where it is malformed."""
    width = 1 if bits <= 8 else 2
    order = "<" if little_endian else ">"
    words = struct.unpack(f"{order}{len(raw) // width}{'B' if width == 1 else 'H'}", raw[: len(raw) // width * width])
    out: list[int] = []
    budget = MAX_SEGMENTS
    # (position, segments left): an indirect segment repeats others, but may not point to one of its kind.
    position, left, back = 0, -1, -1
    try:
        while position < len(words) and len(out) < count:
            budget -= 1
            if budget < 0:
                return numpy.zeros(0, numpy.uint16)
            code, length = words[position], words[position + 1]
            if code == 0:
                out.extend(words[position + 2 : position + 2 + length])
                position += 2 + length
            elif code == 1:
                start, end = out[-1], words[position + 2]
                steps = range(1, min(length, count - len(out)) + 1)
                out.extend(start + round((end - start) * step / length) for step in steps)
                position += 3
            elif code == 2 and back < 0:
                size = 4 // width
                where = sum(words[position + 2 + n] << (8 * width * n) for n in range(size))
                if position + 2 + size > len(words) or where % width or where // width >= len(words):
                    return numpy.zeros(0, numpy.uint16)
                position += 2 + size
                if length:
                    back, left, position = position, length, where // width
                continue
            else:
                return numpy.zeros(0, numpy.uint16)
            if back >= 0:
                left -= 1
                if left <= 0:
                    position, back = back, -1
    except IndexError:
        return numpy.zeros(0, numpy.uint16)
    return numpy.array(out[:count], numpy.uint16)


def look_up(table: NDArray[numpy.uint8], index: NDArray[Any]) -> NDArray[numpy.uint8]:
    """`table[index]` for an index that is always within: some rows at a time, which halves the time.

    numpy makes 64-bit numbers of all indices first: of some rows they fit in the processor's cache.
    """
    out = numpy.empty(index.shape + table.shape[1:], numpy.uint8)
    for row in range(0, len(index), ROWS_AT_ONCE):
        numpy.take(table, index[row : row + ROWS_AT_ONCE], 0, out[row : row + ROWS_AT_ONCE], mode="clip")
    return out


@dataclass(frozen=True, slots=True)
class Ramp:
    """`scale * value + offset` within 0..255, rounded down, in single precision."""

    scale: float
    offset: float

    def apply(self, values: NDArray[Any]) -> NDArray[numpy.uint8]:
        """The greys of some rows of 16-bit values."""
        out = numpy.empty(values.shape, numpy.uint8)
        work = numpy.empty((min(RAMP_ROWS, len(values)), *values.shape[1:]), numpy.float32)
        scale, offset = numpy.float32(self.scale), numpy.float32(self.offset)
        for row in range(0, len(values), RAMP_ROWS):
            some = values[row : row + RAMP_ROWS]
            place = work[: len(some)]
            numpy.copyto(place, some)
            numpy.multiply(place, scale, place)
            numpy.add(place, offset, place)
            place.clip(0.0, 255.0, place)
            numpy.copyto(out[row : row + RAMP_ROWS], place, casting="unsafe")
        return out
