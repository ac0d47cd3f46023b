"""Statements that are compiled once, and what runs them.

SQLAlchemy spends more time on preparing a short statement than SQLite on executing it. The statements of a store are
therefore written in its language, compiled for the database at their first use, and run by the driver.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, Dialect, Insert, Table
from sqlalchemy.sql import Executable
from sqlalchemy.sql.compiler import SQLCompiler

InsertNew = Callable[[Table], Insert]
"""INSERT that does nothing when a unique key is taken, in the database's own words."""

Params = Mapping[str, Any]
AnyRow = Any
"""A result row; its columns are attributes."""


class Compiled:
    """A statement in the words of one database. `order` is that of its parameters, None where they have names."""

    def __init__(self, statement: Executable, columns: Sequence[str] | None, dialect: Dialect) -> None:
        made = statement.compile(dialect=dialect, column_keys=columns)  # type: ignore[attr-defined]
        assert isinstance(made, SQLCompiler)
        self.text = made.string
        self.order = tuple(made.positiontup) if made.positional and made.positiontup is not None else None
        # values that stand in the statement itself
        self.constants = {name: value for name, value in made.params.items() if value is not None}
        named = [column[0] for column in made._result_columns]
        self.row: Callable[..., AnyRow] | None = namedtuple("Row", named) if named else None

    def arguments(self, params: Params) -> Any:
        """The parameters as the driver wants them."""
        if self.order is None:
            return {**self.constants, **params} if self.constants else params
        if not self.constants:
            return [params[name] for name in self.order]
        return [params[name] if name in params else self.constants[name] for name in self.order]


class Statement:
    """One statement for any database. `columns` are those that an INSERT or UPDATE sets, when it does not say so.

    The parameters are named as its `bindparam`s, and those columns.
    """

    def __init__(self, made: Callable[[InsertNew], Executable], columns: Sequence[str] | None = None) -> None:
        self._made = made
        self._columns = columns
        self._compiled: dict[str, Compiled] = {}

    def compiled(self, dialect: Dialect, insert_new: InsertNew) -> Compiled:
        """For this database."""
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = Compiled(self._made(insert_new), self._columns, dialect)
        return found


class Session(Protocol):
    """Runs statements within one transaction."""

    def rows(self, statement: Statement, params: Params) -> Sequence[AnyRow]:
        """All rows of the result."""

    def tuples(self, statement: Statement, params: Params) -> Sequence[Sequence[Any]]:
        """All rows of the result, for one who knows the columns by their places: there may be thousands."""

    def row(self, statement: Statement, params: Params) -> AnyRow | None:
        """The only row of the result, if there is one."""

    def run(self, statement: Statement, params: Params) -> None:
        """Run a statement without a result."""


class CoreSession:
    """On a connection of SQLAlchemy's, inside a transaction of its."""

    def __init__(self, connection: Connection, insert_new: InsertNew) -> None:
        self._connection = connection
        self._insert_new = insert_new

    def rows(self, statement: Statement, params: Params) -> Sequence[AnyRow]:
        """See Session."""
        compiled = statement.compiled(self._connection.dialect, self._insert_new)
        return self._connection.exec_driver_sql(compiled.text, _tuple(compiled.arguments(params))).all()

    def tuples(self, statement: Statement, params: Params) -> Sequence[Sequence[Any]]:
        """See Session."""
        return self.rows(statement, params)

    def row(self, statement: Statement, params: Params) -> AnyRow | None:
        """See Session."""
        compiled = statement.compiled(self._connection.dialect, self._insert_new)
        return self._connection.exec_driver_sql(compiled.text, _tuple(compiled.arguments(params))).one_or_none()

    def run(self, statement: Statement, params: Params) -> None:
        """See Session."""
        compiled = statement.compiled(self._connection.dialect, self._insert_new)
        self._connection.exec_driver_sql(compiled.text, _tuple(compiled.arguments(params)))


class DriverSession:
    """On `cursor`, one of the driver. Its errors are the driver's."""

    def __init__(self, cursor: Any, dialect: Dialect, insert_new: InsertNew) -> None:
        self.cursor = cursor
        self._dialect = dialect
        self._insert_new = insert_new

    def rows(self, statement: Statement, params: Params) -> Sequence[AnyRow]:
        """See Session."""
        compiled = statement.compiled(self._dialect, self._insert_new)
        assert compiled.row is not None
        self.cursor.execute(compiled.text, compiled.arguments(params))
        return [compiled.row(*row) for row in self.cursor.fetchall()]

    def tuples(self, statement: Statement, params: Params) -> Sequence[Sequence[Any]]:
        """See Session."""
        compiled = statement.compiled(self._dialect, self._insert_new)
        self.cursor.execute(compiled.text, compiled.arguments(params))
        found: list[tuple[Any, ...]] = self.cursor.fetchall()
        return found

    def row(self, statement: Statement, params: Params) -> AnyRow | None:
        """See Session."""
        found = self.rows(statement, params)
        return found[0] if found else None

    def run(self, statement: Statement, params: Params) -> None:
        """See Session."""
        compiled = statement.compiled(self._dialect, self._insert_new)
        self.cursor.execute(compiled.text, compiled.arguments(params))


def _tuple(arguments: Any) -> Any:
    return tuple(arguments) if isinstance(arguments, list) else arguments
