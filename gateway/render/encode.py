"""A picture's region, size and file format."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import imagecodecs
import numpy
from numpy.typing import NDArray
from PIL import Image

from gateway.errors import BadRequest, NotAcceptable
from gateway.render.jp2 import jph, with_colours
from gateway.render.view import MAX_PIXELS, Viewport

FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/jp2": "JPEG2000",
    "image/jph": "JPH",
    "image/jxl": "JXL",
}
"""Media types that can be made, the default first (PS3.18 8.7.4); image/webp is ours."""

_SHARP_COLOUR = 80
"""From this quality on JPEG keeps full colour resolution: coloured text and graphics stay readable."""

_WITH_ALPHA = frozenset({"PNG", "WEBP"})
"""Formats that keep transparency; the others get a black ground."""


def fit(width: float, height: float, max_width: int, max_height: int) -> tuple[int, int]:
    """The largest size in whole pixels with this aspect within these bounds; at least one pixel each way."""
    scale = min(max_width / width, max_height / height)
    return (
        max(1, min(max_width, int(width * scale + 0.5))),
        max(1, min(max_height, int(height * scale + 0.5))),
    )


def show(image: Image.Image, viewport: Viewport | None, aspect: float = 1.0) -> Image.Image:
    """Cut out the region, mirror it, and scale it to the viewport; pixels become square.

    `aspect` is the height of a pixel by its width.

    Raises:
        BadRequest: the region lies outside the image, or the picture would have more than `MAX_PIXELS` pixels.
    """
    left, top, right, bottom = 0.0, 0.0, float(image.width), float(image.height)
    if viewport is not None:
        left, top = viewport.x, viewport.y
        right = right if viewport.w is None else min(right, left + abs(viewport.w))
        bottom = bottom if viewport.h is None else min(bottom, top + abs(viewport.h))
        if left >= right or top >= bottom:
            raise BadRequest("viewport", "the region lies outside the image")
    wide, high = right - left, (bottom - top) * aspect
    if viewport is not None:
        size = fit(wide, high, viewport.width, viewport.height)
    else:
        # More pixels the one way, rather than fewer the other way.
        size = (round(wide), round(high)) if aspect >= 1 else (round(wide / aspect), round(bottom - top))
    if size[0] * size[1] > MAX_PIXELS:
        raise BadRequest("viewport", f"the picture would have more than {MAX_PIXELS} pixels")
    box = (left, top, right, bottom)
    if size != image.size or box != (0, 0, *image.size):
        image = _resize(image, size, box)
    if viewport is not None and viewport.w is not None and viewport.w < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if viewport is not None and viewport.h is not None and viewport.h < 0:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image


def _resize(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float]) -> Image.Image:
    """Linear interpolation, which makes no value that is not there; averages when it makes smaller."""
    left, top, right, bottom = box
    whole = all(edge == int(edge) for edge in box)
    if whole and size[0] == right - left and size[1] == bottom - top:
        return image.crop((int(left), int(top), int(right), int(bottom)))
    # First cut, as PS3.18 8.3.5.1.3 has it: what lies outside the region must not show through at its edges.
    x, y = int(left), int(top)
    image = image.crop((x, y, math.ceil(right), math.ceil(bottom)))
    return image.resize(size, Image.Resampling.BILINEAR, (left - x, top - y, right - x, bottom - y), reducing_gap=3.0)


def encode(image: Image.Image, media_type: str, quality: int, profile: bytes | None = None) -> bytes:
    """The picture's file. `profile` is embedded where the format has a place for it: all but GIF and JPEG XL.

    JP2 and JPH are lossless, and so is JPEG XL of quality 100.

    Raises:
        NotAcceptable: no such format here.
        BadRequest: JP2 and JPH cannot hold this profile.
    """
    name = FORMATS.get(media_type)
    if name is None:
        raise NotAcceptable(f"{media_type} cannot be made", tuple(FORMATS))
    if image.mode == "RGBA" and name not in _WITH_ALPHA:
        ground = Image.new("RGB", image.size)
        ground.paste(image, mask=image.getchannel("A"))
        image = ground
    if name in ("JPH", "JXL"):
        samples = numpy.asarray(image)
        return jph(samples, profile) if name == "JPH" else _jxl(samples, quality)
    more: dict[str, Any] = {} if profile is None else {"icc_profile": profile}
    out = BytesIO()
    if name == "JPEG":
        subsampling = 0 if quality >= _SHARP_COLOUR else 2
        image.save(out, "JPEG", quality=quality, subsampling=subsampling, **more)
    elif name == "PNG":
        image.save(out, "PNG", compress_level=1, **more)
    elif name == "WEBP":
        image.save(out, "WEBP", quality=quality, method=2, **more)
    else:
        image.save(out, name)
    if name == "JPEG2000" and profile is not None:
        return with_colours(out.getvalue(), profile)
    return out.getvalue()


def _jxl(samples: NDArray[numpy.uint8], quality: int) -> bytes:
    """JPEG XL; a quality becomes a distance as `cjxl -q` has it, 90 being visually lossless."""
    if quality == 100:
        return bytes(imagecodecs.jpegxl_encode(samples, lossless=True, effort=3))
    distance = 0.1 + (100 - quality) * 0.09 if quality >= 30 else 53 / 3000 * quality**2 - 23 / 20 * quality + 25
    return bytes(imagecodecs.jpegxl_encode(samples, distance=distance, effort=3))
