"""Pictures that come in to be stored: GIF and PNG, for which there is no transfer syntax (PS3.18 Table 10.5.2-1).

PNG is read by imagecodecs, since Pillow keeps 8 of the 16 bits of a colour sample; GIF by Pillow; both in a process of
its own (`gateway.isolated`).
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from struct import Struct
from typing import Any

import imagecodecs
import numpy
from PIL import Image

from gateway import isolated
from gateway.dicom.description import MAX_FRAME_BYTES
from gateway.dicom.model.bulk_parts import BulkPart
from gateway.dicom.model.image_description import Described
from gateway.dicom.model.writer import Picture
from gateway.errors import NotRenderable, NotUnderstood, TooLarge
from gateway.isolated import Facts, Work

MAX_FRAMES = 10_000
MAX_TOTAL = 4 * 1024 * 1024 * 1024 - 2
"""Longest native Pixel Data, in bytes."""
MAX_FILE = MAX_FRAME_BYTES
"""Longest file, in bytes: it is decoded from memory."""
BATCH = 64 * 1024 * 1024
"""So many bytes of an animation are decoded at a time, each time from its first frame on."""

_PIXEL_DATA = 0x7FE00010
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IHDR = Struct(">4xI4sIIBB")
_GREY = frozenset({0, 4})
_COLOUR = frozenset({2, 3, 6})
"""PNG colour types (ISO/IEC 15948 11.2.2); palettes are colour whatever is in them."""


def decode(part: BulkPart) -> Picture:
    """The frames of a GIF or PNG (STOW-06).

    Grey pictures become MONOCHROME2, 16 bits where the file has them; all others RGB. An animated GIF is a multi-frame
    image; transparency is dropped. Raises NotUnderstood where the part is no such picture, TooLarge; Unavailable.
    """
    if part.size > MAX_FILE:
        raise TooLarge("the picture is too large", _PIXEL_DATA)
    return _png(part) if part.media_type == "image/png" else _gif(part)


def _described(rows: int, columns: int, *, grey: bool, bits: int, count: int) -> Described:
    samples = 1 if grey else 3
    frame = rows * columns * samples * bits // 8
    if frame > MAX_FRAME_BYTES or count > MAX_FRAMES or frame * count > MAX_TOTAL:
        raise TooLarge("the picture is too large", _PIXEL_DATA)
    photometric = "MONOCHROME2" if grey else "RGB"
    return Described(rows, columns, samples, bits, photometric, signed=False, bits_allocated=bits)


def _ask(work: Work, part: BulkPart, facts: Facts, most: int) -> tuple[Facts, memoryview]:
    with part.open() as stream:
        data = stream.read()
    try:
        return isolated.call(work, data, facts, most)
    except NotRenderable as error:
        raise NotUnderstood("the picture is damaged, or none", _PIXEL_DATA) from error


# ---------------------------------------------------------------- PNG


def _png(part: BulkPart) -> Picture:
    with part.open() as stream:
        head = stream.read(len(_SIGNATURE) + _IHDR.size)
    if len(head) < len(_SIGNATURE) + _IHDR.size or not head.startswith(_SIGNATURE):
        raise NotUnderstood("the part is no PNG picture", _PIXEL_DATA)
    kind, columns, rows, depth, colour = _IHDR.unpack_from(head[len(_SIGNATURE) - 4 :])[1:]
    if kind != b"IHDR" or colour not in _GREY | _COLOUR or not rows or not columns:
        raise NotUnderstood("the part is no PNG picture", _PIXEL_DATA)
    described = _described(rows, columns, grey=colour in _GREY, bits=16 if depth == 16 else 8, count=1)
    return Picture(described, 1, lambda: _png_frame(part, described))


def _png_frame(part: BulkPart, described: Described) -> Iterator[bytes]:
    size = described.rows * described.columns * described.samples * described.bits // 8
    _, pixels = _ask(png_here, part, {"samples": described.samples, "bits": described.bits}, size)
    if len(pixels) != size:
        raise NotUnderstood("the PNG picture is not what its header says", _PIXEL_DATA)
    yield bytes(pixels)


def png_here(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    """The work of a child: all pixels, without alpha."""
    samples, bits = int(facts["samples"]), int(facts["bits"])
    pixels = imagecodecs.png_decode(bytes(data))
    pixels = pixels[..., :samples] if pixels.ndim == 3 else pixels[..., numpy.newaxis]
    if pixels.shape[2] != samples:
        pixels = pixels.repeat(samples, axis=2)  # a palette of greys
    return {}, numpy.ascontiguousarray(pixels, "<u2" if bits == 16 else numpy.uint8)


# ---------------------------------------------------------------- GIF


def _gif(part: BulkPart) -> Picture:
    facts, _ = _ask(gif_facts_here, part, {}, 0)
    try:
        rows, columns, count, grey = (int(facts[name]) for name in ("rows", "columns", "count", "grey"))
    except (KeyError, TypeError, ValueError) as error:
        raise NotUnderstood("the part is no GIF picture", _PIXEL_DATA) from error
    if min(rows, columns, count) < 1:
        raise NotUnderstood("the part is no GIF picture", _PIXEL_DATA)
    described = _described(rows, columns, grey=bool(grey), bits=8, count=count)
    return Picture(described, count, lambda: _gif_frames(part, described, count))


def _gif_frames(part: BulkPart, described: Described, count: int) -> Iterator[bytes]:
    size = described.rows * described.columns * described.samples
    at_once = max(1, BATCH // size)
    for first in range(0, count, at_once):
        several = min(at_once, count - first)
        asked = {"first": first, "count": several, "mode": "L" if described.samples == 1 else "RGB"}
        _, frames = _ask(gif_here, part, asked, several * size)
        if len(frames) != several * size:
            raise NotUnderstood("the GIF picture changes its size", _PIXEL_DATA)
        for start in range(0, several * size, size):
            yield bytes(frames[start : start + size])


def gif_facts_here(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    """The work of a child: rows, columns, how many frames, and whether there are greys only."""
    with _open(data) as image:
        count = int(getattr(image, "n_frames", 1))
        return {"rows": image.height, "columns": image.width, "count": count, "grey": _is_grey(image, count)}, b""


def gif_here(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    """The work of a child: some frames, the first numbered 0."""
    out = bytearray()
    first, mode = int(facts["first"]), str(facts["mode"])
    with _open(data) as image:
        for number in range(first, first + int(facts["count"])):
            if number:
                image.seek(number)
            # by way of alpha, which is then dropped: what is see-through keeps its colour, or the frame's before
            out += image.convert("RGBA").convert(mode).tobytes()
    return {}, out


def _open(data: memoryview) -> Image.Image:
    return Image.open(BytesIO(data), formats=["GIF"])


def _is_grey(image: Image.Image, count: int) -> bool:
    """Whether a picture of one frame has greys only. Frames of an animation may each have a palette of their own."""
    if count > 1 or image.mode not in ("L", "P"):
        return False
    palette = image.getpalette() if image.mode == "P" else [0, 0, 0]
    return palette is not None and palette[0::3] == palette[1::3] == palette[2::3]
