"""Colour and palettes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from gateway.errors import NotRenderable
from gateway.render import View
from tests.gateway.render.pictures import rendered, row_of
from tests.parts.datasets import color, instance, pixels

PRIMARIES = {
    (76, 85, 255): (254, 0, 0),
    (150, 44, 21): (0, 255, 1),
    (29, 255, 107): (0, 0, 254),
    (128, 128, 128): (128, 128, 128),
}


def colours(values: list[tuple[int, ...]], photometric: str, dtype: str = "u1", **elements: Any) -> Dataset:
    ds = color()
    pixels(ds, np.array([values], dtype), "RGB")
    ds.PhotometricInterpretation = photometric
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def palette(indices: list[int], *luts: list[int], first: int = 0, bits: int = 16, dtype: str = "u1") -> Dataset:
    ds = row_of(indices, dtype)
    ds.PhotometricInterpretation = "PALETTE COLOR"
    for name, values in zip(("Red", "Green", "Blue"), luts, strict=True):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [len(values) % 65536, first, bits])
        data = np.array(values, "<u2").tobytes() if bits > 8 else bytes(values) + b"\0" * (len(values) % 2)
        setattr(ds, f"{name}PaletteColorLookupTableData", data)
    return ds


def test_ybr_full_becomes_rgb() -> None:
    """WIN-09, IMG-13"""
    assert rendered(colours([*PRIMARIES], "YBR_FULL"))[0].tolist() == [list(one) for one in PRIMARIES.values()]


def test_ybr_full_422_becomes_rgb() -> None:
    """IMG-13"""
    ds = instance("1.2.840.10008.5.1.4.1.1.7", "OT", Rows=1, Columns=2, SamplesPerPixel=3, BitsAllocated=8)
    ds.PhotometricInterpretation, ds.PlanarConfiguration = "YBR_FULL_422", 0
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 7, 0
    ds.PixelData = bytes([76, 76, 85, 255])
    ds["PixelData"].VR = "OB"
    assert rendered(ds)[0].tolist() == [[254, 0, 0], [254, 0, 0]]


def test_ybr_partial_has_the_range_of_video() -> None:
    """IMG-13"""
    ds = colours([(16, 128, 128), (235, 128, 128), (81, 90, 240)], "YBR_PARTIAL_422")
    black, white, red = rendered(ds)[0].tolist()
    assert black == [0, 0, 0] and white == [255, 255, 255]
    assert red[0] >= 253 and max(red[1:]) <= 1


@pytest.mark.parametrize(("dtype", "top"), [("u1", 2**8 - 1), ("<u2", 2**16 - 1), ("<u4", 2**32 - 1)])
def test_rgb_of_any_width_is_scaled_to_8_bits(dtype: str, top: int) -> None:
    ds = colours([(0, top, top // 2)], "RGB", dtype)
    assert rendered(ds)[0].tolist() == [[0, 255, 127 if top == 255 else 128]] or top > 255
    assert abs(int(rendered(ds)[0, 0, 2]) - 127.5) <= 0.5
    assert rendered(ds)[0, 0, :2].tolist() == [0, 255]


def test_a_window_does_nothing_to_colour() -> None:
    """IMG-10"""
    ds = colours([(10, 20, 30)], "RGB")
    assert rendered(ds, View(window=(1000.0, 1.0, "linear")))[0].tolist() == [[10, 20, 30]]


@pytest.mark.parametrize("photometric", ["HSV", "CMYK", "YBR_PARTIAL_9", ""])
def test_a_colour_space_that_is_none_is_not_rendered_or_taken_as_rgb(photometric: str) -> None:
    ds = colours([(10, 20, 30)], "RGB")
    ds.PhotometricInterpretation = photometric
    if not photometric:
        assert rendered(ds)[0].tolist() == [[10, 20, 30]]
        return
    with pytest.raises(NotRenderable):
        rendered(ds)


def test_16_bit_palette_entries_give_their_high_byte() -> None:
    """WIN-10, IMG-11"""
    ds = palette([0, 1, 2], [0xFF00, 0x8000, 0x00FF], [0, 0, 0], [0x1234, 0, 0xFFFF])
    assert rendered(ds)[0].tolist() == [[255, 0, 0x12], [128, 0, 0], [0, 0, 255]]


def test_8_bit_palette_entries_are_themselves() -> None:
    """IMG-11"""
    ds = palette([0, 1, 2, 3], [10, 20, 30], [1, 2, 3], [100, 200, 255], bits=8)
    assert rendered(ds)[0].tolist() == [[10, 1, 100], [20, 2, 200], [30, 3, 255], [30, 3, 255]]


def test_8_bit_entries_called_16_bit_are_not_all_black() -> None:
    ds = palette([0, 1], [10, 20], [1, 2], [100, 255])
    assert rendered(ds)[0].tolist() == [[10, 1, 100], [20, 2, 255]]


def test_values_below_the_first_mapped_get_the_first_colour() -> None:
    """IMG-04, S-34"""
    ds = palette([0, 100, 101, 65535], [0x1000, 0x2000], [0, 0], [0, 0xFF00], first=100, dtype="<u2")
    assert rendered(ds)[0].tolist() == [[16, 0, 0], [16, 0, 0], [32, 0, 255], [32, 0, 255]]


def test_a_palette_without_one_of_its_tables_is_not_rendered() -> None:
    """S-34"""
    ds = palette([0, 1], [0, 1], [0, 1], [0, 1])
    del ds.GreenPaletteColorLookupTableData
    with pytest.raises(NotRenderable, match="palette"):
        rendered(ds)


def test_a_supplemental_palette_colours_the_values_from_its_first_on() -> None:
    """IMG-11"""
    ds = palette([0, 50, 99, 100, 101], [0xFF00, 0], [0, 0xFF00], [0, 0], first=100)
    ds.PhotometricInterpretation, ds.PixelPresentation = "MONOCHROME2", "COLOR"
    ds.WindowCenter, ds.WindowWidth = "50", "100"
    found = rendered(ds)[0].tolist()
    assert found[0] == [0, 0, 0] and found[2] == [255, 255, 255] and len(set(found[1])) == 1
    assert found[3:] == [[255, 0, 0], [0, 255, 0]]
