"""The worked examples of the window functions, to the unit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.render.window import Window

EXAMPLES = {
    ("WIN-01", 40, 400, "LINEAR"): {-160: 0, -159: 1, 0: 102, 39: 127, 40: 128, 239: 255, 240: 255},
    ("WIN-01", 40, 400, "LINEAR_EXACT"): {-160: 0, -159: 1, 0: 102, 40: 128, 239: 254, 240: 255},
    ("WIN-01", 40, 400, "SIGMOID"): {-160: 30, 0: 102, 40: 128, 240: 225, 1000: 255},
    ("WIN-02", 0, 100, "LINEAR"): {-50: 0, -49: 3, -1: 126, 0: 129, 1: 131, 49: 255},
    ("WIN-02", 0, 100, "LINEAR_EXACT"): {-50: 0, -49: 3, -1: 125, 0: 128, 49: 252, 50: 255},
    ("WIN-02", 0, 100, "SIGMOID"): {-50: 30, 0: 128, 50: 225},
    ("WIN-03", 128, 256, "LINEAR"): {0: 0, 64: 64, 200: 200, 255: 255},
    ("WIN-03", 128, 256, "LINEAR_EXACT"): {64: 64, 127: 127, 200: 199, 255: 254},
    ("WIN-03", 128, 256, "SIGMOID"): {0: 30, 64: 69, 200: 193, 255: 224},
    ("WIN-04", 2048, 4096, "LINEAR"): {0: 0, 2047: 127, 2048: 128, 4095: 255},
    ("WIN-04", 2048, 4096, "LINEAR_EXACT"): {0: 0, 2048: 128, 4095: 255},
    ("WIN-04", 2048, 4096, "SIGMOID"): {0: 30, 4095: 225},
    ("WIN-05", 0, 1, "LINEAR"): {-1: 0, 0: 255},
    ("WIN-05", 0, 1, "LINEAR_EXACT"): {0: 128},
    ("WIN-05", 0, 1, "SIGMOID"): {-1: 5, 0: 128},
    ("WIN-06", -600, 1500, "LINEAR"): {-1350: 0, -1000: 60, -600: 128, 0: 230, 149: 255},
    ("WIN-06", -600, 1500, "LINEAR_EXACT"): {-1000: 60, 0: 230, 150: 255},
    ("WIN-06", -600, 1500, "SIGMOID"): {-1000: 65, 0: 212},
}


@pytest.mark.parametrize(("example", "expected"), EXAMPLES.items(), ids=lambda item: str(item))
def test_worked_examples(example: tuple[str, float, float, str], expected: dict[int, int]) -> None:
    """WIN-01 to WIN-06"""
    window = Window(*example[1:])
    assert window.valid
    assert dict(zip(expected, window.apply(np.array([*expected])).tolist(), strict=True)) == expected


def test_the_whole_8_bit_window_is_the_identity() -> None:
    """WIN-03"""
    assert np.array_equal(Window(128, 256).apply(np.arange(256)), np.arange(256))


def test_the_window_of_a_range_shows_its_ends_as_black_and_white() -> None:
    """WIN-08"""
    window = Window.of_range(100, 1100)
    assert window == Window(600.5, 1001)
    assert window.apply(np.array([100, 350, 600, 850, 1100])).tolist() == [0, 64, 128, 191, 255]


def test_the_window_of_one_value_shows_black() -> None:
    """WIN-11"""
    assert Window.of_range(500, 500) == Window(500.5, 1)
    assert Window.of_range(500, 500).apply(np.array([500, 501])).tolist() == [0, 255]


@pytest.mark.parametrize(
    ("window", "valid"),
    [
        (Window(0, 1), True),
        (Window(0, 0.999), False),
        (Window(0, 0), False),
        (Window(0, -5), False),
        (Window(0, 0.001, "LINEAR_EXACT"), True),
        (Window(0, 0, "LINEAR_EXACT"), False),
        (Window(0, 0.001, "SIGMOID"), True),
        (Window(0, -1, "SIGMOID"), False),
        (Window(math.nan, 100), False),
        (Window(0, math.inf), False),
        (Window(0, 100, "CUBIC"), False),
    ],
    ids=str,
)
def test_which_windows_the_standard_allows(window: Window, valid: bool) -> None:
    """IMG-06"""
    assert window.valid is valid


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_no_value_upsets_a_window(function: str) -> None:
    """S-35: no warning either, since they are errors here."""
    extremes = np.array([-math.inf, -1e300, -1e9, 0, 1e9, 1e300, math.inf, math.nan])
    for window in (Window(0, 1, function), Window(-1e18, 1e-9 if function != "LINEAR" else 1, function)):
        shades = window.apply(extremes)
        assert shades[0] == 0 and shades[-2] == 255 and shades[-1] == 0
