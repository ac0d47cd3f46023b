"""Private elements of the Native DICOM Model: they name their creator, not their block (PS3.19 Table A.1.5-2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gateway.dicom.model import Model, ModelElement
from gateway.errors import NotUnderstood

MAX_CREATOR = 64
"""Longest private creator, in characters: it is a Long String (PS3.5 6.2)."""


class Entry(NamedTuple):
    """An element as the XML has it: `tag` is gggg00ee where `creator` says whose it is, or has its block."""

    tag: int
    creator: str | None
    element: ModelElement


def is_creator(tag: int) -> bool:
    """Whether the tag is a Private Creator's, (gggg,0010-00FF) with an odd group (PS3.5 7.8.1)."""
    return bool(tag & 0x10000) and 0x10 <= tag & 0xFFFF <= 0xFF


def place(entries: Sequence[Entry]) -> Model:
    """The data set with every private element in a block of its creator, reserved where there was none (PS3.18 F.3.1).

    A block that an element brings along is kept where no other creator has it. Raises NotUnderstood for an element that
    is there twice, a creator of a standard element, and a group without a free block.
    """
    model: Model = {}
    for entry in entries:
        if entry.creator is None:
            _add(model, entry.tag, entry.element)
    owners = {
        tag: element.value.decode("utf-8", "replace").strip(" \0") for tag, element in model.items() if is_creator(tag)
    }
    blocks: dict[tuple[int, str], int] = {}
    for creator_tag, owner in owners.items():
        blocks.setdefault((creator_tag >> 16, owner), creator_tag)
    taken = {_creator_tag(entry.tag) for entry in entries if entry.tag & 0x10000 and entry.tag & 0xFFFF >= 0x1000}
    for tag, creator, element in entries:
        if creator is None:
            continue
        name = creator.strip(" \0")
        if not tag & 0x10000 or not 0 < len(name) <= MAX_CREATOR or "\\" in name:
            raise NotUnderstood("an element has a private creator that it cannot have", tag)
        own = _creator_tag(tag) if tag & 0xFFFF >= 0x1000 else 0
        if not own or owners.get(own, name) != name:
            own = blocks.get((tag >> 16, name)) or _free(tag, owners, taken)
        if own not in owners:
            owners[own] = name
            blocks.setdefault((tag >> 16, name), own)
            _add(model, own, ModelElement("LO", name.encode()))
        _add(model, tag & 0xFFFF00FF | (own & 0xFF) << 8, element)
    return model


def _creator_tag(tag: int) -> int:
    """The tag of the creator whose block the private element `tag` lies in."""
    return tag & 0xFFFF0000 | tag >> 8 & 0xFF


def _free(tag: int, owners: Mapping[int, str], taken: set[int]) -> int:
    group = tag & 0xFFFF0000
    for own in range(group | 0x10, group | 0x100):
        if own not in owners and own not in taken:
            return own
    raise NotUnderstood("a private group has no free block", tag)


def _add(model: Model, tag: int, element: ModelElement) -> None:
    if tag in model:
        raise NotUnderstood("an element is there twice", tag)
    model[tag] = element
