"""PCS values (CIELab, D50) of a data set as sRGB (PS3.3 C.10.7.1.1)."""

from __future__ import annotations

import numpy

_D50 = numpy.array([0.96422, 1.0, 0.82521])
_TO_LINEAR = numpy.array(
    [
        # XYZ relative to D50 (Bradford adapted) to linear sRGB
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
)
_KNEE = 6.0 / 29.0


def to_srgb(lightness: int, a: int, b: int) -> tuple[int, int, int]:
    """8-bit sRGB of three 16-bit values: L* 0..100 and a*, b* -128..127, each over 0..65535."""
    level = lightness / 65535.0 * 100.0
    green_red, blue_yellow = (value / 65535.0 * 255.0 - 128.0 for value in (a, b))
    middle = (level + 16.0) / 116.0
    f = numpy.array([middle + green_red / 500.0, middle, middle - blue_yellow / 200.0])
    xyz = numpy.where(f > _KNEE, f**3, 3 * _KNEE**2 * (f - 4.0 / 29.0)) * _D50
    linear = numpy.clip(_TO_LINEAR @ xyz, 0.0, 1.0)
    encoded = numpy.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (int(value) for value in numpy.floor(encoded * 255.0 + 0.5))
    return red, green, blue
