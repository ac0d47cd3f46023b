"""Display shutters: what lies outside of them is covered (PS3.3 C.7.6.11, C.7.6.15)."""

from __future__ import annotations

import numpy
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gateway.dicom.view import View
from gateway.render.labels import recommended

SHUTTER_SHAPE = 0x00181600
_LEFT, _RIGHT, _UPPER, _LOWER = 0x00181602, 0x00181604, 0x00181606, 0x00181608
_CENTER, _RADIUS, _VERTICES = 0x00181610, 0x00181612, 0x00181620
_VALUE, OVERLAY_GROUP, _COLOUR = 0x00181622, 0x00181623, 0x00181624
_MAX_VERTICES = 10_000

Mask = NDArray[numpy.bool_]


def covered(state: View, rows: int, columns: int, aspect: float) -> Mask | None:
    """Where the shapes of the shutter cover the image, all of them together; None where there is no shutter.

    Places count from 1, edges are still seen; `aspect` is the height of a pixel by its width: a circle is a circle as
    it is displayed, its radius counted in columns.
    """
    shapes = state.texts(SHUTTER_SHAPE)
    mask: Mask | None = None
    y, x = numpy.ogrid[1 : rows + 1, 1 : columns + 1]
    for shape in shapes:
        found: Mask | None = None
        if shape == "RECTANGULAR":
            edges = [state.number(tag) for tag in (_LEFT, _RIGHT, _UPPER, _LOWER)]
            if None not in edges:
                left, right, upper, lower = (int(edge or 0) for edge in edges)
                found = (x < left) | (x > right) | (y < upper) | (y > lower)
        elif shape == "CIRCULAR":
            center, radius = state.numbers(_CENTER), state.number(_RADIUS)
            if len(center) == 2 and radius is not None:
                found = (x - center[1]) ** 2.0 + ((y - center[0]) * aspect) ** 2.0 > float(radius) ** 2
        elif shape == "POLYGONAL":
            found = _outside(state.numbers(_VERTICES), rows, columns)
        if found is not None:
            mask = found if mask is None else mask | found
    return mask


def _outside(vertices: list[int], rows: int, columns: int) -> Mask | None:
    """Vertices are row and column, alternately."""
    points = list(zip(vertices[1::2], vertices[::2], strict=False))[:_MAX_VERTICES]
    if len(points) < 3:
        return None
    image = Image.new("1", (columns, rows), 1)
    ImageDraw.Draw(image).polygon([(x - 1, y - 1) for x, y in points], fill=0, outline=0)
    return numpy.asarray(image)


def shade_of(state: View) -> tuple[int, int, int]:
    """What covered pixels are shown as: the shutter's colour, else its P-Value, else black."""
    colour = recommended(state, _COLOUR)
    if colour is not None:
        return colour
    value = (state.number(_VALUE) or 0) & 0xFFFF
    grey = int(value / 65535 * 255 + 0.5)
    return grey, grey, grey
