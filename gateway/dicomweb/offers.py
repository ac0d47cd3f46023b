"""What each resource is offered as, and in which order (PS3.18 Tables 8.7.3-5, 8.7.4-1 and 10.4.4-1)."""

from __future__ import annotations

from gateway.dicom.uids import SYNTAXES
from gateway.dicomweb.media_types import Offer
from gateway.render import FORMATS

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
FORBIDDEN = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.2"})
"""Implicit VR and Big Endian are never used on the web (PS3.18 8.7.3, GEN-13): they leave as Explicit VR LE."""

_PREFIX = "1.2.840.10008.1.2."
_BULK_SYNTAXES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("image/jpeg",), ("4.70", "4.50", "4.51", "4.57")),
    (("image/dicom-rle",), ("5",)),
    (("image/jls",), ("4.80", "4.81")),
    (("image/jp2", "image/jpx"), ("4.90", "4.91")),
    (("image/jpx", "image/jp2"), ("4.92", "4.93")),
    (("image/jphc",), ("4.201", "4.202", "4.203")),
    (("image/jxl",), ("4.110", "4.111", "4.112")),
    (("video/mpeg",), ("4.100", "4.100.1", "4.101", "4.101.1")),
    (
        ("video/mp4",),
        ("4.102", "4.102.1", "4.103", "4.103.1", "4.104", "4.104.1", "4.105", "4.105.1", "4.106", "4.106.1"),
    ),
    (("video/H265",), ("4.107", "4.108")),
)
BULK_TYPES: dict[str, tuple[str, ...]] = {
    _PREFIX + end: tuple(name.lower() for name in types) for types, ends in _BULK_SYNTAXES for end in ends
}
"""Media types that frames of a transfer syntax are sent as, the standard's first (TS-02 to TS-11)."""

METADATA = (Offer("application/dicom+json"), Offer("application/json"))
SEARCH = METADATA
STORE_RESPONSE = METADATA


def instances(stored: str, *, explicit: bool, single: bool) -> list[Offer]:
    """Offers for an instance (`single`), or for one part of a study or series (MT-01).

    `explicit` makes Explicit VR Little Endian the default of `application/dicom`, as NEG-09 says: where only lossy data
    are held, or they cannot be decoded, it stays the stored syntax. `*/*` always gets the bytes as they are stored.
    """
    found: list[Offer] = []
    for multipart in (True, False) if single else (True,):
        found += _both("application/dicom", multipart, stored, explicit=explicit)
    return found


def frames(stored: str, *, explicit: bool, single: bool) -> list[Offer]:
    """Offers for frames (MT-03); `single` when one frame is asked for, which needs no multipart.

    Native frames have one form. Compressed ones come as they are stored, under octet-stream or their own type, or
    decoded; decoding is the default of octet-stream even for lossy data, since that is what the type means (TS-01).
    """
    found: list[Offer] = []
    for multipart in (True, False) if single else (True,):
        found += _both("application/octet-stream", multipart, stored, explicit=explicit, pixels=True)
        found += [Offer(name, multipart, stored, stored=True) for name in BULK_TYPES.get(stored, ())]
    return found


def rendered(*, several: bool) -> list[Offer]:
    """Offers for pictures (RT-01); where there are several, also all of them as multipart (RP-09)."""
    return [Offer(name, multipart) for multipart in ((False, True) if several else (False,)) for name in FORMATS]


def decodable(stored: str) -> bool:
    """Pixels of this transfer syntax can be decoded one frame at a time: known, and no video."""
    facts = SYNTAXES.get(stored)
    return facts is not None and not facts.video


def _both(media_type: str, multipart: bool, stored: str, *, explicit: bool, pixels: bool = False) -> list[Offer]:
    """The stored form, and Explicit VR Little Endian where that is another one and can be made.

    `pixels` are frames without a data set around them: a deflated data set has none of its own (TS-15).
    """
    facts = SYNTAXES.get(stored)
    if stored in FORBIDDEN or stored == EXPLICIT_LITTLE_ENDIAN or (pixels and facts and facts.deflated):
        return [Offer(media_type, multipart, EXPLICIT_LITTLE_ENDIAN, stored=True)]
    if not decodable(stored):
        return [Offer(media_type, multipart, stored, stored=True)]
    decoded = explicit and (pixels or not (facts and facts.lossy))
    return [
        Offer(media_type, multipart, stored, stored=True, default=not decoded),
        Offer(media_type, multipart, EXPLICIT_LITTLE_ENDIAN, default=decoded),
    ]
