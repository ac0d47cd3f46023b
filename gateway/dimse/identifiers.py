"""Identifiers of C-FIND: what is asked, and how a match is answered (PS3.4 C.4.1.1.3, C.4.1.2).

A request becomes an `Asked`, which holds the query and the requested keys; each match becomes the bytes of a response
identifier. Nothing of an identifier is ever logged.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

from gateway.dicom.charset import decode, decode_pn
from gateway.dicom.elements import Element, read_elements
from gateway.dicom.limits import Limits
from gateway.dicom.uids import SYNTAXES
from gateway.errors import BadRequest
from storage.attributes import ATTRIBUTES, BY_KEYWORD, SEQUENCES, UNIQUE_KEYS, Attribute, Level
from storage.query import (
    MATCHABLE_COMPUTED,
    Between,
    Condition,
    Equals,
    MomentBetween,
    Query,
    combined_range,
    one_of,
)

CHARACTER_SET, LEVEL, RETRIEVE_AET, AVAILABILITY = 0x00080005, 0x00080052, 0x00080054, 0x00080056
TIMEZONE = "TimezoneOffsetFromUTC"
_NOT_KEYS = frozenset({CHARACTER_SET, LEVEL, 0x00080053, RETRIEVE_AET, AVAILABILITY})
_BY_TAG: Mapping[int, Attribute] = {a.tag: a for a in ATTRIBUTES if a.sequence is None}
_SEQUENCE_NAMES: Mapping[int, str] = {tag: keyword for keyword, tag in SEQUENCES.items()}
_IN_SEQUENCE: Mapping[tuple[str, int], Attribute] = {(a.sequence, a.tag): a for a in ATTRIBUTES if a.sequence}
_MOMENTS = (
    ("StudyDate", "StudyTime"),
    ("SeriesDate", "SeriesTime"),
    ("ContentDate", "ContentTime"),
    ("PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime"),
)
_LIMITS = Limits(depth=8, elements=4096)
"""Of one identifier: each match is answered with all its keys."""


@dataclass(frozen=True, slots=True)
class Model:
    """An information model: its top level (PS3.4 C.6.1, C.6.2), and what extended negotiation agreed on (C.5.1.1)."""

    top: Level
    relational: bool = False
    combined_times: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """A requested key in the order of tags. `attribute` is None for one that we do not have, or not at this level.

    `items` are the keys within a sequence.
    """

    tag: int
    vr: str
    attribute: Attribute | None = None
    sequence: str | None = None
    items: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A C-FIND request understood. `lower` are conditions on levels below (relational queries only).

    `unsupported` tells that an optional key was not supported, for matching or for return: responses are FF01.
    """

    query: Query
    lower: tuple[Condition, ...]
    keys: tuple[Key, ...]
    charsets: tuple[str, ...]
    unsupported: bool


def understand(identifier: bytes, transfer_syntax_uid: str, model: Model) -> Asked:
    """Read a request identifier. Raises NotUnderstood, BadRequest (names the key), QueryRefused."""
    syntax = SYNTAXES[transfer_syntax_uid]
    elements = read_elements(
        BytesIO(identifier),
        0,
        len(identifier),
        implicit=not syntax.explicit,
        little_endian=syntax.little_endian,
        limits=_LIMITS,
    )
    return _Reading(elements, model, little_endian=syntax.little_endian).asked()


