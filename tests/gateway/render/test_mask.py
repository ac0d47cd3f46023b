"""Mask subtraction: which frames are taken away from which, and how they are moved for it (PS3.3 C.7.6.10, C.11.19)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from gateway.render import View
from gateway.render.presentation import State, present
from gateway.render.presentation.mask import shifted
from tests.gateway.dicom.opened import opened
from tests.gateway.render.pictures import array_of
from tests.gateway.render.states import XA_XRF, referenced, state, voi
from tests.parts.datasets import multi_frame, pixels, sequence_item

LEVELS = (100, 110, 130, 160, 200, 250)
RUN = pixels(
    multi_frame("pr", frames=6, rows=8, columns=8),
    np.stack([np.full((8, 8), level, np.uint16) for level in LEVELS]),
    bits_stored=12,
)
WINDOW = [voi(0, 511, VOILUTFunction="LINEAR_EXACT")]


def of(*masks: Dataset, **values: Any) -> Dataset:
    values.setdefault("RecommendedViewingMode", "SUB")
    return state(RUN, sop_class=XA_XRF, SoftcopyVOILUTSequence=WINDOW, MaskSubtractionSequence=list(masks), **values)


def left(ds: Dataset, frame: int, image: Dataset = RUN) -> np.ndarray[Any, Any]:
    """What is left of a frame, in stored values."""
    one = opened(image)
    found = State(opened(ds).header, lambda offset, length: b"")
    picture = present(found, one.header, one.frame(frame), frame, View(), "image/png", fetch=one.frame)
    greys = array_of(picture)[..., 0].astype(float)
    return np.round((greys / 255 - 0.5) * 511).astype(int)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ({"MaskOperation": "AVG_SUB", "MaskFrameNumbers": [1]}, {1: 0, 2: 10, 6: 150}),
        ({"MaskOperation": "AVG_SUB", "MaskFrameNumbers": [1, 2]}, {3: 25, 6: 145}),
        # Three frames from the one that is shown on; at the end of the run there are fewer.
        ({"MaskOperation": "AVG_SUB", "MaskFrameNumbers": [1], "ContrastFrameAveraging": 3}, {2: 33, 5: 125, 6: 150}),
        ({"MaskOperation": "TID", "TIDOffset": 2}, {3: 30, 6: 90}),
        ({"MaskOperation": "TID", "TIDOffset": None}, {2: 10, 3: 20}),
        # The mask goes back while the contrast goes on: 4 less 3, 5 less 2, 6 less 1
        ({"MaskOperation": "REV_TID", "TIDOffset": 1, "ApplicableFrameRange": [4, 6]}, {4: 30, 5: 90, 6: 150}),
    ],
)
def test_each_operation_takes_its_frames_away(mask: dict[str, Any], expected: dict[int, int]) -> None:
    """IMG-20, PS3.3 C.7.6.10.1: AVG_SUB, TID and REV_TID."""
    ds = of(sequence_item(**mask))
    assert {frame: int(left(ds, frame)[4, 4]) for frame in expected} == pytest.approx(expected, abs=1)


def test_what_no_mask_is_for_is_shown_as_it_is() -> None:
    """Frames outside of the range, those that have nothing before them, and a state that does not say SUB."""
    ranged = of(sequence_item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1], ApplicableFrameRange=[2, 3, 6, 6]))
    assert [int(left(ranged, frame)[0, 0]) for frame in (2, 3, 4, 6)] == pytest.approx([10, 30, 160, 150], abs=1)
    early = of(sequence_item(MaskOperation="TID", TIDOffset=2))
    assert int(left(early, 2)[0, 0]) == pytest.approx(110, abs=1)
    native = of(sequence_item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1]), RecommendedViewingMode="NAT")
    assert int(left(native, 3)[0, 0]) == pytest.approx(130, abs=1)


def test_an_item_is_for_the_image_that_it_names() -> None:
    """PS3.3 C.11.19: one state may be for several runs."""
    mine = sequence_item(MaskOperation="AVG_SUB", MaskFrameNumbers=[2], ReferencedImageSequence=[referenced(RUN)])
    another = multi_frame("pr", number=2, frames=6, rows=8, columns=8)
    its = sequence_item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1], ReferencedImageSequence=[referenced(another)])
    assert int(left(of(its, mine), 3)[0, 0]) == pytest.approx(20, abs=1)


def test_the_mask_is_moved_by_parts_of_pixels() -> None:
    """PS3.3 C.7.6.10.1.2: a positive row offset is down, a positive column offset to the left."""
    values = np.zeros((4, 5))
    values[1, 2] = 100.0
    down, to_left, both = shifted(values, 1, 0), shifted(values, 0, 1), shifted(values, 0.5, 0.25)
    assert (int(down.argmax()), int(to_left.argmax())) == (2 * 5 + 2, 1 * 5 + 1)
    assert both[1:3, 1:3].tolist() == [[12.5, 37.5], [12.5, 37.5]]
    assert both.sum() == 100


def test_regions_have_shifts_of_their_own() -> None:
    """PS3.3 C.11.19.1.2: the last region that holds a pixel counts; outside of all, the mask is not moved."""
    frames = np.zeros((2, 8, 8), np.uint16)
    frames[0, 2, :] = 200  # a bright row in the mask
    frames[1] = 200
    run = pixels(multi_frame("pr", frames=2, rows=8, columns=8), frames, bits_stored=12)
    regions = [
        sequence_item(VerticesOfTheRegion=[1, 1, 8, 4], MaskSubPixelShift=[2.0, 0.0]),
        sequence_item(VerticesOfTheRegion=[1, 1, 1, 2, 8, 2, 8, 1], MaskSubPixelShift=[3.0, 0.0]),
    ]
    shifts = [sequence_item(PixelShiftFrameRange=[2, 2], RegionPixelShiftSequence=regions)]
    mask = sequence_item(MaskOperation="AVG_SUB", MaskFrameNumbers=[1], PixelShiftSequence=shifts)
    found = left(of(mask), 2, run)
    assert [int(np.argmin(found[:, column])) for column in range(8)] == [5, 5, 4, 4, 2, 2, 2, 2]
