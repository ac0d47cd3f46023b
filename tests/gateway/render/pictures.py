"""Rendered frames as arrays."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset

from gateway.render import Picture, View, draw
from tests.gateway.dicom.opened import EXPLICIT, Opened, opened
from tests.parts.datasets import change, mr_slice, pixels


def array_of(picture: Picture) -> NDArray[np.uint8]:
    """The picture's pixels: (rows, columns) or (rows, columns, 3)."""
    with Image.open(BytesIO(picture.data)) as image:
        assert image.size == (picture.width, picture.height)
        return np.asarray(image)


def rendered(
    ds: Dataset, view: View | None = None, frame: int = 1, transfer_syntax: str = EXPLICIT
) -> NDArray[np.uint8]:
    return shown(opened(ds, transfer_syntax), view, frame)


def shown(one: Opened, view: View | None = None, frame: int = 1) -> NDArray[np.uint8]:
    """The picture of a frame of a file."""
    return array_of(draw(one.header, one.frame(frame), frame, view or View(), "image/png"))


def row_of(values: list[int], dtype: str = "<u2", bits: int | None = None, **elements: Any) -> Dataset:
    """A grey image of one row with these stored values and no window, unless `elements` say so."""
    ds = mr_slice(WindowCenter=None, WindowWidth=None, PixelSpacing=None)
    pixels(ds, np.array([values], dtype), bits_stored=bits)
    return change(ds, elements)


def greys(values: list[int], dtype: str = "<u2", view: View | None = None, **elements: Any) -> list[int]:
    """The greys of an image of one row."""
    found: list[int] = rendered(row_of(values, dtype, **elements), view)[0].tolist()
    return found