class _Reading:
    def __init__(self, elements: Sequence[Element], model: Model, *, little_endian: bool) -> None:
        self._elements = elements
        self._model = model
        self._short = struct.Struct("<H" if little_endian else ">H")
        self._charsets: tuple[str, ...] = ()
        self._conditions: list[Condition] = []
        self._lower: list[Condition] = []
        self._texts: dict[str, str] = {}
        self._unsupported = False

    def asked(self) -> Asked:
        by_tag = {element.tag: element for element in self._elements}
        if (charset := by_tag.get(CHARACTER_SET)) is not None:
            self._charsets = tuple(term.strip() for term in _ascii(charset).split("\\") if term.strip())
        self._level = self._read_level(by_tag.get(LEVEL))
        keys = [self._key(element) for element in self._elements]
        if not self._model.relational:
            self._check_hierarchy()
        if self._model.combined_times:
            self._combine()
        wanted = frozenset(key.attribute.keyword for key in keys if key and key.attribute)
        shown = wanted | {key.sequence for key in keys if key and key.sequence}
        query = Query(self._level, tuple(self._conditions), wanted=wanted, shown=shown)
        kept = tuple(key for key in keys if key is not None)
        return Asked(query, tuple(self._lower), kept, self._charsets, self._unsupported)

    def _read_level(self, element: Element | None) -> Level:
        name = _ascii(element) if element is not None else ""
        try:
            level = Level[name]
        except KeyError:
            raise BadRequest("QueryRetrieveLevel", "Query/Retrieve Level is missing or unknown") from None
        if level < self._model.top:
            raise BadRequest("QueryRetrieveLevel", f"{name} is no level of this information model")
        return level

    def _key(self, element: Element) -> Key | None:
        if element.tag in _NOT_KEYS:
            return Key(element.tag, element.vr) if element.tag == AVAILABILITY else None
        if element.tag in _SEQUENCE_NAMES and element.items is not None:
            return self._sequence(element)
        if element.items is not None:
            self._unsupported = True
            return Key(element.tag, "SQ")
        attribute = _BY_TAG.get(element.tag)
        if attribute is None:
            self._unsupported = True
            return Key(element.tag, element.vr)
        self._match(attribute, self._text(element, attribute))
        if attribute.level > self._level:
            self._unsupported = True
            return Key(element.tag, attribute.vr)
        return Key(element.tag, attribute.vr, attribute)

    def _sequence(self, element: Element) -> Key:
        """Sequence matching: one item with the keys to be matched in it (PS3.4 C.2.2.2.6)."""
        name = _SEQUENCE_NAMES[element.tag]
        assert element.items is not None
        if len(element.items) > 1:
            raise BadRequest(name, f"{name}: one item at most is allowed in a sequence key")
        items = []
        for inner in element.items[0] if element.items else []:
            attribute = _IN_SEQUENCE.get((name, inner.tag))
            if attribute is None:
                self._unsupported = True
                items.append(Key(inner.tag, "SQ" if inner.items is not None else inner.vr))
                continue
            self._match(attribute, self._text(inner, attribute))
            items.append(Key(inner.tag, attribute.vr, attribute))
        known = [a for (sequence, _), a in _IN_SEQUENCE.items() if sequence == name]
        if known[0].level > self._level:
            self._unsupported = True
            return Key(element.tag, "SQ")
        return Key(element.tag, "SQ", sequence=name, items=tuple(items) or tuple(Key(a.tag, a.vr, a) for a in known))

    def _match(self, attribute: Attribute, text: str) -> None:
        """Add the condition of one key, if it has a value to be matched."""
        if not text:
            return
        if attribute.keyword == TIMEZONE or (attribute.computed and attribute.keyword not in MATCHABLE_COMPUTED):
            self._unsupported = True  # returned, but no matching key
            return
        condition = one_of(attribute, text.split("\\"))
        self._texts[attribute.keyword] = text
        if condition is None:
            return
        if attribute.level <= self._level:
            self._conditions.append(condition)
        elif self._model.relational:
            self._lower.append(condition)
        else:
            raise BadRequest(attribute.keyword, f"{attribute.keyword} is a key of a lower level")

    def _check_hierarchy(self) -> None:
        """One value for the unique key of every level above (PS3.4 C.4.1.2.1)."""
        single = {c.attribute.keyword for c in self._conditions if isinstance(c, Equals)}
        for level in range(self._model.top, self._level):
            unique = UNIQUE_KEYS[Level(level)]
            if unique.keyword not in single:
                raise BadRequest(unique.keyword, f"{unique.keyword}: one value is needed at this level")

    def _combine(self) -> None:
        """Date and time ranges as one interval (PS3.4 C.2.2.2.5.4), where negotiated."""
        for date, time in _MOMENTS:
            if date not in self._texts or time not in self._texts:
                continue
            both = combined_range(BY_KEYWORD[date], self._texts[date], BY_KEYWORD[time], self._texts[time])
            if len(both) == 1 and isinstance(both[0], MomentBetween):
                for conditions in (self._conditions, self._lower):
                    if any(c.attribute.keyword == date for c in conditions):
                        conditions[:] = [
                            c
                            for c in conditions
                            if not (isinstance(c, Between) and c.attribute.keyword in {date, time})
                        ] + [both[0]]

    def _text(self, element: Element, attribute: Attribute) -> str:
        raw = element.value
        if raw is None:
            raise BadRequest(attribute.keyword, f"{attribute.keyword}: the value is too long")
        if attribute.vr == "US":
            return "\\".join(str(number) for (number,) in self._short.iter_unpack(raw[: len(raw) // 2 * 2]))
        if attribute.vr == "PN":
            return decode_pn(raw, self._charsets).strip(" \0")
        return decode(raw, self._charsets).strip(" \0")


def _ascii(element: Element) -> str:
    return (element.value or b"").decode("ascii", "replace").strip(" \0")
