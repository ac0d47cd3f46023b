"""What a C-MOVE or C-GET asks for: unique keys only (PS3.4 C.4.2.2.1, Y.4), and the instances that they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from gateway.caller import Caller
from gateway.dicom.charset import decode
from gateway.dicom.elements import Element, read_elements
from gateway.dicom.limits import Limits
from gateway.dicom.uids import SYNTAXES, is_uid
from gateway.errors import BadRequest, NotFound
from gateway.retrieve import find
from gateway.search import search
from storage.archive import Archive
from storage.attributes import BY_KEYWORD, UNIQUE_KEYS, Level
from storage.query import MAX_LIST, Condition, Equals, OneOf, Query
from storage.records import Located

CHARACTER_SET, LEVEL = 0x00080005, 0x00080052
_UNIQUE = {attribute.tag: level for level, attribute in UNIQUE_KEYS.items()}
_LIMITS = Limits(depth=8, elements=4096)
_KEEP = 1 << 20
"""Longest value that is read, in bytes: a list of UIDs."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The unique keys of a retrieval at `level`; an empty tuple does not restrict."""

    level: Level
    patient_id: str | None = None
    study_uids: tuple[str, ...] = ()
    series_uids: tuple[str, ...] = ()
    sop_uids: tuple[str, ...] = ()


def understand(identifier: bytes, transfer_syntax_uid: str, top: Level) -> Wanted:
    """Read the identifier of an information model whose top level is `top` (IMAGE: Composite Instance Root).

    One value for the unique key of each level above, one or (of UIDs) several at the level itself. Other keys may be
    there without a value, which matches anything. Raises NotUnderstood, BadRequest naming the key.
    """
    syntax = SYNTAXES[transfer_syntax_uid]
    elements = read_elements(
        BytesIO(identifier),
        0,
        len(identifier),
        implicit=not syntax.explicit,
        little_endian=syntax.little_endian,
        keep=_KEEP,
        limits=_LIMITS,
    )
    by_tag = {element.tag: element for element in elements}
    level = _level(by_tag.get(LEVEL), top)
    charsets = [term.strip() for term in _text(by_tag.get(CHARACTER_SET)).split("\\") if term.strip()]
    values: dict[Level, tuple[str, ...]] = {}
    for element in elements:
        if element.tag in (CHARACTER_SET, LEVEL) or not element.length:
            continue
        asked = _UNIQUE.get(element.tag)
        if asked is None or asked > level:
            raise BadRequest(
                f"{element.tag:08X}", f"({element.tag >> 16:04X},{element.tag & 0xFFFF:04X}) is no key here"
            )
        values[asked] = _values(element, asked, charsets)
    for above in map(Level, range(top, level)):
        if len(values.get(above, ())) != 1:
            keyword = UNIQUE_KEYS[above].keyword
            raise BadRequest(keyword, f"{keyword}: one value is needed at this level")
    if not values.get(level):
        keyword = UNIQUE_KEYS[level].keyword
        raise BadRequest(keyword, f"{keyword} is missing")
    patient = values.get(Level.PATIENT)
    return Wanted(
        level,
        patient[0] if patient else None,
        values.get(Level.STUDY, ()),
        values.get(Level.SERIES, ()),
        values.get(Level.IMAGE, ()),
    )


def instances(archive: Archive, wanted: Wanted, caller: Caller) -> list[Located]:
    """The stored instances that `wanted` names, by study, series number and instance number; none is no error.

    Raises BadRequest, Unavailable, Damaged.
    """
    found: dict[str, Located] = {}
    series_uids, sop_uids = frozenset(wanted.series_uids), frozenset(wanted.sop_uids)
    for place in _places(archive, wanted, caller):
        try:
            below = find(archive, caller, *place)
        except NotFound:  # never there, or deleted since
            continue
        for one in below:
            if (not series_uids or one.series_uid in series_uids) and (not sop_uids or one.sop_uid in sop_uids):
                found[one.sop_uid] = one
    return list(found.values())


def _places(archive: Archive, wanted: Wanted, caller: Caller) -> list[tuple[str, ...]]:
    """Studies, series or instances to look into, by their UIDs."""
    if not wanted.study_uids and wanted.sop_uids:
        matches = search(archive, Query(Level.IMAGE, (_one_of("SOPInstanceUID", wanted.sop_uids),)), caller).matches
        return list(
            dict.fromkeys(
                (str(one.values["StudyInstanceUID"]), str(one.values["SeriesInstanceUID"])) for one in matches
            )
        )
    studies = list(wanted.study_uids)
    if wanted.patient_id is not None:
        conditions: list[Condition] = [Equals(BY_KEYWORD["PatientID"], wanted.patient_id)]
        if studies:
            conditions.append(_one_of("StudyInstanceUID", studies))
        matches = search(archive, Query(Level.STUDY, tuple(conditions)), caller).matches
        studies = [str(one.values["StudyInstanceUID"]) for one in matches]
    if len(wanted.series_uids) == 1:
        return [(study, wanted.series_uids[0], *wanted.sop_uids[: len(wanted.sop_uids) == 1]) for study in studies]
    return [(study,) for study in studies]


def _one_of(keyword: str, values: Sequence[str]) -> Condition:
    attribute = BY_KEYWORD[keyword]
    return Equals(attribute, values[0]) if len(values) == 1 else OneOf(attribute, tuple(values))


def _level(element: Element | None, top: Level) -> Level:
    name = _text(element)
    if name not in Level.__members__ or Level[name] < top:
        raise BadRequest("QueryRetrieveLevel", "Query/Retrieve Level is missing or not of this information model")
    return Level[name]


def _values(element: Element, level: Level, charsets: Sequence[str]) -> tuple[str, ...]:
    keyword = UNIQUE_KEYS[level].keyword
    if element.value is None:
        raise BadRequest(keyword, f"{keyword}: the value is too long")
    if level is Level.PATIENT:
        patient = decode(element.value, charsets).strip(" \0")
        if "\\" in patient:
            raise BadRequest(keyword, f"{keyword}: one value only")
        return (patient,) if patient else ()
    uids = tuple(dict.fromkeys(uid for part in _text(element).split("\\") if (uid := part.strip(" \0"))))
    if len(uids) > MAX_LIST:
        raise BadRequest(keyword, f"{keyword}: a list of more than {MAX_LIST} values")
    if not all(map(is_uid, uids)):
        raise BadRequest(keyword, f"{keyword}: UIDs are needed, without wild cards")
    return uids


def _text(element: Element | None) -> str:
    return (element.value or b"").decode("ascii", "replace").strip(" \0") if element is not None else ""
