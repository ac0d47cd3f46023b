"""Overlay planes over the picture: where they lie, what is drawn, and what is not believed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from gateway.render import View, Viewport, draw_thumbnail
from tests.gateway.dicom.opened import opened
from tests.gateway.render.pictures import array_of, rendered
from tests.parts.datasets import color, ct_slice, multi_frame, pixels

BIG, IMPLICIT = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2"
DIAGONAL = np.eye(8, 16, dtype=np.uint8)
EDGE = np.ones((3, 5), np.uint8)


def overlay(
    ds: Dataset, bits: NDArray[Any], group: int = 0x6000, kind: str = "G", origin: tuple[int, int] = (1, 1), **more: Any
) -> Dataset:
    """Put a plane into a data set; `bits` of three dimensions are frames."""
    frames, (rows, columns) = (bits if bits.ndim == 3 else bits[None]), bits.shape[-2:]
    ds.add_new((group, 0x0010), "US", rows)
    ds.add_new((group, 0x0011), "US", columns)
    ds.add_new((group, 0x0040), "CS", kind)
    ds.add_new((group, 0x0050), "SS", list(origin))
    ds.add_new((group, 0x0100), "US", 1)
    ds.add_new((group, 0x0102), "US", 0)
    if bits.ndim == 3:
        ds.add_new((group, 0x0015), "IS", len(frames))
        ds.add_new((group, 0x0051), "US", more.get("first", 1))
    packed = np.packbits(frames.reshape(-1), bitorder="little").tobytes()
    ds.add_new((group, 0x3000), "OW", more.get("data", packed + b"\0" * (len(packed) % 2)))
    return ds


def dark(rows: int = 8, columns: int = 16, **values: Any) -> Dataset:
    """A slice that is black all over."""
    ds = ct_slice("dark", rows=rows, columns=columns, **values)
    return pixels(ds, np.zeros((rows, columns), np.int16))


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", IMPLICIT, BIG])
def test_graphics_are_white(syntax: str) -> None:
    """IMG-16: the lowest bit first, in every byte order."""
    ds = overlay(dark(), DIAGONAL)
    if syntax == BIG:
        ds[0x6000, 0x3000].value = np.frombuffer(ds[0x6000, 0x3000].value, "<u2").byteswap().tobytes()
    assert np.array_equal(rendered(ds, transfer_syntax=syntax), DIAGONAL * 255)


def test_graphics_are_white_where_black_and_white_are_turned() -> None:
    """IMG-16, IMG-07."""
    ds = overlay(dark(), DIAGONAL)
    ds.PhotometricInterpretation = "MONOCHROME1"
    ds.WindowCenter, ds.WindowWidth = -3000, 100  # everything is white, turned: black
    assert np.array_equal(rendered(ds), DIAGONAL * 255)


def test_graphics_over_colour() -> None:
    """IMG-16."""
    ds = color("colour")
    plain = rendered(ds)
    mask = np.zeros(plain.shape[:2], np.uint8)
    mask[2:5, 3:9] = 1
    found = rendered(overlay(ds, mask))
    assert (found[mask == 1] == 255).all() and np.array_equal(found[mask == 0], plain[mask == 0])


@pytest.mark.parametrize(
    ("origin", "rows", "columns"),
    [((2, 3), (1, 4), (2, 7)), ((-1, 1), (0, 1), (0, 5)), ((7, 14), (6, 8), (13, 16)), ((9, 1), (0, 0), (0, 0))],
)
def test_the_origin_counts_from_1_and_may_lie_outside(
    origin: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    """IMG-16."""
    expected = np.zeros((8, 16), np.uint8)
    expected[slice(*rows), slice(*columns)] = 255
    assert np.array_equal(rendered(overlay(dark(), EDGE, origin=origin)), expected)


def test_all_groups_are_drawn_and_regions_of_interest_are_not() -> None:
    """IMG-16: 6000 to 601E."""
    ds = overlay(overlay(dark(), EDGE), EDGE, group=0x601E, origin=(5, 5))
    overlay(ds, np.ones((8, 16), np.uint8), group=0x6002, kind="R")
    found = rendered(ds)
    assert found.sum() == 2 * EDGE.size * 255 and found[4, 4] == 255 and found[0, 0] == 255


def test_a_plane_for_each_frame() -> None:
    """IMG-16: Number of Frames in Overlay, Image Frame Origin; bits of a frame need not start on a byte."""
    ds = multi_frame("frames", frames=4, rows=5, columns=5)
    ds.PixelData = bytes(len(ds.PixelData))
    planes = np.zeros((2, 5, 5), np.uint8)
    planes[0, 1], planes[1, :, 3] = 1, 1
    overlay(ds, planes, first=2)
    expected = [0 * planes[0], planes[0], planes[1], 0 * planes[0]]
    for number, plane in enumerate(expected, 1):
        assert np.array_equal(rendered(ds, frame=number), plane * 255), number


def test_a_plane_in_unused_bits_of_the_pixels() -> None:
    """IMG-16, IMG-01: as old files have it."""
    ds = dark()
    pixels(ds, np.full((8, 16), 100, np.uint16) | DIAGONAL.astype(np.uint16) << 12, bits_stored=12)
    ds.RescaleIntercept, ds.WindowCenter, ds.WindowWidth = 0, 2048, 4096
    ds.add_new((0x6000, 0x0010), "US", 8)
    ds.add_new((0x6000, 0x0011), "US", 16)
    ds.add_new((0x6000, 0x0040), "CS", "G")
    ds.add_new((0x6000, 0x0050), "SS", [1, 1])
    ds.add_new((0x6000, 0x0100), "US", 16)
    ds.add_new((0x6000, 0x0102), "US", 12)
    assert np.array_equal(rendered(ds) == 255, DIAGONAL == 1)


@pytest.mark.parametrize(
    "values",
    [
        {(0x6000, 0x0010): 60000, (0x6000, 0x0011): 60000},
        {(0x6000, 0x0010): 0},
        {(0x6000, 0x3000): b"\1\0"},
        {(0x6000, 0x0040): ""},
        {(0x6000, 0x0015): 3, (0x6000, 0x0051): 9},
        {(0x6000, 0x0102): 5, (0x6000, 0x0100): 16, (0x6000, 0x3000): b""},
        {(0x6000, 0x0102): 99, (0x6000, 0x0100): 16, (0x6000, 0x3000): b""},
    ],
)
def test_a_plane_that_is_not_there_is_not_drawn(values: dict[tuple[int, int], Any]) -> None:
    """S-37: sizes that lie draw nothing, and nothing of another buffer."""
    ds = overlay(dark(), DIAGONAL)
    for tag, value in values.items():
        ds.add_new(tag, {0x0015: "IS", 0x0040: "CS", 0x3000: "OW"}.get(tag[1], "US"), value)
    assert not rendered(ds).any()


def test_graphics_are_cut_and_scaled_with_the_picture_and_left_out_of_thumbnails() -> None:
    """IMG-16, RP-07, WADO-15: what is drawn may be a name."""
    ds = overlay(dark(), EDGE)
    found = rendered(ds, View(viewport=Viewport(10, 6, 0, 0, 5, 3)))
    assert found.shape == (6, 10) and (found == 255).all()
    one = opened(ds)
    assert not array_of(draw_thumbnail(one.header, one.frame(), 1, (16, 8), "image/png")).any()
