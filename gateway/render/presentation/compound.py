"""Compound graphics of a state as the lines that they are drawn with (PS3.3 C.10.5.1.3).

A state has each of them a second time as plain graphics and texts, for who does not know compound graphics; who draws
these leaves out those with the same Compound Graphic Instance ID.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.dicom.view import View
from gateway.render.presentation.geometry import Geometry, Point

INSTANCE_ID = 0x00700226
"""Compound Graphic Instance ID: of a compound graphic, and of the plain ones that stand for it."""
MAX_TICKS = 1000

_TYPE, _UNITS, _DATA, _FILLED = 0x00700294, 0x00700282, 0x00700022, 0x00700024
_ANGLE, _PIVOT, _GAP, _DIAMETER = 0x00700230, 0x00700273, 0x00700261, 0x00700262
_TICKS, _TICK_POSITION, _TICK_LABEL = 0x00700287, 0x00700288, 0x00700289
_TICK_ALIGNMENT, _LABEL_ALIGNMENT, _LABELS_SHOWN = 0x00700274, 0x00700279, 0x00700278
_SEGMENTS = 180
_RULER_PARTS = 10
_MAX_POINTS = 100_000
_MARK = 12.0
"""Length of arrow heads and ticks, in lines of thickness 1."""


@dataclass(slots=True)
class Lines:
    """What is to be drawn, in pixels of the picture: `outlines` of several points each, closed ones filled where
    `filled`; `labels` with the point that each is at, and the direction (a unit vector) that it stands off in.
    """

    outlines: list[list[Point]] = field(default_factory=list)
    filled: bool = False
    labels: list[tuple[str, Point, Point]] = field(default_factory=list)


def lines_of(item: View, geometry: Geometry, unit: float) -> Lines | None:
    """An item of Compound Graphic Sequence; None for a type that is not known, or too few points.

    `unit` is the width of a line of thickness 1, in pixels of the picture.
    """
    values = item.floats(_DATA)[: 2 * _MAX_POINTS]
    points = list(zip(values[::2], values[1::2], strict=False))
    kind = item.text(_TYPE) or ""
    draw, least = _KINDS.get(kind, (_nothing, 0))
    if draw is _nothing or len(points) < least or not all(map(math.isfinite, values)):
        return None
    drawing = _Drawing(item, geometry, unit)
    draw(drawing, drawing.turned(points))
    return drawing.lines


class _Drawing:
    """One compound graphic on its way into the picture.

    Its shape is worked out where it is said to lie: in pixels of the image, or for units DISPLAY in those of the
    picture, so that it is turned and mirrored together with the image.
    """

    def __init__(self, item: View, geometry: Geometry, unit: float) -> None:
        self.item = item
        self.lines = Lines(filled=(item.text(_FILLED) or "N") == "Y")
        self._geometry = geometry
        self._on_display = item.text(_UNITS) == "DISPLAY"
        one = math.dist(self.put((0.0, 0.0)), self.put((1.0, 0.0))) or 1.0
        self.unit = unit / one
        self.short = min(geometry.width, geometry.height) / one

    def put(self, point: Point) -> Point:
        """A point in the picture; far outside is enough."""
        x, y = point if self._on_display else self._geometry.place(*point)
        most = 8.0 * max(self._geometry.width, self._geometry.height)
        return min(max(x, -most), most), min(max(y, -most), most)

    def turned(self, points: list[Point]) -> list[Point]:
        """Points after the graphic's own rotation, counter-clockwise about its Rotation Point."""
        if self._on_display:
            points = [self._geometry.fraction(*point) for point in points]
        angle = math.radians(self.item.float(_ANGLE) or 0.0)
        middle = self.pivot() or between(points[0], points[min(1, len(points) - 1)], 0.5)
        if not angle or not math.isfinite(angle):
            return points
        sine, cosine = math.sin(angle), math.cos(angle)
        around = [(x - middle[0], y - middle[1]) for x, y in points]
        return [(middle[0] + x * cosine + y * sine, middle[1] - x * sine + y * cosine) for x, y in around]

    def pivot(self) -> Point | None:
        """The Rotation Point, where there is one."""
        found = self.item.floats(_PIVOT)
        if len(found) != 2 or not all(map(math.isfinite, found)):
            return None
        return self._geometry.fraction(*found) if self._on_display else (found[0], found[1])

    def length(self, tag: int) -> float:
        """A length in units DISPLAY: a part of the picture's shorter side; what is more than 1 is taken for pixels."""
        value = self.item.float(tag) or 0.0
        if not math.isfinite(value) or value <= 0:
            return 0.0
        return (
            value * self.short if value <= 1 else value * self.short / min(self._geometry.width, self._geometry.height)
        )

    def add(self, *points: Point) -> None:
        """A line through points."""
        self.lines.outlines.append([self.put(point) for point in points])

    def label(self, text: str, at: Point, toward: Point) -> None:
        """A text beside a point, standing off in a direction."""
        start, end = self.put(at), self.put((at[0] + toward[0], at[1] + toward[1]))
        length = math.dist(start, end) or 1.0
        self.lines.labels.append((text, start, ((end[0] - start[0]) / length, (end[1] - start[1]) / length)))

    def to_the_edges(self, middle: Point, along: Point) -> list[Point]:
        """The two places where a line through `middle` leaves the picture; it may not touch the picture at all."""
        (x, y), end = self.put(middle), self.put((middle[0] + along[0], middle[1] + along[1]))
        dx, dy = end[0] - x, end[1] - y
        first, last = -math.inf, math.inf
        for at, step, most in ((x, dx, self._geometry.width), (y, dy, self._geometry.height)):
            if abs(step) < 1e-9:
                if not 0 <= at <= most:
                    return []
                continue
            low, high = sorted((-at / step, (most - at) / step))
            first, last = max(first, low), min(last, high)
        if first >= last or not math.isfinite(last - first):
            return []
        return [(middle[0] + along[0] * part, middle[1] + along[1] * part) for part in (first, last)]

    def arrow_head(self, tip: Point, along: Point) -> None:
        """Two strokes that end in `tip`; `along` is the direction (a unit vector) in which it points."""
        size = _MARK * self.unit
        for side in (-0.5, 0.5):
            back = (tip[0] - size * (along[0] - side * along[1]), tip[1] - size * (along[1] + side * along[0]))
            self.add(back, tip)


