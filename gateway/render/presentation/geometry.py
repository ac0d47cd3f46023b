"""Spatial transformation and displayed area: pixels of an image to those of its picture (PS3.3 C.10.4, C.10.6)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from PIL import Image

from gateway.dicom.view import View
from gateway.errors import BadRequest
from gateway.render.encode import fit
from gateway.render.view import MAX_PIXELS, Viewport

_ROTATION, _FLIP = 0x00700042, 0x00700041
_TOP_LEFT, _BOTTOM_RIGHT, _MODE = 0x00700052, 0x00700053, 0x00700100
_SPACING, _ASPECT, _RATIO = 0x00700101, 0x00700102, 0x00700103
_MAX_AREA = 1 << 20
_MAX_RATIO = 64.0
_TURNS = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
"""Pillow turns counter-clockwise, DICOM clockwise."""

Point = tuple[float, float]
"""Column and row."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How an image is laid out.

    `left`, `top`, `right`, `bottom` bound the displayed area in the image, in pixels from its top left corner; it may
    reach beyond the image. The area is turned clockwise by `rotation` degrees (0, 90, 180, 270), then mirrored where
    `flip` says so, and has `width` by `height` pixels in the picture.
    """

    left: float
    top: float
    right: float
    bottom: float
    rotation: int
    flip: bool
    width: int
    height: int

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the image (0\\0 is the top left corner of its first pixel) lies in the picture."""
        u, v = (x - self.left) / (self.right - self.left), (y - self.top) / (self.bottom - self.top)
        if self.rotation == 90:
            u, v = 1 - v, u
        elif self.rotation == 180:
            u, v = 1 - u, 1 - v
        elif self.rotation == 270:
            u, v = v, 1 - u
        return (1 - u if self.flip else u) * self.width, v * self.height

    def fraction(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the displayed area lies in the picture, as fractions of the area: units DISPLAY."""
        return x * self.width, y * self.height

    def apply(self, image: Image.Image, resample: Image.Resampling = Image.Resampling.BILINEAR) -> Image.Image:
        """The picture: the area cut out, scaled, turned and mirrored; black (or nothing) beyond the image."""
        turned = self.rotation in (90, 270)
        size = (self.height, self.width) if turned else (self.width, self.height)
        image = self._cut(image, size, resample)
        if self.rotation:
            image = image.transpose(_TURNS[self.rotation])
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.flip else image

    def _cut(self, image: Image.Image, size: tuple[int, int], resample: Image.Resampling) -> Image.Image:
        left, top = max(self.left, 0.0), max(self.top, 0.0)
        right, bottom = min(self.right, float(image.width)), min(self.bottom, float(image.height))
        out = Image.new(image.mode, size)
        if left >= right or top >= bottom:
            return out
        x_scale, y_scale = size[0] / (self.right - self.left), size[1] / (self.bottom - self.top)
        x, y = round((left - self.left) * x_scale), round((top - self.top) * y_scale)
        wide = max(1, min(size[0], round((right - self.left) * x_scale)) - x)
        high = max(1, min(size[1], round((bottom - self.top) * y_scale)) - y)
        if (wide, high) == (right - left, bottom - top):
            part = image.crop((int(left), int(top), int(right), int(bottom)))
        else:
            part = image.resize((wide, high), resample, (left, top, right, bottom))
        out.paste(part, (x, y))
        return out


def geometry_of(
    state: View, area: View | None, rows: int, columns: int, aspect: float, viewport: Viewport | None
) -> tuple[Geometry, tuple[int, int, int, int] | None]:
    """The layout for an image of `rows` by `columns`, and what is cut out of the picture at last, if anything.

    `aspect` is that of the image's pixels, for an `area` (item of Displayed Area Selection Sequence) that has none.
    SCALE TO FIT and TRUE SIZE fill the viewport; MAGNIFY has its own scale, and shows the middle where the viewport is
    smaller (PS3.18 10.4.1.1.3). Raises BadRequest for a picture of too many pixels.
    """
    left, top, right, bottom = 0.0, 0.0, float(columns), float(rows)
    mode, ratio = "SCALE TO FIT", 1.0
    if area is not None:
        corners = [*area.numbers(_TOP_LEFT), *area.numbers(_BOTTOM_RIGHT)]
        if len(corners) == 4 and all(abs(corner) <= _MAX_AREA for corner in corners):
            # The corners are those after the spatial transformation; places count from 1 and are both within.
            left, right = float(min(corners[0::2]) - 1), float(max(corners[0::2]))
            top, bottom = float(min(corners[1::2]) - 1), float(max(corners[1::2]))
        aspect = _aspect(area, aspect)
        mode, ratio = area.text(_MODE) or mode, area.float(_RATIO) or 1.0
    rotation = (state.number(_ROTATION) or 0) % 360
    rotation = rotation if rotation in _TURNS else 0
    wide, high = right - left, (bottom - top) * aspect
    if aspect < 1:  # more pixels the one way, rather than fewer the other way
        wide, high = wide / aspect, bottom - top
    if rotation in (90, 270):
        wide, high = high, wide
    crop = None
    if mode == "MAGNIFY" and 0 < ratio <= _MAX_RATIO:
        size = (max(1, round(wide * ratio)), max(1, round(high * ratio)))
        if viewport is not None:
            x, y = (max(0, (have - most) // 2) for have, most in zip(size, _size(viewport), strict=True))
            crop = (x, y, min(size[0], x + viewport.width), min(size[1], y + viewport.height))
            crop = None if crop == (0, 0, *size) else crop
    elif viewport is not None:
        size = fit(wide, high, viewport.width, viewport.height)
    else:
        size = (max(1, round(wide)), max(1, round(high)))
    if size[0] * size[1] > MAX_PIXELS:
        raise BadRequest("viewport", f"the picture would have more than {MAX_PIXELS} pixels; ask for a smaller one")
    flip = (state.text(_FLIP) or "N") == "Y"
    return Geometry(left, top, right, bottom, rotation, flip, *size), crop


def enlarged(geometry: Geometry, times: int) -> Geometry:
    """The same in a picture so many times larger."""
    return replace(geometry, width=geometry.width * times, height=geometry.height * times)


def _size(viewport: Viewport) -> tuple[int, int]:
    return viewport.width, viewport.height


def _aspect(area: View, otherwise: float) -> float:
    """The height of a pixel by its width."""
    for pair in (area.floats(_SPACING), [float(number) for number in area.numbers(_ASPECT)]):
        if len(pair) == 2 and min(pair) > 0:
            found = pair[0] / pair[1]
            if math.isfinite(found) and 0.01 <= found <= 100:
                return found if abs(found - 1) > 0.01 else 1.0
    return otherwise
