"""What a header says of the display of one frame: functional groups over the top level (PS3.3 C.7.6.16, C.11)."""

from __future__ import annotations

import math
from collections.abc import Callable

from gateway.dicom.description import PixelDescription, PixelKind
from gateway.dicom.elements import Element
from gateway.dicom.header import Header
from gateway.dicom.view import View as Values
from gateway.errors import NotRenderable
from gateway.render.colour import Palette
from gateway.render.grey import Grey, Modality, Padding
from gateway.render.lut import MAX_ENTRIES, Lut, read_lut
from gateway.render.window import FUNCTIONS, Window

_SHARED, _PER_FRAME = 0x52009229, 0x52009230
_PIXEL_VALUE_TRANSFORMATION, _FRAME_VOI_LUT, _PIXEL_MEASURES = 0x00289145, 0x00289132, 0x00289110
_SLOPE, _INTERCEPT = 0x00281053, 0x00281052
_CENTER, _WIDTH, _FUNCTION = 0x00281050, 0x00281051, 0x00281056
_MODALITY_LUT, _VOI_LUT, _LUT_DESCRIPTOR, _LUT_DATA = 0x00283000, 0x00283010, 0x00283002, 0x00283006
_SHAPE = 0x20500020
_PADDING, _PADDING_LIMIT = 0x00280120, 0x00280121
_FLOAT_PADDING, _FLOAT_PADDING_LIMIT = 0x00280122, 0x00280124
_DOUBLE_PADDING, _DOUBLE_PADDING_LIMIT = 0x00280123, 0x00280125
_PIXEL_PRESENTATION = 0x00089205
_PALETTE_DESCRIPTOR, _PALETTE_DATA, _SEGMENTED_PALETTE_DATA = 0x00281101, 0x00281201, 0x00281221
"""Those of red; green and blue follow."""

_ASPECT = 0x00280034
_SPACINGS = (0x00280030, 0x00181164, 0x00182010)
"""Pixel Spacing, Imager Pixel Spacing, Nominal Scanned Pixel Spacing."""

_MIN_ASPECT_ERROR = 0.01
"""Pixels that are square but for this fraction are shown as square."""

_MAX_TABLE_BYTES = 2 * MAX_ENTRIES

_MAX_ASPECT = 100.0
"""A pixel that is longer than this than it is wide is a mistake."""


def load_tables(header: Header, read: Callable[[int, int], bytes]) -> None:
    """Load the look-up tables that were too long to be kept: `read` gives bytes of the file, by offset and length."""
    for channel in range(3):
        for tag in (_PALETTE_DATA + channel, _SEGMENTED_PALETTE_DATA + channel):
            _load(header.find(tag), read)
    for sequence in (_MODALITY_LUT, _VOI_LUT):
        for item in header.sequence(sequence)[:1]:
            _load(item.find(_LUT_DATA), read)


def _load(element: Element | None, read: Callable[[int, int], bytes]) -> None:
    if element is not None and element.value is None and element.items is None:
        element.value = read(element.offset, min(element.length, _MAX_TABLE_BYTES))


def group(header: Header, frame: int, tag: int) -> Values | None:
    """The item of a functional group macro for a frame (1-based): Per-frame over Shared. None where neither has it."""
    for functional_groups, place in ((_PER_FRAME, frame - 1), (_SHARED, 0)):
        sequence = header.find(functional_groups)
        if sequence is None or not sequence.items or not 0 <= place < len(sequence.items):
            continue
        item = Values(sequence.items[place], header.charsets, header.little_endian)
        macro = item.sequence(tag)
        if macro:
            return macro[0]
    return None


def grey_of(header: Header, description: PixelDescription, frame: int, asked: Window | None) -> Grey:
    """How the frame's stored values become greys; `asked` is the window of the request, which goes first."""
    modality = _modality(header, description, frame)
    voi, source = _voi(header, description, modality, frame)
    if asked is not None:
        voi, source = asked, "request"
    inverted = description.photometric_interpretation == "MONOCHROME1" or header.text(_SHAPE) == "INVERSE"
    return Grey(modality, voi, source, inverted, _padding(header, description))


