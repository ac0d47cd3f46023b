"""Attribute names in a query: keyword, tag of 8 hexadecimal digits, or a dotted path of either (PS3.18 8.3.4, 8.3.1).

Names are read without regard to case. An attribute of the index is the one of `storage.attributes`; any other that a
data set can hold is made here, with the path to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VM, keyword_for_tag

from gateway.dicom.elements import PIXEL_TAGS
from gateway.dicom.vr import US_OR_SS, private_vr, public_vr
from gateway.search.levels import level_of
from storage.attributes import ATTRIBUTES, Attribute, Level, Returned, Step

_HEX = re.compile(r"[0-9a-f]{8}")
_UNPRINTABLE = re.compile(r"[^\x21-\x2b\x2d-\x7e]")
_MOST_SHOWN = 8
MAX_DEPTH = 8
"""Elements on the way to an attribute."""

MAX_CREATOR = 64
"""Characters of a private creator, a Long String (PS3.5 6.2)."""

_BY_STEPS: dict[tuple[Step, ...], Attribute] = {attribute.steps: attribute for attribute in ATTRIBUTES}

ALWAYS_THERE = frozenset({0x00080005, 0x00080056, 0x00081190})
"""Specific Character Set, Instance Availability and Retrieve URL: in every result, in no data set."""

_OF_QUERIES = frozenset({0x00080052, 0x00080053, 0x00080054, 0x0008041B, 0x0008041C, 0x00080429})
"""Attributes of queries: levels, AE titles, and record keys of Repository Query (PS3.4 C.6.4)."""


def resolve(name: str) -> tuple[Attribute, ...]:
    """The attribute of this name; those of the index for the name of a sequence of it; none for what is no attribute.

    A private one has no creator yet: see `with_creator`.
    """
    return _resolve(name.strip().lower()) if len(name) <= 64 * MAX_DEPTH else ()


@lru_cache(maxsize=4096)
def _resolve(name: str) -> tuple[Attribute, ...]:
    segments = name.split(".")
    tags = [_tag(segment) for segment in segments]
    steps = tuple(Step(tag) for tag in tags if tag is not None)
    if len(steps) < len(segments) or len(steps) > MAX_DEPTH or not all(map(_can_be_asked, steps)):
        return ()
    if (found := _BY_STEPS.get(steps)) is not None:
        return (found,)
    if inner := tuple(one for one in ATTRIBUTES if one.sequence is not None and one.steps[:-1] == steps):
        return inner
    if any(_vr(step) != "SQ" and not is_private(step.tag) for step in steps[:-1]):
        return ()
    return (_beyond(steps),) if _vr(steps[-1]) else ()


def _tag(segment: str) -> int | None:
    return int(segment, 16) if _HEX.fullmatch(segment) else _keywords().get(segment)


@cache
def _keywords() -> Mapping[str, int]:
    return {str(entry[4]).lower(): tag for tag, entry in DicomDictionary.items() if entry[4]}


def _can_be_asked(step: Step) -> bool:
    group, number = step.tag >> 16, step.tag & 0xFFFF
    if step.tag in PIXEL_TAGS or step.tag in _OF_QUERIES or step.tag in ALWAYS_THERE:
        return False
    return 0x0008 <= group < 0xFFFE and number != 0


def _beyond(steps: tuple[Step, ...]) -> Attribute:
    last = steps[-1]
    keyword = ".".join(keyword_for_tag(step.tag) or f"{step.tag:08X}" for step in steps)
    private = is_private(last.tag)
    # what a private element says nobody knows but its creator: any level may ask for it
    level = Level.PATIENT if steps[0].tag & 0x10000 else level_of(keyword.partition(".")[0])
    multiple = private or not re.fullmatch(r"1", _vm(last.tag))
    return Attribute(keyword, last.tag, _vr(last), level, Returned.ASKED, multiple=multiple, path=steps)


def _vr(step: Step) -> str:
    """The VR of a step; empty for a public tag that is not in the dictionary."""
    if step.creator:
        vr = private_vr(step.tag, step.creator.encode())
    elif is_private(step.tag) or is_creator(step.tag):
        vr = "LO" if is_creator(step.tag) else "UN"
    else:
        vr = public_vr(step.tag)
        if vr == "UN" and step.tag not in DicomDictionary:
            return ""
    return "US" if vr == US_OR_SS else vr


def _vm(tag: int) -> str:
    try:
        return dictionary_VM(tag)
    except KeyError:
        return "1"


def is_private(tag: int) -> bool:
    """Whether the tag is that of a private data element, and not of a private creator."""
    return bool(tag & 0x10000) and tag & 0xFFFF >= 0x1000


def is_creator(tag: int) -> bool:
    """Whether the tag is that of a private creator (PS3.5 7.8.1)."""
    return bool(tag & 0x10000) and 0x10 <= tag & 0xFFFF <= 0xFF


def with_creator(attribute: Attribute, creators: Mapping[tuple[int, ...], str]) -> Attribute | None:
    """A private attribute with the creator of its block; None when one is not named (QIDO-14).

    `creators` are the values of the private creators in the query, by the tags that lead to them.
    """
    steps: list[Step] = []
    tags = [step.tag for step in attribute.steps]
    for at, tag in enumerate(tags):
        if is_private(tag):
            creator = creators.get((*tags[:at], tag & 0xFFFF0000 | tag >> 8 & 0xFF), "")
            if not 0 < len(creator) <= MAX_CREATOR:
                return None
            steps.append(Step(tag & 0xFFFF00FF, creator))
        else:
            steps.append(Step(tag))
    return replace(attribute, vr=_vr(steps[-1]), path=tuple(steps))


def shown(names: Sequence[str]) -> str:
    """Names that came with a request, fit for a header (S-58): printable, cut, and not too many."""
    clean = [_UNPRINTABLE.sub("?", name[:64]) for name in dict.fromkeys(names)]
    more = f" and {len(clean) - _MOST_SHOWN} more" if len(clean) > _MOST_SHOWN else ""
    return ", ".join(clean[:_MOST_SHOWN]) + more
