"""A report as XML: one `item` element for each content item, with its Value Type and relationship.

The standard asks for `text/xml` and leaves the form open; the whole data set as XML is the Native DICOM Model, which
the metadata resource gives.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from gateway.render.report.tree import Item, Report

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_xml(report: Report) -> str:
    """An XML 1.0 document, without its encoding: it is sent as UTF-8."""
    root = ElementTree.Element("report", {"title": _legal(report.title)})
    for label, value in report.about:
        ElementTree.SubElement(root, "about", {"name": _legal(label)}).text = _legal(value)
    _add(root, report.root)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, "unicode") + "\n"


def _add(parent: ElementTree.Element, item: Item) -> None:
    facts = {
        "type": item.kind,
        "relationship": item.relationship,
        "concept": item.concept,
        "code": item.code,
    }
    element = ElementTree.SubElement(parent, "item", {name: _legal(value) for name, value in facts.items() if value})
    if item.value:
        ElementTree.SubElement(element, "value").text = _legal(item.value)
    for one in item.items:
        _add(element, one)


def _legal(text: str) -> str:
    """Characters that XML 1.0 cannot hold (2.2) become U+FFFD."""
    return _ILLEGAL.sub("\ufffd", text)
