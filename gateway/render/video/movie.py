"""The boxes of an MP4 file with one video track (ISO/IEC 14496-12, 14496-14)."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import BinaryIO

TICKS = 90_000
"""Units of time in a second."""
_IN_CHUNK = 32
_MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


@dataclass(frozen=True, slots=True)
class Track:
    """One track of H.264; `configuration` is its decoder configuration record.

    `sizes` of the samples in bytes, `keys` the numbers (from 1) of those that decoding can begin at; `durations` and
    `offsets` (from decoding to showing) in ticks.
    """

    width: int
    height: int
    configuration: bytes
    sizes: array[int]
    keys: array[int]
    durations: array[int]
    offsets: array[int]


def write_head(out: BinaryIO) -> int:
    """Write what comes before the samples; where the first sample begins."""
    out.write(box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41"))
    out.write(struct.pack(">I4sQ", 1, b"mdat", 16))
    return out.tell()


def write_tail(out: BinaryIO, start: int, track: Track) -> None:
    """Close the samples that lie from `start` on, and describe them."""
    end = out.tell()
    out.seek(start - 8)
    out.write(struct.pack(">Q", end - start + 16))
    out.seek(end)
    out.write(_movie(track, start))


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box with its size before it."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, flags: int, *parts: bytes, version: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def _movie(track: Track, start: int) -> bytes:
    length = sum(track.durations)
    delay = track.offsets[0] if track.offsets else 0
    shown = min(track.offsets) if track.offsets else 0
    times = struct.pack(">QQIQ", 0, 0, TICKS, length)
    head = struct.pack(">iH10x", 0x10000, 0x100) + _MATRIX + bytes(24) + struct.pack(">I", 2)
    track_head = struct.pack(">QQIIQ8xHHHH", 0, 0, 1, 0, length, 0, 0, 0, 0) + _MATRIX
    track_head += struct.pack(">II", track.width << 16, track.height << 16)
    edits = _full(b"elst", 0, struct.pack(">IQqI", 1, length, max(delay, shown), 0x10000), version=1)
    media = box(
        b"mdia",
        _full(b"mdhd", 0, times, struct.pack(">HH", 0x55C4, 0), version=1),
        _full(b"hdlr", 0, struct.pack(">I4s12x", 0, b"vide"), b"VideoHandler\0"),
        box(
            b"minf",
            _full(b"vmhd", 1, bytes(8)),
            box(b"dinf", _full(b"dref", 0, struct.pack(">I", 1), _full(b"url ", 1))),
            _samples(track, start),
        ),
    )
    return box(
        b"moov",
        _full(b"mvhd", 0, times, head, version=1),
        box(b"trak", _full(b"tkhd", 3, track_head, version=1), box(b"edts", edits), media),
    )


def _samples(track: Track, start: int) -> bytes:
    entry = box(
        b"avc1",
        struct.pack(">6xH16xHHII4xH32xHh", 1, track.width, track.height, 0x480000, 0x480000, 1, 24, -1),
        box(b"avcC", track.configuration),
    )
    count = len(track.sizes)
    chunks = range(0, count, _IN_CHUNK)
    places: list[int] = []
    at = start
    for chunk in chunks:
        places.append(at)
        at += sum(track.sizes[chunk : chunk + _IN_CHUNK])
    runs = [(1, _IN_CHUNK, 1)] if count >= _IN_CHUNK else []
    if count % _IN_CHUNK:
        runs.append((len(chunks), count % _IN_CHUNK, 1))
    parts = [
        _full(b"stsd", 0, struct.pack(">I", 1), entry),
        _table(b"stts", _runs(track.durations)),
        _table(b"ctts", _runs(track.offsets)) if any(track.offsets) else b"",
        _table(b"stss", ((key,) for key in track.keys)) if len(track.keys) < count else b"",
        _table(b"stsc", runs),
        _full(b"stsz", 0, struct.pack(">II", 0, count), struct.pack(f">{count}I", *track.sizes)),
        _full(b"co64", 0, struct.pack(">I", len(places)), struct.pack(f">{len(places)}Q", *places)),
    ]
    return box(b"stbl", *parts)


def _runs(values: Iterable[int]) -> list[tuple[int, int]]:
    return [(len(list(same)), value) for value, same in groupby(values)]


def _table(kind: bytes, rows: Iterable[Sequence[int]]) -> bytes:
    found = [struct.pack(f">{len(row)}I", *row) for row in rows]
    return _full(kind, 0, struct.pack(">I", len(found)), *found)
