"""Unique identifiers: their form (PS3.5 9.1), and the transfer syntaxes and storage SOP classes of PS3.6 Annex A."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydicom._uid_dict import UID_dictionary

from gateway.errors import SyntaxNotSupported

_UID = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*")

IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED_LITTLE_ENDIAN = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG_ENDIAN = "1.2.840.10008.1.2.2"


def is_uid(text: str) -> bool:
    """Whether `text` is a UID: 1 to 64 characters, components of ASCII digits without leading zeros (PS3.5 9.1)."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """How a data set is encoded (PS3.5 Annex A).

    `encapsulated`: Pixel Data may lie in fragments (PS3.5 A.4). `deflated`: the whole data set is compressed (PS3.5
    A.5). `lossy`: the syntax may lose information (the instance says whether it has). `fragmentable`: a video stream
    may be cut into several fragments.
    """

    uid: str
    name: str
    explicit: bool = True
    little_endian: bool = True
    encapsulated: bool = False
    deflated: bool = False
    video: bool = False
    lossy: bool = False
    fragmentable: bool = False


def _lossless_codec(*uids: str) -> dict[str, dict[str, bool]]:
    return {uid: {"encapsulated": True} for uid in uids}


def _lossy_codec(*uids: str) -> dict[str, dict[str, bool]]:
    return {uid: {"encapsulated": True, "lossy": True} for uid in uids}


def _video_codec(*numbers: str) -> dict[str, dict[str, bool]]:
    return {
        f"1.2.840.10008.1.2.4.{number}": {
            "encapsulated": True,
            "lossy": True,
            "video": True,
            "fragmentable": number.endswith(".1"),
        }
        for number in numbers
    }


_JPEG = "1.2.840.10008.1.2.4."

_FACTS: dict[str, dict[str, bool]] = {
    IMPLICIT_LITTLE_ENDIAN: {"explicit": False},
    EXPLICIT_LITTLE_ENDIAN: {},
    DEFLATED_LITTLE_ENDIAN: {"deflated": True},
    EXPLICIT_BIG_ENDIAN: {"little_endian": False},
    # JPIP: the data set holds a URL in place of Pixel Data (PS3.5 A.6, A.7, A.11, A.12)
    _JPEG + "94": {},
    _JPEG + "95": {"deflated": True},
    _JPEG + "204": {},
    _JPEG + "205": {"deflated": True},
    **_lossless_codec(
        "1.2.840.10008.1.2.1.98",
        "1.2.840.10008.1.2.5",
        "1.2.840.10008.1.2.8.1",
        *(_JPEG + number for number in ("57", "58", "65", "66", "70", "80", "90", "92", "110", "201", "202")),
    ),
    **_lossy_codec(
        *(_JPEG + str(number) for number in (*range(50, 57), *range(59, 65), 81, 91, 93, 111, 112, 203)),
    ),
    **_video_codec("100", "100.1", "101", "101.1", "102", "102.1", "103", "103.1"),
    **_video_codec("104", "104.1", "105", "105.1", "106", "106.1", "107", "108"),
}

_NEWER_NAMES = {
    _JPEG + "110": "JPEG XL Lossless",
    _JPEG + "111": "JPEG XL JPEG Recompression",
    _JPEG + "112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}


def _name(uid: str) -> str:
    known = UID_dictionary.get(uid)
    return known[0] if known else _NEWER_NAMES[uid]


SYNTAXES: dict[str, TransferSyntax] = {uid: TransferSyntax(uid, _name(uid), **facts) for uid, facts in _FACTS.items()}
"""Transfer syntaxes in which an instance may be stored, by UID."""


def syntax(uid: str) -> TransferSyntax:
    """The transfer syntax `uid`. Raises SyntaxNotSupported where it is none that an instance can be stored in."""
    try:
        return SYNTAXES[uid]
    except KeyError:
        shown = uid if is_uid(uid) else "of malformed UID"
        raise SyntaxNotSupported(f"transfer syntax {shown} is not supported", 0x00020010) from None


_NOT_INSTANCES = frozenset(
    {
        "1.2.840.10008.1.3.10",  # Media Storage Directory: a DICOMDIR
        "1.2.840.10008.1.20.1",  # Storage Commitment: a service
        "1.2.840.10008.1.20.2",
    }
)

_NEWER_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.9.100.1",  # Waveform Presentation State
        "1.2.840.10008.5.1.4.1.1.9.100.2",  # Waveform Acquisition Presentation State
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
        "1.2.840.10008.5.1.4.1.1.66.8",  # Height Map Segmentation
    }
)

STORAGE_CLASSES: frozenset[str] = (
    frozenset(uid for uid, (name, kind, *_) in UID_dictionary.items() if kind == "SOP Class" and "Storage" in name)
    - _NOT_INSTANCES
) | _NEWER_CLASSES
"""Storage SOP classes, retired ones included (PS3.4 B.5, GG.3; PS3.6 Table A-1)."""
