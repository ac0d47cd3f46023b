"""Windows: from the Modality LUT's output to 8 bits (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
"""VOI LUT Function (0028,1056)."""


@dataclass(frozen=True, slots=True)
class Window:
    """Window Center, Window Width and VOI LUT Function."""

    center: float
    width: float
    function: str = "LINEAR"

    @property
    def valid(self) -> bool:
        """Whether the standard allows it: LINEAR needs a width of at least 1, the others one above 0."""
        if not (math.isfinite(self.center) and math.isfinite(self.width)) or self.function not in FUNCTIONS:
            return False
        return self.width >= 1 if self.function == "LINEAR" else self.width > 0

    @classmethod
    def of_range(cls, low: float, high: float) -> Window:
        """The linear window that shows `low` as black and `high` as white."""
        return cls((low + high + 1) / 2, high - low + 1)

    def apply(self, values: NDArray[Any]) -> NDArray[numpy.uint8]:
        """Map values to 0..255, rounding half up. NaN becomes 0."""
        return numpy.floor(numpy.nan_to_num(self._scaled(values), nan=0.0) + 0.5).astype(numpy.uint8)

    def levels(self, values: NDArray[Any]) -> NDArray[numpy.float64]:
        """Map values to 0..1, for what comes after the window."""
        return self._scaled(values) / 255.0

    def _scaled(self, values: NDArray[Any]) -> NDArray[numpy.float64]:
        x = numpy.asarray(values, numpy.float64)
        with numpy.errstate(over="ignore", invalid="ignore"):  # what overflows is black or white anyway
            return self._sigmoid(x) if self.function == "SIGMOID" else self._linear(x)

    def _sigmoid(self, x: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
        power = numpy.clip((x - self.center) * (-4.0 / self.width), -700.0, 700.0)
        return numpy.asarray(255.0 / (1.0 + numpy.exp(power)))

    def line(self) -> tuple[float, float] | None:
        """Slope and intercept of what a linear function gives between black and white, 0..255; None for others."""
        if self.function == "SIGMOID":
            return None
        center, width = (
            (self.center - 0.5, self.width - 1.0) if self.function == "LINEAR" else (self.center, self.width)
        )
        return (255.0 / width, 127.5 - 255.0 * center / width) if width > 0 else None

    def _linear(self, x: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
        center, width = self.center, self.width
        if self.function == "LINEAR":
            center, width = center - 0.5, width - 1.0
        # A width of 1 leaves a step at the center: the division is not used then.
        slope = ((x - center) / (width or 1.0) + 0.5) * 255.0
        return numpy.where(x <= center - width / 2, 0.0, numpy.where(x > center + width / 2, 255.0, slope))

    def __str__(self) -> str:
        return f"{self.center:.10g},{self.width:.10g},{self.function.lower().replace('_', '-')}"
