"""Attribute names in a query: keyword, tag of 8 hexadecimal digits, or a dotted path of either (PS3.18 8.3.4, 8.3.1).

Names are read without regard to case. Only what the index holds has an `Attribute`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from storage.attributes import ATTRIBUTES, SEQUENCES, Attribute

_HEX = re.compile(r"[0-9a-f]{8}")
_UNPRINTABLE = re.compile(r"[^\x21-\x2b\x2d-\x7e]")
_MOST_SHOWN = 8

_SEGMENTS: dict[str, str] = {}
"""One segment of a path in lower case, keyword or tag, to its keyword in lower case."""
for _attribute in ATTRIBUTES:
    _keyword = _attribute.keyword.rpartition(".")[2].lower()
    _SEGMENTS[_keyword] = _SEGMENTS[f"{_attribute.tag:08x}"] = _keyword
for _name, _tag in SEQUENCES.items():
    _SEGMENTS[_name.lower()] = _SEGMENTS[f"{_tag:08x}"] = _name.lower()

_BY_PATH: dict[str, Attribute] = {attribute.keyword.lower(): attribute for attribute in ATTRIBUTES}

ALWAYS_THERE = frozenset(
    {"specificcharacterset", "00080005", "instanceavailability", "00080056", "retrieveurl", "00081190"}
)
"""Attributes of every result that the index does not hold."""


def resolve(name: str) -> tuple[Attribute, ...]:
    """The indexed attribute of this name; those of a sequence for the sequence's own; none for any other."""
    path = ".".join(_SEGMENTS.get(segment, segment) for segment in name.strip().lower().split("."))
    found = _BY_PATH.get(path)
    if found is not None:
        return (found,)
    return tuple(one for one in ATTRIBUTES if one.sequence is not None and one.sequence.lower() == path)


def is_tag(name: str) -> bool:
    """Whether the name is a tag."""
    return _HEX.fullmatch(name.lower()) is not None


def shown(names: Sequence[str]) -> str:
    """Names that came with a request, fit for a header (S-58): printable, cut, and not too many."""
    clean = [_UNPRINTABLE.sub("?", name[:64]) for name in dict.fromkeys(names)]
    more = f" and {len(clean) - _MOST_SHOWN} more" if len(clean) > _MOST_SHOWN else ""
    return ", ".join(clean[:_MOST_SHOWN]) + more
