"""Mask subtraction of a state: frames of an image taken away from those that are shown (PS3.3 C.7.6.10, C.11.19)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gateway.dicom.view import View
from gateway.errors import NotFound, NotRenderable
from gateway.render.grey import Modality
from gateway.render.presentation.grey import Chain, by_value, to_8_bit
from gateway.render.presentation.state import applying

MAX_FRAMES = 16
"""Most mask frames, and most contrast frames, that are averaged."""

_MODE, _SEQUENCE, _OPERATION, _RANGE, _FRAMES = 0x00281090, 0x00286100, 0x00286101, 0x00286102, 0x00286110
_AVERAGED, _SHIFT, _OFFSET = 0x00286112, 0x00286114, 0x00286120
_PIXEL_SHIFTS, _SHIFT_RANGE, _REGIONS, _VERTICES = 0x00289501, 0x00289506, 0x00289502, 0x00289503
_MAX_REGIONS = 64

Decode = Callable[[int], NDArray[Any]]
"""Stored values of a frame (1-based) of the image that is shown."""
Values = NDArray[numpy.float64]


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the contrast frame, and how far the mask is moved for it: `down` and `left`, in pixels.

    `vertices` are row and column, from 1, alternately; none of them for the whole frame.
    """

    down: float
    left: float
    vertices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Mask:
    """What is taken away from a frame: the average of `frames` from that of `contrast`, moved as `regions` say."""

    frames: tuple[int, ...]
    contrast: tuple[int, ...]
    regions: tuple[Region, ...]


def mask_of(state: View, sop_uid: str, frame: int) -> Mask | None:
    """What is to be taken away from a frame (1-based) of an image; None for nothing (operations but AVG_SUB, TID and
    REV_TID, and frames that have none before them to be taken away).
    """
    if state.text(_MODE) != "SUB":
        return None
    for item in applying(state.sequence(_SEQUENCE), sop_uid, frame):
        span = item.numbers(_RANGE)
        ranges = list(zip(span[::2], span[1::2], strict=False))
        if ranges and not any(first <= frame <= last for first, last in ranges):
            continue
        averaged = min(max(item.number(_AVERAGED) or 1, 1), MAX_FRAMES)
        frames = _mask_frames(item, frame, ranges)
        if frames:
            return Mask(frames, tuple(range(frame, frame + averaged)), _regions(item, frame))
    return None


def _mask_frames(item: View, frame: int, ranges: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    operation = item.text(_OPERATION)
    if operation == "AVG_SUB":
        return tuple(number for number in item.numbers(_FRAMES) if number > 0)[:MAX_FRAMES]
    # TID Offset is 1 where it has no value.
    offset = item.number(_OFFSET)
    offset = 1 if offset is None else offset
    if operation == "TID":
        number = frame - offset
    elif operation == "REV_TID" and ranges:
        first = next(first for first, last in ranges if first <= frame <= last)
        number = first - offset - (frame - first)
    else:
        return ()
    return (number,) if number > 0 else ()


def _regions(item: View, frame: int) -> tuple[Region, ...]:
    found = []
    shift = _shift(item, ())
    if shift is not None:
        found.append(shift)
    for group in item.sequence(_PIXEL_SHIFTS):
        span = group.numbers(_SHIFT_RANGE)
        ranges = list(zip(span[::2], span[1::2], strict=False))
        if ranges and not any(first <= frame <= last for first, last in ranges):
            continue
        for region in group.sequence(_REGIONS)[:_MAX_REGIONS]:
            shift = _shift(region, tuple(region.numbers(_VERTICES)))
            if shift is not None:
                found.append(shift)
    return tuple(found)


def _shift(item: View, vertices: tuple[int, ...]) -> Region | None:
    """Mask Sub-pixel Shift: positive is down, and to the left (PS3.3 C.7.6.10.1.2)."""
    values = item.floats(_SHIFT)
    if len(values) != 2 or not all(math.isfinite(value) and abs(value) < 1e5 for value in values):
        return None
    return Region(values[0], values[1], vertices)


def subtracted(chain: Chain, stored: NDArray[Any], mask: Mask, decode: Decode) -> NDArray[numpy.uint8]:
    """8-bit greys of what is left: after the Modality LUT, before the VOI LUT (PS3.4 N.2.1).

    Raises NotRenderable for a mask frame that the image does not have, or that is of another size.
    """

    def average(frames: Iterable[NDArray[Any]]) -> Values:
        applied = [chain.modality.apply(pixels).astype(numpy.float64) for pixels in frames]
        return numpy.asarray(sum(applied) / len(applied))

    taken = average(_decoded(decode, number, stored.shape) for number in mask.frames)
    moved = taken
    for region in mask.regions:
        here = shifted(taken, region.down, region.left)
        moved = here if not region.vertices else numpy.where(_inside(region.vertices, taken.shape), here, moved)
    contrast = average(_contrast(decode, mask.contrast, stored))
    left = contrast - moved
    spread = chain.high - chain.low
    after = replace(chain, modality=Modality(), low=-spread, high=spread)
    return by_value(left, lambda values: to_8_bit(after.levels(values)))


def _decoded(decode: Decode, number: int, shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        pixels = decode(number)
    except NotFound as error:
        raise NotRenderable(f"the image has no frame {number}, which the state takes for its mask") from error
    if pixels.shape != shape:
        raise NotRenderable("the mask is of another size than the image")
    return pixels


def _contrast(decode: Decode, numbers: Sequence[int], first: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The frame that is shown, and those after it that are averaged with it; past the last there is nothing."""
    yield first
    for number in numbers[1:]:
        try:
            yield decode(number)
        except NotFound:
            return


def shifted(values: Values, down: float, left: float) -> Values:
    """Values moved by parts of pixels, linear between them; what comes in from outside is the pixel at the edge."""
    for axis, by in ((0, -down), (1, left)):
        if not by:
            continue
        most = values.shape[axis] - 1
        places = numpy.clip(numpy.arange(most + 1) + by, 0, most)
        low = numpy.floor(places).astype(numpy.intp)
        part = (places - low).reshape((-1, 1) if axis == 0 else (1, -1))
        values = values.take(low, axis) * (1 - part) + values.take(numpy.minimum(low + 1, most), axis) * part
    return values


def _inside(vertices: tuple[int, ...], shape: tuple[int, ...]) -> NDArray[numpy.bool_]:
    """Where a region is: two vertices are the corners of a rectangle, more those of a polygon; edges are in it."""
    points = [(column - 1, row - 1) for row, column in zip(vertices[::2], vertices[1::2], strict=False)]
    image = Image.new("1", (shape[1], shape[0]))
    draw = ImageDraw.Draw(image)
    if len(points) == 2:
        (x, y), (x2, y2) = points
        draw.rectangle((min(x, x2), min(y, y2), max(x, x2), max(y, y2)), fill=1)
    elif len(points) > 2:
        draw.polygon(points, fill=1, outline=1)
    return numpy.asarray(image)
