"""Where a frame lies in the patient, and how one plane lies on another that is parallel to it (PS3.3 C.7.6.2.1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray
from PIL import Image

from gateway.dicom.header import Header
from gateway.render.parameters import group

_FRAME_OF_REFERENCE, _POSITION, _ORIENTATION = 0x00200052, 0x00200032, 0x00200037
_SPACING, _THICKNESS = 0x00280030, 0x00180050
_PLANE_POSITION, _PLANE_ORIENTATION, _MEASURES = 0x00209113, 0x00209116, 0x00289110
_PARALLEL = 0.999
_NEAR = 1.0

Vector = NDArray[numpy.float64]


@dataclass(frozen=True, slots=True)
class Plane:
    """The plane of a frame: millimetres in the space of `space`; `row` and `column` are unit vectors along them.

    `across` and `down` are the distances of its pixels, `thickness` that of its slice, 0 where it is not said.
    """

    space: str
    position: Vector
    row: Vector
    column: Vector
    across: float
    down: float
    thickness: float

    @property
    def normal(self) -> Vector:
        """At a right angle to both."""
        return numpy.cross(self.row, self.column)


def plane_of(header: Header, frame: int) -> Plane | None:
    """The plane of a frame (1-based); None where the header does not tell."""
    places = [
        (group(header, frame, macro) or header).floats(tag)
        for macro, tag in ((_PLANE_POSITION, _POSITION), (_PLANE_ORIENTATION, _ORIENTATION), (_MEASURES, _SPACING))
    ]
    position, orientation, spacing = places
    thickness = (group(header, frame, _MEASURES) or header).float(_THICKNESS) or 0.0
    if (len(position), len(orientation), len(spacing)) != (3, 6, 2) or min(spacing) <= 0:
        return None
    row, column = numpy.array(orientation[:3]), numpy.array(orientation[3:])
    if abs(numpy.linalg.norm(row) - 1) > 0.01 or abs(numpy.linalg.norm(column) - 1) > 0.01:
        return None
    space = header.text(_FRAME_OF_REFERENCE) or ""
    return Plane(space, numpy.array(position), row, column, spacing[1], spacing[0], thickness)


def nearest(plane: Plane, others: Sequence[Plane]) -> int | None:
    """Which of the others is parallel to the plane and nearest to it, no further than half its thickness."""
    best: tuple[float, int] | None = None
    for place, other in enumerate(others):
        if other.space != plane.space or abs(float(plane.normal @ other.normal)) < _PARALLEL:
            continue
        distance = abs(float((other.position - plane.position) @ plane.normal))
        if distance <= max(other.thickness / 2, plane.thickness / 2, _NEAR) and (best is None or distance < best[0]):
            best = (distance, place)
    return best[1] if best is not None else None


def laid_on(image: Image.Image, own: Plane, under: Plane, size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """An image of the plane `own` as it lies on one of `under` with `size` (columns, rows); and where it does."""
    offset = under.position - own.position
    factors: list[float] = []
    for axis, step in ((own.row, own.across), (own.column, own.down)):
        a = float(under.row @ axis) * under.across / step
        b = float(under.column @ axis) * under.down / step
        # From centres of pixels, which have positions, to their corners, from which Pillow counts.
        factors += [a, b, float(offset @ axis) / step + 0.5 - 0.5 * a - 0.5 * b]
    matrix = tuple(factors)
    over = image.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    whole = Image.new("L", image.size, 255)
    return over, whole.transform(size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)
