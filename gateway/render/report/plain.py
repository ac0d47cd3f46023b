"""A report as plain text: one line for each content item, indented by its depth."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gateway.render.report.tree import Item, Report

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def to_plain(report: Report) -> str:
    """Lines that end with LF."""
    title = report.title or "Report"
    lines = [title, "=" * len(title)]
    lines += [f"{label}: {value}" for label, value in report.about]
    lines.append("")
    for item in report.root.items:
        lines += _lines(item, 0)
    text = "\n".join(lines).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("\ufffd", text) + "\n"


def _lines(item: Item, depth: int) -> Iterator[str]:
    indent = "  " * depth
    name = f"{item.concept}: " if item.concept else ""
    first, *more = item.value.splitlines() or [""]
    yield f"{indent}{name}{first}".rstrip() or indent
    yield from (f"{indent}  {line}" for line in more)
    for one in item.items:
        yield from _lines(one, depth + 1)
