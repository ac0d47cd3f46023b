"""The frames of an instance as one moving picture: animated GIF or WebP (PS3.18 8.7.4, Multi-frame)."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from PIL import Image

from gateway.dicom.header import Header
from gateway.errors import BadRequest

ANIMATED = {"image/gif": "GIF", "image/webp": "WEBP"}
"""Media types that can hold several frames."""

MAX_ANIMATION = 100_000_000
"""Most pixels of all frames together; a smaller viewport makes room for more frames."""

_FRAME_TIME, _CINE_RATE, _DISPLAY_RATE, _TIME_VECTOR = 0x00181063, 0x00180040, 0x00082144, 0x00181065
_SHORTEST, _LONGEST, _DEFAULT = 20, 5000, 100
"""Milliseconds that a frame stays; browsers slow down what is shorter than 20."""


def durations_of(header: Header, count: int) -> list[int]:
    """How long each frame stays, in milliseconds (PS3.3 C.7.6.5): Frame Time (Vector), else the rates."""
    vector = header.floats(_TIME_VECTOR)
    if len(vector) == count and count > 1:
        # Each value is the time since the frame before; the last frame stays as long as the one before it.
        return [_bounded(value) for value in [*vector[1:], vector[-1]]]
    rate = rate_of(header)
    return [_bounded(1000.0 / rate if rate is not None else float(_DEFAULT))] * count


def rate_of(header: Header) -> float | None:
    """Frames per second: Frame Time, else Recommended Display Frame Rate or Cine Rate (PS3.3 C.7.6.5)."""
    time = header.float(_FRAME_TIME)
    rate = 1000.0 / time if time else header.float(_DISPLAY_RATE) or header.float(_CINE_RATE)
    return rate if rate is not None and 0.01 <= rate <= 1000 else None


def _bounded(milliseconds: float) -> int:
    return int(min(max(milliseconds, _SHORTEST), _LONGEST) + 0.5)


def animate(frames: Iterator[Image.Image], durations: list[int], media_type: str, quality: int) -> bytes:
    """The file, endlessly repeated. Raises BadRequest when the frames have more than `MAX_ANIMATION` pixels."""
    first = next(frames)
    if first.width * first.height * len(durations) > MAX_ANIMATION:
        raise BadRequest(
            "viewport",
            f"the moving picture would have more than {MAX_ANIMATION} pixels in {len(durations)} frames; "
            "ask for a smaller viewport, or for single frames as multipart/related",
        )
    out = BytesIO()
    if media_type == "image/webp":
        first.save(
            out, "WEBP", save_all=True, append_images=frames, duration=durations, loop=0, quality=quality, method=0
        )
    else:
        first.save(out, "GIF", save_all=True, append_images=frames, duration=durations, loop=0, disposal=1)
    return out.getvalue()
