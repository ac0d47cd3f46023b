"""Colour: samples to 8-bit RGB (PS3.3 C.7.6.3.1.2, ITU-R BT.601)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy
from numpy.typing import NDArray

from gateway.errors import NotRenderable
from gateway.render.lut import Lut, look_up

RGB = NDArray[numpy.uint8]
_RGB_ALREADY = frozenset({"RGB", "YBR_RCT", "YBR_ICT", "XYB"})


@dataclass(frozen=True, slots=True)
class Palette:
    """Red, Green and Blue Palette Color Lookup Tables (PS3.3 C.7.6.3.1.5)."""

    red: Lut
    green: Lut
    blue: Lut

    def apply(self, stored: NDArray[Any]) -> RGB:
        """Colours of stored values, shaped (..., 3)."""
        if stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
            index = stored.view(f"u{stored.dtype.itemsize}") if stored.dtype.kind == "i" else stored
            return look_up(_palette_table(self, stored.dtype.str), index)
        return self.colours(stored)

    def colours(self, stored: NDArray[Any]) -> RGB:
        """Colours of stored values, looked up one by one."""
        luts = (self.red, self.green, self.blue)
        wide = max(lut.bits for lut in luts) > 8
        if wide and max(int(lut.array.max()) for lut in luts) <= 0xFF:
            wide = False  # said to be 16 bits, written as 8: shown as it stands all would be black
        shift = 8 if wide else 0
        return numpy.stack([(lut.apply(stored) >> shift).astype(numpy.uint8) for lut in luts], axis=-1)


@lru_cache(maxsize=16)
def _palette_table(palette: Palette, dtype: str) -> RGB:
    kind = numpy.dtype(dtype)
    every = numpy.arange(1 << (8 * kind.itemsize), dtype=kind.str.replace("i", "u"))
    table = palette.colours(every.view(kind))
    table.flags.writeable = False
    return table


def to_rgb(pixels: NDArray[Any], photometric: str, bits_stored: int) -> RGB:
    """8-bit RGB of decoded colour samples, shaped (rows, columns, 3).

    Raises:
        NotRenderable: a photometric interpretation that is no colour space in use.
    """
    if bits_stored > 8:
        # From the whole range to 0..255, rounded; in floating point, since 32 bits times 255 do not fit.
        pixels = numpy.floor(pixels * (255.0 / ((1 << bits_stored) - 1)) + 0.5).astype(numpy.uint8)
    elif bits_stored < 8:
        pixels = (pixels.astype(numpy.uint16) * 510 + (1 << bits_stored) - 1) // (2 * ((1 << bits_stored) - 1))
    pixels = pixels.astype(numpy.uint8, copy=False)
    if photometric in _RGB_ALREADY:
        return pixels
    if photometric in ("YBR_FULL", "YBR_FULL_422"):
        return _ybr_to_rgb(pixels, 0, 1.0, 1.0)
    if photometric in ("YBR_PARTIAL", "YBR_PARTIAL_422", "YBR_PARTIAL_420"):
        return _ybr_to_rgb(pixels, 16, 255 / 219, 255 / 224)
    raise NotRenderable(f"Photometric Interpretation {photometric[:16]} is not supported")


@lru_cache(maxsize=4)
def _ybr_tables(black: int, luma: float, chroma: float) -> tuple[NDArray[numpy.float32], ...]:
    """What each value of Y, Cr (red, green) and Cb (green, blue) adds."""
    value = numpy.arange(256, dtype=numpy.float64)
    y, c = (value - black) * luma + 0.5, (value - 128) * chroma
    return tuple(part.astype(numpy.float32) for part in (y, 1.402 * c, -0.714136 * c, -0.344136 * c, 1.772 * c))


def _ybr_to_rgb(pixels: RGB, black: int, luma: float, chroma: float) -> RGB:
    """YCbCr to RGB, rounding half up. `black` is the Y of black; `luma` and `chroma` widen the ranges to 0..255."""
    y_of, red_of_cr, green_of_cr, green_of_cb, blue_of_cb = _ybr_tables(black, luma, chroma)
    y, cb, cr = y_of[pixels[..., 0]], pixels[..., 1], pixels[..., 2]
    out = numpy.empty(pixels.shape, numpy.uint8)
    for channel, value in enumerate((y + red_of_cr[cr], y + green_of_cr[cr] + green_of_cb[cb], y + blue_of_cb[cb])):
        out[..., channel] = numpy.clip(numpy.floor(value), 0, 255)
    return out
