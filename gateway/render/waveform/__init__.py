"""Waveforms as drawings: electrocardiograms on millimetre paper, other signals on the same (PS3.3 C.10.9)."""

from __future__ import annotations

from collections.abc import Callable

import numpy

from gateway.dicom.header import Header
from gateway.errors import NotRenderable
from gateway.render.annotation import annotate
from gateway.render.encode import encode, show
from gateway.render.profiles import check_profile, with_profile
from gateway.render.view import Picture, View
from gateway.render.waveform.raster import to_image
from gateway.render.waveform.read import read_groups
from gateway.render.waveform.sheet import Sheet, lay_out
from gateway.render.waveform.svg import to_svg

SVG = "image/svg+xml"


def draw_waveform(header: Header, read: Callable[[int, int], bytes], view: View, media_type: str) -> Picture:
    """The sheet of a waveform, as one of `FORMATS` or as SVG. `read` gives bytes of the file, by offset and length.

    SVG has its size in millimetres, and is not touched by viewport and annotation. Raises NotRenderable, BadRequest.
    """
    check_profile(view.profile, media_type)
    sheet = sheet_of(header, read)
    if media_type == SVG:
        return Picture(to_svg(sheet).encode(), SVG, round(sheet.width), round(sheet.height))
    image = show(to_image(sheet), view.viewport)
    annotate(image, header, 1, view, "", media_type)
    shown, profile = (image, None) if view.profile == "no" else with_profile(image, None, view.profile)
    return Picture(encode(shown, media_type, view.quality, profile), media_type, image.width, image.height)


def sheet_of(header: Header, read: Callable[[int, int], bytes]) -> Sheet:
    """The drawing. Raises NotRenderable when nothing can be drawn."""
    with numpy.errstate(over="ignore", invalid="ignore"):  # what overflows is not finite, and is not drawn
        groups = read_groups(header, read)
        if not groups:
            raise NotRenderable("the waveform has no samples that can be drawn")
        return lay_out(groups)
