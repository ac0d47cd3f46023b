"""An image through a presentation state: the pipeline of PS3.4 N.2 to the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray
from PIL import Image

from gateway.dicom.description import PixelDescription
from gateway.dicom.header import Header
from gateway.dicom.pixels import DecodedFrame, decode_frame
from gateway.dicom.view import View as Values
from gateway.errors import BadRequest, NotFound, NotRenderable
from gateway.render.annotation import annotate
from gateway.render.colour import to_rgb
from gateway.render.encode import encode
from gateway.render.kinds import COLOR_STATE, PSEUDO_COLOR_STATE
from gateway.render.labels import recommended
from gateway.render.lut import read_lut
from gateway.render.overlays import GROUPS, Bits, overlay_of
from gateway.render.parameters import aspect_of, palette_of
from gateway.render.presentation.geometry import Geometry, geometry_of
from gateway.render.presentation.graphics import draw_annotations
from gateway.render.presentation.grey import Chain, by_value, chain_of
from gateway.render.presentation.mask import Decode, mask_of, subtracted
from gateway.render.presentation.planes import Plane, laid_on, plane_of
from gateway.render.presentation.shutter import OVERLAY_GROUP, SHUTTER_SHAPE, covered, shade_of
from gateway.render.presentation.state import State
from gateway.render.profiles import check_profile, source_of, with_profile
from gateway.render.view import Picture, Viewport
from gateway.render.view import View as Asked

_SOP_UID, _OPACITY = 0x00080018, 0x00700403
_LAYER, _LAYER_GREY, _LAYER_RGB, _LAYER_LAB = 0x00700002, 0x00700066, 0x00700067, 0x00700401
_PALETTE = tuple((0x00281101 + channel, 0x00281201 + channel, 0x00281221 + channel) for channel in range(3))

RGB = NDArray[numpy.uint8]
Region = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Over:
    """A frame (1-based) of another image that is blended over one, and its bytes."""

    header: Header
    frame: int
    data: bytes


def present(
    state: State,
    header: Header,
    data: bytes,
    frame: int,
    view: Asked,
    media_type: str,
    region: Region | None = None,
    fetch: Callable[[int], bytes] | None = None,
    over: Over | None = None,
) -> Picture:
    """Frame `frame` (1-based) of an image, whose bytes are `data`, as the state shows it.

    Of the view's viewport the size counts, and its window does not. `region` is left, top, right and bottom of what is
    wanted, as fractions of the displayed area. `fetch` gives the bytes of other frames of the image, which a mask
    needs; `over` is what is blended over it. Raises NotRenderable where image and state do not go together, BadRequest
    for what is too large.
    """
    check_profile(view.profile, media_type)
    description = PixelDescription.from_header(header)
    decoded = decode_frame(data, description, header.meta.transfer_syntax_uid)

    def other(number: int) -> NDArray[Any]:
        if fetch is None:
            raise NotFound("there is no other frame")
        return decode_frame(fetch(number), description, header.meta.transfer_syntax_uid).pixels

    image, window = _base(state, header, description, decoded, frame, other)
    if over is not None:
        image = _blended(state, image, over, plane_of(header, frame))
    aspect = aspect_of(header, frame)
    sop_uid = header.text(_SOP_UID) or ""
    planes = Planes(state, header, description, data, frame)
    for shutter in state.shutters(sop_uid, frame):
        for mask in (covered(shutter, description.rows, description.columns, aspect), planes.shutter(shutter)):
            if mask is not None:
                image.paste(shade_of(shutter), mask=_opaque(mask))
    area = state.displayed_area(sop_uid, frame)
    size = _whole(view.viewport, region)
    geometry, crop = geometry_of(state.header, area, description.rows, description.columns, aspect, size)
    picture = geometry.apply(image)
    _draw_layers(picture, state, geometry, planes, state.annotations(sop_uid, frame))
    if crop is not None:
        picture = picture.crop(crop)
    if region is not None:
        picture = _part(picture, region)
    annotate(picture, header, frame, view, window, media_type)
    profile = None
    if view.profile != "no":
        picture, profile = with_profile(picture, None, view.profile)
    encoded = encode(picture, media_type, view.quality, profile)
    return Picture(encoded, media_type, picture.width, picture.height, window)


class Planes:
    """Overlay planes that a state uses: its own where it has the group, else the image's (PS3.3 C.11.7)."""

    def __init__(self, state: State, header: Header, description: PixelDescription, data: bytes, frame: int) -> None:
        self._state = state
        self._image = (header, description, data, frame)

    def shutter(self, shutter: Values) -> Bits | None:
        """Where the bitmap of a shutter covers the image (PS3.3 C.7.6.15)."""
        number = shutter.number(OVERLAY_GROUP)
        if number is None or "BITMAP" not in shutter.texts(SHUTTER_SHAPE):
            return None
        return self.plane(number)

    def of_layer(self, name: str | None) -> list[Bits]:
        """The planes that are activated in a layer."""
        planes = [self.plane(group) for group, layer in self._state.overlays() if layer == name]
        return [plane for plane in planes if plane is not None]

    def plane(self, group: int) -> Bits | None:
        """The plane of a group, as it lies in the image."""
        if group not in GROUPS:
            return None
        header, description, data, frame = self._image
        own = overlay_of(self._state.header, description, b"", frame, [group])
        return own if own is not None else overlay_of(header, description, data, frame, [group])


