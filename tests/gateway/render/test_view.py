"""Region, viewport, aspect and encoding; and what a caller may not ask."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from gateway.errors import BadRequest, NotAcceptable, NotRenderable
from gateway.render import FORMATS, View, Viewport, draw, draw_thumbnail
from tests.gateway.dicom.opened import opened
from tests.gateway.render.pictures import array_of, rendered
from tests.parts.datasets import color, encapsulated, mr_slice, pixels, report


def ramp(rows: int = 256, columns: int = 512, **values: Any) -> Dataset:
    """8 bits, shown as they are: dark at the left, and a white square in the top left corner."""
    ds = mr_slice(PixelSpacing=None, **values)
    grey = np.tile((np.arange(columns) * 200 // columns).astype(np.uint8), (rows, 1))
    grey[: rows // 8, : columns // 8] = 255
    pixels(ds, grey)
    ds.WindowCenter, ds.WindowWidth = "128", "256"
    return ds


def at(*viewport: Any) -> View:
    return View(viewport=Viewport(*viewport))


@pytest.mark.parametrize(
    ("viewport", "size"),
    [
        ((100, 100), (100, 50)),
        ((1024, 1024), (1024, 512)),
        ((64, 64, 0, 0, 128, 256), (32, 64)),
        ((256, 256, 0, 0, -256, 128), (256, 128)),
        ((512, 256), (512, 256)),
        ((512, 512, 0, 0, 512, 512), (512, 256)),
        ((1, 1), (1, 1)),
        ((1000, 1), (2, 1)),
        ((100, 100, 500, 0, None, None), (5, 100)),
    ],
    ids=str,
)
def test_the_picture_is_the_largest_that_fits_in_its_aspect(viewport: Any, size: tuple[int, int]) -> None:
    """RP-10, RP-03"""
    found = rendered(ramp(), at(*viewport))
    assert (found.shape[1], found.shape[0]) == size


def test_without_a_viewport_nothing_is_scaled() -> None:
    """RP-03"""
    assert np.array_equal(rendered(ramp()), np.frombuffer(ramp().PixelData, np.uint8).reshape(256, 512))


def test_a_region_is_cut_out_before_scaling() -> None:
    """RP-07"""
    whole = rendered(ramp())
    assert np.array_equal(rendered(ramp(), at(32, 16, 100, 40, 32, 16)), whole[40:56, 100:132])


def test_a_negative_width_or_height_mirrors() -> None:
    """RP-03, RP-10"""
    whole = rendered(ramp())
    assert np.array_equal(rendered(ramp(), at(512, 256, 0, 0, -512, 256)), whole[:, ::-1])
    assert np.array_equal(rendered(ramp(), at(512, 256, 0, 0, 512, -256)), whole[::-1])
    assert np.array_equal(rendered(ramp(), at(16, 16, 4, 2, -16, -16)), whole[2:18, 4:20][::-1, ::-1])


def test_scaling_invents_no_greys() -> None:
    ds = ramp()
    grey = np.where(np.indices((256, 512)).sum(axis=0) // 16 % 2, 50, 200).astype(np.uint8)
    pixels(ds, grey)
    for size in (1000, 77):
        found = rendered(ds, at(size, size))
        assert found.min() >= 50 and found.max() <= 200


@pytest.mark.parametrize(
    "viewport",
    [
        (0, 10),
        (10, 0),
        (-1, 10),
        (10, 10, -1, 0),
        (10, 10, 0, float("nan")),
        (10, 10, 0, 0, 0, 10),
        (10, 10, 0, 0, float("inf"), 10),
    ],
    ids=str,
)
def test_a_viewport_that_cannot_be_is_a_bad_request(viewport: Any) -> None:
    """RP-03, S-66"""
    with pytest.raises(BadRequest) as caught:
        Viewport(*viewport)
    assert caught.value.parameter == "viewport"


@pytest.mark.parametrize("viewport", [(99999, 99999), (10, 10, 512, 0), (10, 10, 0, 300, 5, 5)], ids=str)
def test_a_viewport_that_this_image_cannot_fill_is_a_bad_request(viewport: Any) -> None:
    """S-66: at most 25 million pixels; RP-03: the region lies outside."""
    with pytest.raises(BadRequest):
        rendered(ramp(), at(*viewport))


@pytest.mark.parametrize("quality", [-1, 0, 101])
def test_a_quality_outside_1_to_100_is_a_bad_request(quality: int) -> None:
    """RP-02, S-66"""
    with pytest.raises(BadRequest) as caught:
        View(quality=quality)
    assert caught.value.parameter == "quality"


@pytest.mark.parametrize(
    "window",
    [
        (float("nan"), 1.0, "linear"),
        (0.0, float("inf"), "linear"),
        (0.0, 0.0, "linear"),
        (0.0, 0.5, "linear"),
        (0.0, -1.0, "sigmoid"),
        (0.0, 100.0, "cubic"),
        (0.0, 100.0, ""),
    ],
    ids=str,
)
def test_a_window_that_cannot_be_is_a_bad_request(window: tuple[float, float, str]) -> None:
    """RP-05, IMG-06, S-66"""
    with pytest.raises(BadRequest) as caught:
        View(window=window)
    assert caught.value.parameter == "window"


def test_quality_makes_larger_files() -> None:
    """RP-02"""
    one = opened(ramp())
    sizes = [len(draw(one.header, one.frame(), 1, View(quality=q), "image/jpeg").data) for q in (1, 50, 90, 100)]
    assert sizes == sorted(sizes) and len(set(sizes)) == 4


@pytest.mark.parametrize("media_type", [name for name in FORMATS if name not in ("image/jph", "image/jxl")])
@pytest.mark.parametrize("make", [ramp, color], ids=["grey", "colour"])
def test_every_format_holds_the_picture(media_type: str, make: Any) -> None:
    """RT-01, RT-05"""
    one = opened(make())
    picture = draw(one.header, one.frame(), 1, View(quality=100), media_type)
    with Image.open(BytesIO(picture.data)) as image:
        assert image.format == FORMATS[media_type] and image.size == (picture.width, picture.height)
        found = np.asarray(image.convert("RGB")).astype(int)
    expected = rendered(make())
    expected = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, axis=2)
    assert np.abs(found - expected).mean() < (12 if media_type == "image/gif" else 2)


def test_the_same_request_gives_the_same_bytes() -> None:
    one = opened(ramp())
    for media_type in FORMATS:
        first, second = (draw(one.header, one.frame(), 1, View(), media_type).data for _ in range(2))
        assert first == second


def test_a_format_that_is_not_made_is_not_acceptable() -> None:
    one = opened(ramp())
    with pytest.raises(NotAcceptable) as caught:
        draw(one.header, one.frame(), 1, View(), "image/tiff")
    assert "image/jpeg" in caught.value.offered


@pytest.mark.parametrize(
    ("values", "size"),
    [
        ({"PixelAspectRatio": ["2", "1"]}, (512, 512)),
        ({"PixelAspectRatio": ["1", "2"]}, (1024, 256)),
        ({"ImagerPixelSpacing": ["0.5", "0.25"]}, (512, 512)),
        ({"PixelAspectRatio": ["1", "1"], "ImagerPixelSpacing": ["0.5", "0.25"]}, (512, 256)),
        ({"ImagerPixelSpacing": ["1", "1.005"]}, (512, 256)),
        ({"ImagerPixelSpacing": ["1", "0"]}, (512, 256)),
        ({"PixelAspectRatio": ["1000000", "1"]}, (512, 256)),
    ],
    ids=str,
)
def test_pixels_are_shown_square(values: dict[str, Any], size: tuple[int, int]) -> None:
    """IMG-17"""
    found = rendered(ramp(**values))
    assert (found.shape[1], found.shape[0]) == size


def test_a_viewport_keeps_the_aspect_of_the_patient() -> None:
    """IMG-17, RP-03"""
    found = rendered(ramp(PixelAspectRatio=["2", "1"]), at(100, 100))
    assert found.shape == (100, 100)


# ---------------------------------------------------------------- thumbnails


@pytest.mark.parametrize(
    ("size", "expected"), [((128, 128), (128, 64)), ((64, 16), (32, 16)), ((4000, 4000), (512, 256))]
)
def test_a_thumbnail_fits_keeps_its_aspect_and_never_grows(size: tuple[int, int], expected: tuple[int, int]) -> None:
    one = opened(ramp())
    picture = draw_thumbnail(one.header, one.frame(), 1, size, "image/png")
    assert (picture.width, picture.height) == expected


def test_a_thumbnail_looks_like_the_picture() -> None:
    one = opened(ramp(1024, 2048))
    small = array_of(draw_thumbnail(one.header, one.frame(), 1, (128, 128), "image/png")).astype(int)
    large = array_of(draw(one.header, one.frame(), 1, at(128, 128), "image/png"))
    assert np.abs(small - large).mean() < 2


@pytest.mark.parametrize("signed", [False, True])
def test_a_jpeg_2000_thumbnail_looks_like_the_picture(signed: bool) -> None:
    ds = mr_slice(rows=512, columns=512)
    grey = np.frombuffer(ds.PixelData, "<u2").reshape(512, 512)
    if signed:
        grey = grey.astype("<i2") - 1000
        pixels(ds, grey)
        ds.WindowCenter = "0"
    data = bytes(
        imagecodecs.jpeg2k_encode(grey, reversible=True, codecformat="j2k", bitspersample=16 if signed else 12)
    )
    one = opened(encapsulated(ds, [data]), "1.2.840.10008.1.2.4.90")
    small = array_of(draw_thumbnail(one.header, one.frame(), 1, (64, 64), "image/png")).astype(int)
    large = array_of(draw(one.header, one.frame(), 1, at(64, 64), "image/png"))
    difference = np.abs(small - large)  # the low bands lie half a pixel off: it shows along the edges
    assert small.shape == (64, 64) and difference.mean() < 4 and np.median(difference) <= 1


def test_what_has_no_picture_is_not_renderable() -> None:
    """IMG-22"""
    one = opened(report())
    with pytest.raises(NotRenderable):
        draw(one.header, b"", 1, View(), "image/jpeg")
    with pytest.raises(NotRenderable):
        draw_thumbnail(one.header, b"", 1, (64, 64), "image/jpeg")
