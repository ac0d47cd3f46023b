"""Writes encapsulated Pixel Data: one fragment a frame, and where each is (PS3.5 A.4, PS3.3 C.7.6.3.1.8)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import BinaryIO

import numpy

from gateway.errors import NotAcceptable

BASIC_LIMIT = 1 << 31
"""With more bytes of native pixels the Extended Offset Table is written. Whatever a codec makes of fewer, its offsets
fit the 32 bits of the Basic Offset Table: RLE, the worst, adds one byte in 128 and a header."""

_LONG = struct.Struct("<HH2sHI")
_ITEM = struct.Struct("<HHI")
_UNDEFINED = 0xFFFFFFFF
_OFFSETS, _LENGTHS, _PIXEL_DATA = 0x0001, 0x0002, 0x0010


def write_frames(out: BinaryIO, frames: Iterable[bytes], count: int, *, extended: bool) -> int:
    """Write Pixel Data of `count` frames in Explicit VR Little Endian, and what goes before it in group 7FE0.

    The tables lead and are known last: their room is kept, and filled in at the end, so `out` must be seekable.
    Returns the length of all codestreams, in bytes, without padding.
    """
    tables = []
    for number in (_OFFSETS, _LENGTHS) if extended else ():
        out.write(_LONG.pack(0x7FE0, number, b"OV", 0, 8 * count))
        tables.append(out.tell())
        out.write(bytes(8 * count))
    out.write(_LONG.pack(0x7FE0, _PIXEL_DATA, b"OB", 0, _UNDEFINED))
    basic = 0 if extended else 4 * count
    out.write(_ITEM.pack(0xFFFE, 0xE000, basic))
    if not extended:
        tables.append(out.tell())
    out.write(bytes(basic))
    offsets = numpy.zeros(count, numpy.uint64)
    lengths = numpy.zeros(count, numpy.uint64)
    at = total = 0
    for number, data in enumerate(frames):
        padding = len(data) % 2
        out.write(_ITEM.pack(0xFFFE, 0xE000, len(data) + padding))
        out.write(data)
        out.write(b"\0" * padding)
        offsets[number], lengths[number] = at, len(data) + padding
        at += _ITEM.size + len(data) + padding
        total += len(data)
    out.write(_ITEM.pack(0xFFFE, 0xE0DD, 0))
    if not extended and int(offsets[-1]) > 0xFFFFFFFF:
        raise NotAcceptable("the frames grew beyond 4 GiB")
    values = (offsets.astype("<u8"), lengths.astype("<u8")) if extended else (offsets.astype("<u4"),)
    end = out.tell()
    for place, table in zip(tables, values, strict=True):
        out.seek(place)
        out.write(table.tobytes())
    out.seek(end)
    return total
