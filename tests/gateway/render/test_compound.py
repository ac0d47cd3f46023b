"""Compound graphics of presentation states: every type of the standard, where it is said to be (PS3.3 C.10.5.1.3)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from gateway.render import Viewport
from tests.gateway.render.states import RED, graphic, state
from tests.gateway.render.test_presentation import drawn, flat, shown
from tests.parts.datasets import change, sequence_item

Place = tuple[float, float]
TICKS = [sequence_item(TickPosition=part, TickLabel=str(part)) for part in (0.0, 0.5, 1.0)]


def compound(kind: str, data: list[float], units: str = "PIXEL", **values: Any) -> Dataset:
    """An item of Compound Graphic Sequence, the first of its state."""
    return change(
        sequence_item(
            CompoundGraphicInstanceID=1,
            CompoundGraphicUnits=units,
            GraphicDimensions=2,
            NumberOfGraphicPoints=len(data) // 2,
            GraphicData=[float(one) for one in data],
            CompoundGraphicType=kind,
        ),
        values,
    )


def of(item: Dataset, *plain: Dataset, **values: Any) -> Dataset:
    """A state with one compound graphic, and plain ones beside it."""
    annotation = sequence_item(GraphicLayer="A", CompoundGraphicSequence=[item])
    if plain:
        annotation.GraphicObjectSequence = list(plain)
    return state(flat(0), GraphicAnnotationSequence=[annotation], **values)


def hit(found: NDArray[np.bool_], x: float, y: float) -> bool:
    return bool(found[max(0, int(y) - 2) : int(y) + 2, max(0, int(x) - 2) : int(x) + 2].any())


CASES: dict[str, tuple[Dataset, list[Place], list[Place]]] = {
    "a rectangle by two corners": (
        compound("RECTANGLE", [20, 10, 100, 80]),
        [(20, 45), (60, 10), (100, 45)],
        [(60, 45)],
    ),
    "a rectangle, filled": (compound("RECTANGLE", [20, 10, 100, 80], GraphicFilled="Y"), [(60, 45)], [(10, 45)]),
    # 90 degrees counter-clockwise about its middle, 60\45: 70 wide and 80 high
    "a rectangle, turned": (
        compound("RECTANGLE", [20, 10, 100, 80], RotationAngle=90.0, RotationPoint=[60.0, 45.0]),
        [(25, 45), (95, 45), (60, 5), (60, 85)],
        [(20, 45), (100, 45)],
    ),
    "an ellipse in two corners": (
        compound("ELLIPSE", [14, 28, 114, 68]),
        [(14, 48), (114, 48), (64, 28), (64, 68)],
        [(64, 48), (16, 30)],
    ),
    "an ellipse, turned": (
        compound("ELLIPSE", [34, 38, 94, 58], RotationAngle=90.0, RotationPoint=[64.0, 48.0]),
        [(64, 18), (64, 78), (54, 48), (74, 48)],
        [(34, 48), (94, 48)],
    ),
    "lines by pairs of points": (
        compound("MULTILINE", [10, 20, 110, 20, 10, 70, 110, 70]),
        [(60, 20), (60, 70)],
        [(60, 45)],
    ),
    "an infinite line": (compound("INFINITELINE", [50, 48, 60, 48]), [(3, 48), (124, 48)], [(60, 20)]),
    "an infinite line with a gap": (
        compound("INFINITELINE", [50, 48, 60, 48], RotationPoint=[64.0, 48.0], GapLength=0.25),
        [(3, 48), (45, 48), (83, 48)],
        [(64, 48), (55, 48), (73, 48)],
    ),
    # An eighth of a turn counter-clockwise: rows count downwards, so it rises to the right
    "an infinite line, turned": (
        compound("INFINITELINE", [50, 48, 60, 48], RotationPoint=[64.0, 48.0], RotationAngle=45.0),
        [(94, 18), (34, 78)],
        [(34, 18), (94, 78)],
    ),
    # From left to right: what is to the right lies below, and from there come the arrows in the middle of both halves
    "a cut line": (compound("CUTLINE", [50, 48, 78, 48]), [(3, 48), (32, 54), (96, 54)], [(32, 42), (64, 54)]),
    "a cut line the other way": (compound("CUTLINE", [78, 48, 50, 48]), [(32, 42), (96, 42)], [(32, 54)]),
    "a range": (
        compound("RANGELINE", [20, 48, 108, 48]),
        [(64, 48), (20, 49.5), (20, 46.5), (108, 49.5)],
        [(64, 54), (10, 48)],
    ),
    "a cross through the picture": (
        compound("CROSSHAIR", [40, 30]),
        [(40, 3), (40, 92), (3, 30), (124, 30)],
        [(60, 60)],
    ),
    "a cross of a size with a gap": (
        compound("CROSSHAIR", [64, 48], DiameterOfVisibility=0.5, GapLength=0.125),
        [(45, 48), (84, 48), (64, 28)],
        [(64, 48), (30, 48), (64, 10)],
    ),
    "an arrow": (
        compound("ARROW", [20, 48, 100, 48]),
        [(20, 48), (60, 48), (97, 46.5), (97, 49.5)],
        [(25, 42), (110, 48)],
    ),
    "an axis with ticks": (
        compound("AXIS", [14, 48, 114, 48], MajorTicksSequence=TICKS, TickAlignment="TOP", ShowTickLabel="N"),
        [(14, 46), (64, 46), (114, 46)],
        [(64, 53), (39, 44)],
    ),
    "ticks at the lower side": (
        compound("AXIS", [14, 48, 114, 48], MajorTicksSequence=TICKS, TickAlignment="BOTTOM", ShowTickLabel="N"),
        [(14, 50), (64, 50)],
        [(64, 43)],
    ),
    "a ruler of its own division": (
        compound("RULER", [14, 48, 114, 48], TickAlignment="CENTER", TickLabelAlignment="BOTTOM", ShowTickLabel="N"),
        [(14, 49.5), (64, 49.5), (64, 46.5)],
        [(64, 56)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_type_is_drawn_where_it_is_said_to_be(case: str) -> None:
    """IMG-20: in units PIXEL and DISPLAY, turned and mirrored together with the image."""
    item, on, off = CASES[case]
    large = Viewport(512, 384)

    def scaled(found: NDArray[np.bool_], x: float, y: float) -> bool:
        return bool(found[int(4 * y) - 4 : int(4 * y) + 5, int(4 * x) - 4 : int(4 * x) + 5].any())

    found = drawn(of(item), large)
    assert [place for place in on if not scaled(found, *place)] == []
    assert [place for place in off if scaled(found, *place)] == []
    mirrored = drawn(of(item, ImageRotation=0, ImageHorizontalFlip="Y"), large)
    assert [place for place in on if not scaled(mirrored, 128 - place[0], place[1])] == []
    assert [place for place in off if scaled(mirrored, 128 - place[0], place[1])] == []
    turned = drawn(of(item, ImageRotation=90, ImageHorizontalFlip="N"), Viewport(384, 512))
    assert [place for place in on if not scaled(turned, 96 - place[1], place[0])] == []

    def parts(values: list[float]) -> list[float]:
        return [value / (128, 96)[at % 2] for at, value in enumerate(values)]

    display = change(Dataset(), {element.keyword: element.value for element in item})
    display.CompoundGraphicUnits, display.GraphicData = "DISPLAY", parts(item.GraphicData)
    if "RotationPoint" in item:
        display.RotationPoint = parts(item.RotationPoint)
    by_parts = drawn(of(display), large)
    assert [place for place in on if not scaled(by_parts, *place)] == []
    assert [place for place in off if scaled(by_parts, *place)] == []


def test_ticks_have_their_labels_at_the_side_that_is_asked_for() -> None:
    """IMG-20: Tick Label Alignment, while Show Tick Label says so."""
    large = Viewport(512, 384)
    found = {}
    for shown_, side in (("N", "TOP"), ("Y", "TOP"), ("Y", "BOTTOM")):
        item = compound(
            "AXIS", [14, 48, 114, 48], MajorTicksSequence=TICKS, TickAlignment="CENTER", ShowTickLabel=shown_
        )
        item.TickLabelAlignment = side
        rows, _ = np.nonzero(drawn(of(item), large))
        found[shown_, side] = (int(rows.min()), int(rows.max()))
    bare, above, below = found.values()
    assert above[0] < bare[0] - 5 and above[1] == bare[1]
    assert below[1] > bare[1] + 5 and below[0] == bare[0]


def test_the_plain_form_of_a_compound_graphic_is_not_drawn_too() -> None:
    """IMG-20, PS3.3 C.10.5.1.3.1: plain items with the same Compound Graphic Instance ID stand for it; they are drawn
    where its type is not known.
    """
    plain = graphic("POLYLINE", [10, 80, 110, 80], CompoundGraphicInstanceID=1)
    other = graphic("POLYLINE", [10, 20, 110, 20])
    known = drawn(of(compound("RANGELINE", [10, 50, 110, 50]), plain, other))
    assert [hit(known, 60, y) for y in (20, 50, 80)] == [True, True, False]
    private = drawn(of(compound("STAR_OF_OURS", [10, 50, 110, 50]), plain, other))
    assert [hit(private, 60, y) for y in (20, 50, 80)] == [True, False, True]


def test_lines_have_the_colour_of_their_style() -> None:
    """PS3.3 Table 10-16b: Pattern On Color CIELab Value; what has none is in the colour of the layer."""
    style = sequence_item(PatternOnColorCIELabValue=RED, LineThickness=4.0)
    ds = of(
        compound("RANGELINE", [10, 50, 110, 50], LineStyleSequence=[style]),
        graphic("POLYLINE", [10, 80, 110, 80], LineStyleSequence=[style]),
        graphic("POLYLINE", [10, 20, 110, 20]),
    )
    found = shown(flat(0), ds, Viewport(512, 384))
    assert found[200, 240].tolist() == found[320, 240].tolist() == [255, 0, 0]
    assert found[80, 240].tolist() == [255, 255, 255]


def test_lines_may_be_dashed() -> None:
    """PS3.3 Table 10-16b: Line Dashing Style."""
    style = sequence_item(LineDashingStyle="DASHED")
    item = compound("RANGELINE", [4, 48, 124, 48], LineStyleSequence=[style])
    row = drawn(of(item), Viewport(512, 384))[191:194, 20:490].any(axis=0)
    assert 0.4 < row.mean() < 0.8 and np.count_nonzero(np.diff(row.astype(int))) > 40


@pytest.mark.parametrize(
    "kind", ["MULTILINE", "INFINITELINE", "CUTLINE", "RANGELINE", "RULER", "CROSSHAIR", "ARROW", "ELLIPSE"]
)
@pytest.mark.parametrize("data", [[], [1], [5, 5, 5, 5], [1e30, -1e30, 3e38, 1], [float("nan")] * 4])
def test_shapes_that_make_no_sense_are_left_out(kind: str, data: list[float]) -> None:
    """S-35 in spirit."""
    ticks = [sequence_item(TickPosition=-5.0, TickLabel="x"), sequence_item(TickLabel="y")]
    item = compound(kind, data, GapLength=-3.0, DiameterOfVisibility=float("inf"), RotationAngle=float("inf"))
    assert shown(flat(0), of(change(item, {"MajorTicksSequence": ticks, "ShowTickLabel": "Y"}))).size
