"""How many studies, series and instances there are: a part of the index that no search has to count.

Triggers of the database (migration 0008) keep the rows of `total`, whatever changes a study: one for each set of
modalities, in PostgreSQL for each connection besides, so that no two transactions wait for each other. What connections
counted is added up in slot 0 from time to time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    union_all,
    update,
)

from storage.attributes import Level
from storage.index.conditions import has_modality
from storage.index.schema import study, total
from storage.query import Condition, Equals, OneOf

T = TypeVar("T")

SLOTS = 50
"""Rows of connections that a search may have to add up, beyond which they are."""

_OF = {Level.STUDY: total.c.studies, Level.SERIES: total.c.series, Level.IMAGE: total.c.instances}


class Totals:
    """See `storage.index.Index`. A part of `SqlIndex`."""

    _write: Callable[[Callable[[Connection], T]], T]
    _reading: Callable[[], AbstractContextManager[Connection]]

    def count(self) -> tuple[int, int, int]:
        """See `Index.count`."""
        with self._reading() as connection:
            row = connection.execute(select(*map(_sum, _OF.values()))).one()
        return int(row[0]), int(row[1]), int(row[2])

    def settle(self) -> None:
        """See `Index.settle`."""
        with self._reading() as connection:
            number = connection.execute(select(func.count()).where(total.c.slot != 0)).scalar_one()
        if number > SLOTS:
            self._write(_settle)

    def recount(self) -> bool:
        """See `Index.recount`."""
        return self._write(_recount)


def number_of(level: Level, conditions: Sequence[Condition]) -> Select[Any] | None:
    """SELECT of the number of matches at this level; None where the totals do not tell."""
    wanted: list[ColumnElement[bool]] = []
    for single in conditions:
        if single.attribute.keyword != "ModalitiesInStudy" or not isinstance(single, Equals | OneOf):
            return None
        wanted.append(has_modality(total.c.modalities, single))
    return select(_sum(_OF[level])).where(*wanted)


def _sum(counter: ColumnElement[int]) -> ColumnElement[int]:
    return func.coalesce(func.sum(counter), 0)


# ---------------------------------------------------------------- transactions


def _settle(connection: Connection) -> None:
    """What connections counted, but for those amid a transaction, goes into slot 0."""
    _alone(connection)
    rows = connection.execute(select(total).where(total.c.slot != 0).with_for_update(skip_locked=True)).all()
    for row in rows:
        one = and_(total.c.slot == row.slot, total.c.modalities == row.modalities)
        connection.execute(delete(total).where(one))
        _add(connection, *row[1:])


def _recount(connection: Connection) -> bool:
    """Both numbers are seen at one moment. A difference is written, to which others may add theirs meanwhile."""
    _alone(connection)
    there = select(
        study.c.modalities_in_study.label("modalities"),
        func.count().label("studies"),
        func.sum(study.c.number_of_study_related_series).label("series"),
        func.sum(study.c.number_of_study_related_instances).label("instances"),
    ).group_by(study.c.modalities_in_study)
    both = union_all(there, select(total.c.modalities, *(-counter for counter in _OF.values()))).subquery()
    sums = [_sum(both.c[counter.name]) for counter in _OF.values()]
    wrong = select(both.c.modalities, *sums).group_by(both.c.modalities).having(or_(*(one != 0 for one in sums)))
    rows = connection.execute(wrong).all()
    for row in rows:
        _add(connection, *row)
    return not rows


def _alone(connection: Connection) -> None:
    """Wait for others that settle or recount; the migration made this row."""
    held = select(total.c.slot).where(total.c.slot == 0, total.c.modalities == "").with_for_update()
    connection.execute(held).all()


def _add(connection: Connection, modalities: str, *numbers: int) -> None:
    counters = list(_OF.values())
    more = {one.name: one + int(number) for one, number in zip(counters, numbers, strict=True)}
    changed = update(total).where(total.c.slot == 0, total.c.modalities == modalities).values(**more)
    if not connection.execute(changed).rowcount:
        first = {one.name: int(number) for one, number in zip(counters, numbers, strict=True)}
        connection.execute(insert(total).values(slot=0, modalities=modalities, **first))
