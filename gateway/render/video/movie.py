"""The boxes of an MP4 file with a video track, and sound (ISO/IEC 14496-12, 14496-14)."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import BinaryIO

TICKS = 90_000
"""Units of time in a second: of the movie, and of its video."""
_IN_CHUNK = 32
_MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
_WHOLE = 0x10000


@dataclass(slots=True)
class Sheet:
    """Where the samples of one track lie: their `sizes` in bytes, and chunks of samples that follow each other."""

    sizes: array[int] = field(default_factory=lambda: array("I"))
    places: array[int] = field(default_factory=lambda: array("Q"))
    """Where each chunk begins."""
    counts: array[int] = field(default_factory=lambda: array("I"))
    """Samples of each chunk."""


class Samples:
    """The samples of all tracks on their way into a file, in the order in which they come."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        out.write(box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41"))
        out.write(struct.pack(">I4sQ", 1, b"mdat", 16))
        self._start = self._end = out.tell()
        self._last: Sheet | None = None

    def write(self, sheet: Sheet, data: bytes) -> None:
        """The next sample of the track that `sheet` is of."""
        if sheet is not self._last or sheet.counts[-1] >= _IN_CHUNK:
            sheet.places.append(self._end)
            sheet.counts.append(0)
        self._last = sheet
        sheet.counts[-1] += 1
        sheet.sizes.append(len(data))
        self._out.write(data)
        self._end += len(data)

    def close(self, video: Video, sound: Audio | None) -> None:
        """End the samples, and describe them."""
        self._out.seek(self._start - 8)
        self._out.write(struct.pack(">Q", self._end - self._start + 16))
        self._out.seek(self._end)
        self._out.write(_movie(video, sound))


@dataclass(frozen=True, slots=True)
class Video:
    """A track of H.264; `configuration` is its decoder configuration record.

    `keys` are the numbers (from 1) of samples that decoding can begin at; `durations` and `offsets` (from decoding to
    showing) are in ticks.
    """

    sheet: Sheet
    width: int
    height: int
    configuration: bytes
    keys: array[int]
    durations: array[int]
    offsets: array[int]


