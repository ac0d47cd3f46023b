"""The table of tasks, and what is done with it: a part of the index, so that tasks outlive the process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from sqlalchemy import (
    Column,
    Connection,
    Executable,
    Float,
    Index,
    Insert,
    Integer,
    Table,
    and_,
    delete,
    func,
    literal,
    not_,
    or_,
    select,
    text,
    update,
)

from storage.index import Mark
from storage.index.schema import _ID, _TEXT, change, metadata, note
from storage.tasks import FAILED, RUNNING, WAITING, NewTask, Task

T = TypeVar("T")
InsertNew = Callable[[Table], Insert]

task = Table(
    "task",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("kind", _TEXT, nullable=False),
    Column("target", _TEXT, nullable=False),
    Column("key", _TEXT, nullable=False, unique=True),
    Column("payload", _TEXT, nullable=False),
    Column("state", _TEXT, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("error", _TEXT, nullable=False, server_default=""),
    sqlite_autoincrement=True,
)
Index(None, task.c.state, task.c.due_at)
Index(None, task.c.kind, task.c.target, task.c.due_at)

BATCH = 500
CLAIM_BYTES = 4 << 20
SKIPPED = 1_000_000_000
"""Numbers of the change feed: more than were ever given between a backup and the end of its original."""
_PENDING = or_(task.c.state == WAITING, task.c.state == RUNNING)


class Moved(Exception):
    """Another process moved the mark first."""


class _Dialect(Protocol):
    @property
    def insert_new(self) -> InsertNew: ...


class Queue:
    """The tasks of an index; see `storage.index.Index`. A part of `SqlIndex`."""

    _dialect: _Dialect
    _write: Callable[[Callable[[Connection], T]], T]
    _reading: Callable[[], AbstractContextManager[Connection]]

    def enqueue(self, tasks: Sequence[NewTask], now: float, mark: Mark | None = None) -> int | None:
        """See `Index.enqueue`."""

        def write(connection: Connection) -> int:
            if mark is not None:
                self._move(connection, *mark)
            return sum(self._enter(connection, one, now) for one in tasks)

        try:
            return self._write(write)
        except Moved:
            return None

    def claim(self, now: float, lease: float, limit: int = 100, busy: Collection[tuple[str, str]] = ()) -> list[Task]:
        """See `Index.claim`."""
        others = [not_(and_(task.c.kind == kind, task.c.target == target)) for kind, target in busy]
        due = [_PENDING, task.c.due_at <= now, *others]

        def write(connection: Connection) -> list[Task]:
            first = connection.execute(
                select(task.c.kind, task.c.target).where(*due).order_by(task.c.due_at, task.c.id).limit(1)
            ).one_or_none()
            if first is None:
                return []
            statement = (
                select(task.c.id, func.length(task.c.payload))
                .where(*due, task.c.kind == first.kind, task.c.target == first.target)
                .order_by(task.c.due_at, task.c.id)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            claimed: list[Task] = []
            for ids in _batches(_some([(row[0], row[1]) for row in connection.execute(statement)])):
                rows = connection.execute(select(task).where(task.c.id.in_(ids)).order_by(task.c.due_at, task.c.id))
                claimed += [Task(*row) for row in rows]
                connection.execute(update(task).where(task.c.id.in_(ids)).values(state=RUNNING, due_at=now + lease))
            return claimed

        return self._write(write)

    def done(self, ids: Sequence[int]) -> None:
        """See `Index.done`."""
        self._each(ids, lambda some: delete(task).where(task.c.id.in_(some), task.c.state == RUNNING))

    def fail(self, ids: Sequence[int], error: str, due_at: float | None) -> None:
        """See `Index.fail`."""
        values: dict[str, Any] = {"state": FAILED} if due_at is None else {"state": WAITING, "due_at": due_at}
        values |= {"attempts": task.c.attempts + 1, "error": error[:200]}
        running = task.c.state == RUNNING
        self._each(ids, lambda some: update(task).where(task.c.id.in_(some), running).values(values))

    def release(self, ids: Sequence[int], due_at: float) -> None:
        """See `Index.release`."""
        running = task.c.state == RUNNING
        self._each(
            ids, lambda some: update(task).where(task.c.id.in_(some), running).values(state=WAITING, due_at=due_at)
        )

    def hurry(self, kind: str, target: str, now: float) -> None:
        """See `Index.hurry`."""
        waiting = (task.c.kind == kind, task.c.target == target, task.c.state == WAITING, task.c.attempts > 0)
        self._write(
            lambda connection: connection.execute(update(task).where(*waiting, task.c.due_at > now).values(due_at=now))
        )

    def tasks(
        self, *, kind: str | None = None, state: str | None = None, after: int = 0, limit: int = 1000
    ) -> list[Task]:
        """See `Index.tasks`."""
        columns = [literal("").label("payload") if column is task.c.payload else column for column in task.c]
        statement = select(*columns).where(task.c.id > after).order_by(task.c.id).limit(limit)
        if kind is not None:
            statement = statement.where(task.c.kind == kind)
        if state is not None:
            statement = statement.where(task.c.state == state)
        with self._reading() as connection:
            return [Task(*row) for row in connection.execute(statement)]

    def task(self, key: str) -> Task | None:
        """See `Index.task`."""
        with self._reading() as connection:
            row = connection.execute(select(task).where(task.c.key == key)).one_or_none()
            return None if row is None else Task(*row)

    def task_counts(self, target: str | None = None) -> dict[tuple[str, str], int]:
        """See `Index.task_counts`."""
        statement = select(task.c.kind, task.c.state, func.count()).group_by(task.c.kind, task.c.state)
        if target is not None:
            statement = statement.where(task.c.target == target)
        with self._reading() as connection:
            return {(row[0], row[1]): row[2] for row in connection.execute(statement)}

    def expire_tasks(self, before: float) -> int:
        """See `Index.expire_tasks`."""
        old = delete(task).where(task.c.state == FAILED, task.c.created_at < before)
        return self._write(lambda connection: connection.execute(old).rowcount)

    def next_due(self) -> float | None:
        """See `Index.next_due`."""
        with self._reading() as connection:
            return connection.execute(select(func.min(task.c.due_at)).where(_PENDING)).scalar()

    def retry_tasks(self, ids: Sequence[int] | None, now: float) -> int:
        """See `Index.retry_tasks`."""
        again = {"state": WAITING, "due_at": now}
        if ids is None:
            return self._write(
                lambda connection: (
                    connection.execute(
                        update(task)
                        .where(or_(task.c.state == FAILED, task.c.attempts > 0), task.c.state != RUNNING)
                        .values(again)
                    ).rowcount
                )
            )
        return self._each(
            ids, lambda some: update(task).where(task.c.id.in_(some), task.c.state != RUNNING).values(again)
        )

    def drop_tasks(self, ids: Sequence[int] | None) -> int:
        """See `Index.drop_tasks`."""
        if ids is None:
            return self._write(
                lambda connection: connection.execute(delete(task).where(task.c.state == FAILED)).rowcount
            )
        return self._each(ids, lambda some: delete(task).where(task.c.id.in_(some)))

    def horizon(self) -> int:
        """See `Index.horizon`."""

        def read(connection: Connection) -> int:
            if connection.dialect.name == "postgresql":
                # waits for the writers that have numbers but no commit yet; new ones wait for this short transaction
                connection.execute(text("LOCK TABLE change IN SHARE MODE"))
            return int(connection.execute(select(func.coalesce(func.max(change.c.sequence), 0))).scalar_one())

        return self._write(read)

    def skip_numbers(self) -> None:
        """See `Index.skip_numbers`."""

        def write(connection: Connection) -> None:
            if connection.dialect.name == "postgresql":
                numbers = "pg_get_serial_sequence('change', 'sequence')"
                connection.execute(text(f"SELECT setval({numbers}, nextval({numbers}) + {SKIPPED})"))
                return
            known = text(f"UPDATE sqlite_sequence SET seq = seq + {SKIPPED} WHERE name = 'change'")
            if not connection.execute(known).rowcount:
                connection.execute(text(f"INSERT INTO sqlite_sequence VALUES ('change', {SKIPPED})"))

        self._write(write)

    def _move(self, connection: Connection, name: str, expected: str | None, value: str) -> None:
        """Move a mark in this transaction. Raises Moved."""
        if expected is None:
            statement: Executable = self._dialect.insert_new(note).values(name=name, value=value).returning(note.c.name)
        else:
            here = (note.c.name == name, note.c.value == expected)
            statement = update(note).where(*here).values(value=value).returning(note.c.name)
        if connection.execute(statement).one_or_none() is None:
            raise Moved

    def _enter(self, connection: Connection, new: NewTask, now: float) -> int:
        values = {
            "kind": new.kind,
            "target": new.target,
            "key": new.key,
            "payload": new.payload,
            "state": RUNNING if new.claimed else WAITING,
            "due_at": new.due_at,
            "created_at": now,
        }
        made = self._dialect.insert_new(task).values(**values).returning(task.c.id)
        if connection.execute(made).one_or_none() is not None:
            return 1
        if new.postpone:
            again = {"state": WAITING, "due_at": new.due_at, "payload": new.payload}
            connection.execute(update(task).where(task.c.key == new.key).values(again))
        return 0

    def _each(self, ids: Sequence[int], statement: Callable[[list[int]], Executable]) -> int:
        """Run a statement on some ids at a time, all in one transaction; returns how many rows it touched."""
        if not ids:
            return 0

        def write(connection: Connection) -> int:
            return sum(connection.execute(statement(some)).rowcount for some in _batches(ids))

        return self._write(write)


def _some(sizes: Sequence[tuple[int, int]]) -> list[int]:
    """The ids of the first tasks, as long as their payloads together are not large; one at least."""
    ids: list[int] = []
    left = CLAIM_BYTES
    for row, size in sizes:
        left -= size
        if ids and left < 0:
            break
        ids.append(row)
    return ids


def _batches(ids: Sequence[int]) -> list[list[int]]:
    return [list(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH)]
