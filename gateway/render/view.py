"""What a caller may ask of a picture, and what it gets (PS3.18 8.3.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gateway.errors import BadRequest
from gateway.render.window import FUNCTIONS, Window

ANNOTATIONS = ("patient", "technique")
"""What can be burnt in."""

MAX_PIXELS = 25_000_000
"""Largest picture given out, in pixels."""


@dataclass(frozen=True, slots=True)
class Viewport:
    """Size of the wanted picture and the region of the image to be shown (PS3.18 8.3.5.1.3).

    `width` and `height` in pixels of the picture, positive. `x` and `y` of the region's top left corner, `w` and `h` of
    its size in pixels of the image (0-based, fractions allowed); None for `w` or `h` means up to the edge; negative
    ones show the region `abs(w)` by `abs(h)` mirrored. The picture keeps the region's aspect and is the largest that
    fits.

    Raises:
        BadRequest: a size that is not positive, or a region that is empty or not finite.
    """

    width: int
    height: int
    x: float = 0.0
    y: float = 0.0
    w: float | None = None
    h: float | None = None

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise BadRequest("viewport", "the viewport's width and height must be positive")
        numbers = [number for number in (self.x, self.y, self.w, self.h) if number is not None]
        if not all(math.isfinite(number) for number in numbers) or self.x < 0 or self.y < 0:
            raise BadRequest("viewport", "the region must lie within the image")
        if self.w == 0 or self.h == 0:
            raise BadRequest("viewport", "the region is empty")


@dataclass(frozen=True, slots=True)
class View:
    """How a picture is to be made.

    `window` is center, width (in units of the Modality LUT's output) and function: `linear`, `linear-exact` or
    `sigmoid`. It is ignored for colour. `quality` 1..100 is that of JPEG, WebP and JPEG XL. `profile` is the colour
    profile that is embedded: `no`, `yes` (the image's own), `srgb`, `adobergb` or `rommrgb` (8.3.5.1.5). `annotation`
    is what is burnt in: `patient`, `technique` (8.3.5.1.1); `mark` is a line of text besides, and `mark_lossy` asks for
    one where something was compressed with loss.

    Raises:
        BadRequest: a window that PS3.3 C.11.2.1.2 forbids, or a quality outside 1..100.
    """

    window: tuple[float, float, str] | None = None
    viewport: Viewport | None = None
    quality: int = 90
    profile: str = "no"
    annotation: tuple[str, ...] = ()
    mark: str = ""
    mark_lossy: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise BadRequest("quality", "quality must be an integer from 1 to 100")
        if self.window is not None:
            if _function(self.window[2]) not in FUNCTIONS:
                raise BadRequest("window", "the function must be linear, linear-exact or sigmoid")
            if not self.asked_window().valid:
                raise BadRequest("window", "the window's width must be positive, and at least 1 for linear")

    def asked_window(self) -> Window:
        """`window` as a value. Only where there is one."""
        assert self.window is not None
        center, width, function = self.window
        return Window(center, width, _function(function))


def _function(name: str) -> str:
    return name.upper().replace("-", "_")


@dataclass(frozen=True, slots=True)
class Picture:
    """A finished picture: `width` by `height` pixels, encoded as `media_type`.

    `window` tells which window was used and where it came from, `40,400,linear; source=image`: source is `request`,
    `frame` (functional groups), `image` or `computed` (lowest to highest value). Empty for colour.
    """

    data: bytes
    media_type: str
    width: int
    height: int
    window: str = ""
