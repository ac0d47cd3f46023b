"""H.264 in an MP4 file: the coded pictures are copied as they are into the one container that browsers play.

DICOM keeps video in MP4 or in transport streams (PS3.5 8.2.7), and some have it bare; nothing is encoded anew. Sound
comes along where it is AAC.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import BinaryIO

from gateway.errors import NotRenderable
from gateway.render.video.aac import Sound, between
from gateway.render.video.h264 import IDR, PPS, SLICE, SPS, Sequence, Slice, Unit, read_sequence, read_slice, units_of
from gateway.render.video.movie import TICKS, Audio, Samples, Sheet, Video
from gateway.render.video.transport import Piece

_NEVER_KEPT = frozenset({9, 10, 11, 12})
"""Delimiters, ends and filler: a container has its own ways to say that."""
_USUAL_RATE = 25.0
_LONGEST = 10 * TICKS
"""Between two pictures; times that lie further apart are no times."""
MAX_SAMPLES = 2_000_000
"""Most pictures of a video: 9 hours at 60 a second."""
MAX_UNITS = 16 * MAX_SAMPLES


class _Writer:
    """Collects the NAL units of one picture after the other and writes each as one sample."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self.sheet = Sheet()
        self.sets: dict[int, bytes] = {}
        self.sequence: Sequence | None = None
        self.keys = array("I")
        self.orders: list[tuple[int, int]] = []
        """Of each sample: which IDR picture it follows, and its picture order count."""
        self.times: list[tuple[int | None, int | None]] = []
        self.reordered = False
        self._units: list[bytes] = []
        self._time: tuple[int | None, int | None] = (None, None)
        self._picture: Slice | None = None
        self._key = False
        self._period, self._high, self._low = 0, 0, 0
        self._order = 0

    def take(self, unit: Unit) -> None:
        """The next NAL unit."""
        if unit.kind in (SLICE, IDR, 2):
            self._slice(unit)
        elif self._picture is not None and unit.kind in (6, 7, 8, 9, 14, 15, 16, 17, 18):
            self.flush()
        if unit.dts is not None or unit.pts is not None:
            self._time = (unit.pts, unit.dts)
        if unit.kind in (SPS, PPS):
            self._parameters(unit)
        if unit.kind not in _NEVER_KEPT:
            self._units.append(unit.data)

    def _parameters(self, unit: Unit) -> None:
        known = self.sets.setdefault(unit.kind, unit.data)
        if unit.kind == SPS:
            sequence = read_sequence(unit.data)
            before = self.sequence or sequence
            if known != unit.data and (sequence.width, sequence.height) != (before.width, before.height):
                raise NotRenderable("the pictures of the video change their size")
            self.sequence = sequence

    def _slice(self, unit: Unit) -> None:
        if self.sequence is None:
            raise NotRenderable("the video stream has no sequence parameter set")
        head = read_slice(unit.data, self.sequence)
        now = self._picture
        if now is not None and head.first == 0:
            other_field = now.field and head.field and now.bottom != head.bottom and now.frame == head.frame
            if not other_field:
                self.flush()
            else:
                return
        self.reordered |= head.bidirectional
        if self._picture is None:
            self._picture = head
            self._key = unit.kind == IDR
            self._count(head, unit)

    def _count(self, head: Slice, unit: Unit) -> None:
        """Picture order count (8.2.1.1)."""
        if unit.kind == IDR:
            self._period += 1
            self._high = self._low = 0
        assert self.sequence is not None
        span = 1 << self.sequence.order_bits
        high = self._high
        if head.order < self._low and self._low - head.order >= span // 2:
            high += span
        elif head.order > self._low and head.order - self._low > span // 2:
            high -= span
        self._order = high + head.order
        if unit.data[0] >> 5 & 3:
            self._high, self._low = high, head.order

    def flush(self) -> None:
        """Write the picture that is complete."""
        if self._picture is None:
            return
        data = b"".join(len(unit).to_bytes(4, "big") + unit for unit in self._units)
        self._samples.write(self.sheet, data)
        if len(self.sheet.sizes) > MAX_SAMPLES:
            raise NotRenderable("the video has too many pictures")
        if self._key:
            self.keys.append(len(self.sheet.sizes))
        self.orders.append((self._period, self._order))
        self.times.append(self._time)
        self._units, self._picture, self._time = [], None, (None, None)


