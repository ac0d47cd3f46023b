"""RT Dose as a heat map: from black for no dose over blue, green and yellow to red for the highest (PS3.3 C.8.8.3)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy
from numpy.typing import NDArray
from PIL import Image

from gateway.dicom.header import Header
from gateway.render.grey import Grey, Modality
from gateway.render.window import Window

MAX_GRID_BYTES = 256 << 20
"""A larger dose grid is not searched for its maximum: each frame then goes up to its own."""

_SCALING = 0x3004000E
_STOPS = (
    (0, (0, 0, 0)), (16, (0, 0, 110)), (64, (0, 40, 255)), (104, (0, 210, 255)), (140, (0, 220, 80)),
    (180, (255, 235, 0)), (220, (255, 120, 0)), (255, (220, 0, 0)),
)  # fmt: skip


def dose_image(header: Header, stored: NDArray[Any], asked: Window | None) -> tuple[Image.Image, Grey]:
    """A frame in colour, and the window it is shown in, in units of dose: `asked`, else from 0 to its highest."""
    scaling = header.float(_SCALING)
    modality = Modality(scaling if scaling and 0 < scaling < 1e30 else 1.0)
    source = "request"
    if asked is None:
        top = float(modality.apply(numpy.asarray([stored.max()]))[0])
        asked, source = window_to(top), "computed"
    grey = Grey(modality, asked, source)
    return Image.fromarray(_table()[grey.apply(stored)]), grey


def window_to(highest: float) -> Window:
    """The window from no dose to the highest of a grid."""
    top = highest if highest > 0 else 1.0
    return Window(top / 2, top, "LINEAR_EXACT")


def scaled(header: Header, stored: int) -> float:
    """The dose of a stored value."""
    return stored * (header.float(_SCALING) or 1.0)


@lru_cache(maxsize=1)
def _table() -> NDArray[numpy.uint8]:
    at = [place for place, _ in _STOPS]
    channels = [numpy.interp(numpy.arange(256), at, [colour[n] for _, colour in _STOPS]) for n in range(3)]
    return numpy.stack(channels, axis=-1).astype(numpy.uint8)


class Maxima:
    """Highest stored value of each grid, by the object's digest: looked for once, so that all frames share a scale."""

    def __init__(self, most: int = 256) -> None:
        self._most = most
        self._found: OrderedDict[str, int] = OrderedDict()
        self._lock = Lock()

    def of(self, digest: str, frames: Iterable[NDArray[Any]]) -> int:
        """The maximum of the grid; `frames` are gone through the first time only."""
        with self._lock:
            known = self._found.get(digest)
        if known is None:
            known = max((int(frame.max()) for frame in frames), default=0)
            with self._lock:
                self._found[digest] = known
                while len(self._found) > self._most:
                    self._found.popitem(last=False)
        return known
