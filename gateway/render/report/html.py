"""A report as HTML: headings, paragraphs and lists; no script, no link, nothing loaded from anywhere."""

from __future__ import annotations

import re
from html import escape

from gateway.render.report.tree import Item, Report

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#111;"
    "background:#fff}h1{font-size:1.5rem}h2{font-size:1.15rem;margin:1.4rem 0 .3rem}"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;border:solid #ccc;border-width:1px 0;"
    "padding:.5rem 0}dt{color:#555}dd{margin:0}section section{margin-left:1rem}p{margin:.3rem 0;"
    "overflow-wrap:anywhere;white-space:pre-line}.c{color:#555}ul{margin:.2rem 0;padding-left:1.3rem}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#111}dt,.c{color:#aaa}}"
)


def to_html(report: Report) -> str:
    """One document in UTF-8."""
    about = "".join(f"<dt>{_text(label)}</dt><dd>{_text(value)}</dd>" for label, value in report.about)
    language = f' lang="{_text(report.language)}"' if report.language else ""
    title = _text(report.title or "Report")
    body = "".join(_item(item, 2) for item in report.root.items)
    return (
        f'<!DOCTYPE html>\n<html{language}><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title><style>{_STYLE}</style></head>\n'
        f"<body><h1>{title}</h1>\n<dl>{about}</dl>\n{body}</body></html>\n"
    )


def _item(item: Item, level: int) -> str:
    if item.kind == "CONTAINER":
        heading = f"h{min(level, 6)}"
        inside = "".join(_item(one, level + 1) for one in item.items)
        title = f"<{heading}>{_text(item.concept)}</{heading}>" if item.concept else ""
        return f"<section>{title}{inside}</section>\n"
    below = "".join(f"<li>{_item(one, level + 1)}</li>" for one in item.items)
    concept = f'<span class="c">{_text(item.concept)}:</span> ' if item.concept else ""
    return f"<p>{concept}{_text(item.value)}</p>\n" + (f"<ul>{below}</ul>\n" if below else "")


def _text(value: str) -> str:
    """Escaped for text and for attributes; characters that HTML forbids become U+FFFD."""
    return escape(_CONTROL.sub("\ufffd", value.replace("\r\n", "\n").replace("\r", "\n")))
