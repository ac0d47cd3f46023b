"""Searches for what the index does not hold: the data set that describes each candidate is read, in a few threads.

The keys that the index holds narrow the candidates first, and there is a limit to how many are read. The elements that
were read are remembered for the next page of the same search: an instance's version never changes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Lock
from typing import Any

from gateway import retrieve
from gateway.dicom.header import Header
from gateway.dicom.metadata import to_json
from gateway.errors import Damaged, NotUnderstood, SyntaxNotSupported, TooBroad
from gateway.search.selection import Branch, fits, part, tags, tree
from storage.archive import Archive
from storage.attributes import ATTRIBUTES
from storage.query import Condition, Query
from storage.records import Located, Match, Page

THREADS = 8
REMEMBERED = 4096
"""Data sets of which some elements are kept in memory, a few kilobytes each."""

_CHARACTER_SET, _TIMEZONE = 0x00080005, 0x00080201
Wanted = tuple[frozenset[int], frozenset[int], str]


def search(archive: Archive, ask: Callable[[Query], Page], query: Query, scan_limit: int, root: str) -> Page:
    """As `gateway.search.search`, for a query with keys or return attributes beyond the index. Raises TooBroad."""
    deep = _deep(query.conditions)
    asked = tree(deep, [*query.beyond, *_shown_beside(query)])
    shallow = tuple(one for one in query.conditions if one.attribute.indexed)
    narrowed = replace(query, conditions=shallow, beyond=(), located=True)
    if not deep:
        limit = scan_limit if query.limit is None else min(query.limit, scan_limit)
        page = ask(replace(narrowed, limit=limit))
        found, unread = _read(archive, page.matches, asked, root, strict=False)
        return Page(tuple(found), page.total, unread)
    page = ask(replace(narrowed, limit=scan_limit, offset=0))
    if page.total > scan_limit:
        names = ", ".join(sorted({one.attribute.keyword for one in deep if not one.attribute.indexed}))
        raise TooBroad(
            f"{page.total} candidates are left by the other keys, and {names} can only be matched by reading each of "
            f"them, up to {scan_limit}. Add a key of the index, such as a range of Study Date, Patient ID, Modality or "
            "a UID."
        )
    found, unread = _read(archive, page.matches, asked, root, strict=True)
    end = None if query.limit is None else query.offset + query.limit
    return Page(tuple(found[query.offset : end]), len(found), unread)


def _deep(conditions: Iterable[Condition]) -> list[Condition]:
    """Conditions beyond the index, and those of the index that have to hold in the same item of a sequence."""
    conditions = list(conditions)
    sequences = {one.attribute.steps[0] for one in conditions if not one.attribute.indexed}
    return [one for one in conditions if not one.attribute.indexed or one.attribute.steps[0] in sequences]


def _shown_beside(query: Query) -> list[Any]:
    """Attributes of the index in sequences of which more is returned: a sequence is returned from one place."""
    beyond = [*query.beyond, *(one.attribute for one in query.conditions if not one.attribute.indexed)]
    sequences = {one.steps[0] for one in beyond}
    return [one for one in ATTRIBUTES if one.sequence and one.steps[0] in sequences]


def _read(
    archive: Archive, candidates: Sequence[Match], asked: Branch, root: str, *, strict: bool
) -> tuple[list[Match], int]:
    """The candidates that fit, with their elements; and how many could not be read.

    Those are no matches when there are conditions (`strict`), else matches without the elements.
    """
    wanted: Wanted = (*tags(asked), root)

    def one(candidate: Match) -> tuple[Match | None, bool]:
        data = None if candidate.instance is None else _elements(archive, candidate.instance, wanted)
        if data is None:
            return (None if strict else candidate), True
        if strict and not fits(data, asked):
            return None, False
        return replace(candidate, data=part(data, asked)), False

    if len(candidates) < 2:
        results = [one(candidate) for candidate in candidates]
    else:
        with ThreadPoolExecutor(min(THREADS, len(candidates)), thread_name_prefix="search") as threads:
            results = list(threads.map(one, candidates))
    return [match for match, _ in results if match is not None], sum(unread for _, unread in results)


def _elements(archive: Archive, located: Located, wanted: Wanted) -> dict[str, Any] | None:
    """The wanted elements of a data set in the DICOM JSON Model, by one ranged read; None when it is damaged."""
    key = (located.version, wanted)
    found = _memory.get(key)
    if found is None:
        try:
            header = retrieve.header(archive, located)
        except (Damaged, NotUnderstood, SyntaxNotSupported):
            return None
        found = _convert(header, located, wanted)
        _memory.put(key, found)
    return found


def _convert(header: Header, located: Located, wanted: Wanted) -> dict[str, Any]:
    public, groups, root = wanted
    public |= {_CHARACTER_SET, _TIMEZONE}
    elements = [one for one in header.elements if one.tag in public or (one.tag & 0x10000 and one.tag >> 16 in groups)]
    kept = Header(header.meta, header.syntax, elements, None, header.dataset_offset, header.size)
    place = f"{root}/studies/{located.study_uid}/series/{located.series_uid}/instances/{located.sop_uid}/bulkdata/"
    found = to_json(kept, place.__add__)
    return found


class Memory:
    """The elements that were wanted last, of `limit` data sets at most."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, Wanted], dict[str, Any]] = OrderedDict()

    def get(self, key: tuple[str, Wanted]) -> dict[str, Any] | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: tuple[str, Wanted], found: dict[str, Any]) -> None:
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)


_memory = Memory()