def remux(pieces: Iterable[Piece], rate: float | None, out: BinaryIO) -> None:
    """Write the H.264 stream in `pieces` to the seekable `out` as an MP4 file.

    `rate` in frames per second counts where the stream has no times of its own. Raises NotRenderable for what is no
    H.264, or cannot be put in order.
    """
    samples = Samples(out)
    writer, sound = _Writer(samples), Sound(samples)
    for number, unit in enumerate(units_of(_pictures(pieces, sound))):
        if number > MAX_UNITS:
            raise NotRenderable("the video has too many units")
        writer.take(unit)
    writer.flush()
    sequence, sets = writer.sequence, writer.sets
    if not writer.sheet.sizes or sequence is None or SPS not in sets or PPS not in sets or len(sets[SPS]) < 4:
        raise NotRenderable("the video stream holds no H.264 pictures")
    if not writer.keys:
        writer.keys.append(1)  # refreshed bit by bit: it can be played from its start at least
    durations, offsets = _clock(writer, sequence, rate)
    configuration = _configuration(sets, sequence)
    video = Video(writer.sheet, sequence.width, sequence.height, configuration, writer.keys, durations, offsets)
    samples.close(video, _heard(sound, writer))


def _pictures(pieces: Iterable[Piece], sound: Sound) -> Iterator[Piece]:
    """The pieces of the video; those of the sound are taken by `sound` on the way."""
    for piece in pieces:
        if piece.sound:
            sound.take(piece)
        else:
            yield piece


def _heard(sound: Sound, writer: _Writer) -> Audio | None:
    first = sound.first
    if first is None or not sound.durations or len(sound.durations) > MAX_UNITS:
        return None
    shown = [pts for pts, _ in writer.times[:64] if pts is not None]
    late = between(min(shown), sound.start) if shown and sound.start is not None else 0
    return Audio(
        sound.sheet,
        first.rate,
        first.channels,
        first.configuration,
        sound.durations,
        late if abs(late) < _LONGEST else 0,
    )


def _clock(writer: _Writer, sequence: Sequence, rate: float | None) -> tuple[array[int], array[int]]:
    """How long each sample lasts, and how long after its decoding it is shown; in ticks, the first at 0 or later."""
    count = len(writer.sheet.sizes)
    step = round(TICKS / (rate or sequence.rate or _USUAL_RATE))
    timed = [dts for _, dts in writer.times if dts is not None]
    lag = [(pts or 0) - (dts or 0) for pts, dts in writer.times]
    regular = all(0 < b - a < _LONGEST for a, b in pairwise(timed)) and max(lag) - min(lag) < _LONGEST
    if len(timed) == count and regular:
        durations = array("I", (b - a for a, b in pairwise(timed)))
        durations.append(durations[-1] if durations else step)
        shown = lag
    else:
        if writer.reordered and sequence.order_type == 1:
            raise NotRenderable("the pictures of the video cannot be put in order without times")
        durations = array("I", [step]) * count
        if sequence.order_type == 0:
            ranks = {place: rank for rank, place in enumerate(sorted(range(count), key=writer.orders.__getitem__))}
            shown = [(ranks[place] - place) * step for place in range(count)]
        else:
            shown = [0] * count
    late = min(shown)
    return durations, array("I", (offset - late for offset in shown))


def _configuration(sets: dict[int, bytes], sequence: Sequence) -> bytes:
    """AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1)."""
    sps, pps = sets[SPS], sets[PPS]
    found = b"\1" + sps[1:4] + b"\xff\xe1" + len(sps).to_bytes(2, "big") + sps
    found += b"\1" + len(pps).to_bytes(2, "big") + pps
    if sps[1] in (100, 110, 122, 144):
        depths = (0xF8 | sequence.luma_bits - 8, 0xF8 | sequence.chroma_bits - 8)
        found += bytes([0xFC | sequence.chroma, *depths, 0])
    return found
