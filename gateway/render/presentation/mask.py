"""Mask subtraction of a state: frames of the same image taken away from the one that is shown (PS3.3 C.7.6.10)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy
from numpy.typing import NDArray

from gateway.dicom.view import View
from gateway.errors import NotFound, NotRenderable
from gateway.render.grey import Modality
from gateway.render.presentation.grey import Chain, by_value, to_8_bit

MAX_FRAMES = 16
"""Most mask frames that are averaged."""

_MODE, _SEQUENCE, _OPERATION, _RANGE, _FRAMES = 0x00281090, 0x00286100, 0x00286101, 0x00286102, 0x00286110

Decode = Callable[[int], NDArray[Any]]
"""Stored values of a frame (1-based) of the image that is shown."""


def mask_frames(state: View, frame: int) -> list[int]:
    """The frames whose average is to be taken away from `frame`; none where nothing is (AVG_SUB only)."""
    if state.text(_MODE) != "SUB":
        return []
    for item in state.sequence(_SEQUENCE):
        span = item.numbers(_RANGE)
        ranges = list(zip(span[::2], span[1::2], strict=False))
        applies = not ranges or any(first <= frame <= last for first, last in ranges)
        if applies and item.text(_OPERATION) == "AVG_SUB":
            return [number for number in item.numbers(_FRAMES) if number > 0][:MAX_FRAMES]
    return []


def subtracted(chain: Chain, stored: NDArray[Any], numbers: list[int], decode: Decode) -> NDArray[numpy.uint8]:
    """8-bit greys of what is left: after the Modality LUT, before the VOI LUT (PS3.4 N.2.1).

    Raises NotRenderable for a mask frame that the image does not have, or that is of another size.
    """
    total = numpy.zeros(stored.shape, numpy.float64)
    for number in numbers:
        try:
            mask = decode(number)
        except NotFound as error:
            raise NotRenderable(f"the image has no frame {number}, which the state takes for its mask") from error
        if mask.shape != stored.shape:
            raise NotRenderable("the mask is of another size than the image")
        total += chain.modality.apply(mask)
    left = chain.modality.apply(stored) - total / len(numbers)
    spread = chain.high - chain.low
    after = replace(chain, modality=Modality(), low=-spread, high=spread)
    return by_value(left, lambda values: to_8_bit(after.levels(values)))
