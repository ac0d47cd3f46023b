"""The lay-out of a waveform's sheet in millimetres: what goes where, whatever it is then drawn with.

Voltages are drawn at 10 mm/mV, everything at 25 mm/s, as electrocardiograms are read; each voltage has its calibration
pulse of 1 mV and 0.2 s. Other units are scaled to their row, and say which values its ends stand for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from gateway.render.waveform.read import MAX_SECONDS, Channel, Group

SPEED = 25.0
"""Millimetres per second."""
GAIN = 10.0
"""Millimetres per millivolt."""
LETTERS = 3.2
"""Height of the letters in millimetres."""

_MARGIN, _PULSE, _HEAD, _FOOT = 5.0, 10.0, 8.0, 8.0
_ROW, _MAX_ROW, _SCALED = 20.0, 60.0, 15.0
_POINTS_PER_SECOND = 125

Points = NDArray[numpy.float64]


@dataclass(frozen=True, slots=True)
class Letters:
    """A line of text; `x`, `y` is the left end of its base line."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """All that is drawn, in millimetres from the top left: lines are arrays of points, shaped (points, 2)."""

    width: float
    height: float
    lines: tuple[Points, ...]
    letters: tuple[Letters, ...]


def lay_out(groups: list[Group]) -> Sheet:
    """The groups one below the other, a row for each channel."""
    lines: list[Points] = []
    letters: list[Letters] = []
    shown = max(min(group.seconds, MAX_SECONDS) for group in groups)
    width = 5 * int(numpy.ceil((2 * _MARGIN + _PULSE + max(shown * SPEED, 90.0)) / 5))
    y = _MARGIN
    for group in groups:
        letters.append(Letters(_MARGIN, y + LETTERS, _title(group)))
        y += _HEAD
        for channel in group.channels:
            y += _row(channel, group.frequency, y, lines, letters)
    volts = any(channel.units == "mV" for group in groups for channel in group.channels)
    scale = f"{SPEED:g} mm/s" + (f"   {GAIN:g} mm/mV" if volts else "")
    letters.append(Letters(_MARGIN, y + LETTERS + 1, scale))
    height = 5 * int(numpy.ceil((y + _FOOT) / 5))
    return Sheet(float(width), float(height), tuple(lines), tuple(letters))


def _title(group: Group) -> str:
    parts = [group.label] if group.label else []
    parts.append(f"{group.frequency:g} Hz")
    if group.seconds > MAX_SECONDS + 0.01:
        parts.append(f"first {MAX_SECONDS:g} s of {group.seconds:.0f} s")
    if group.left_out:
        parts.append(f"{group.left_out} more channels are not drawn")
    return "   ".join(parts)


def _row(channel: Channel, frequency: float, top: float, lines: list[Points], letters: list[Letters]) -> float:
    """Adds a channel below `top`; the height of its row."""
    samples = channel.samples
    finite = samples[numpy.isfinite(samples)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    left = _MARGIN + _PULSE
    if channel.units == "mV":
        # Room for the trace around its zero line; a trace beyond all measure is cut at the row.
        up, down = min(max(high * GAIN, 7.0), _MAX_ROW), min(max(-low * GAIN, 5.0), _MAX_ROW)
        height = max(_ROW, up + down + 3.0)
        zero = top + up + 1.5
        y = numpy.clip(zero - samples * GAIN, top, top + height)
        lines.append(_pulse(zero))
        letters.append(Letters(left + 1, min(zero - 3.0, top + height), channel.label))
    else:
        height = _ROW
        spread = high - low or 1.0
        y = top + 2.5 + (high - samples) / spread * _SCALED
        unit = f" {channel.units}" if channel.units else ""
        letters.append(Letters(left + 1, top + 3.5, f"{channel.label}   {low:g} to {high:g}{unit}"))
    x = left + numpy.arange(len(samples)) * (SPEED / frequency)
    lines += _pieces(x, y, frequency)
    return height


def _pulse(zero: float) -> Points:
    x = _MARGIN + numpy.array([0.0, 2.0, 2.0, 7.0, 7.0, 9.0])
    return numpy.column_stack([x, zero - numpy.array([0, 0, GAIN, GAIN, 0, 0])])


def _pieces(x: NDArray[Any], y: NDArray[Any], frequency: float) -> list[Points]:
    """The trace without its gaps, and with no more points than can be seen: of each bunch its lowest and highest."""
    bunch = int(frequency / _POINTS_PER_SECOND)
    if bunch > 2:
        whole = len(y) // bunch * bunch
        if whole:
            low = numpy.fmin.reduce(y[:whole].reshape(-1, bunch), axis=1)
            high = numpy.fmax.reduce(y[:whole].reshape(-1, bunch), axis=1)
            y = numpy.column_stack([low, high]).ravel()
            x = numpy.repeat(x[:whole:bunch], 2)
            x[1::2] += (x[2] - x[0]) / 2 if len(x) > 2 else 0.0
    points = numpy.column_stack([x, y])
    gaps = numpy.flatnonzero(~numpy.isfinite(y))
    pieces = numpy.split(points, numpy.unique(numpy.concatenate([gaps, gaps + 1]))) if gaps.size else [points]
    return [piece for piece in pieces if len(piece) > 1 and bool(numpy.isfinite(piece[:, 1]).all())]
