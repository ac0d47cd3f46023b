"""What each resource is offered as, and in which order (PS3.18 Tables 8.7.3-5, 8.7.4-1 and 10.4.4-1)."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.dicom.uids import SYNTAXES
from gateway.dicomweb.media_types import MediaRange, Offer
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

DEFAULTS = frozenset(_PREFIX + end for end in ("5", "4.70", "4.80", "4.90", "4.92", "4.201", "4.110"))
"""What a bulk data media type is given in when no transfer syntax is named (TS-02 to TS-08)."""

OCTETS = "application/octet-stream"
FILE = "application/dicom"
ZIP = "application/zip"
XML = "application/dicom+xml"
METADATA = (Offer("application/dicom+json"), Offer("application/json"), Offer(XML, multipart=True))
SEARCH = METADATA
STORE_RESPONSE = (Offer("application/dicom+json"), Offer("application/json"), Offer(XML))

Tries = Sequence[Sequence[MediaRange]]


def wants_more(tries: Tries, stored: str) -> bool:
    """Whether a client names something that is neither the stored form nor Explicit VR Little Endian.

    Only then is the instance looked at for what else can be made of it: that takes a read.
    """
    own = BULK_TYPES.get(stored, ())
    for one in (one for ranges in tries for one in ranges if one.quality > 0):
        if any(uid not in (stored, EXPLICIT_LITTLE_ENDIAN, "*") for uid in one.syntaxes):
            return True
        if one.media_type.startswith("image/") and one.media_type not in own:
            return True
    return False


def files(media_type: str, stored: str, *, explicit: bool, single: bool, possible: Sequence[str] = ()) -> list[Offer]:
    """Offers for an instance (`single`), or for one part of a study or series, as a file (MT-01).

    `explicit` makes Explicit VR Little Endian the default of `application/dicom`, as NEG-09 says: where only lossy data
    are held, or they cannot be decoded, it stays the stored syntax. `*/*` always gets the bytes as they are stored.
    `possible` are the transfer syntaxes that can be made.
    """
    found: list[Offer] = []
    for multipart in (True, False) if single else (True,):
        found += _both(media_type, multipart, stored, explicit=explicit)
        found += [Offer(media_type, multipart, uid, default=False) for uid in _others(stored, possible)]
    return found


def instances(stored: str, *, explicit: bool, single: bool, possible: Sequence[str] = ()) -> list[Offer]:
    """As `files`, of type `application/dicom`."""
    return files(FILE, stored, explicit=explicit, single=single, possible=possible)


def archive(stored: str, possible: Sequence[str] = ()) -> list[Offer]:
    """Offers for the files of a zip archive (MT-07): as they are stored unless a transfer syntax is named."""
    offered = [*_both(ZIP, False, stored, explicit=False)]
    return offered + [Offer(ZIP, False, uid, default=False) for uid in _others(stored, possible)]


def frames(stored: str, *, explicit: bool, single: bool, possible: Sequence[str] = ()) -> list[Offer]:
    """Offers for frames (MT-03); `single` when one frame is asked for, which needs no multipart.

    Compressed ones come as they are stored, under octet-stream or their own type, or decoded; decoding is the default
    of octet-stream even for lossy data, since that is what the type means (TS-01). Others are compressed when a client
    names a type or transfer syntax that they can be had in (`possible`).
    """
    found: list[Offer] = []
    for multipart in (True, False) if single else (True,):
        as_stored, *decoded = _both(OCTETS, multipart, stored, explicit=explicit, pixels=True)
        # The stored form under its own type comes before decoding: viewers list all that they can read, in any order.
        found += [as_stored, *(Offer(name, multipart, stored, stored=True) for name in BULK_TYPES.get(stored, ()))]
        found += decoded
        for uid in _others(stored, possible):
            if SYNTAXES[uid].deflated:  # that is a form of data sets, not of frames (TS-15)
                continue
            found += [Offer(name, multipart, uid, default=uid in DEFAULTS) for name in BULK_TYPES.get(uid, ())]
            found.append(Offer(OCTETS, multipart, uid, default=False))
    return found


def _others(stored: str, possible: Sequence[str]) -> list[str]:
    return [uid for uid in possible if uid not in (stored, EXPLICIT_LITTLE_ENDIAN) and uid not in FORBIDDEN]


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