def _opaque(bits: Bits) -> Image.Image:
    return Image.fromarray(bits.astype(numpy.uint8) * 255)


def _base(
    state: State, header: Header, description: PixelDescription, decoded: DecodedFrame, frame: int, other: Decode
) -> tuple[Image.Image, str]:
    """The image in RGB, before anything is laid over it, and the window that it is shown in."""
    pixels, photometric = decoded.pixels, decoded.photometric_interpretation
    if state.sop_class == COLOR_STATE:
        return _in_srgb(Image.fromarray(_colours(header, description, pixels, photometric)), state), ""
    if description.samples_per_pixel != 1 or photometric == "PALETTE COLOR":
        raise NotRenderable("a grayscale presentation state does not go with an image in colour")
    voi = state.voi(header.text(_SOP_UID) or "", frame)
    chain = chain_of(state.part, voi, state.header, description)
    if state.sop_class == PSEUDO_COLOR_STATE:
        return _in_srgb(Image.fromarray(_pseudo_colours(state.header, chain, pixels)), state), chain.window
    mask = mask_of(state.header, header.text(_SOP_UID) or "", frame)
    shades = subtracted(chain, pixels, mask, other) if mask is not None else chain.shades(pixels)
    return Image.fromarray(shades).convert("RGB"), chain.window


def _colours(header: Header, description: PixelDescription, pixels: NDArray[Any], photometric: str) -> RGB:
    if description.samples_per_pixel == 3:
        return to_rgb(pixels, photometric, description.bits_stored)
    if photometric == "PALETTE COLOR":
        return palette_of(header, description).apply(pixels)
    raise NotRenderable("a colour presentation state does not go with a grayscale image")


def _pseudo_colours(state: Values, chain: Chain, pixels: NDArray[Any]) -> RGB:
    """The state's palette for what comes out of the VOI LUT (PS3.4 N.2.2)."""
    tables = []
    for descriptor, plain, segmented in _PALETTE:
        whole = state.find(plain) is not None
        lut = read_lut(state, descriptor, plain if whole else segmented, signed=False, segmented=not whole)
        if lut is None:
            raise NotRenderable("the presentation state has no usable palette")
        tables.append(lut)
    most = len(tables[0].array) - 1

    def work(values: NDArray[Any]) -> RGB:
        index = numpy.floor(chain.voi_levels(values) * most + 0.5) + tables[0].first
        shades = [numpy.floor(lut.apply(index) / float((1 << lut.bits) - 1) * 255.0 + 0.5) for lut in tables]
        return numpy.stack(shades, axis=-1).astype(numpy.uint8)

    return by_value(pixels, work)