def between(first: Point, second: Point, part: float) -> Point:
    """The point that lies a part of the way from one to another."""
    return first[0] + (second[0] - first[0]) * part, first[1] + (second[1] - first[1]) * part


def _direction(first: Point, second: Point) -> Point:
    length = math.dist(first, second)
    return ((second[0] - first[0]) / length, (second[1] - first[1]) / length) if length else (1.0, 0.0)


def _right_of(along: Point) -> Point:
    """What lies to the right of who walks along, rows counting downwards."""
    return -along[1], along[0]


def _nothing(_drawing: _Drawing, _points: list[Point]) -> None:
    """Of a type that is not known."""


def _multiline(drawing: _Drawing, points: list[Point]) -> None:
    for first, second in zip(points[::2], points[1::2], strict=False):
        drawing.add(first, second)


def _split(ends: list[Point], middle: Point, gap: float) -> list[tuple[Point, Point]]:
    """The parts of a line that a circular gap around `middle` leaves."""
    parts = [(middle, end) for end in ends]
    if gap <= 0:
        return parts
    return [(between(start, end, min(gap / 2 / math.dist(start, end), 1)), end) for start, end in parts if start != end]


def _infinite(drawing: _Drawing, points: list[Point]) -> list[tuple[Point, Point]]:
    along = _direction(points[0], points[1])
    middle = drawing.pivot() or between(points[0], points[1], 0.5)
    # The pivot may lie beside the line: what counts is the place on the line that is nearest to it.
    offset = (middle[0] - points[0][0]) * along[0] + (middle[1] - points[0][1]) * along[1]
    nearest = (points[0][0] + along[0] * offset, points[0][1] + along[1] * offset)
    halves = _split(drawing.to_the_edges(nearest, along), nearest, drawing.length(_GAP))
    for half in halves:
        drawing.add(*half)
    return halves


def _infinite_line(drawing: _Drawing, points: list[Point]) -> None:
    _infinite(drawing, points)


def _cut_line(drawing: _Drawing, points: list[Point]) -> None:
    """An infinite line with an arrow in the middle of each half, which comes from the right and points to the line."""
    right = _right_of(_direction(points[0], points[1]))
    length = 3 * _MARK * drawing.unit
    for start, end in _infinite(drawing, points):
        tip = between(start, end, 0.5)
        drawing.add((tip[0] + right[0] * length, tip[1] + right[1] * length), tip)
        drawing.arrow_head(tip, (-right[0], -right[1]))


def _range_line(drawing: _Drawing, points: list[Point]) -> None:
    first, second = points[:2]
    drawing.add(first, second)
    for end in (first, second):
        _tick(drawing, end, _right_of(_direction(first, second)), "CENTER", 1.0)


