"""Grayscale, from stored values to pictures: Modality LUT, VOI, inversion, padding, functional groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from gateway.render import View, draw
from gateway.render.grey import Grey, Modality, Padding
from gateway.render.window import Window
from tests.gateway.dicom.opened import opened
from tests.gateway.render.pictures import greys, rendered, row_of
from tests.parts.datasets import enhanced_mr, instance, pixels, segmentation, sequence_item

BIG_ENDIAN = "1.2.840.10008.1.2.2"
HOUNSFIELD: dict[str, Any] = {
    "RescaleSlope": "1",
    "RescaleIntercept": "-1024",
    "WindowCenter": "40",
    "WindowWidth": "400",
}


def lut_item(first: int, bits: int, values: list[int]) -> Dataset:
    item = sequence_item()
    item.LUTDescriptor = [len(values) % 65536, first, bits]
    item.LUTData = np.array(values, "<u2").tobytes()
    item["LUTData"].VR = "OW"
    item["LUTDescriptor"].VR = "SS" if first < 0 else "US"
    return item


def described(ds: Dataset, view: View | None = None, frame: int = 1) -> str:
    one = opened(ds)
    return draw(one.header, one.frame(frame), frame, view or View(), "image/png").window


def test_rescale_window_and_monochrome1() -> None:
    """WIN-07, IMG-07"""
    stored = [0, 864, 1024, 1064, 1264]
    assert greys(stored, **HOUNSFIELD) == [0, 0, 102, 128, 255]
    assert greys(stored, PhotometricInterpretation="MONOCHROME1", **HOUNSFIELD) == [255, 255, 153, 127, 0]


@pytest.mark.parametrize(
    ("photometric", "shape", "inverted"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME2", "IDENTITY", False),
    ],
)
def test_white_and_black_are_turned_once(photometric: str, shape: str | None, inverted: bool) -> None:
    """IMG-07"""
    found = greys([0, 255], "u1", PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    assert found == ([255, 0] if inverted else [0, 255])


def test_without_a_window_the_frame_spans_from_black_to_white() -> None:
    """WIN-08, IMG-05"""
    assert greys([100, 350, 600, 850, 1100]) == [0, 64, 128, 191, 255]
    assert described(row_of([100, 1100])) == "600.5,1001,linear; source=computed"


def test_a_flat_frame_without_a_window_is_black() -> None:
    """WIN-11"""
    assert greys([500, 500]) == [0, 0]
    assert described(row_of([500, 500])) == "500.5,1,linear; source=computed"


def test_fractions_of_units_span_from_black_to_white_too() -> None:
    assert greys([0, 500, 1000], RescaleSlope="0.0001", RescaleIntercept="-0.05") == [0, 128, 255]


def test_a_negative_slope_turns_the_frame() -> None:
    assert greys([0, 100], RescaleSlope="-2", RescaleIntercept="0") == [255, 0]


def test_signed_values_below_zero_are_darker() -> None:
    assert greys([-1000, 0, 1000], "<i2") == [0, 128, 255]
    assert greys([-100, 0, 100], "i1") == [0, 128, 255]


def test_the_window_of_the_request_goes_before_that_of_the_image() -> None:
    """RP-05, IMG-05"""
    view = View(window=(1000.0, 2000.0, "linear-exact"))
    assert greys([0, 1000, 2000], view=view, WindowCenter="0", WindowWidth="1") == [0, 128, 255]
    assert described(row_of([0, 5]), view) == "1000,2000,linear-exact; source=request"


def test_the_first_of_several_windows_is_used() -> None:
    """IMG-05"""
    found = greys([0, 128, 255], WindowCenter=["128", "5"], WindowWidth=["256", "1"])
    assert found == [0, 128, 255]
    assert described(row_of([0], WindowCenter=["128", "5"], WindowWidth=["256", "1"])) == "128,256,linear; source=image"


def test_the_function_of_the_image_is_used() -> None:
    """IMG-06"""
    assert greys([0, 4095], WindowCenter="2048", WindowWidth="4096", VOILUTFunction="SIGMOID") == [30, 225]


@pytest.mark.parametrize("width", ["0", "-1", "0.5", "abc", "nan"])
def test_a_window_that_cannot_be_falls_back_to_the_frame(width: str) -> None:
    """S-35, IMG-06"""
    ds = row_of([0, 1000], WindowCenter="100")
    ds.add_new(0x00281051, "LO", width)  # a text that DS would not take
    ds["WindowWidth"].VR = "DS"
    assert rendered(ds)[0].tolist() == [0, 255]


@pytest.mark.parametrize("slope", ["0", "1e400", "inf", "x"])
def test_a_slope_that_cannot_be_is_left_out(slope: str) -> None:
    """S-35"""
    ds = row_of([0, 1000], RescaleIntercept="0")
    ds.add_new(0x00281053, "LO", slope)
    ds["RescaleSlope"].VR = "DS"
    assert rendered(ds)[0].tolist() == [0, 255]


# ---------------------------------------------------------------- tables


def test_a_modality_lut_comes_before_slope_and_window() -> None:
    """IMG-03"""
    ds = row_of([0, 1, 2, 9], WindowCenter="128", WindowWidth="256", RescaleSlope="7", RescaleIntercept="1")
    ds.ModalityLUTSequence = [lut_item(1, 8, [10, 20, 200])]
    assert rendered(ds)[0].tolist() == [10, 10, 20, 200]


def test_without_a_window_the_output_of_the_modality_lut_spans_the_greys() -> None:
    ds = row_of([0, 1, 2])
    ds.ModalityLUTSequence = [lut_item(0, 16, [300, 100, 200])]
    assert rendered(ds)[0].tolist() == [255, 0, 128]


def test_a_voi_lut_is_scaled_from_its_bits() -> None:
    """IMG-04, IMG-05"""
    ds = row_of([0, 10, 11, 12, 99])
    ds.VOILUTSequence = [lut_item(10, 12, [0, 2048, 4095])]
    assert rendered(ds)[0].tolist() == [0, 0, 128, 255, 255]
    assert described(ds) == "lut; source=image"


def test_a_voi_lut_starts_below_zero_when_hounsfield_units_do() -> None:
    """IMG-04, S-34"""
    ds = row_of([1022, 1023, 1024, 1025], RescaleSlope="1", RescaleIntercept="-1024")
    ds.VOILUTSequence = [lut_item(-1, 8, [0, 100, 255])]
    assert rendered(ds)[0].tolist() == [0, 0, 100, 255]


def test_an_empty_voi_lut_is_passed_over() -> None:
    """S-35"""
    ds = row_of([0, 128, 255], WindowCenter="128", WindowWidth="256")
    ds.VOILUTSequence = [sequence_item(LUTExplanation="nothing")]
    assert rendered(ds)[0].tolist() == [0, 128, 255]


def test_tables_of_big_endian_files() -> None:
    ds = row_of([0, 1, 2])
    item = lut_item(0, 16, [0, 0x8000, 0xFFFF])
    item.LUTData = np.array([0, 0x8000, 0xFFFF], ">u2").tobytes()
    ds.VOILUTSequence = [item]
    assert rendered(ds, transfer_syntax=BIG_ENDIAN)[0].tolist() == [0, 128, 255]


# ---------------------------------------------------------------- padding


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_widen_the_window(photometric: str) -> None:
    """IMG-08"""
    ds = row_of([-2000, 0, 1000], "<i2", PhotometricInterpretation=photometric)
    ds.PixelPaddingValue = -2000
    turned = photometric == "MONOCHROME1"
    assert rendered(ds)[0].tolist() == ([0, 255, 0] if turned else [0, 0, 255])


def test_a_range_of_padding() -> None:
    """IMG-08"""
    ds = row_of([10, 20, 30, 40, 1000], PixelPaddingValue=30, PixelPaddingRangeLimit=10)
    assert rendered(ds)[0].tolist() == [0, 0, 0, 0, 255]


def test_padding_of_the_wrong_signedness_is_understood() -> None:
    """IMG-08"""
    ds = row_of([-2000, 0, 1000], "<i2")
    ds.add_new(0x00280120, "US", 63536)
    assert rendered(ds)[0].tolist() == [0, 0, 255]


def test_a_frame_of_nothing_but_padding_is_black() -> None:
    assert greys([7, 7, 7], PixelPaddingValue=7) == [0, 0, 0]


# ---------------------------------------------------------------- other cells


def test_32_bit_values_do_not_overflow() -> None:
    assert greys([0, 2**31, 2**32 - 1], "<u4") == [0, 128, 255]
    assert greys([-(2**31), 0, 2**31 - 1], "<i4") == [0, 128, 255]


def test_high_bits_that_are_not_stored_are_not_shown() -> None:
    """IMG-01"""
    ds = row_of([0xF000, 0x0FFF, 0xF800], bits=12)
    assert rendered(ds)[0].tolist() == [0, 255, 128]


def test_a_segmentation_shows_its_bits_even_where_all_are_set() -> None:
    """IMG-16"""
    ds = segmentation(frames=1, rows=4, columns=4)
    ds.PixelData = b"\xff\xff"
    assert rendered(ds)[..., 3].min() == 255
    ds.PixelData = b"\x00\x00"
    assert rendered(ds)[..., 3].max() == 0


@pytest.mark.parametrize(("keyword", "form"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_float_pixels_span_the_greys_and_what_is_no_number_is_black(keyword: str, form: str) -> None:
    """IMG-15"""
    ds = instance("1.2.840.10008.5.1.4.1.1.30", "OT", Rows=1, Columns=5, SamplesPerPixel=1)
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = int(form[2]) * 8
    setattr(ds, keyword, np.array([-0.5, 0.0, 0.5, np.nan, np.inf], form).tobytes())
    assert rendered(ds)[0].tolist() == [0, 128, 255, 0, 255]
    assert rendered(ds, View(window=(0.25, 0.5, "linear-exact")))[0].tolist() == [0, 0, 255, 0, 255]


# ---------------------------------------------------------------- functional groups


def test_functional_groups_of_the_frame_go_before_shared_ones_and_the_top_level() -> None:
    """IMG-03, IMG-05, IMG-18"""
    ds = enhanced_mr(frames=2, rows=1, columns=3)
    pixels(ds, np.array([[[0, 100, 200]], [[0, 100, 200]]], "<u2"))
    ds.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = [
        sequence_item(RescaleSlope="2", RescaleIntercept="-200", RescaleType="US")
    ]
    ds.RescaleSlope, ds.RescaleIntercept = "50", "3"
    first, second = ds.PerFrameFunctionalGroupsSequence
    first.FrameVOILUTSequence = [sequence_item(WindowCenter="0", WindowWidth="400", VOILUTFunction="LINEAR_EXACT")]
    second.FrameVOILUTSequence = [sequence_item(WindowCenter="200", WindowWidth="1")]
    assert rendered(ds, frame=1)[0].tolist() == [0, 128, 255]
    assert rendered(ds, frame=2)[0].tolist() == [0, 0, 255]
    assert described(ds) == "0,400,linear-exact; source=frame"


def test_fewer_functional_groups_than_frames_do_not_matter() -> None:
    ds = enhanced_mr(frames=3)
    del ds.PerFrameFunctionalGroupsSequence[1:]
    assert described(ds, frame=3).endswith("source=computed")


@pytest.mark.parametrize("dtype", ["<i2", "<u2"])
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("padding", [None, Padding(-2000, -2000), Padding(1000, 1000)])
@pytest.mark.parametrize("slope", [1.0, -0.7])
def test_every_stored_value_gets_the_grey_that_is_worked_out_for_it_alone(
    dtype: str, inverted: bool, padding: Padding | None, slope: float
) -> None:
    """However many are mapped at once."""
    every = np.arange(1 << 16, dtype=dtype.replace("i", "u")).view(dtype).reshape(256, 256)
    for center, width, function in (
        (40, 400, "LINEAR"),
        (40, 400, "LINEAR_EXACT"),
        (1040.3, 3.3, "LINEAR"),
        (0, 1, "LINEAR"),
        (600, 1200, "SIGMOID"),
    ):
        grey = Grey(Modality(slope, -1024.0), Window(center, width, function), "image", inverted, padding)
        assert np.array_equal(grey.apply(every), grey.shades(every))