def _blended(state: State, image: Image.Image, over: Over, under: Plane | None) -> Image.Image:
    """The superimposed image in the state's palette, over the underlying one, as opaque as it says (PS3.4 N.2.4)."""
    own = plane_of(over.header, over.frame)
    if under is None or own is None or state.over is None:
        raise NotRenderable("it is not known how the images to be blended lie on each other")
    description = PixelDescription.from_header(over.header)
    decoded = decode_frame(over.data, description, over.header.meta.transfer_syntax_uid)
    voi = state.voi(over.header.text(_SOP_UID) or "", over.frame, state.over)
    chain = chain_of(state.over, voi, state.over, description)
    coloured = Image.fromarray(_pseudo_colours(state.header, chain, decoded.pixels))
    placed, where = laid_on(coloured, own, under, image.size)
    opacity = state.header.float(_OPACITY)
    mixed = Image.blend(image, placed, min(max(1.0 if opacity is None else opacity, 0.0), 1.0))
    return _in_srgb(Image.composite(mixed, image, where), state)


def _in_srgb(image: Image.Image, state: State) -> Image.Image:
    """Through the ICC Input Profile of the state to sRGB; as it is where there is none that can be used."""
    own = source_of(state.header, 1)
    return with_profile(image, own, "srgb")[0] if own is not None else image


def _draw_layers(
    picture: Image.Image, state: State, geometry: Geometry, planes: Planes, annotations: Sequence[Values]
) -> None:
    """Overlays and annotations layer by layer, the lowest first; what is in a layer without definition comes last."""
    layers = [(layer.text(_LAYER), layer_colour(layer)) for layer in state.layers()]
    known = {name for name, _ in layers}
    others = [item.text(_LAYER) for item in annotations] + [name for _, name in state.overlays()]
    layers += [(name, (255, 255, 255)) for name in dict.fromkeys(others) if name not in known]
    for name, colour in layers:
        for plane in planes.of_layer(name):
            picture.paste(colour, mask=geometry.apply(_opaque(plane), Image.Resampling.NEAREST))
        own = [item for item in annotations if item.text(_LAYER) == name]
        if own:
            draw_annotations(picture, own, geometry, colour)


def layer_colour(layer: Values) -> tuple[int, int, int]:
    """The recommended display colour of a layer, else its grey, else white (PS3.3 C.10.7)."""
    colour = recommended(layer, _LAYER_LAB)
    if colour is not None:
        return colour
    rgb = layer.numbers(_LAYER_RGB)
    if len(rgb) == 3:
        red, green, blue = ((value & 0xFFFF) >> 8 if max(rgb) > 255 else value & 0xFF for value in rgb)
        return red, green, blue
    value = layer.number(_LAYER_GREY)
    grey = 255 if value is None else int((value & 0xFFFF) / 65535 * 255 + 0.5)
    return grey, grey, grey


def _whole(viewport: Viewport | None, region: Region | None) -> Viewport | None:
    """The size of the whole displayed area when its region is to have the size of the viewport."""
    if viewport is None or region is None:
        return viewport
    wide, high = region[2] - region[0], region[3] - region[1]
    size = (viewport.width / wide, viewport.height / high)
    if size[0] * size[1] > 1e9:
        raise BadRequest("region", "the region is too small for the size asked for")
    return Viewport(max(1, round(size[0])), max(1, round(size[1])))


def _part(picture: Image.Image, region: Region) -> Image.Image:
    left, top = round(region[0] * picture.width), round(region[1] * picture.height)
    right, bottom = round(region[2] * picture.width), round(region[3] * picture.height)
    return picture.crop((left, top, max(right, left + 1), max(bottom, top + 1)))
