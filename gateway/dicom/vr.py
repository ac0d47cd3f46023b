"""Value representations: how their elements are laid out (PS3.5 7.1.2), and which one a tag has (PS3.6)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR, private_dictionary_VR

if TYPE_CHECKING:
    from gateway.dicom.elements import Element

SHORT_FORM: dict[bytes, str] = {
    vr.encode(): vr
    for vr in (
        *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO"),
        *("LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US"),
    )
}
"""VRs with a length of 16 bits in Explicit VR."""

LONG_FORM: dict[bytes, str] = {
    vr.encode(): vr for vr in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
}
"""VRs with two reserved bytes and a length of 32 bits in Explicit VR."""

WIDTH: dict[str, int] = {
    "AT": 4, "FD": 8, "FL": 4, "OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2,
    "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8,
}  # fmt: skip
"""Bytes of one value or word of a binary VR."""

US_OR_SS = "US or SS"
"""Stands for the choice that Pixel Representation makes; never leaves the reader."""

_BINARY_CHOICE = {"OB or OW": "OW", "US or OW": "OW", "US or SS or OW": "OW", "NONE": "UN"}
"""In Implicit VR these are OW (PS3.5 A.1)."""

PUBLIC: dict[int, str] = {tag: _BINARY_CHOICE.get(entry[0], str(entry[0])) for tag, entry in DicomDictionary.items()}
"""VRs of the data dictionary but for repeating groups, `US_OR_SS` among them."""


def public_vr(tag: int) -> str:
    """The VR of a public element, `US_OR_SS` where that depends on Pixel Representation, UN where it is not known."""
    vr = PUBLIC.get(tag)
    if vr is None:
        repeats = tag >> 24 in (0x50, 0x60, 0x7F) or tag >> 16 in (0x0020, 0x0028, 0x1000, 0x1010)
        vr = _repeating_vr(tag) if repeats else "UN"
    return vr


@lru_cache(maxsize=4096)
def _repeating_vr(tag: int) -> str:
    """Repeating groups such as overlays, 60xx (PS3.5 7.6)."""
    try:
        vr = str(dictionary_VR(tag))
    except KeyError:
        return "UN"
    return _BINARY_CHOICE.get(vr, vr)


@lru_cache(maxsize=4096)
def private_vr(tag: int, creator: bytes) -> str:
    """The VR of the element `tag` (of the form ggggxxee, xx being 00) in a private block of `creator`, else UN.

    PS3.5 7.8.1. `creator` is bounded by the caller: this remembers it.
    """
    try:
        vr = str(private_dictionary_VR(tag | 0x1000, creator.decode("ascii", "replace").strip(" \0")))
    except KeyError:
        return "UN"
    return vr if len(vr) == 2 or vr == US_OR_SS else "UN"


class Creators:
    """Private creators of one data set or item (PS3.5 7.8.1), looked at only when a private VR is wanted.

    Creators of more than 64 bytes are no Long Strings and are passed over: what they name is remembered.
    """

    __slots__ = ("_elements", "_looked_at", "_names")

    def __init__(self, elements: list[Element]) -> None:
        self._elements = elements
        self._looked_at = 0
        self._names: dict[int, bytes] = {}

    def vr(self, tag: int) -> str:
        """The VR of the private element `tag`."""
        block = tag & 0xFFFF0000 | (tag >> 8 & 0xFF)
        name = self._names.get(block)
        if name is None:
            if 0x10 <= tag & 0xFFFF <= 0xFF:
                return "LO"
            for element in self._elements[self._looked_at :]:
                if (
                    element.tag & 0x10000
                    and 0x10 <= element.tag & 0xFFFF <= 0xFF
                    and element.value is not None
                    and element.length <= 64
                ):
                    self._names[element.tag] = element.value
            self._looked_at = len(self._elements)
            name = self._names.get(block)
            if name is None:
                return "UN"
        return private_vr(tag & 0xFFFF00FF, name)
