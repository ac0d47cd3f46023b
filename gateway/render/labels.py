"""Segmentations as coloured labels over nothing: colour where the segment is, transparent elsewhere (PS3.3 C.8.20)."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray
from PIL import Image

from gateway.dicom.description import PixelDescription
from gateway.dicom.header import Header
from gateway.dicom.view import View
from gateway.render.lab import to_srgb
from gateway.render.parameters import group

COLOURS = (
    (230, 60, 50), (60, 160, 75), (70, 120, 230), (245, 190, 40), (165, 75, 190), (60, 200, 210),
    (240, 130, 45), (150, 200, 60), (235, 110, 180), (170, 120, 80), (0, 130, 130), (200, 200, 200),
)  # fmt: skip
"""For segments that recommend no colour, by Segment Number in turn."""

_TYPE, _SEGMENTS, _NUMBER, _COLOUR, _MAXIMUM = 0x00620001, 0x00620002, 0x00620004, 0x0062000D, 0x0062000E
_IDENTIFICATION, _REFERENCED = 0x0062000A, 0x0062000B
_PADDING = 0x00280120

Stored = NDArray[Any]


def label_image(header: Header, description: PixelDescription, frame: int, stored: Stored) -> Image.Image:
    """One frame (1-based) in RGBA: a segment's mask, its fractions as opacity, or all segments of a label map."""
    colours = _colours(header)
    if header.text(_TYPE) == "LABELMAP":
        return Image.fromarray(_label_map(header, stored, colours))
    macro = group(header, frame, _IDENTIFICATION)
    number = (macro.number(_REFERENCED) if macro is not None else None) or next(iter(colours), 1)
    out = numpy.empty((*stored.shape, 4), numpy.uint8)
    out[..., :3] = colours.get(number) or _fallback(number)
    if header.text(_TYPE) == "FRACTIONAL":
        most = header.number(_MAXIMUM) or (1 << description.bits_stored) - 1
        fraction = numpy.clip(stored.astype(numpy.float64) / most, 0.0, 1.0)
        out[..., 3] = numpy.floor(fraction * 255.0 + 0.5).astype(numpy.uint8)
    else:
        out[..., 3] = numpy.where(stored != 0, 255, 0)
    return Image.fromarray(out)


def _label_map(header: Header, stored: Stored, colours: dict[int, tuple[int, int, int]]) -> NDArray[numpy.uint8]:
    """Pixel values are Segment Numbers; zero, and what is padding, is no segment (PS3.3 C.8.20.2.3.3)."""
    values, place = numpy.unique(stored, return_inverse=True)
    table = numpy.zeros((len(values), 4), numpy.uint8)
    nothing = {0, header.number(_PADDING)}
    for row, value in enumerate(values.tolist()):
        if value not in nothing:
            table[row] = (*(colours.get(value) or _fallback(value)), 255)
    return table[place.reshape(stored.shape)]


def _colours(header: Header) -> dict[int, tuple[int, int, int]]:
    found: dict[int, tuple[int, int, int]] = {}
    for item in header.sequence(_SEGMENTS):
        number = item.number(_NUMBER)
        if number is not None:
            found[number] = recommended(item, _COLOUR) or _fallback(number)
    return found


def recommended(item: View, tag: int) -> tuple[int, int, int] | None:
    """A Recommended Display CIELab Value as sRGB (PS3.3 C.10.7.1.1)."""
    lab = item.numbers(tag)
    return to_srgb(lab[0], lab[1], lab[2]) if len(lab) == 3 else None


def _fallback(number: int) -> tuple[int, int, int]:
    return COLOURS[(number - 1) % len(COLOURS)]
