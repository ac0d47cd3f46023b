"""The query parameters of rendered resources (PS3.18 8.3.5); what is ill-formed is refused by name (RP-01 to RP-06)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from gateway.errors import BadRequest
from gateway.render import MAX_PIXELS, PROFILES, View, Viewport
from gateway.render.view import ANNOTATIONS
from gateway.settings import Settings

THUMBNAIL = (128, 128)
"""Width and height in pixels that a thumbnail fits in, unless asked otherwise."""
ANNOTATION_UNSUPPORTED = "The following annotation values are not supported: {}"
_NUMBER = re.compile(r"[+-]?([0-9]{1,12}(\.[0-9]{0,12})?|\.[0-9]{1,12})([eE][+-]?[0-9]{1,2})?")
_SIZE = re.compile(r"[0-9]{1,6}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")

Parameters = Sequence[tuple[str, str]]


def view_of(asked: Parameters, settings: Settings) -> View:
    """How the picture is to be made. Raises BadRequest."""
    window, viewport, quality = (_one(asked, name) for name in ("window", "viewport", "quality"))
    return View(
        window=_window(window) if window is not None else None,
        viewport=_viewport(viewport) if viewport is not None else None,
        quality=quality_of(quality) if quality is not None else View().quality,
        profile=_profile(asked),
        annotation=annotations_of(asked)[0],
        mark=settings.picture_mark,
        mark_lossy=settings.picture_mark_lossy,
    )


def size_of(asked: Parameters) -> tuple[int, int]:
    """The size that a thumbnail fits in: `viewport=vw,vh` and nothing more (WADO-15, RP-04). Raises BadRequest."""
    text = _one(asked, "viewport")
    if text is None:
        return THUMBNAIL
    if text.count(",") != 1:
        raise BadRequest("viewport", "the viewport of a thumbnail is vw,vh")
    viewport = _viewport(text)
    return viewport.width, viewport.height


def check_state(asked: Parameters) -> None:
    """Raises BadRequest for what does not go with a presentation state: window and region (RP-04, RP-05)."""
    if _one(asked, "window") is not None:
        raise BadRequest("window", "window does not go with a presentation state, which has its own")
    viewport = _one(asked, "viewport")
    if viewport is not None and viewport.count(",") != 1:
        raise BadRequest("viewport", "the viewport of a presentation state is vw,vh")


def annotations_of(asked: Parameters) -> tuple[tuple[str, ...], list[str]]:
    """The annotations to be burnt in, and those that are asked for and not known, for a Warning (RP-01)."""
    text = _one(asked, "annotation")
    if text is None:
        return (), []
    names = [name.strip() for name in text.split(",")]
    if not all(_NAME.fullmatch(name) for name in names):
        raise BadRequest("annotation", "annotation is a list of keywords: patient, technique")
    return tuple(name for name in ANNOTATIONS if name in names), [name for name in names if name not in ANNOTATIONS]


def _profile(asked: Parameters) -> str:
    """The colour profile asked for (RP-06). Raises BadRequest."""
    text = _one(asked, "iccprofile")
    if text is not None and text not in PROFILES:
        raise BadRequest("iccprofile", f"iccprofile is one of {', '.join(PROFILES)}")
    return text or "no"


def _one(asked: Parameters, name: str) -> str | None:
    values = [value for other, value in asked if other.lower() == name]
    if len(values) > 1:
        raise BadRequest(name, f"{name} may stand once only")
    return values[0] if values else None


def quality_of(text: str, name: str = "quality") -> int:
    """A quality. Raises BadRequest, which names the parameter (RP-02)."""
    if not re.fullmatch(r"[0-9]{1,3}", text, re.ASCII) or not 1 <= int(text) <= 100:
        raise BadRequest(name, f"{name} is a whole number from 1 to 100")
    return int(text)


def _window(text: str) -> tuple[float, float, str]:
    parts = text.split(",")
    if len(parts) != 3:
        raise BadRequest("window", "window is center,width,function; the function linear, linear-exact or sigmoid")
    center, width = (finite("window", part) for part in parts[:2])
    function = parts[2].strip().lower().replace("_", "-")
    if function not in ("linear", "linear-exact", "sigmoid"):
        raise BadRequest("window", "the function of a window is linear, linear-exact or sigmoid")
    return center, width, function


def _viewport(text: str) -> Viewport:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (2, 6):
        raise BadRequest("viewport", "viewport is vw,vh or vw,vh,sx,sy,sw,sh")
    if not all(_SIZE.fullmatch(part) for part in parts[:2]):
        raise BadRequest("viewport", "the viewport's width and height are positive whole numbers")
    width, height = int(parts[0]), int(parts[1])
    if width * height > MAX_PIXELS:
        raise BadRequest("viewport", f"a viewport has at most {MAX_PIXELS} pixels")
    if len(parts) == 2:
        return Viewport(width, height)
    x, y, w, h = (finite("viewport", part) if part else None for part in parts[2:])
    return Viewport(width, height, x or 0.0, y or 0.0, w, h)


def finite(name: str, text: str) -> float:
    """The number in `text`. Raises BadRequest."""
    if not _NUMBER.fullmatch(text.strip()) or not math.isfinite(float(text)):
        raise BadRequest(name, f"{name} holds numbers")
    return float(text)