def _modality(header: Header, description: PixelDescription, frame: int) -> Modality:
    macro = group(header, frame, _PIXEL_VALUE_TRANSFORMATION)
    if macro is None:
        for item in header.sequence(_MODALITY_LUT)[:1]:
            lut = read_lut(item, _LUT_DESCRIPTOR, _LUT_DATA, signed=description.signed)
            if lut is not None and description.kind is PixelKind.INTEGER:
                return Modality(lut=lut)
    values: Values = header if macro is None else macro
    slope, intercept = values.float(_SLOPE), values.float(_INTERCEPT)
    if not slope or abs(slope) > 1e30 or abs(intercept or 0.0) > 1e30:
        slope = 1.0  # absent, unreadable, 0 or absurd: a picture of stored values is better than none (S-35)
    return Modality(slope, intercept if intercept is not None and abs(intercept) <= 1e30 else 0.0)


def _voi(
    header: Header, description: PixelDescription, modality: Modality, frame: int
) -> tuple[Window | Lut | None, str]:
    macro = group(header, frame, _FRAME_VOI_LUT)
    for values, source in ((macro, "frame"), (header, "image")):
        if values is None:
            continue
        for item in values.sequence(_VOI_LUT)[:1]:
            signed = modality.lut is None and (description.signed or modality.intercept < 0 or modality.slope < 0)
            lut = read_lut(item, _LUT_DESCRIPTOR, _LUT_DATA, signed=signed)
            if lut is not None:
                return lut, source
        center, width = values.float(_CENTER), values.float(_WIDTH)
        if center is None or width is None:
            continue
        function = values.text(_FUNCTION) or "LINEAR"
        window = Window(center, width, function if function in FUNCTIONS else "LINEAR")
        if window.valid:
            return window, source
    return None, "computed"


def _padding(header: Header, description: PixelDescription) -> Padding | None:
    if description.kind is not PixelKind.INTEGER:
        float_kind = description.kind is PixelKind.FLOAT
        low = header.float(_FLOAT_PADDING if float_kind else _DOUBLE_PADDING)
        high = header.float(_FLOAT_PADDING_LIMIT if float_kind else _DOUBLE_PADDING_LIMIT)
    else:
        low, high = (_stored(header.number(tag), description) for tag in (_PADDING, _PADDING_LIMIT))
    if low is None:
        return None
    high = low if high is None else high
    return Padding(min(low, high), max(low, high))


def _stored(value: int | None, description: PixelDescription) -> int | None:
    """A value of VR US or SS as the stored value it means: writers confuse the two."""
    if value is None:
        return None
    cells = 1 << description.bits_allocated
    value %= cells
    return value - cells if description.signed and value >= cells // 2 else value


def palette_of(header: Header, description: PixelDescription) -> Palette:
    """The palette of a PALETTE COLOR image.

    Raises:
        NotRenderable: one of its three tables is missing or malformed.
    """
    luts = [_palette_lut(header, channel, description) for channel in range(3)]
    red, green, blue = luts
    if red is None or green is None or blue is None:
        raise NotRenderable("the image has no usable palette")
    return Palette(red, green, blue)


def _palette_lut(header: Header, channel: int, description: PixelDescription) -> Lut | None:
    descriptor, plain, segmented = (
        tag + channel for tag in (_PALETTE_DESCRIPTOR, _PALETTE_DATA, _SEGMENTED_PALETTE_DATA)
    )
    if header.find(plain) is not None:
        return read_lut(header, descriptor, plain, signed=description.signed)
    return read_lut(header, descriptor, segmented, signed=description.signed, segmented=True)


def supplemental_palette_of(header: Header, description: PixelDescription) -> Palette | None:
    """The Supplemental Palette Color LUT of a grey image with colour in it (PS3.3 C.7.6.19), if any."""
    if header.text(_PIXEL_PRESENTATION) not in ("COLOR", "MIXED", "TRUE_COLOR"):
        return None
    if description.photometric_interpretation != "MONOCHROME2" or header.find(_PALETTE_DESCRIPTOR) is None:
        return None
    return palette_of(header, description)


def aspect_of(header: Header, frame: int) -> float:
    """The height of a pixel by its width; 1 where nothing says otherwise, or nothing credible (PS3.3 C.7.6.3.1.7)."""
    measures = group(header, frame, _PIXEL_MEASURES)
    candidates = [header.floats(_ASPECT)]
    if measures is not None:
        candidates.append(measures.floats(_SPACINGS[0]))
    candidates.extend(header.floats(tag) for tag in _SPACINGS)
    for pair in candidates:
        if len(pair) == 2 and min(pair) > 0:
            aspect = pair[0] / pair[1]
            if not math.isfinite(aspect) or not 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT:
                return 1.0
            return aspect if abs(aspect - 1) > _MIN_ASPECT_ERROR else 1.0
    return 1.0
