"""Pictures that come in to be stored: GIF and PNG, for which there is no transfer syntax (PS3.18 Table 10.5.2-1).

PNG is read by imagecodecs, since Pillow keeps 8 of the 16 bits of a colour sample; GIF by Pillow.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import BinaryIO

import imagecodecs
import numpy
from PIL import Image, UnidentifiedImageError

from gateway.dicom.description import MAX_FRAME_BYTES
from gateway.dicom.model.bulk_parts import BulkPart
from gateway.dicom.model.image_description import Described
from gateway.dicom.model.writer import Picture
from gateway.errors import NotUnderstood, TooLarge

MAX_FRAMES = 10_000
MAX_TOTAL = 4 * 1024 * 1024 * 1024 - 2
"""Longest native Pixel Data, in bytes."""
MAX_FILE = MAX_FRAME_BYTES
"""Longest PNG file, in bytes: it is decoded from memory."""

_PIXEL_DATA = 0x7FE00010
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IHDR = Struct(">4xI4sIIBB")
_GREY = frozenset({0, 4})
_COLOUR = frozenset({2, 3, 6})
"""PNG colour types (ISO/IEC 15948 11.2.2); palettes are colour whatever is in them."""
_GIF_ERRORS = (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises of broken files."""


def decode(part: BulkPart) -> Picture:
    """The frames of a GIF or PNG (STOW-06).

    Grey pictures become MONOCHROME2, 16 bits where the file has them; all others RGB. An animated GIF is a multi-frame
    image; transparency is dropped. Raises NotUnderstood where the part is no such picture, TooLarge.
    """
    return _png(part) if part.media_type == "image/png" else _gif(part)


def _described(rows: int, columns: int, *, grey: bool, bits: int, count: int) -> Described:
    samples = 1 if grey else 3
    frame = rows * columns * samples * bits // 8
    if frame > MAX_FRAME_BYTES or count > MAX_FRAMES or frame * count > MAX_TOTAL:
        raise TooLarge("the picture is too large", _PIXEL_DATA)
    photometric = "MONOCHROME2" if grey else "RGB"
    return Described(rows, columns, samples, bits, photometric, signed=False, bits_allocated=bits)


# ---------------------------------------------------------------- PNG


def _png(part: BulkPart) -> Picture:
    with part.open() as stream:
        head = stream.read(len(_SIGNATURE) + _IHDR.size)
    if len(head) < len(_SIGNATURE) + _IHDR.size or not head.startswith(_SIGNATURE):
        raise NotUnderstood("the part is no PNG picture", _PIXEL_DATA)
    kind, columns, rows, depth, colour = _IHDR.unpack_from(head[len(_SIGNATURE) - 4 :])[1:]
    if kind != b"IHDR" or colour not in _GREY | _COLOUR or not rows or not columns:
        raise NotUnderstood("the part is no PNG picture", _PIXEL_DATA)
    if part.size > MAX_FILE:
        raise TooLarge("the picture is too large", _PIXEL_DATA)
    described = _described(rows, columns, grey=colour in _GREY, bits=16 if depth == 16 else 8, count=1)
    return Picture(described, 1, lambda: _png_frame(part, described))


def _png_frame(part: BulkPart, described: Described) -> Iterator[bytes]:
    with part.open() as stream:
        data = stream.read()
    try:
        pixels = imagecodecs.png_decode(data)
    except (ValueError, RuntimeError, MemoryError) as error:  # imagecodecs' own errors are RuntimeErrors
        raise NotUnderstood("the PNG picture is damaged", _PIXEL_DATA) from error
    pixels = pixels[..., : described.samples] if pixels.ndim == 3 else pixels[..., numpy.newaxis]
    if pixels.shape[2] != described.samples:
        pixels = pixels.repeat(described.samples, axis=2)  # a palette of greys
    yield pixels.astype("<u2" if described.bits == 16 else numpy.uint8).tobytes()


# ---------------------------------------------------------------- GIF


def _gif(part: BulkPart) -> Picture:
    try:
        with part.open() as stream, _open(stream) as image:
            count = int(getattr(image, "n_frames", 1))
            described = _described(image.height, image.width, grey=_is_grey(image, count), bits=8, count=count)
    except _GIF_ERRORS as error:
        raise NotUnderstood("the part is no GIF picture", _PIXEL_DATA) from error
    return Picture(described, count, lambda: _gif_frames(part, described, count))


def _open(stream: BinaryIO) -> Image.Image:
    return Image.open(stream, formats=["GIF"])


def _is_grey(image: Image.Image, count: int) -> bool:
    """Whether a picture of one frame has greys only. Frames of an animation may each have a palette of their own."""
    if count > 1 or image.mode not in ("L", "P"):
        return False
    palette = image.getpalette() if image.mode == "P" else [0, 0, 0]
    return palette is not None and palette[0::3] == palette[1::3] == palette[2::3]


def _gif_frames(part: BulkPart, described: Described, count: int) -> Iterator[bytes]:
    mode = "L" if described.samples == 1 else "RGB"
    try:
        with part.open() as stream, _open(stream) as image:
            for number in range(count):
                if number:
                    image.seek(number)
                # by way of alpha, which is then dropped: what is see-through keeps its colour, or the frame's before
                yield image.convert("RGBA").convert(mode).tobytes()
    except _GIF_ERRORS as error:
        raise NotUnderstood("the GIF picture is damaged", _PIXEL_DATA) from error
