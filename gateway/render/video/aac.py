"""AAC sound as transport streams carry it: frames with headers of their own (ADTS, ISO/IEC 13818-7 6.2)."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from gateway.render.video.movie import TICKS, Samples, Sheet
from gateway.render.video.transport import Piece

RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
"""Samples a second, by sampling_frequency_index."""
FRAME = 1024
"""Samples of one frame."""

_HEADER = 7
_LONGEST = 1 << 13
_GAP = 0.05
"""Seconds by which a frame may come later than it should before it counts as a gap."""
_LONGEST_GAP = 3600
_WRAP = 1 << 33


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before a frame. `configuration` is the AudioSpecificConfig of ISO/IEC 14496-3 1.6.2.1."""

    rate: int
    channels: int
    configuration: bytes
    size: int
    length: int
    """Of the frame with its header, which has `size` bytes."""


def header_of(data: bytes) -> Header | None:
    """The header that `data` begins with; None for what is none, or says what cannot be packed (no channels)."""
    if len(data) < _HEADER or data[0] != 0xFF or data[1] & 0xF6 != 0xF0 or data[6] & 3:
        return None
    profile, index = data[2] >> 6, data[2] >> 2 & 15
    channels = (data[2] & 1) << 2 | data[3] >> 6
    length = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    size = _HEADER if data[1] & 1 else _HEADER + 2
    if index >= len(RATES) or not channels or length <= size:
        return None
    configuration = ((profile + 1) << 11 | index << 7 | channels << 3).to_bytes(2, "big")
    return Header(RATES[index], channels, configuration, size, length)


class Sound:
    """Takes the sound of a stream frame by frame, and writes each as one sample.

    What cannot be read is passed over; what comes after a change of rate or channels is left out.
    """

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self._rest = b""
        self._over = False
        self.sheet = Sheet()
        self.durations = array("I")
        self.first: Header | None = None
        self.start: int | None = None
        """When the first frame is heard, in ticks of the stream."""
        self._length = 0

    def take(self, piece: Piece) -> None:
        """The next bytes, and the time of the first frame that begins in them."""
        data = self._rest + piece.data
        at, fresh, time = 0, len(self._rest), piece.pts
        while not self._over:
            at = data.find(b"\xff", at)
            if at < 0 or at + _HEADER > len(data):
                break
            header = header_of(data[at : at + _HEADER])
            if header is None:
                at += 1
                continue
            if at + header.length > len(data):
                break
            self._frame(header, data[at + header.size : at + header.length], time if at >= fresh else None)
            time = None if at >= fresh else time
            at += header.length
        self._rest = data[at if at >= 0 else len(data) :][-2 * _LONGEST :]

    def _frame(self, header: Header, data: bytes, time: int | None) -> None:
        first = self.first = self.first or header
        if header.configuration != first.configuration:
            self._over = True
            return
        if time is not None:
            if self.start is None:
                # Frames before it had no time: they were heard earlier.
                self.start = time - self._length * TICKS // first.rate
            self._wait(between(self.start, time) * first.rate // TICKS - self._length, first.rate)
        self._samples.write(self.sheet, data)
        self.durations.append(FRAME)
        self._length += FRAME

    def _wait(self, missing: int, rate: int) -> None:
        """Where nothing was sent for a while, the frame before lasts until sound comes again."""
        if self.durations and _GAP * rate < missing < _LONGEST_GAP * rate:
            self.durations[-1] += missing
            self._length += missing


def between(first: int, second: int) -> int:
    """Ticks from one time of a stream to another; times begin anew after 26 hours (ISO/IEC 13818-1 2.4.3.7)."""
    return (second - first + _WRAP // 2) % _WRAP - _WRAP // 2
