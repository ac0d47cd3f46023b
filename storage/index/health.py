"""Which live instances have a missing or damaged object, and the walk over all of them: a part of the index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from sqlalchemy import Connection, delete, select

from storage.index.lookups import as_located, located_columns
from storage.index.schema import damage, instance
from storage.index.session import InsertNew
from storage.records import Damage, Located

T = TypeVar("T")


class _Dialect(Protocol):
    @property
    def insert_new(self) -> InsertNew: ...


class Health:
    """The damage that was found; see `storage.index.Index`. A part of `SqlIndex`."""

    _dialect: _Dialect
    _write: Callable[[Callable[[Connection], T]], T]
    _reading: Callable[[], AbstractContextManager[Connection]]

    def walk(self, after: str = "", limit: int = 100) -> list[Located]:
        """See `Index.walk`."""
        statement = located_columns().where(instance.c.version > after).order_by(instance.c.version).limit(limit)
        with self._reading() as connection:
            return [as_located(row) for row in connection.execute(statement)]

    def report_damage(self, version: str, reason: str, now: float) -> bool:
        """See `Index.report_damage`."""

        def write(connection: Connection) -> bool:
            live = select(instance.c.version).where(instance.c.version == version).with_for_update()
            if connection.execute(live).first() is None:
                return False
            new = self._dialect.insert_new(damage).values(version=version, reason=reason, found_at=now)
            return connection.execute(new.returning(damage.c.version)).first() is not None

        return self._write(write)

    def clear_damage(self, version: str) -> None:
        """See `Index.clear_damage`."""
        self._write(lambda connection: connection.execute(delete(damage).where(damage.c.version == version)))

    def damaged(self, after: str = "", limit: int = 1000) -> list[Damage]:
        """See `Index.damaged`."""
        statement = (
            located_columns()
            .add_columns(damage.c.reason, damage.c.found_at)
            .join(damage, damage.c.version == instance.c.version)
            .where(damage.c.version > after)
            .order_by(damage.c.version)
            .limit(limit)
        )
        with self._reading() as connection:
            rows = [tuple(row) for row in connection.execute(statement)]
        return [Damage(as_located(row[:-2]), row[-2], row[-1]) for row in rows]


def forget(connection: Connection, versions: Sequence[str]) -> None:
    """These versions live no more: what was said of their objects goes with them."""
    for start in range(0, len(versions), 500):
        connection.execute(delete(damage).where(damage.c.version.in_(versions[start : start + 500])))
