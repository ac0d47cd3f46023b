"""A sheet as an image."""

from __future__ import annotations

from PIL import Image, ImageDraw

from gateway.render.lettering import font, lettered
from gateway.render.waveform.sheet import LETTERS, Sheet

SCALE = 4
"""Pixels per millimetre."""

PAPER, FINE, COARSE, INK = "#ffffff", "#fae0de", "#efb4ae", "#101010"
_SMOOTH = 2
"""Drawn this many times larger, then averaged down."""


def to_image(sheet: Sheet) -> Image.Image:
    """The sheet in RGB at `SCALE`; a line of the grid each millimetre, a stronger one each five."""
    scale = SCALE * _SMOOTH
    width, height = int(sheet.width * scale), int(sheet.height * scale)
    image = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(image)
    for colour, step, thick in ((FINE, 1, 1), (COARSE, 5, 2)):
        for at in range(0, int(sheet.width) + 1, step):
            draw.line([(at * scale, 0), (at * scale, height)], colour, thick)
        for at in range(0, int(sheet.height) + 1, step):
            draw.line([(0, at * scale), (width, at * scale)], colour, thick)
    for line in sheet.lines:
        draw.line([(x, y) for x, y in (line * scale).tolist()], INK, 3, joint="curve")
    face = font(int(LETTERS * 1.35 * scale))
    for letters in sheet.letters:
        place = (letters.x * scale, letters.y * scale)
        draw.text(place, lettered(letters.text), INK, face, anchor="ls", stroke_width=_SMOOTH * 2, stroke_fill=PAPER)
    return image.resize((width // _SMOOTH, height // _SMOOTH), Image.Resampling.BOX)
