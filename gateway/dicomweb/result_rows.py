"""Rows of the index as JSON, without a data set for each: what repeats from row to row is written once.

The elements of a result lie in runs. Those whose values are likely to be the same in the next row are looked up
together; only what differs from row to row is written for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import orjson

from gateway.dicomweb.dicom_json import Element, Writer, element
from storage.records import Table

Place = tuple[str, str, Writer | None, Element | None]
"""Key of the element, keyword of its value, what writes it, and what stands there when it is unknown."""

Piece = Callable[[Sequence[Any]], bytes]
"""Some members of the object of a row, each with a comma behind it."""


class RowWriter:
    """Writes the rows of a table whose columns are `keywords`; values of those in `alone` differ from row to row."""

    def __init__(self, keywords: Sequence[str], alone: frozenset[str]) -> None:
        self._columns = {keyword: at for at, keyword in enumerate(keywords)}
        self._alone = alone
        self._pieces: list[Piece] = []

    def add(self, places: Sequence[Place]) -> None:
        """Elements that come next, in ascending order."""
        run: list[Place] = []
        for place in places:
            if place[1] not in self._alone:
                run.append(place)
                continue
            self._add_run(run)
            run = []
            self._pieces.append(_single(place, self._columns.get(place[1])))
        self._add_run(run)

    def add_url(self, key: str, keywords: Sequence[str], url: Callable[..., str]) -> None:
        """An element that holds the URL of a row: `url` of its values of `keywords`, of which the last ends it."""
        *above, own = [self._columns[keyword] for keyword in keywords]
        starts: dict[Any, bytes] = {}
        upper = itemgetter(*above) if above else _nothing

        def piece(row: Sequence[Any]) -> bytes:
            values = upper(row)
            start = starts.get(values)
            if start is None:
                text = url(*(values if len(above) > 1 else [values] if above else []), "")
                start = starts[values] = _member(key, element("UR", text))[: -len(b'"]},')]
            return b'%b%b"]},' % (start, orjson.dumps(row[own])[1:-1])

        self._pieces.append(piece)

    def write(self, table: Table) -> bytes:
        """All rows as an array of objects."""
        pieces = self._pieces
        return b"[%b]" % b",".join([b"{%b}" % b"".join([piece(row) for piece in pieces])[:-1] for row in table.rows])

    def _add_run(self, run: Sequence[Place]) -> None:
        there = [place for place in run if place[1] in self._columns]
        if not there:
            said = b"".join(_written(place, None) for place in run)
            if said:
                self._pieces.append(lambda _: said)
            return
        made: dict[Any, bytes] = {}
        select = itemgetter(*[self._columns[place[1]] for place in there])
        one = len(there) == 1

        def piece(row: Sequence[Any]) -> bytes:
            values = select(row)
            found = made.get(values)
            if found is None:
                known: Mapping[str, Any] = dict(
                    zip([place[1] for place in there], (values,) if one else values, strict=True)
                )
                found = made[values] = b"".join(_written(place, known.get(place[1])) for place in run)
            return found

        self._pieces.append(piece)


def _single(place: Place, column: int | None) -> Piece:
    """One element whose value is another in each row."""
    key, _, write, _ = place
    said = _written(place, None)
    if column is None or write is None:
        return lambda _: said
    start = _member(key, {**write("1"), "Value": [1]})[: -len(b"1]},")]
    numeric = write(1) == {**write("1"), "Value": [1]}

    def piece(row: Sequence[Any]) -> bytes:
        value = row[column]
        if (numeric and type(value) is int) or (type(value) is str and value and "\\" not in value):
            return b"%b%b]}," % (start, orjson.dumps(value))
        return _written(place, value)

    return piece


def _written(place: Place, value: Any) -> bytes:
    """One element of a row; nothing at all where that is what an unknown value means."""
    key, _, write, unknown = place
    made = unknown if value is None or write is None else write(value)
    return b"" if made is None else _member(key, made)


def _member(key: str, made: Element) -> bytes:
    return orjson.dumps({key: made})[1:-1] + b","


def _nothing(_: Sequence[Any]) -> tuple[()]:
    return ()
