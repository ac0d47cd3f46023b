"""Overlay planes: graphics of one bit a pixel, in groups 6000 to 601E (PS3.3 C.9.2), drawn white over the picture.

Only planes of type G are graphics; R marks a region of interest, which is not drawn. A plane lies in a data element of
its own, or, in old files, in bits of the pixel cells that the stored value does not use. What its attributes say is
believed only as far as the bits are there (S-37).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from gateway.dicom.description import PixelDescription, PixelKind
from gateway.dicom.header import Header
from gateway.dicom.uids import syntax

GROUPS = range(0x6000, 0x6020, 2)
MAX_BYTES = 8 << 20
"""Longest Overlay Data that are looked at, in bytes; all frames lie in one element."""

_ROWS, _COLUMNS, _FRAMES = 0x0010, 0x0011, 0x0015
_TYPE, _ORIGIN, _FRAME_ORIGIN = 0x0040, 0x0050, 0x0051
_ALLOCATED, _POSITION, _DATA = 0x0100, 0x0102, 0x3000

Bits = NDArray[numpy.bool_]


@dataclass(frozen=True, slots=True)
class _Plane:
    """One plane for one frame. `top` and `left` are 0-based places in the image, and may lie outside."""

    bits: Bits
    top: int
    left: int


def load_overlays(header: Header, read: Callable[[int, int], bytes]) -> None:
    """Load Overlay Data that were too long to be kept; `read` gives bytes of the file, by offset and length."""
    for group in GROUPS:
        element = header.find(group << 16 | _DATA)
        if element is not None and element.value is None and element.items is None and element.length <= MAX_BYTES:
            element.value = read(element.offset, element.length)


def overlay_of(
    header: Header,
    description: PixelDescription,
    data: bytes | memoryview,
    frame: int,
    groups: Sequence[int] | None = None,
) -> Bits | None:
    """Where the graphics of frame `frame` (1-based) lie in the image; None where it has none.

    `groups` names the planes that are wanted, of whatever type: a presentation state does. `data` is the frame as it is
    stored: native cells may hold planes in their unused bits.
    """
    found: Bits | None = None
    for group in GROUPS if groups is None else groups:
        if groups is None and (header.text(group << 16 | _TYPE) or "").strip() != "G":
            continue
        plane = _plane(header, group << 16, frame) or _embedded(header, description, data, group << 16)
        if plane is None:
            continue
        for picture, bits in _common(plane, description):
            if found is None:
                found = numpy.zeros((description.rows, description.columns), numpy.bool_)
            found[picture] |= plane.bits[bits]
    return found


def _plane(header: Header, group: int, frame: int) -> _Plane | None:
    """A plane in Overlay Data (60xx,3000): bits, the lowest of each byte (or word) first."""
    element = header.find(group | _DATA)
    rows, columns = header.number(group | _ROWS), header.number(group | _COLUMNS)
    if element is None or not element.value or not rows or not columns or min(rows, columns) < 0:
        return None
    place = frame - (header.number(group | _FRAME_ORIGIN) or 1)
    count = header.number(group | _FRAMES)
    if count is None:
        place = 0  # a single plane goes with every frame
    elif not 0 <= place < count:
        return None
    first, size = place * rows * columns, rows * columns
    raw = element.value
    if (first + size + 7) // 8 > len(raw):
        return None
    if not header.little_endian and element.vr == "OW":
        raw = numpy.frombuffer(raw[: len(raw) // 2 * 2], ">u2").astype("<u2").tobytes()
    packed = numpy.frombuffer(raw, numpy.uint8)[first // 8 : (first + size + 7) // 8]
    bits = numpy.unpackbits(packed, bitorder="little")[first % 8 : first % 8 + size]
    return _Plane(bits.reshape(rows, columns).view(numpy.bool_), *_origin(header, group))


def _embedded(header: Header, description: PixelDescription, data: bytes | memoryview, group: int) -> _Plane | None:
    """A plane in the pixel cells (retired, PS3.3 2004 C.9.2): one bit of each, where no stored bit is."""
    position, allocated = header.number(group | _POSITION), header.number(group | _ALLOCATED)
    low = description.high_bit + 1 - description.bits_stored
    if position is None or allocated != description.bits_allocated or allocated not in (8, 16):
        return None
    if not 0 <= position < allocated or low <= position <= description.high_bit:
        return None
    if description.kind is not PixelKind.INTEGER or description.samples_per_pixel != 1:
        return None
    count = description.rows * description.columns
    if syntax(header.meta.transfer_syntax_uid).encapsulated or len(data) < count * allocated // 8:
        return None
    cells = numpy.frombuffer(data, f"<u{allocated // 8}", count).reshape(description.rows, description.columns)
    return _Plane((cells >> position & 1).astype(numpy.bool_), 0, 0)


def _origin(header: Header, group: int) -> tuple[int, int]:
    """Row and column of the plane's first bit, 0-based; (0060,0050) counts from 1."""
    origin = header.numbers(group | _ORIGIN)
    return (origin[0] - 1, origin[1] - 1) if len(origin) == 2 else (0, 0)


def _common(plane: _Plane, description: PixelDescription) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """What plane and image have in common, as slices of the image and of the plane; nothing where they miss."""
    rows, columns = plane.bits.shape
    top, left = max(plane.top, 0), max(plane.left, 0)
    bottom, right = min(plane.top + rows, description.rows), min(plane.left + columns, description.columns)
    if top < bottom and left < right:
        yield (
            (slice(top, bottom), slice(left, right)),
            (slice(top - plane.top, bottom - plane.top), slice(left - plane.left, right - plane.left)),
        )
