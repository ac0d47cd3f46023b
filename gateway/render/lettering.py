"""Letters on pictures: DejaVu Sans, which comes with the package (its licence lies beside it).

It covers Latin, Greek, Cyrillic, Armenian, Georgian, Hebrew and Arabic; not Chinese, Japanese or Korean. What it lacks
never becomes a row of boxes: `missing` tells the caller, who says so in words.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

_FILE = Path(__file__).with_name("fonts") / "DejaVuSans.ttf"
_PROBE = 24
_UNASSIGNED = "\U0010fffe"


@lru_cache(maxsize=64)
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font with an em of `size` pixels, at least 4."""
    return ImageFont.truetype(str(_FILE), max(4, size))


def missing(text: str) -> str:
    """The characters of `text` that the font has no glyph for, each once, in their order."""
    return "".join(dict.fromkeys(one for one in text if not one.isspace() and not _has(one)))


def lettered(text: str) -> str:
    """The text with what the font lacks as U+ numbers: readable, if not pretty."""
    lost = set(missing(text))
    return "".join(f"[U+{ord(one):04X}]" if one in lost else one for one in text)


@lru_cache(maxsize=4096)
def _has(character: str) -> bool:
    if character.isascii():
        return character.isprintable()
    return _shape(character) != _shape(_UNASSIGNED)


@lru_cache(maxsize=2)
def _probe() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_FILE), _PROBE, layout_engine=ImageFont.Layout.BASIC)


def _shape(character: str) -> tuple[tuple[int, int], bytes]:
    mask = _probe().getmask(character)
    return mask.size, bytes(mask)
