"""Conditions on attributes of a data set, and the part of it that a search returns (PS3.4 C.2.2.2.6).

Data sets are objects of the DICOM JSON Model (PS3.18 Annex F). Keys and return attributes make one tree: its branches
are sequences, and within a branch all conditions have to be fulfilled by one item.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from storage.attributes import Attribute, Step
from storage.query import Condition, Empty, fulfils
from storage.query.times import offset

Data = Mapping[str, Any]

_TIMEZONE_KEY = "00080201"
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_UNREADABLE = "\ufffd"
"""Stands for a value that is there but too long, or binary: it is not empty, and equals nothing."""


@dataclass(slots=True)
class Branch:
    """What is asked of one element: conditions on its values, or of what its items hold; is it returned whole."""

    attribute: Attribute | None = None
    conditions: list[Condition] = field(default_factory=list)
    below: dict[Step, Branch] = field(default_factory=dict)
    whole: bool = False

    @property
    def demands(self) -> Iterable[Condition]:
        """All conditions on this element and in its items."""
        yield from self.conditions
        for branch in self.below.values():
            yield from branch.demands


def tree(conditions: Iterable[Condition], returned: Iterable[Attribute]) -> Branch:
    """The tree of what is matched and what is returned; what is matched is returned (QIDO-10)."""
    root = Branch()
    for attribute in returned:
        _branch(root, attribute).whole = True
    for condition in conditions:
        branch = _branch(root, condition.attribute)
        branch.conditions.append(condition)
        branch.whole = True
    return root


def _branch(root: Branch, attribute: Attribute) -> Branch:
    branch = root
    for step in attribute.steps:
        branch = branch.below.setdefault(step, Branch())
    branch.attribute = attribute
    return branch


def tags(root: Branch) -> tuple[frozenset[int], frozenset[int]]:
    """What has to be read: public tags of the top level, and private groups."""
    public = {step.tag for step in root.below if not step.creator}
    return frozenset(public), frozenset(step.tag >> 16 for step in root.below if step.creator)


def fits(data: Data, root: Branch, zone: int | None = None) -> bool:
    """Does a data set or item fulfil all conditions of a tree. `zone` is the offset from UTC of what lies around it."""
    zone = _zone(data, zone)
    return all(_branch_fits(data, step, branch, zone) for step, branch in root.below.items())


def _branch_fits(data: Data, step: Step, branch: Branch, zone: int | None) -> bool:
    key = place(data, step)
    member: Data = data[key] if key is not None and key in data else {}
    if branch.conditions:
        found = values(member)
        if not all(fulfils(one, found, zone, member.get("vr", "UN")) for one in branch.conditions):
            return False
    demands = [one for below in branch.below.values() for one in below.demands]
    if not demands:
        return True
    items = _items(member)
    if not items:
        return all(isinstance(one, Empty) for one in demands)
    return any(fits(item, branch, zone) for item in items)


def _zone(data: Data, around: int | None) -> int | None:
    stated = values(data[_TIMEZONE_KEY]) if _TIMEZONE_KEY in data else []
    return offset(stated[0]) if stated else around


def part(data: Data, root: Branch, zone: int | None = None) -> dict[str, Any]:
    """The elements that a search returns; of sequences that were searched, the items that match (QIDO-13).

    What is asked for and not there is empty. A private element comes with its creator (QIDO-14).
    """
    found: dict[str, Any] = {}
    zone = _zone(data, zone)
    for step, branch in root.below.items():
        key = place(data, step)
        if key is None:
            continue
        if step.creator:
            block = f"{step.tag >> 16:04X}00{key[4:6]}"
            found[block] = data[block]
        member = data.get(key)
        if branch.below and not branch.whole:
            items = [part(item, branch, zone) for item in _items(member or {}) if fits(item, branch, zone)]
            found[key] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        elif member is not None:
            found[key] = member
        elif branch.attribute is not None and not step.creator:
            found[key] = {"vr": branch.attribute.vr}
    return found


def place(data: Data, step: Step) -> str | None:
    """The key of an element. A private one lies in the block that its creator has here; None: it has none."""
    if not step.creator:
        return f"{step.tag:08X}"
    group = f"{step.tag >> 16:04X}00"
    for key, member in data.items():
        if key.startswith(group) and key[6:] >= "10" and values(member)[:1] == [step.creator]:
            return f"{step.tag >> 16:04X}{key[6:]}{step.tag & 0xFF:02X}"
    return None


def _items(member: Data) -> list[Data]:
    return [item for item in member.get("Value", ()) if isinstance(item, dict)] if member.get("vr") == "SQ" else []


def values(member: Data) -> list[str | int | float]:
    """The values of an element as `storage.query` compares them; of a sequence none."""
    vr = member.get("vr")
    if "InlineBinary" in member:
        return _text_of(member["InlineBinary"]) if vr == "UN" else [_UNREADABLE]
    if "BulkDataURI" in member:
        return [_UNREADABLE]
    each = member.get("Value", ())
    if vr == "SQ":
        return [_UNREADABLE] if each else []
    if vr == "PN":
        return ["=".join((one or {}).get(group, "") for group in _GROUPS).rstrip("=") for one in each]
    if vr == "DA":
        return [str(one or "").replace(".", "") for one in each]
    if vr == "TM":
        return [str(one or "").replace(":", "") for one in each]
    return ["" if one is None else one for one in each]


def _text_of(inline: str) -> list[str | int | float]:
    """Bytes of an unknown VR that are plain text, as most private ones are."""
    try:
        text = b64decode(inline, validate=True).decode("ascii").strip(" \0")
    except (NotBase64, UnicodeDecodeError):
        return [_UNREADABLE]
    return list(text.split("\\")) if text.isprintable() else [_UNREADABLE]
