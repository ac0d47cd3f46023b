"""Grayscale: stored values to 8 bits (PS3.4 N.2.1, PS3.3 C.11).

The steps are Modality LUT, VOI LUT, and the inversion that MONOCHROME1 or Presentation LUT Shape ask for. They depend
on nothing but the stored value, so up to 16 bits they are worked out once for every possible value, into a table that
all frames with the same settings share; a frame then costs one look-up for each pixel. Most tables are a ramp between
black and white: where single precision gives the same greys for all values, they are worked out, in half the time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy
from numpy.typing import NDArray

from gateway.render.lut import ROWS_AT_ONCE, Lut, Ramp, look_up
from gateway.render.window import Window

_NUDGES = (0.0, 1e-4, -1e-4)
"""What is added so that halves are rounded in single precision as they are in double."""


@dataclass(frozen=True, slots=True)
class Modality:
    """Modality LUT: a table, or slope and intercept; never both (PS3.3 C.11.1)."""

    slope: float = 1.0
    intercept: float = 0.0
    lut: Lut | None = None

    def apply(self, stored: NDArray[Any]) -> NDArray[Any]:
        """The output for stored values: modality units such as Hounsfield units."""
        if self.lut is not None:
            return self.lut.apply(stored)
        return stored.astype(numpy.float64) * self.slope + self.intercept


@dataclass(frozen=True, slots=True)
class Padding:
    """Pixel padding: stored values from `low` to `high`, both included (PS3.3 C.7.5.1.1.2)."""

    low: float
    high: float

    def of(self, stored: NDArray[Any]) -> NDArray[numpy.bool_]:
        """Where the stored values are padding."""
        if self.low == self.high:
            return numpy.asarray(stored == self.low)
        return numpy.asarray((stored >= self.low) & (stored <= self.high))


@dataclass(frozen=True, slots=True)
class Grey:
    """All that decides what grey a stored value gets.

    `voi` None means from the lowest to the highest value of the frame, padding aside: `settle` puts the window in.
    `source` tells where `voi` comes from, as `Picture.window` has it. `inverted` turns white and black. Padding becomes
    black in any case.
    """

    modality: Modality = Modality()
    voi: Window | Lut | None = None
    source: str = "image"
    inverted: bool = False
    padding: Padding | None = None

    def settle(self, stored: NDArray[Any], *, whole_range: tuple[int, int] | None = None) -> Grey:
        """With a VOI in any case. `whole_range` are the stored values to be shown where the frame does not decide."""
        if self.voi is not None:
            return self
        low, high = whole_range or self._range(stored)
        ends = self.modality.apply(numpy.asarray([low, high]))
        if self.modality.lut is not None and not whole_range:
            values = numpy.unique(stored)
            if self.padding is not None and not bool(self.padding.of(values).all()):
                values = values[~self.padding.of(values)]
            ends = self.modality.apply(values)
        window = Window.of_range(float(ends.min()), float(ends.max()))
        return replace(self, voi=window if window.valid else Window(0.5, 1.0), source="computed")

    def _range(self, stored: NDArray[Any]) -> tuple[float, float]:
        """Lowest and highest stored value that is finite and no padding; of all, where there is nothing else."""
        if stored.dtype.kind == "f":
            finite = stored[numpy.isfinite(stored)]
            stored = finite if finite.size else numpy.zeros(1)
        low, high = stored.min().item(), stored.max().item()
        padding = self.padding
        if padding is None or padding.high < low or padding.low > high:
            return low, high
        rest = stored[~padding.of(stored)]
        return (rest.min().item(), rest.max().item()) if rest.size else (low, high)

    def shades(self, stored: NDArray[Any]) -> NDArray[numpy.uint8]:
        """8-bit greys of stored values, worked out one by one. `voi` must be settled."""
        if isinstance(self.voi, Lut):
            output = self.modality.apply(stored)
            if output.dtype.kind == "f":
                output = numpy.floor(numpy.clip(numpy.nan_to_num(output), -(2.0**31), 2.0**31) + 0.5)
            grey = self.voi.apply_8_bit(output)
        else:
            assert self.voi is not None
            with numpy.errstate(over="ignore", invalid="ignore"):
                grey = self.voi.apply(self.modality.apply(stored))
        if self.inverted:
            grey = ~grey
        if self.padding is not None:
            grey = numpy.where(self.padding.of(stored), numpy.uint8(0), grey)
        if stored.dtype.kind == "f":
            grey = numpy.where(numpy.isnan(stored), numpy.uint8(0), grey)
        return grey

    def apply(self, stored: NDArray[Any]) -> NDArray[numpy.uint8]:
        """8-bit greys of a frame's stored values, shaped as they are. `voi` must be settled."""
        if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
            ramp = _ramp(self, stored.dtype.str)
            if ramp is not None:
                return ramp.apply(stored)
            index = stored.view(f"u{stored.dtype.itemsize}") if stored.dtype.kind == "i" else stored
            return look_up(_table(self, stored.dtype.str), index)
        out = numpy.empty(stored.shape, numpy.uint8)
        for row in range(0, len(stored), ROWS_AT_ONCE):
            out[row : row + ROWS_AT_ONCE] = self.shades(stored[row : row + ROWS_AT_ONCE])
        return out


@lru_cache(maxsize=64)
def _table(grey: Grey, dtype: str) -> NDArray[numpy.uint8]:
    """Greys of every value of an 8- or 16-bit type, indexed by its bits read as unsigned."""
    kind = numpy.dtype(dtype)
    every = numpy.arange(1 << (8 * kind.itemsize), dtype=kind.str.replace("i", "u"))
    table = grey.shades(every.view(kind))
    table.flags.writeable = False
    return table


@lru_cache(maxsize=64)
def _ramp(grey: Grey, dtype: str) -> Ramp | None:
    """A ramp that gives what the table has, for every value that there is; None where none does."""
    kind = numpy.dtype(dtype)
    if kind.itemsize != 2 or not isinstance(grey.voi, Window) or grey.modality.lut is not None:
        return None
    line = grey.voi.line()
    if line is None:
        return None
    scale = line[0] * grey.modality.slope
    offset = line[0] * grey.modality.intercept + line[1] + 0.5
    if grey.inverted:
        scale, offset = -scale, 256.0 - offset
    table = _table(grey, dtype)
    every = numpy.arange(len(table), dtype=kind.str.replace("i", "u")).view(kind).reshape(ROWS_AT_ONCE, -1)
    for nudge in _NUDGES:
        ramp = Ramp(scale, offset + nudge)
        if numpy.array_equal(ramp.apply(every).reshape(-1), table):
            return ramp
    return None