def _tick(drawing: _Drawing, at: Point, right: Point, alignment: str, size: float) -> None:
    """A short line across: to the right (BOTTOM) or left (TOP) of the line, or to both sides."""
    length = _MARK * drawing.unit * size
    ends = {"BOTTOM": (0.0, 1.0), "TOP": (-1.0, 0.0)}.get(alignment, (-0.5, 0.5))
    drawing.add(*((at[0] + right[0] * length * part, at[1] + right[1] * length * part) for part in ends))


def _axis(drawing: _Drawing, points: list[Point]) -> None:
    """A line with ticks: those of Major Ticks Sequence; a ruler without any is divided into ten."""
    first, second = points[:2]
    drawing.add(first, second)
    right = _right_of(_direction(first, second))
    alignment = drawing.item.text(_TICK_ALIGNMENT) or "CENTER"
    ticks = [(tick.float(_TICK_POSITION), tick.text(_TICK_LABEL)) for tick in drawing.item.sequence(_TICKS)[:MAX_TICKS]]
    if not ticks:
        for part in range(_RULER_PARTS + 1):
            _tick(drawing, between(first, second, part / _RULER_PARTS), right, alignment, 1.0 if part % 5 == 0 else 0.6)
    shown = (drawing.item.text(_LABELS_SHOWN) or "N") == "Y"
    side = right if (drawing.item.text(_LABEL_ALIGNMENT) or "BOTTOM") == "BOTTOM" else (-right[0], -right[1])
    for position, label in ticks:
        if position is None or not 0 <= position <= 1:
            continue
        at = between(first, second, position)
        _tick(drawing, at, right, alignment, 1.0)
        if shown and label:
            drawing.label(label, at, side)


def _crosshair(drawing: _Drawing, points: list[Point]) -> None:
    """Two lines through one point, as wide as Diameter of Visibility says or to the edges."""
    middle = points[0]
    diameter = drawing.length(_DIAMETER)
    angle = math.radians(drawing.item.float(_ANGLE) or 0.0)
    for along in ((math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))):
        ends = drawing.to_the_edges(middle, along)
        if diameter:
            ends = [
                (middle[0] + along[0] * part, middle[1] + along[1] * part) for part in (-diameter / 2, diameter / 2)
            ]
        for half in _split(ends, middle, drawing.length(_GAP)):
            drawing.add(*half)


def _arrow(drawing: _Drawing, points: list[Point]) -> None:
    """From the first point to the second, where its head is."""
    drawing.add(points[0], points[1])
    drawing.arrow_head(points[1], _direction(points[0], points[1]))


def _boxed(drawing: _Drawing, points: list[Point]) -> tuple[Point, Point, Point]:
    """Of a rectangle given by opposite corners: its middle, and the ways to its right and lower side.

    The corners have been turned already; the sides are along the axes that were turned with them.
    """
    angle = math.radians(drawing.item.float(_ANGLE) or 0.0)
    across, down = (math.cos(angle), -math.sin(angle)), (math.sin(angle), math.cos(angle))
    (x, y), (x2, y2) = points[:2]
    wide = ((x2 - x) * across[0] + (y2 - y) * across[1]) / 2
    high = ((x2 - x) * down[0] + (y2 - y) * down[1]) / 2
    to_side, to_bottom = (across[0] * wide, across[1] * wide), (down[0] * high, down[1] * high)
    return between(points[0], points[1], 0.5), to_side, to_bottom


def _rectangle(drawing: _Drawing, points: list[Point]) -> None:
    (x, y), side, down = _boxed(drawing, points)
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]
    drawing.add(*((x + a * side[0] + b * down[0], y + a * side[1] + b * down[1]) for a, b in corners))


def _ellipse(drawing: _Drawing, points: list[Point]) -> None:
    (x, y), side, down = _boxed(drawing, points)
    turns = [2 * math.pi * step / _SEGMENTS for step in range(_SEGMENTS + 1)]
    around = [(math.cos(turn), math.sin(turn)) for turn in turns]
    drawing.add(*((x + a * side[0] + b * down[0], y + a * side[1] + b * down[1]) for a, b in around))


_KINDS: dict[str, tuple[Callable[[_Drawing, list[Point]], None], int]] = {
    "MULTILINE": (_multiline, 2),
    "INFINITELINE": (_infinite_line, 2),
    "CUTLINE": (_cut_line, 2),
    "RANGELINE": (_range_line, 2),
    "RULER": (_axis, 2),
    "AXIS": (_axis, 2),
    "CROSSHAIR": (_crosshair, 1),
    "ARROW": (_arrow, 2),
    "RECTANGLE": (_rectangle, 2),
    "ELLIPSE": (_ellipse, 2),
}
"""How each Compound Graphic Type is drawn, and the points that it takes at least."""
