"""Search results as DICOM JSON objects (PS3.18 10.6.3): what an object holds is worked out once for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache, lru_cache, partial

import orjson

from gateway.dicomweb.dicom_json import DataSet, Element, Writer, element, key, ordered, sequence, writer
from gateway.dicomweb.resources import instance_url
from gateway.dicomweb.result_rows import Place, RowWriter
from storage.attributes import SEQUENCES, UNIQUE_KEYS, Attribute, Level, Returned
from storage.records import Item, Match, Table

_RETRIEVE_URL = 0x00081190
_SAID_OF_ALL = {0x00080005: element("CS", "ISO_IR 192"), 0x00080056: element("CS", "ONLINE")}
_UIDS = tuple(UNIQUE_KEYS[level].keyword for level in (Level.STUDY, Level.SERIES, Level.IMAGE))
_OF_EACH = frozenset({*_UIDS, "InstanceNumber", "ContentTime"})
"""What differs from result to result; the elements of other values are made once."""

MANY = 32
"""Results from which on it is worth making the element of a value that repeats only once."""


@dataclass(frozen=True, slots=True)
class _Form:
    """What the results of a search hold, in the order of tags: before and after Retrieve URL; and its sequences."""

    before: tuple[Place, ...]
    after: tuple[Place, ...]
    sequences: tuple[tuple[str, str, tuple[tuple[str, str, Writer], ...]], ...]


@lru_cache(maxsize=500)
def _form(returned: tuple[Attribute, ...], named: frozenset[str]) -> _Form:
    """Worked out once for all searches that return the same."""
    places: dict[int, Place] = {tag: (key(tag), "", None, said) for tag, said in _SAID_OF_ALL.items()}
    for one in returned:
        if one.sequence is None:
            left_out = one.returned is Returned.KNOWN and one.keyword not in named
            empty = None if left_out else Element(vr=one.vr)
            places[one.tag] = (key(one.tag), one.keyword, writer(one.vr, multiple=one.multiple), empty)
    before = sorted(tag for tag in places if tag < _RETRIEVE_URL)
    after = sorted(tag for tag in places if tag > _RETRIEVE_URL)
    sequences = []
    for name, tag in SEQUENCES.items():
        inner = sorted((one for one in returned if one.sequence == name), key=lambda one: one.tag)
        if inner:
            members = tuple((one.keyword.rpartition(".")[2], key(one.tag), writer(one.vr)) for one in inner)
            sequences.append((name, key(tag), members))
    return _Form(tuple(places[tag] for tag in before), tuple(places[tag] for tag in after), tuple(sequences))


def _once(places: Sequence[Place]) -> tuple[Place, ...]:
    """The same, making each element of a value that repeats only once."""
    return tuple(
        (tag, keyword, write if write is None or keyword in _OF_EACH else cache(write), unknown)
        for tag, keyword, write, unknown in places
    )


class Dresser:
    """Turns matches of one search into DICOM JSON objects with ascending keys (QIDO-05 to 10, QIDO-27, JSON-01).

    `many`: there are so many results that they are likely to have values in common.
    """

    def __init__(
        self,
        returned: Sequence[Attribute],
        level: Level,
        root: str,
        named: Set[str] = frozenset(),
        *,
        many: bool = False,
    ) -> None:
        self._root = root
        self._uids = _UIDS[:level]
        self._form = form = _form(tuple(returned), frozenset(named))
        self._before, self._after = (_once(form.before), _once(form.after)) if many else (form.before, form.after)
        self._sequences = form.sequences

    def json(self, matches: Sequence[Match]) -> bytes:
        """All results as an array: what `dress` makes of each, one after the other."""
        if not isinstance(matches, Table) or not self._uids:
            return orjson.dumps([self.dress(match) for match in matches])
        rows = RowWriter(matches.keywords, frozenset({self._uids[-1], "InstanceNumber", "ContentTime"}))
        rows.add(self._form.before)
        rows.add_url(key(_RETRIEVE_URL), self._uids, partial(instance_url, self._root))
        rows.add(self._form.after)
        return rows.write(matches)

    def dress(self, match: Match) -> DataSet:
        """One result."""
        values = match.values
        found: DataSet = {}
        _write(found, self._before, values)
        uids = [str(values.get(keyword)) for keyword in self._uids]
        found["00081190"] = {"vr": "UR", "Value": [instance_url(self._root, *uids)]}
        _write(found, self._after, values)
        more = False
        for name, tag, members in self._sequences:
            items = values.get(name)
            if isinstance(items, tuple) and items:
                found[tag] = sequence([_item(item, members) for item in items])
                more = True
        if match.data:
            found.update(match.data)  # type: ignore[arg-type]
        return ordered(found) if more or match.data else found


def _write(found: DataSet, places: Sequence[Place], values: Mapping[str, object]) -> None:
    for tag, keyword, write, unknown in places:
        value = values.get(keyword)
        if value is None:
            if unknown is not None:
                found[tag] = unknown
        elif write is not None:
            found[tag] = write(value)  # type: ignore[arg-type]


def _item(item: Item, members: Sequence[tuple[str, str, Writer]]) -> DataSet:
    return {tag: write(item[name]) for name, tag, write in members if name in item}
