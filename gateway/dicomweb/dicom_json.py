"""The DICOM JSON Model (PS3.18 Annex F) for what is made here: search results and response modules.

Metadata of stored instances is made by `gateway.dicom.metadata`, from their bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from storage.records import Value

Element = dict[str, object]
DataSet = dict[str, Element]

_NUMBERS = frozenset({"IS", "US"})
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")


def key(tag: int) -> str:
    """8 upper-case hexadecimal digits."""
    return f"{tag:08X}"


def element(vr: str, *values: object) -> Element:
    """One element; without values it is empty (JSON-03)."""
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def attribute(vr: str, value: Value | None, *, multiple: bool = False) -> Element:
    """An element of a normalised value of the index; None is empty. Multiple values are split at the backslash."""
    if value is None or value == "":
        return {"vr": vr}
    if isinstance(value, int):
        return {"vr": vr, "Value": [value]} if vr in _NUMBERS else {"vr": vr, "Value": [str(value)]}
    texts = value.split("\\") if multiple or vr not in {"LT", "ST", "UT", "UR"} else [value]
    if vr == "PN":
        return {"vr": vr, "Value": [person_name(text) for text in texts]}
    return {"vr": vr, "Value": [text if text else None for text in texts]}


Writer = Callable[[Value], Element]
"""Makes the element of a value that is there."""


def writer(vr: str, *, multiple: bool = False) -> Writer:
    """What `attribute` does, for one VR: worked out once for all results of a search."""

    def write_number(value: Value) -> Element:
        return {"vr": vr, "Value": [value]} if isinstance(value, int) else attribute(vr, value)

    def write_text(value: Value) -> Element:
        if isinstance(value, str) and "\\" not in value:
            return {"vr": vr, "Value": [value]}
        return attribute(vr, value, multiple=multiple)

    if vr == "PN":
        return lambda value: attribute(vr, value)
    return write_number if vr in _NUMBERS else write_text


def person_name(text: str) -> dict[str, str] | None:
    """The component groups that a name has (JSON-05); None for an empty value in a list."""
    groups = {name: group for name, group in zip(_GROUPS, text.split("="), strict=False) if group}
    return groups or None


def sequence(items: Sequence[Mapping[str, Element]]) -> Element:
    """A sequence of items."""
    return {"vr": "SQ", "Value": list(items)} if items else {"vr": "SQ"}


def ordered(elements: Mapping[str, Element]) -> DataSet:
    """A data set with ascending tags (JSON-01)."""
    return dict(sorted(elements.items()))
