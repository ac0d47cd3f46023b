"""Common searches as statements that are compiled once for each shape of a query, and run by the driver.

A shape is all of a query but its values: the level, what is shown, and which attributes are matched in which way. The
statement of a shape is made by `storage.index.search` from conditions whose values are marks, and every mark becomes a
parameter; so there is one way from a condition to SQL. What has no shape here is answered there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from sqlalchemy import BindParameter, Column, Executable, Integer, Text, bindparam, select
from sqlalchemy.sql.visitors import iterate, replacement_traverse

from storage.attributes import ATTRIBUTES, Attribute, Level
from storage.index import search
from storage.index.conditions import MODALITIES, REQUEST, Glob, like_parts, where
from storage.index.schema import request
from storage.index.session import Session, Statement
from storage.query import Between, Condition, Equals, Name, Query, Wildcard
from storage.records import Item, Match, Page, Table

MOST = 500
"""Shapes that are remembered; more than that are answered as if they had none."""
_TOGETHER = 50
_IN_OTHER_ROWS = frozenset({MODALITIES, "SOPClassesInStudy"})

Shape = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    page: Statement
    count: Statement
    shown: tuple[Attribute, ...]


class Prepared:
    """The statements of one database, whose `glob` is that of its conditions."""

    def __init__(self, glob: Glob) -> None:
        self._glob = glob
        self._plans: dict[Shape, _Plan] = {}
        self._guard = Lock()

    def search(self, session: Session, query: Query) -> Page | None:
        """The answer to `query`; None where it has no shape."""
        shape = _shape(query)
        plan = None if shape is None else self._plans.get(shape) or self._plan(shape, query)
        if plan is None:
            return None
        params: dict[str, Any] = {"limit": query.limit, "offset": query.offset}
        for number, single in enumerate(query.conditions):
            for place, value in enumerate(self._values(single)):
                params[f"v{number}_{place}"] = value
        rows = session.tuples(plan.page, params)
        total = search.total(query, len(rows), lambda: session.rows(plan.count, params)[0][0])
        items: dict[int, tuple[Item, ...]] = {}
        if rows and search.shows_requests(query):
            place = len(plan.shown) + 1
            items = _requests(session, sorted({row[place] for row in rows}))
        found: Sequence[Match] = Table(tuple(attribute.keyword for attribute in plan.shown), rows)
        if items:
            found = tuple(search.as_matches(plan.shown, rows, {REQUEST: items}))
        return Page(found, max(total, query.offset + len(rows) if rows else 0))

    def _plan(self, shape: Shape, query: Query) -> _Plan | None:
        with self._guard:
            if shape not in self._plans and len(self._plans) >= MOST:
                return None
            marked = replace(query, conditions=tuple(map(_marked, range(len(query.conditions)), query.conditions)))
            names = {
                value: f"v{number}_{place}"
                for number, single in enumerate(marked.conditions)
                for place, value in enumerate(self._values(single))
            }
            conditions = [_parametrised(one, names) for one in where(marked.conditions, self._glob)]
            page, shown = search.page(marked, conditions)
            if query.limit is not None:
                page = page.limit(bindparam("limit", type_=Integer))
            if query.offset:
                page = page.offset(bindparam("offset", type_=Integer))
            count = _parametrised(search.counted(marked, conditions), names)
            plan = self._plans[shape] = _Plan(_statement(page), _statement(count), shown)
            return plan

    def _values(self, single: Condition) -> Sequence[Any]:
        """The parameters of a condition that has a shape."""
        match single:
            case Equals():
                return (single.value,)
            case Between():
                return [end for end in (single.low, single.high) if end is not None]
            case Wildcard() | Name():
                prefix, after = like_parts(_pattern(single))
                if prefix == _pattern(single):
                    return (prefix,)
                globbed = next(_bound(self._glob(_ANY, _pattern(single))))
                return (prefix, after, globbed.value) if prefix else (globbed.value,)
        raise TypeError(f"{type(single).__name__} has no shape")


_ANY: Column[str] = Column("any", Text())


def _statement(made: Executable) -> Statement:
    return Statement(lambda _: made)


def _bound(expression: Any) -> Iterator[Any]:
    return (one for one in iterate(expression) if isinstance(one, BindParameter))


def _parametrised(expression: Any, names: dict[Any, str]) -> Any:
    """The expression with a named parameter for each mark."""

    def renamed(element: Any, **_: Any) -> Any:
        if isinstance(element, BindParameter) and element.value in names:
            return bindparam(names[element.value], type_=element.type)
        return None

    return replacement_traverse(expression, {}, renamed)


# ---------------------------------------------------------------- shapes


def _shape(query: Query) -> Shape | None:
    if query.level is Level.PATIENT or query.located or query.wanted or query.within is not None:
        return None
    shapes = tuple(map(_shape_of, query.conditions))
    if None in shapes:
        return None
    return query.level, query.shown, query.limit is None, bool(query.offset), shapes


def _shape_of(single: Condition) -> Shape | None:
    attribute = single.attribute
    if attribute.keyword == MODALITIES and isinstance(single, Equals) and "\\" not in str(single.value):
        return Equals, MODALITIES, str
    if not attribute.indexed or attribute.sequence or attribute.keyword in _IN_OTHER_ROWS:
        return None
    match single:
        case Equals() if isinstance(single.value, str | int):
            return Equals, attribute.keyword, type(single.value)
        case Between() if single.zone is None and attribute.vr != "TM":
            return Between, attribute.keyword, single.low is None, single.high is None
        case Wildcard() | Name():
            if isinstance(single, Name) and len(single.patterns) != 1:
                return None
            prefix, after = like_parts(_pattern(single))
            if prefix and after <= prefix:
                return None
            return type(single), attribute.keyword, bool(prefix), prefix == _pattern(single)
    return None


def _pattern(single: Wildcard | Name) -> str:
    return single.patterns[0] if isinstance(single, Name) else single.pattern


def _marked(number: int, single: Condition) -> Condition:
    """A condition of the same shape, with values that no other has."""
    mark = f"\x01{number}\x01"  # what comes after all that begins with it is no other's mark either
    match single:
        case Equals():
            return replace(single, value=mark if isinstance(single.value, str) else -(1 << 40) - number)
        case Between():
            low = None if single.low is None else f"{mark}l"
            return replace(single, low=low, high=None if single.high is None else f"{mark}h")
        case Name():
            return replace(single, patterns=(_like(single.patterns[0], mark),))
        case Wildcard():
            return replace(single, pattern=_like(single.pattern, mark))
    raise TypeError(f"{type(single).__name__} has no shape")


def _like(pattern: str, mark: str) -> str:
    prefix, _ = like_parts(pattern)
    return mark if prefix == pattern else f"{mark}*" if prefix else f"*{mark}"


# ---------------------------------------------------------------- items of sequences

_REQUESTS = Statement(
    lambda _: (
        select(request)
        .where(request.c.series.in_([bindparam(f"s{number}") for number in range(_TOGETHER)]))
        .order_by(request.c.series, request.c.position)
    )
)
_REQUESTS_OF = Statement(
    lambda _: select(request).where(request.c.series == bindparam("s0")).order_by(request.c.position)
)


_ITEM = [(a.keyword.rpartition(".")[2], a.column) for a in ATTRIBUTES if a.sequence == REQUEST]


def _requests(session: Session, rows: Sequence[int]) -> dict[int, tuple[Item, ...]]:
    """The items of each of these series."""
    found: dict[int, tuple[Item, ...]] = {}
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        statement = _REQUESTS_OF if len(some) == 1 else _REQUESTS
        padded = [*some, *[some[-1]] * (_TOGETHER - len(some))]
        for row in session.rows(statement, {f"s{number}": one for number, one in enumerate(padded)}):
            item = {name: value for name, column in _ITEM if (value := getattr(row, column))}
            found[row.series] = (*found.get(row.series, ()), item)
    return found
