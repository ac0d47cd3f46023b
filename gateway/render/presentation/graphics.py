"""Graphic and text annotations of a state, drawn over its picture (PS3.3 C.10.5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from PIL import Image, ImageDraw

from gateway.dicom.view import View
from gateway.render.labels import recommended
from gateway.render.lettering import font, lettered
from gateway.render.presentation.compound import INSTANCE_ID, between, lines_of
from gateway.render.presentation.geometry import Geometry, Point

MAX_POINTS = 100_000
"""Most points of one graphic object."""
MAX_OBJECTS = 5_000
"""Most objects that are drawn on one picture."""
MAX_COLOURS = 8
"""Most colours of lines in one layer; what comes after is drawn in that of the layer."""

_TEXTS, _GRAPHICS, _COMPOUND = 0x00700008, 0x00700009, 0x00700209
_UNITS, _DATA, _TYPE, _FILLED, _DIMENSIONS = 0x00700005, 0x00700022, 0x00700023, 0x00700024, 0x00700020
_BOX_UNITS, _ANCHOR_UNITS, _TEXT = 0x00700003, 0x00700004, 0x00700006
_BOX_START, _BOX_END, _JUSTIFICATION = 0x00700010, 0x00700011, 0x00700012
_ANCHOR, _ANCHOR_SEEN = 0x00700014, 0x00700015
_LINE_STYLE, _THICKNESS, _DASHING, _LINE_COLOUR = 0x00700232, 0x00700253, 0x00700254, 0x00700251
_SMOOTH = 2
_SMOOTH_UP_TO = 4_000_000
"""Larger pictures are drawn on at their own size."""
_SEGMENTS = 180

Colour = tuple[int, int, int]


def draw_annotations(image: Image.Image, annotations: Sequence[View], geometry: Geometry, colour: Colour) -> None:
    """Draw the items of Graphic Annotation Sequence that are in one layer onto an RGB picture."""
    times = _SMOOTH if image.width * image.height <= _SMOOTH_UP_TO else 1
    pen = _Pen(image, geometry, times, colour)
    plain: list[View] = []
    for item in annotations:
        known = {pen.compound(compound) for compound in item.sequence(_COMPOUND)}
        for graphic in item.sequence(_GRAPHICS):
            if _stands_for(graphic) not in known:
                pen.graphic(graphic)
        plain += [text for text in item.sequence(_TEXTS) if _stands_for(text) not in known]
    for text in plain:
        pen.anchor(text)
    pen.lay()
    letters = ImageDraw.Draw(image)
    edge = (0, 0, 0) if sum(colour) > 384 else (255, 255, 255)
    for text in plain:
        _write(letters, text, geometry, colour, edge)
    for label, at, toward in pen.labels:
        _write_label(letters, label, at, toward, geometry, colour, edge)


def _stands_for(item: View) -> int:
    """The compound graphic that a plain one is a second form of; -1 for none."""
    number = item.number(INSTANCE_ID)
    return -1 if number is None else number


class _Pen:
    """Draws graphic objects onto masks, one for each colour, that are `times` the size of the picture."""

    def __init__(self, image: Image.Image, geometry: Geometry, times: int, colour: Colour) -> None:
        self._image = image
        self._masks: dict[Colour, Image.Image] = {}
        self._colour = colour
        self._geometry = geometry
        self._times = times
        self._draw = self._on(colour)
        self._left = MAX_OBJECTS
        self._unit = max(1.0, min(geometry.width, geometry.height) / 512.0) * times
        """A line of thickness 1: thin, but seen on a large picture too."""
        self.labels: list[tuple[str, Point, Point]] = []
        """Texts of compound graphics: at a point of the picture, standing off in a direction."""

    def lay(self) -> None:
        """Lay what was drawn over the picture, in the order in which the colours were first used."""
        for colour, mask in self._masks.items():
            fitted = mask.resize(self._image.size, Image.Resampling.BOX) if self._times > 1 else mask
            self._image.paste(colour, mask=fitted)

    def graphic(self, item: View) -> None:
        """One item of Graphic Object Sequence."""
        if (item.number(_DIMENSIONS) or 2) == 2:
            self._shape(item, item.text(_TYPE) or "", item.text(_UNITS), _pairs(item, _DATA))

    def compound(self, item: View) -> int | None:
        """One item of Compound Graphic Sequence; its number where it was drawn."""
        lines = lines_of(item, self._geometry, self._unit / self._times) if self._take() else None
        if lines is None:
            return None
        thickness, dashed = self._style(item)
        for outline in lines.outlines:
            placed = [(x * self._times, y * self._times) for x, y in outline]
            if lines.filled and len(placed) > 2 and placed[0] == placed[-1]:
                self._draw.polygon(placed, fill=255)
            self._line(placed, thickness, dashed)
        self.labels += lines.labels
        return item.number(INSTANCE_ID)

    def _on(self, colour: Colour) -> ImageDraw.ImageDraw:
        size = (self._image.width * self._times, self._image.height * self._times)
        return ImageDraw.Draw(self._masks.setdefault(colour, Image.new("L", size)))

    def _style(self, item: View) -> tuple[float, bool]:
        """Thickness and dashes of a Line Style; what is drawn next is in its colour, else in that of the layer."""
        thickness, dashed, colour = 1.0, False, self._colour
        for style in item.sequence(_LINE_STYLE)[:1]:
            thickness = min(max(style.float(_THICKNESS) or 1.0, 1.0), 20.0)
            dashed = style.text(_DASHING) == "DASHED"
            own = recommended(style, _LINE_COLOUR)
            # Each colour is a mask of the picture's size: a state may not ask for more than a few.
            colour = own if own is not None and (own in self._masks or len(self._masks) < MAX_COLOURS) else colour
        self._draw = self._on(colour)
        return thickness, dashed

    def anchor(self, item: View) -> None:
        """The line from a text to the point that it is about, where that is to be seen."""
        point = _pairs(item, _ANCHOR)[:1]
        if not point or (item.text(_ANCHOR_SEEN) or "N") != "Y" or not self._take():
            return
        self._draw = self._on(self._colour)
        x, y = _place(self._geometry, item.text(_ANCHOR_UNITS), point)[0]
        box = _box(item, self._geometry)
        if box is None:
            self._dot((x * self._times, y * self._times))
            return
        end = (min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3]))
        self._line([(x * self._times, y * self._times), (end[0] * self._times, end[1] * self._times)], 1.0, False)
        self._dot((x * self._times, y * self._times))

    def _shape(self, item: View, kind: str, units: str | None, points: list[Point]) -> None:
        if not points or not self._take():
            return
        thickness, dashed = self._style(item)
        if kind == "POINT":
            for x, y in _place(self._geometry, units, points):
                self._dot((x * self._times, y * self._times))
            return
        if kind not in _OUTLINES:
            return
        outline = _OUTLINES[kind](points)
        placed = [(x * self._times, y * self._times) for x, y in _place(self._geometry, units, outline)]
        if len(placed) < 2:
            return
        closed = kind in ("CIRCLE", "ELLIPSE") or placed[0] == placed[-1]
        if (item.text(_FILLED) or "N") == "Y" and closed and len(placed) > 2:
            self._draw.polygon(placed, fill=255)
        self._line(placed, thickness, dashed)

    def _line(self, points: list[Point], thickness: float, dashed: bool) -> None:
        width = max(1, round(self._unit * thickness * 1.2))
        if not dashed:
            self._draw.line(points, 255, width, joint="curve")
            return
        for first, second in pairwise(points):
            length = math.dist(first, second)
            pieces = min(max(1, round(length / (8 * self._unit))), 1000)
            for piece in range(0, pieces, 2):
                ends = [between(first, second, (piece + part) / pieces) for part in (0, 1)]
                self._draw.line(ends, 255, width)

    def _dot(self, point: Point) -> None:
        radius = 2.2 * self._unit
        x, y = point
        self._draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=255)

    def _take(self) -> bool:
        self._left -= 1
        return self._left >= 0


def _pairs(item: View, tag: int) -> list[Point]:
    """Values as points, column and row."""
    values = item.floats(tag)[: 2 * MAX_POINTS]
    return list(zip(values[::2], values[1::2], strict=False))


def _place(geometry: Geometry, units: str | None, points: Sequence[Point]) -> list[Point]:
    """Points in pixels of the image, or as fractions of the displayed area, in the picture; far outside is enough."""
    place = geometry.fraction if units == "DISPLAY" else geometry.place
    most = 8.0 * max(geometry.width, geometry.height)
    return [(min(max(x, -most), most), min(max(y, -most), most)) for x, y in (place(*point) for point in points)]


def _circle(points: list[Point]) -> list[Point]:
    """The center, and a point on the circle."""
    if len(points) < 2:
        return []
    (x, y), radius = points[0], math.dist(points[0], points[1])
    angles = [2 * math.pi * step / _SEGMENTS for step in range(_SEGMENTS + 1)]
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


def _ellipse(points: list[Point]) -> list[Point]:
    """The ends of the major axis, and those of the minor axis."""
    if len(points) < 4:
        return []
    center = between(points[0], points[1], 0.5)
    major, minor = ((points[at][0] - center[0], points[at][1] - center[1]) for at in (1, 3))
    found = []
    for step in range(_SEGMENTS + 1):
        cos, sin = math.cos(2 * math.pi * step / _SEGMENTS), math.sin(2 * math.pi * step / _SEGMENTS)
        found.append((center[0] + major[0] * cos + minor[0] * sin, center[1] + major[1] * cos + minor[1] * sin))
    return found


def _interpolated(points: list[Point]) -> list[Point]:
    """A smooth curve through the points: a Catmull-Rom spline, closed where the last point is the first."""
    if len(points) < 3 or len(points) > 2000:
        return points
    closed = points[0] == points[-1]
    before = points[-2] if closed else points[0]
    after = points[1] if closed else points[-1]
    ends = [before, *points, after]
    found = [points[0]]
    for p0, p1, p2, p3 in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        for step in range(1, 17):
            t = step / 16
            found.append(
                tuple(
                    0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
                    for a, b, c, d in zip(p0, p1, p2, p3, strict=True)
                )  # type: ignore[arg-type]
            )
    return found


_OUTLINES: dict[str, Callable[[list[Point]], list[Point]]] = {
    "POLYLINE": list,
    "INTERPOLATED": _interpolated,
    "CIRCLE": _circle,
    "ELLIPSE": _ellipse,
}


def _box(item: View, geometry: Geometry) -> tuple[float, float, float, float] | None:
    """The bounding box of a text in the picture: left, top, right, bottom."""
    corners = [*_pairs(item, _BOX_START)[:1], *_pairs(item, _BOX_END)[:1]]
    if len(corners) != 2:
        return None
    (x, y), (x2, y2) = _place(geometry, item.text(_BOX_UNITS), corners)
    return min(x, x2), min(y, y2), max(x, x2), max(y, y2)


def _write(draw: ImageDraw.ImageDraw, item: View, geometry: Geometry, colour: Colour, edge: Colour) -> None:
    """A text: as large as its box has room for, within what can be read; else beside its anchor point."""
    text = lettered((item.text(_TEXT) or "").replace("\r\n", "\n").replace("\r", "\n"))[:4096]
    if not text.strip():
        return
    short = min(geometry.width, geometry.height)
    smallest, largest = max(10, short // 60), max(12, short // 12)
    usual = min(max(12, short // 32), largest)
    box = _box(item, geometry)
    if box is None:
        anchor = _pairs(item, _ANCHOR)[:1]
        if not anchor:
            return
        x, y = _place(geometry, item.text(_ANCHOR_UNITS), anchor)[0]
        face = font(usual)
        _, _, wide, high = draw.multiline_textbbox((0, 0), text, face)
        # to the right of the point, unless the picture ends there
        x, y = min(x + usual * 0.6, geometry.width - wide - 2), min(y - usual * 0.6, geometry.height - high - 2)
        draw.multiline_text((max(x, 1), max(y, 1)), text, colour, face, stroke_width=1, stroke_fill=edge)
        return
    left, top, right, bottom = box
    align = {"RIGHT": "right", "CENTER": "center"}.get(item.text(_JUSTIFICATION) or "LEFT", "left")
    x0, y0, x1, y1 = draw.multiline_textbbox((0, 0), text, font(100))
    room = min((right - left) / max(x1 - x0, 1), (bottom - top) / max(y1 - y0, 1)) * 100
    size = int(min(max(room, smallest), largest))
    face = font(size)
    x0, y0, x1, y1 = draw.multiline_textbbox((0, 0), text, face, align=align)
    shift = {"left": 0.0, "center": (right - left - (x1 - x0)) / 2, "right": right - left - (x1 - x0)}[align]
    place = (left + shift - x0, top - y0)
    draw.multiline_text(place, text, colour, face, align=align, stroke_width=1, stroke_fill=edge)


def _write_label(
    draw: ImageDraw.ImageDraw, text: str, at: Point, toward: Point, geometry: Geometry, colour: Colour, edge: Colour
) -> None:
    """A short text of a tick, beside it."""
    face = font(max(10, min(geometry.width, geometry.height) // 40))
    text = lettered(text)[:64]
    left, top, right, bottom = draw.textbbox((0, 0), text, face)
    off = (bottom - top) * 1.2
    # Its middle lies so far off that no edge of it touches the tick.
    x = at[0] + toward[0] * (off + (right - left) / 2) - (right + left) / 2
    y = at[1] + toward[1] * (off + (bottom - top) / 2) - (bottom + top) / 2
    draw.text((x, y), text, colour, face, stroke_width=1, stroke_fill=edge)
