"""A neutral icon, as the thumbnail of what has no picture: a sheet of paper with lines (PS3.18 10.4.3.3.4)."""

from __future__ import annotations

from PIL import Image, ImageDraw

from gateway.render.encode import encode
from gateway.render.view import Picture

_SIZE = 512
_GROUND, _PAPER, _EDGE, _LINE = "#1c2126", "#e8ecef", "#b7c0c7", "#8a97a1"


def icon(size: tuple[int, int], media_type: str) -> Picture:
    """The icon, square, within `size` (width and height in pixels). It says nothing about the instance."""
    image = Image.new("RGB", (_SIZE, _SIZE), _GROUND)
    draw = ImageDraw.Draw(image)
    left, top, right, bottom, fold = 136, 96, 376, 416, 72
    draw.polygon([(left, top), (right - fold, top), (right, top + fold), (right, bottom), (left, bottom)], _PAPER)
    draw.polygon([(right - fold, top), (right - fold, top + fold), (right, top + fold)], _EDGE)
    for row, end in enumerate((296, 336, 336, 256)):
        y = 216 + 44 * row
        draw.rounded_rectangle([176, y, end, y + 16], 8, _LINE)
    edge = max(1, min(size[0], size[1], _SIZE))
    image = image.resize((edge, edge), Image.Resampling.LANCZOS)
    return Picture(encode(image, media_type, 85), media_type, edge, edge)
