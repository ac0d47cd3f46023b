"""Structured Reports and Key Object Selections as text (PS3.18 8.7.4, Text; PS3.3 C.17.3).

The Content Tree is read into plain values once, and written as HTML, plain text or XML. Whatever stands in it is text:
nothing of it is ever markup.
"""

from __future__ import annotations

from gateway.render.report.html import to_html
from gateway.render.report.plain import to_plain
from gateway.render.report.tree import Item, Report, describe_document, read_report
from gateway.render.report.xml import to_xml

WRITERS = {"text/html": to_html, "text/plain": to_plain, "text/xml": to_xml}
"""Writer by media type, the default first (RT-04)."""

__all__ = ["WRITERS", "Item", "Report", "describe_document", "read_report"]
