"""The grayscale transformation sequence of a state: Modality LUT, VOI LUT, Presentation LUT (PS3.4 N.2.1).

What the image itself says of its display does not count: a state that has no Modality LUT or VOI LUT means that step to
do nothing (PS3.4 N.2.1.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from gateway.dicom.description import PixelDescription, PixelKind
from gateway.dicom.view import View
from gateway.render.grey import Modality
from gateway.render.lut import Lut, read_lut
from gateway.render.window import FUNCTIONS, Window

_MODALITY_LUT, _VOI_LUT, _DESCRIPTOR, _DATA = 0x00283000, 0x00283010, 0x00283002, 0x00283006
_SLOPE, _INTERCEPT = 0x00281053, 0x00281052
_CENTER, _WIDTH, _FUNCTION = 0x00281050, 0x00281051, 0x00281056
_PRESENTATION_LUT, _SHAPE = 0x20500010, 0x20500020

_ROWS_AT_ONCE = 64

Levels = NDArray[numpy.float64]
"""From 0, black, to 1, white."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Modality LUT, VOI LUT (None for the whole range `low` to `high` of what comes in) and Presentation LUT."""

    modality: Modality
    voi: Window | Lut | None
    presentation: Lut | None
    inverse: bool
    low: float
    high: float

    @property
    def window(self) -> str:
        """As `Picture.window` has it."""
        shown = "lut" if isinstance(self.voi, Lut) else self.voi or Window.of_range(self.low, self.high)
        return f"{shown}; source=presentation-state"

    def voi_levels(self, stored: NDArray[Any]) -> Levels:
        """Stored values through Modality and VOI LUT."""
        values = self.modality.apply(stored)
        if isinstance(self.voi, Lut):
            rounded = numpy.floor(numpy.clip(numpy.nan_to_num(values.astype(numpy.float64)), -(2.0**31), 2.0**31) + 0.5)
            return self.voi.apply(rounded) / float((1 << self.voi.bits) - 1)
        if self.voi is not None:
            return self.voi.levels(values)
        spread = self.high - self.low or 1.0
        return numpy.clip((values.astype(numpy.float64) - self.low) / spread, 0.0, 1.0)

    def levels(self, stored: NDArray[Any]) -> Levels:
        """Stored values through all three: P-Values."""
        found = self.voi_levels(stored)
        if self.presentation is not None:
            table = self.presentation
            index = numpy.floor(found * (len(table.array) - 1) + 0.5) + table.first
            return table.apply(index) / float((1 << table.bits) - 1)
        return 1.0 - found if self.inverse else found

    def shades(self, stored: NDArray[Any]) -> NDArray[numpy.uint8]:
        """8-bit greys."""
        return by_value(stored, lambda values: to_8_bit(self.levels(values)))


def to_8_bit(levels: Levels) -> NDArray[numpy.uint8]:
    """0..255, rounding half up."""
    return numpy.floor(numpy.nan_to_num(levels) * 255.0 + 0.5).astype(numpy.uint8)


def by_value(stored: NDArray[Any], work: Callable[[NDArray[Any]], NDArray[numpy.uint8]]) -> NDArray[numpy.uint8]:
    """What `work` makes of each stored value: by a table where that is less work, in rows where the values are many."""
    kind = stored.dtype
    if kind.kind in "iu" and kind.itemsize <= 2:
        every = numpy.arange(1 << (8 * kind.itemsize), dtype=f"u{kind.itemsize}").view(kind)
        return numpy.asarray(work(every)[stored.view(f"u{kind.itemsize}")])
    return numpy.concatenate([work(stored[row : row + _ROWS_AT_ONCE]) for row in range(0, len(stored), _ROWS_AT_ONCE)])


def chain_of(state: View, voi: View | None, whole: View, description: PixelDescription) -> Chain:
    """The transformations for images of a description. `state` holds the Modality LUT, `voi` is the item of Softcopy
    VOI LUT Sequence, `whole` holds the Presentation LUT.
    """
    modality = _modality(state, description)
    low, high = _range(modality, description)
    window = _voi(voi, modality, description) if voi is not None else None
    table = None
    for item in whole.sequence(_PRESENTATION_LUT)[:1]:
        table = read_lut(item, _DESCRIPTOR, _DATA, signed=False)
    return Chain(modality, window, table, whole.text(_SHAPE) == "INVERSE", low, high)


def _modality(state: View, description: PixelDescription) -> Modality:
    for item in state.sequence(_MODALITY_LUT)[:1]:
        lut = read_lut(item, _DESCRIPTOR, _DATA, signed=description.signed)
        if lut is not None and description.kind is PixelKind.INTEGER:
            return Modality(lut=lut)
    slope, intercept = state.float(_SLOPE), state.float(_INTERCEPT)
    if not slope or abs(slope) > 1e30 or abs(intercept or 0.0) > 1e30:
        return Modality()
    return Modality(slope, intercept or 0.0)


def _range(modality: Modality, description: PixelDescription) -> tuple[float, float]:
    """What can come out of the Modality LUT."""
    if modality.lut is not None:
        return 0.0, float((1 << modality.lut.bits) - 1)
    bits = min(description.bits_stored, 32)
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if description.signed else (0, (1 << bits) - 1)
    ends = sorted(float(value) * modality.slope + modality.intercept for value in (low, high))
    return ends[0], ends[1]


def _voi(item: View, modality: Modality, description: PixelDescription) -> Window | Lut | None:
    signed = modality.lut is None and (description.signed or modality.intercept < 0 or modality.slope < 0)
    for table in item.sequence(_VOI_LUT)[:1]:
        lut = read_lut(table, _DESCRIPTOR, _DATA, signed=signed)
        if lut is not None:
            return lut
    center, width = item.float(_CENTER), item.float(_WIDTH)
    if center is None or width is None:
        return None
    function = item.text(_FUNCTION) or "LINEAR"
    window = Window(center, width, function if function in FUNCTIONS else "LINEAR")
    return window if window.valid else None