@dataclass(frozen=True, slots=True)
class Audio:
    """A track of AAC. `durations` are in its samples, of which there are `rate` a second; `late` is by how many ticks
    it begins after the pictures, below zero where it begins before them.
    """

    sheet: Sheet
    rate: int
    channels: int
    configuration: bytes
    durations: array[int]
    late: int


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box with its size before it."""
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full(kind: bytes, flags: int, *parts: bytes, version: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def _movie(video: Video, sound: Audio | None) -> bytes:
    length = sum(video.durations)
    tracks = [_video_track(video, length)]
    if sound is not None:
        heard = sum(sound.durations) * TICKS // sound.rate
        tracks.append(_sound_track(sound, heard))
        length = max(length, heard + max(sound.late, 0))
    head = struct.pack(">iH10x", _WHOLE, 0x100) + _MATRIX + bytes(24) + struct.pack(">I", len(tracks) + 1)
    return box(b"moov", _full(b"mvhd", 0, _times(TICKS, length), head, version=1), *tracks)


def _times(scale: int, length: int) -> bytes:
    return struct.pack(">QQIQ", 0, 0, scale, length)


def _track(number: int, volume: int, size: tuple[int, int], edits: list[tuple[int, int]], media: bytes) -> bytes:
    """A track; `edits` are lengths in ticks and where in the media each begins, -1 for nothing at all."""
    length = sum(long for long, _ in edits)
    head = struct.pack(">QQIIQ8xHHHH", 0, 0, number, 0, length, 0, 0, volume, 0) + _MATRIX
    head += struct.pack(">II", size[0] << 16, size[1] << 16)
    rows = b"".join(struct.pack(">QqI", long, begins, _WHOLE) for long, begins in edits)
    listed = _full(b"elst", 0, struct.pack(">I", len(edits)), rows, version=1)
    return box(b"trak", _full(b"tkhd", 3, head, version=1), box(b"edts", listed), media)


def _media(scale: int, length: int, handler: bytes, name: bytes, own: bytes, samples: bytes) -> bytes:
    return box(
        b"mdia",
        _full(b"mdhd", 0, _times(scale, length), struct.pack(">HH", 0x55C4, 0), version=1),
        _full(b"hdlr", 0, struct.pack(">I4s12x", 0, handler), name),
        box(
            b"minf",
            own,
            box(b"dinf", _full(b"dref", 0, struct.pack(">I", 1), _full(b"url ", 1))),
            samples,
        ),
    )


def _video_track(video: Video, length: int) -> bytes:
    delay = video.offsets[0] if video.offsets else 0
    shown = min(video.offsets) if video.offsets else 0
    entry = box(
        b"avc1",
        struct.pack(">6xH16xHHII4xH32xHh", 1, video.width, video.height, 0x480000, 0x480000, 1, 24, -1),
        box(b"avcC", video.configuration),
    )
    count = len(video.sheet.sizes)
    more = [
        _table(b"ctts", _runs(video.offsets)) if any(video.offsets) else b"",
        _table(b"stss", ((key,) for key in video.keys)) if len(video.keys) < count else b"",
    ]
    samples = _samples(entry, video.sheet, video.durations, more)
    media = _media(TICKS, length, b"vide", b"VideoHandler\0", _full(b"vmhd", 1, bytes(8)), samples)
    return _track(1, 0, (video.width, video.height), [(length, max(delay, shown))], media)


def _sound_track(sound: Audio, heard: int) -> bytes:
    decoder = b"\x40\x15" + bytes(11) + _descriptor(5, sound.configuration)
    stream = struct.pack(">HB", 2, 0) + _descriptor(4, decoder) + _descriptor(6, b"\2")
    entry = box(
        b"mp4a",
        struct.pack(">6xH8xHH4xI", 1, min(sound.channels, 2), 16, sound.rate << 16 if sound.rate < 1 << 16 else 0),
        _full(b"esds", 0, _descriptor(3, stream)),
    )
    samples = _samples(entry, sound.sheet, sound.durations, [])
    media = _media(sound.rate, sum(sound.durations), b"soun", b"SoundHandler\0", _full(b"smhd", 0, bytes(4)), samples)
    edits = [(heard, 0)]
    if sound.late > 0:
        edits = [(sound.late, -1), (heard, 0)]
    elif sound.late < 0:
        edits = [(max(heard + sound.late, 0), -sound.late * sound.rate // TICKS)]
    return _track(2, 0x100, (0, 0), edits, media)


def _descriptor(tag: int, body: bytes) -> bytes:
    """A descriptor of ISO/IEC 14496-1 7.2.2, of less than 128 bytes."""
    return bytes([tag, len(body)]) + body


def _samples(entry: bytes, sheet: Sheet, durations: array[int], more: Iterable[bytes]) -> bytes:
    runs: list[tuple[int, int, int]] = []
    for number, count in enumerate(sheet.counts, 1):
        if not runs or runs[-1][1] != count:
            runs.append((number, count, 1))
    parts = [
        _full(b"stsd", 0, struct.pack(">I", 1), entry),
        _table(b"stts", _runs(durations)),
        *more,
        _table(b"stsc", runs),
        _full(b"stsz", 0, struct.pack(">II", 0, len(sheet.sizes)), _packed("I", sheet.sizes)),
        _full(b"co64", 0, struct.pack(">I", len(sheet.places)), _packed("Q", sheet.places)),
    ]
    return box(b"stbl", *parts)


def _packed(kind: str, values: array[int]) -> bytes:
    return struct.pack(f">{len(values)}{kind}", *values)


def _runs(values: Iterable[int]) -> list[tuple[int, int]]:
    return [(len(list(same)), value) for value, same in groupby(values)]


def _table(kind: bytes, rows: Iterable[Sequence[int]]) -> bytes:
    found = [struct.pack(f">{len(row)}I", *row) for row in rows]
    return _full(kind, 0, struct.pack(">I", len(found)), *found)
