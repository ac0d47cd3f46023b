"""From one frame's stored values to a picture: the pipeline in its order (PS3.4 N.2, PS3.18 8.3.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from PIL import Image

from gateway.dicom.description import PixelDescription, PixelKind
from gateway.dicom.header import Header
from gateway.dicom.pixels import DecodedFrame, decode_frame
from gateway.render.annotation import annotate
from gateway.render.colour import to_rgb
from gateway.render.dose import dose_image
from gateway.render.encode import encode, fit, show
from gateway.render.grey import Grey
from gateway.render.kinds import RT_DOSE, SEGMENTATIONS
from gateway.render.labels import label_image
from gateway.render.lut import Lut
from gateway.render.overlays import overlay_of
from gateway.render.parameters import aspect_of, grey_of, palette_of, supplemental_palette_of
from gateway.render.profiles import check_profile, source_of, with_profile
from gateway.render.reduced import decode_reduced
from gateway.render.view import Picture, View

_SOP_CLASS = 0x00080016
_THUMBNAIL_QUALITY = 80
_OVERSAMPLING = 3
"""A thumbnail is averaged down from at least this many decoded pixels for each of its own, each way."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame as 8-bit pixels, and the window it is shown in."""

    image: Image.Image
    window: str


def draw(header: Header, data: bytes | memoryview, frame: int, view: View, media_type: str) -> Picture:
    """The picture of frame `frame` (1-based), whose bytes are `data`: a codestream, or native little endian.

    Raises:
        NotRenderable: the frame has no picture, or cannot be decoded.
        BadRequest: the viewport asks for what cannot be, or a profile is wanted in a format that holds none.
        NotAcceptable: no such media type.
    """
    check_profile(view.profile, media_type)
    shown = compose(header, data, frame, view)
    annotate(shown.image, header, frame, view, shown.window, media_type)
    image, profile = shown.image, None
    if view.profile != "no":
        own = None if image.mode == "L" else source_of(header, frame, bytes(data))
        image, profile = with_profile(image, own, view.profile)
    return Picture(
        encode(image, media_type, view.quality, profile), media_type, image.width, image.height, shown.window
    )


def compose(header: Header, data: bytes | memoryview, frame: int, view: View) -> Shown:
    """The picture as `draw` makes it, cut and scaled, but not yet encoded, and in the image's own colour space."""
    description = PixelDescription.from_header(header)
    decoded = decode_frame(data, description, header.meta.transfer_syntax_uid)
    shown = _shown(header, description, decoded, frame, view)
    graphics = overlay_of(header, description, data, frame)
    if graphics is not None:
        shown.image.paste("white", mask=Image.fromarray(graphics.view(numpy.uint8) * 255))
    return Shown(show(shown.image, view.viewport, aspect_of(header, frame)), shown.window)


def draw_thumbnail(
    header: Header, data: bytes | memoryview, frame: int, size: tuple[int, int], media_type: str
) -> Picture:
    """A small picture within `size`, never larger than the image: decoded and mapped at a fraction of its size.

    Raises as `draw` does.
    """
    description = PixelDescription.from_header(header)
    aspect = aspect_of(header, frame)
    wide, high = description.columns, description.rows * aspect
    width, height = fit(wide, high, min(size[0], round(max(1.0, wide))), min(size[1], round(max(1.0, high))))
    # The low bands of a wavelet are averages already: they need no pixels to spare.
    halvings = max(0, int(min(description.columns / width, description.rows / height)).bit_length() - 1)
    decoded = decode_reduced(data, description, header.meta.transfer_syntax_uid, halvings)
    pixels = decoded.pixels
    step = max(1, int(min(pixels.shape[1] / width, pixels.shape[0] / height) / _OVERSAMPLING))
    if step > 1:
        pixels = numpy.ascontiguousarray(pixels[step // 2 :: step, step // 2 :: step])
    reduced = DecodedFrame(pixels, decoded.photometric_interpretation)
    shown = _shown(header, description, reduced, frame, View())
    image = _shrunk(shown.image, width, height)
    return Picture(encode(image, media_type, _THUMBNAIL_QUALITY), media_type, image.width, image.height, shown.window)


def _shrunk(image: Image.Image, width: int, height: int) -> Image.Image:
    """The picture in this size: averages of whole pixels first, which is quick, then linear interpolation."""
    wide, high = max(1, image.width // width), max(1, image.height // height)
    box = (0.0, 0.0, image.width / wide, image.height / high)
    if wide > 1 or high > 1:
        image = image.reduce((wide, high))
    if image.size == (width, height):
        return image
    return image.resize((width, height), Image.Resampling.BILINEAR, box)


def _shown(header: Header, description: PixelDescription, decoded: DecodedFrame, frame: int, view: View) -> Shown:
    pixels, photometric = decoded.pixels, decoded.photometric_interpretation
    sop_class = header.text(_SOP_CLASS)
    if sop_class in SEGMENTATIONS and description.samples_per_pixel == 1:
        return Shown(label_image(header, description, frame, pixels), "")
    if sop_class == RT_DOSE and description.samples_per_pixel == 1:
        heat, dose = dose_image(header, pixels, view.asked_window() if view.window else None)
        return Shown(heat, _describe(dose))
    if description.samples_per_pixel == 3:
        return Shown(Image.fromarray(to_rgb(pixels, photometric, description.bits_stored)), "")
    if photometric == "PALETTE COLOR":
        return Shown(Image.fromarray(palette_of(header, description).apply(pixels)), "")
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        photometric = "MONOCHROME2"  # one sample and a colour's name: grey is all it can be
    grey = grey_of(header, description, frame, view.asked_window() if view.window else None)
    whole_range = (0, 1) if description.kind is PixelKind.INTEGER and description.bits_stored == 1 else None
    grey = grey.settle(pixels, whole_range=whole_range)
    shades = grey.apply(pixels)
    palette = supplemental_palette_of(header, description)
    if palette is None:
        return Shown(Image.fromarray(shades), _describe(grey))
    # Values from the first mapped on are colour, lower ones grey (PS3.3 C.7.6.19).
    coloured = numpy.where((pixels >= palette.red.first)[..., None], palette.apply(pixels), shades[..., None])
    return Shown(Image.fromarray(coloured), _describe(grey))


def _describe(grey: Grey) -> str:
    return f"{'lut' if isinstance(grey.voi, Lut) else grey.voi}; source={grey.source}"
