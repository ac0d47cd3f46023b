"""A sheet as SVG: sizes in millimetres, so that it prints at the scale that it names. No script, nothing loaded."""

from __future__ import annotations

import re
from html import escape

from gateway.render.waveform.raster import COARSE, FINE, INK, PAPER
from gateway.render.waveform.sheet import LETTERS, Points, Sheet

_ILLEGAL = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_svg(sheet: Sheet) -> str:
    """One SVG 1.1 document in UTF-8."""
    width, height = f"{sheet.width:g}", f"{sheet.height:g}"
    lines = "".join(f'<polyline points="{_points(line)}"/>' for line in sheet.lines)
    letters = "".join(f'<text x="{one.x:.2f}" y="{one.y:.2f}">{_text(one.text)}</text>' for one in sheet.letters)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm" '
        f'viewBox="0 0 {width} {height}"><rect width="{width}" height="{height}" fill="{PAPER}"/>'
        f'<path d="{_grid(sheet, 1)}" stroke="{FINE}" stroke-width="0.1" fill="none"/>'
        f'<path d="{_grid(sheet, 5)}" stroke="{COARSE}" stroke-width="0.2" fill="none"/>'
        f'<g fill="none" stroke="{INK}" stroke-width="0.3" stroke-linejoin="round">{lines}</g>'
        f'<g fill="{INK}" stroke="{PAPER}" stroke-width="0.8" paint-order="stroke" '
        f'font-family="sans-serif" font-size="{LETTERS * 1.35:.2f}">{letters}</g></svg>\n'
    )


def _grid(sheet: Sheet, step: int) -> str:
    down = "".join(f"M{at} 0V{sheet.height:g}" for at in range(0, int(sheet.width) + 1, step))
    return down + "".join(f"M0 {at}H{sheet.width:g}" for at in range(0, int(sheet.height) + 1, step))


def _points(line: Points) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in line.tolist())


def _text(text: str) -> str:
    return escape(_ILLEGAL.sub("\ufffd", text))
