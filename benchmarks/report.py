"""What was measured, for people: a table and a picture in docs/performance.md; a line a run in the history."""

from __future__ import annotations

import json
import math
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from benchmarks.measure import Result, median

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
HISTORY = ROOT / "docs" / "performance.jsonl"
INTRODUCTION = """# Performance

Made by `make bench`: Gantry beside Orthanc, where Debian's `orthanc` and `orthanc-dicomweb` are installed, on one
machine in one run, both durable; and beside a newer one, where `benchmarks/newest_orthanc.py` put it. Figures are
medians. Machines are shared and noisy: compare figures of one run with each other, as ratios, and not with those of
another day; CPU for an operation is the steadiest of them. Clients, server and whatever else runs share the machine's
cores.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: `work` names the measurements, `title` says what it is, `goal` the least wanted ratio."""

    work: str
    title: str
    goal: float | None = None
    unit: str = "/s"


def section(name: str, text: str, page: Path = PAGE) -> None:
    """Put `text` (Markdown, from its `## ` heading on) into the page, in place of the section of that name."""
    found = page.read_text() if page.exists() else INTRODUCTION
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    block = f"{begin}\n{text.strip()}\n{end}"
    old = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    # as a function: the text may hold backslashes
    new = old.sub(lambda _: block, found) if old.search(found) else f"{found.rstrip()}\n\n{block}\n"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(new)


def _of(results: Sequence[Result], work: str, server: str) -> list[Result]:
    return [one for one in results if (one.work, one.server) == (work, server)]


def ratio(results: Sequence[Result], work: str, server: str, peer: str) -> float | None:
    """How many times as fast as its peer the server is, of medians; None where one of them was not measured."""
    ours, theirs = _of(results, work, server), _of(results, work, peer)
    if not ours or not theirs:
        return None
    return median(ours, lambda one: one.rate) / median(theirs, lambda one: one.rate)


def table(results: Sequence[Result], rows: Sequence[Row], server: str, *peers: str) -> str:
    """Rates, medians and 95th percentiles of latency, CPU for an operation, and the ratios with what was wanted."""
    names = [server, *peers]
    head = ["work", *(f"{name}: rate" for name in names), *(f"{name}: p50 / p95 ms" for name in names)]
    head += [f"{name}: CPU ms" for name in names]
    if peers:
        head += ["ratio" if len(peers) == 1 else f"ratio to {name}" for name in peers] + ["wanted"]
    lines = [_line(head), _line(["---"] + ["---:"] * (len(head) - 1))]
    for row in rows:
        found = [_of(results, row.work, name) for name in names]
        if not found[0]:
            continue
        cells = [row.title]
        cells += [f"{_number(median(some, lambda one: one.rate))}{row.unit}" if some else "" for some in found]
        cells += [_latency(some) for some in found]
        cells += [_number(median(some, lambda one: one.cpu_ms)) if some else "" for some in found]
        for peer in peers:
            times = ratio(results, row.work, server, peer)
            cells.append("" if times is None else f"**{_number(times)}**" if _reached(times, row) else _number(times))
        if peers:
            cells.append("" if row.goal is None else f"{row.goal:g}")
        lines.append(_line(cells))
    return "\n".join(lines)


def _reached(times: float, row: Row) -> bool:
    return row.goal is not None and times >= row.goal


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latency(some: Sequence[Result]) -> str:
    if not some or not some[0].latencies:
        return ""
    return " / ".join(_number(median(some, lambda one, share=share: one.latency(share))) for share in (0.5, 0.95))  # type: ignore[misc]


def _number(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


# ---------------------------------------------------------------- the picture

_INK, _GREY, _GOAL = "#1d2733", "#d5dbe1", "#c8553d"
_BARS = ("#1f7a8c", "#8cbccb")


def plot(ratios: Mapping[str, tuple[Sequence[float], float | None]], path: Path, caption: str) -> None:
    """Bars of ratios by title, on a logarithmic scale from 0.5 to 500; a mark where the wanted ratio lies.

    The first of several ratios, one to each peer, is the darkest.
    """
    wide, left, high, top = 1200, 470, 26, 70
    picture = Image.new("RGB", (wide, top + high * len(ratios) + 50), "white")
    draw = ImageDraw.Draw(picture)
    font, large = ImageFont.load_default(15), ImageFont.load_default(20)

    def place(value: float) -> float:
        inside = min(max(value, 0.5), 500.0)
        return left + (wide - left - 90) * math.log10(inside / 0.5) / 3

    draw.text((20, 16), caption, _INK, large)
    bottom = top + high * len(ratios)
    for mark in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500):
        draw.line((place(mark), top - 8, place(mark), bottom), _INK if mark == 1 else _GREY, 1)
        draw.text((place(mark), bottom + 8), f"{mark:g} x", _INK, font, anchor="ma")
    for number, (title, (values, goal)) in enumerate(ratios.items()):
        y = top + number * high
        draw.text((left - 12, y + high // 2), title, _INK, font, anchor="rm")
        each = (high - 7) / len(values)
        for at, value in enumerate(values):
            ends = sorted((place(1.0), place(value)))
            draw.rectangle((ends[0], y + 4 + at * each, ends[1], y + 3 + (at + 1) * each), _BARS[at % len(_BARS)])
        end = max(place(1.0), *map(place, values))
        draw.text((end + 8, y + high // 2), ", ".join(map(_number, values)), _INK, font, anchor="lm")
        if goal is not None:
            draw.line((place(goal), y + 1, place(goal), y + high - 2), _GOAL, 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, optimize=True)


# ---------------------------------------------------------------- history


def commit() -> str:
    """What is measured, of this repository; empty where that is none."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def remember(results: Sequence[Result], size: str, path: Path = HISTORY) -> None:
    """Append this run's medians: one JSON object on a line, with the moment and the commit."""
    figures: dict[str, dict[str, list[float]]] = {}
    for one in results:
        some = _of(results, one.work, one.server)
        rate, cpu = median(some, lambda each: each.rate), median(some, lambda each: each.cpu_ms)
        figures.setdefault(one.work, {})[one.server] = [round(rate, 3), round(cpu, 3)]
    line = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit() or None,
        "size": size,
        "rate and CPU ms": figures,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
