"""A picture's region, size and file format."""

from __future__ import annotations

from io import BytesIO

from PIL import Image

from gateway.errors import BadRequest, NotAcceptable
from gateway.render.view import MAX_PIXELS, Viewport

FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/jp2": "JPEG2000",
}
"""Media types that can be made, the default first (PS3.18 8.7.4)."""

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
    return image.resize(size, Image.Resampling.BILINEAR, box, reducing_gap=3.0)


def encode(image: Image.Image, media_type: str, quality: int) -> bytes:
    """The picture's file.

    Raises:
        NotAcceptable: no such format here.
    """
    name = FORMATS.get(media_type)
    if name is None:
        raise NotAcceptable(f"{media_type} cannot be made", tuple(FORMATS))
    if image.mode == "RGBA" and name not in _WITH_ALPHA:
        ground = Image.new("RGB", image.size)
        ground.paste(image, mask=image.getchannel("A"))
        image = ground
    out = BytesIO()
    if name == "JPEG":
        subsampling = 0 if quality >= _SHARP_COLOUR else 2
        image.save(out, "JPEG", quality=quality, subsampling=subsampling)
    elif name == "PNG":
        image.save(out, "PNG", compress_level=1)
    elif name == "WEBP":
        image.save(out, "WEBP", quality=quality, method=2)
    else:
        image.save(out, name)
    return out.getvalue()
