"""What a client accepts, and which of our offers it gets (PS3.18 8.7.5 to 8.7.8): one parser, one chooser.

The tables of what is on offer for each resource are in `offers.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from gateway.errors import BadRequest, NotAcceptable

MAX_RANGES = 128
"""More media ranges than any client has a use for are refused unread (S-55)."""
MAX_LENGTH = 16_384

ALIASES = {
    "application/x-dicom": "application/dicom",
    "image/dicom+jpeg": "image/jpeg",
    "image/dicom+jp2": "image/jp2",
    "image/dicom+jpx": "image/jpx",
    "image/dicom+rle": "image/dicom-rle",
    "image/jhc": "image/jphc",
    "image/jpg": "image/jpeg",
    "image/x-dicom-rle": "image/dicom-rle",
    "image/x-jls": "image/jls",
    "image/x-jpeg-ls": "image/jls",
}
"""Older and vendors' names, taken on input only (NEG-14)."""

_DICOM_ONLY = frozenset({"application/dicom", "application/dicom+json", "application/dicom+xml"})
_RENDERED_ONLY = frozenset({"image/png", "image/gif", "text/html", "text/plain", "text/rtf", "application/rtf"})

_TYPE = re.compile(r"[a-z0-9!#$&^_.+*-]{1,127}/[a-z0-9!#$&^_.+*-]{1,127}")
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[,;]|[^",;]+|"')


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One acceptable type. `media_type` is the root type of a multipart; `syntaxes` those of `transfer-syntax`."""

    media_type: str
    multipart: bool = False
    syntaxes: tuple[str, ...] = ()
    quality: float = 1.0


@dataclass(frozen=True, slots=True)
class Offer:
    """One way a resource can be sent.

    `syntax` is the transfer syntax of the bytes, None where the type has none. `stored` marks bytes as they are stored,
    which `transfer-syntax=*` asks for; `default` what the type gives without that parameter (NEG-09). The first offer
    of a list is the resource's default, the one that `*/*` stands for (NEG-06).
    """

    media_type: str
    multipart: bool = False
    syntax: str | None = None
    stored: bool = False
    default: bool = True

    @property
    def content_type(self) -> str:
        """The type of one part, or of a body that is not multipart."""
        return self.media_type if self.syntax is None else f"{self.media_type}; transfer-syntax={self.syntax}"

    def __str__(self) -> str:
        if not self.multipart:
            return self.content_type
        syntax = "" if self.syntax is None else f"; transfer-syntax={self.syntax}"
        return f'multipart/related; type="{self.media_type}"{syntax}'


@lru_cache(512)
def parse(header: str) -> Sequence[MediaRange]:
    """The media ranges of an Accept header; what is malformed is left out (NEG-03), in time linear in its length.

    Raises NotAcceptable for one that is too long to be meant.
    """
    if len(header) > MAX_LENGTH or header.count(",") >= MAX_RANGES:
        raise NotAcceptable(f"Accept: at most {MAX_RANGES} media ranges in {MAX_LENGTH} characters")
    ranges: list[MediaRange] = []
    for pieces in _split(header):
        found = _range(pieces)
        if found is not None:
            ranges.append(found)
    return tuple(ranges)


def parse_content_type(header: str) -> tuple[str, dict[str, str]]:
    """A Content-Type: its media type in lower case, and its parameters by name; the first of a repeated one counts."""
    elements = _split(header)
    parameters: dict[str, str] = {}
    for piece in elements[0][1:]:
        name, value = _parameter(piece)
        parameters.setdefault(name, value)
    media_type = elements[0][0].strip().lower()
    return ALIASES.get(media_type, media_type), parameters


def acceptable(header: str | None, query: str | None, *, strict: bool = False) -> list[Sequence[MediaRange]]:
    """What to try, in order: the types of the `accept` query parameter, then those of the header (NEG-04).

    A missing header is `*/*`, or nothing at all where `strict` (NEG-01). The parameter takes no wildcards, and each of
    its types must be covered by the header (GEN-06); a `+` that arrived as a space, as in
    `accept=application/dicom+json`, is put back.
    """
    missing = header is None or not header.strip()
    if missing and strict:
        return []
    ranges: Sequence[MediaRange] = [MediaRange("*/*")] if missing else parse(header or "")
    if not query:
        return [ranges]
    asked = parse(query.replace("dicom json", "dicom+json").replace("dicom xml", "dicom+xml"))
    covered = [one for one in asked if "*" not in one.media_type and any(_covers(other, one) for other in ranges)]
    return [covered, ranges] if covered else [ranges]


def choose(tries: Sequence[Sequence[MediaRange]], offers: Sequence[Offer]) -> Offer | None:
    """The offer with the highest quality, each taking that of the most specific range that covers it (NEG-05).

    Ties go to the earlier offer. None when nothing is acceptable.
    """
    for ranges in tries:
        best: tuple[float, Offer] | None = None
        for position, offer in enumerate(offers):
            quality = _quality(ranges, offer, first=position == 0)
            if quality > 0 and (best is None or quality > best[0]):
                best = (quality, offer)
        if best is not None:
            return best[1]
    return None


def negotiate(tries: Sequence[Sequence[MediaRange]], offers: Sequence[Offer], stored: str | None = None) -> Offer:
    """The chosen offer. Raises NotAcceptable with the offers (406), BadRequest for a mix that NEG-02 forbids."""
    for ranges in tries:
        _check_mix(ranges)
    found = choose(tries, offers)
    if found is None:
        raise not_acceptable(offers, stored)
    return found


def not_acceptable(offers: Sequence[Offer], stored: str | None = None) -> NotAcceptable:
    """The 406 that lists what is on offer (SC-406)."""
    names = list(dict.fromkeys(str(offer) for offer in offers))
    return NotAcceptable("None of the acceptable media types is on offer for this resource.", names, stored)


def _check_mix(ranges: Sequence[MediaRange]) -> None:
    types = {one.media_type for one in ranges if one.quality > 0 and not (one.multipart and "*" in one.media_type)}
    if types & _DICOM_ONLY and types & _RENDERED_ONLY:
        raise BadRequest("Accept", "DICOM and rendered media types cannot be asked for together (PS3.18 8.7.5)")


def _quality(ranges: Sequence[MediaRange], offer: Offer, *, first: bool) -> float:
    best = (0, 0.0)
    for one in ranges:
        rank = _specificity(one, offer, first=first)
        if rank and (rank, one.quality) > best:
            best = (rank, one.quality)
    return best[1]


def _specificity(one: MediaRange, offer: Offer, *, first: bool) -> int:
    """0 when the range does not cover the offer; more when it names more of it."""
    if one.media_type == "*/*":
        if not one.multipart:
            return 1 if first else 0
        # any type: as stored, like `*/*`; what has no transfer syntax is offered by default only
        return 2 if offer.multipart and (offer.stored or (offer.syntax is None and offer.default)) else 0
    if one.multipart != offer.multipart or not _same_type(one.media_type, offer.media_type):
        return 0
    wildcard = one.media_type.endswith("/*")
    if offer.syntax is not None and offer.syntax in one.syntaxes:
        return 3 if wildcard else 6
    if one.syntaxes and offer.syntax is not None:
        if "*" not in one.syntaxes:
            return 0
        # `*`: as stored, else what the type gives without the parameter (NEG-08); the stored form is offered first
        return (3 if wildcard else 4) if offer.stored or offer.default else 0
    if not offer.default:
        return 0
    return 3 if wildcard else 5


def _same_type(pattern: str, media_type: str) -> bool:
    return pattern == media_type or (pattern.endswith("/*") and media_type.startswith(pattern[:-1]))


def _covers(header: MediaRange, asked: MediaRange) -> bool:
    if header.quality <= 0:
        return False
    if header.media_type == "*/*":
        return asked.multipart or not header.multipart
    return header.multipart == asked.multipart and _same_type(header.media_type, asked.media_type)


def _split(header: str) -> list[list[str]]:
    """Comma-separated elements, each split at its semicolons; both are ordinary characters inside quotes."""
    elements: list[list[str]] = [[""]]
    for token in _TOKENS.findall(header):
        if token == ",":
            elements.append([""])
        elif token == ";":
            elements[-1].append("")
        else:
            elements[-1][-1] += token
    return elements


def _range(pieces: Sequence[str]) -> MediaRange | None:
    media_type = pieces[0].strip().lower()
    if media_type == "*":  # sent by old Java clients
        media_type = "*/*"
    parameters = [_parameter(piece) for piece in pieces[1:]]
    multipart = media_type.startswith("multipart/")
    if multipart:
        root = next((value for name, value in parameters if name == "type"), "*/*")
        # Seen: type="image/jpeg; transfer-syntax=1.2.840.10008.1.2.4.50"
        media_type, *inner = (piece.strip() for piece in root.split(";"))
        media_type = media_type.lower()
        parameters += [_parameter(piece) for piece in inner]
    if not _TYPE.fullmatch(media_type):
        return None
    syntaxes = tuple(dict.fromkeys(value for name, value in parameters if name == "transfer-syntax" and value))
    quality = next((_number(value) for name, value in parameters if name == "q"), 1.0)
    return MediaRange(ALIASES.get(media_type, media_type), multipart, syntaxes, quality)


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    return name.strip().lower(), value.strip().strip('"')


def _number(text: str) -> float:
    """A quality value; 1 for what is none, since an invalid parameter counts as absent (NEG-03)."""
    return float(text) if re.fullmatch(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?", text) else 1.0
