"""The index over SQLAlchemy Core: what SQLite and PostgreSQL have in common.

A backend gives two engines, one for reading and one for writing, and says how its driver's errors read in our terms.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection, Engine, delete, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from storage.crashpoints import reached
from storage.errors import IndexStoreError, IndexUnavailable, StorageError
from storage.index import Added, Garbage, describing, lookups, search, writes
from storage.index.conditions import Glob, in_studies
from storage.index.credentials import Credentials
from storage.index.group import GroupCommit
from storage.index.health import Health
from storage.index.prepared import Prepared
from storage.index.queue import Queue
from storage.index.schema import change, damage, garbage, instance, note, orphan, request, series, study
from storage.index.session import CoreSession, InsertNew, Session
from storage.index.totals import Totals
from storage.query import Query, Within
from storage.records import Change, Deleted, InstanceRecord, Located, Page

T = TypeVar("T")

CLAIM = 600.0
"""Seconds for which claimed garbage is left alone by other collectors."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between the databases.

    `insert_new` and `glob` see `session.InsertNew` and `conditions.Glob`; `translate` gives our error for a driver's,
    and whether the same transaction may succeed when it is run again at once. `limited` is a context in which the
    statements of a connection are ended after so many seconds.
    """

    insert_new: InsertNew
    glob: Glob
    translate: Callable[[SQLAlchemyError], tuple[IndexStoreError, bool]]
    limited: Callable[[Connection, float], AbstractContextManager[None]]
    attempts: int = 4


@dataclass(frozen=True, slots=True)
class _Addition:
    record: InstanceRecord
    replace: bool
    tomb: str
    announce: bool
    until: float | None
    repairs: str = ""
    instead: str | None = None
    later: bool = False


class SqlIndex(Queue, Credentials, Health, Totals):
    """`Index` over two engines. Stores that wait at the same time share a transaction.

    `search_seconds` is how long a statement of a search may take (S-56).
    """

    search_seconds = 5.0
    syncs_later = False

    def __init__(self, readers: Engine, writers: Engine, dialect: Dialect) -> None:
        self._readers = readers
        self._writers = writers
        self._dialect: Dialect = dialect
        self._prepared = Prepared(dialect.glob)
        self._additions: GroupCommit[_Addition, Added] = GroupCommit(self._add_group)

    def add(
        self,
        record: InstanceRecord,
        *,
        replace: bool = False,
        tomb: str = "",
        announce: bool = True,
        until: float | None = None,
        repairs: str = "",
        instead: str | None = None,
        later: bool = False,
    ) -> Added:
        """See `Index.add`."""
        return self._additions.submit(_Addition(record, replace, tomb, announce, until, repairs, instead, later))

    def sync(self) -> None:
        """See `Index.sync`: each commit was durable."""

    def share(self) -> tuple[int, ...]:
        """See `Index.share`."""
        return ()

    def timeline(self) -> int:
        """See `Index.timeline`."""
        return 0

    def find(self, sop_uid: str) -> Located | None:
        """See `Index.find`."""
        with self._reading_session() as session:
            return lookups.found(session, sop_uid)

    def locate(
        self,
        study_uid: str,
        series_uid: str | None = None,
        sop_uid: str | None = None,
        within: Within | None = None,
    ) -> list[Located]:
        """See `Index.locate`."""
        if within is None:
            with self._reading_session() as session:
                return lookups.located(session, study_uid, series_uid, sop_uid)
        seen = in_studies(within, self._dialect.glob)
        with self._reading() as connection:
            return lookups.located_within(connection, study_uid, series_uid, sop_uid, seen)

    def was_deleted(self, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None) -> bool:
        """See `Index.was_deleted`."""
        with self._reading() as connection:
            return lookups.was_deleted(connection, study_uid, series_uid, sop_uid)

    def deleted(
        self, since: float = 0.0, study_uid: str | None = None, before: int | None = None, limit: int = 1000
    ) -> list[Deleted]:
        """See `Index.deleted`."""
        with self._reading() as connection:
            return lookups.deleted(connection, since, study_uid, before, limit)

    def search(self, query: Query) -> Page:
        """See `Index.search`."""
        with self._reading_session(self.search_seconds) as session:
            page = self._prepared.search(session, query)
        if page is not None:
            return page
        with self._reading() as connection, self._dialect.limited(connection, self.search_seconds):
            return search.run(connection, query, self._dialect.glob)

    def delete(
        self,
        study_uid: str,
        versions: Collection[str],
        *,
        cleanup_after: float,
        tomb: str = "",
        until: float | None = None,
    ) -> list[Located]:
        """See `Index.delete`."""

        before: list[Located] = []

        def remove(connection: Connection) -> list[Located]:
            nonlocal before
            session = CoreSession(connection, self._dialect.insert_new)
            gone = writes.remove(connection, session, study_uid, versions, cleanup_after=cleanup_after, tomb=tomb)
            if not gone and before and lookups.known(connection, garbage, [before[0].version]):
                return before  # it was done at the first attempt, whose answer was lost
            before = gone
            reached("D3")
            _in_time(until)
            return gone

        return self._write(remove)

    def undescribed(self) -> list[Located]:
        """See `Index.undescribed`."""
        with self._reading() as connection:
            return lookups.undescribed(connection)

    def describe(self, record: InstanceRecord) -> None:
        """See `Index.describe`."""
        self._in_session(lambda session: describing.describe(session, record))

    def garbage(self, now: float, limit: int = 100) -> list[Garbage]:
        """See `Index.garbage`."""

        def claim(connection: Connection) -> list[Garbage]:
            statement = (
                select(garbage)
                .where(garbage.c.cleanup_after <= now)
                .order_by(garbage.c.cleanup_after)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            claimed = [Garbage(*row) for row in connection.execute(statement)]
            versions = [one.version for one in claimed]
            connection.execute(update(garbage).where(garbage.c.version.in_(versions)).values(cleanup_after=now + CLAIM))
            return claimed

        return self._write(claim)

    def collected(self, version: str) -> bool:
        """See `Index.collected`."""

        gone = delete(garbage).where(garbage.c.version == version).returning(garbage.c.tomb)
        tomb = self._write(lambda connection: connection.execute(gone).scalar())
        if not tomb:
            return False
        # asked once that is committed: of two who remove the last two at once, the later one sees none left
        with self._reading() as connection:
            return connection.execute(select(garbage.c.version).where(garbage.c.tomb == tomb).limit(1)).first() is None

    def live_versions(self, versions: Sequence[str]) -> set[str]:
        """See `Index.live_versions`."""
        with self._reading() as connection:
            return lookups.known(connection, instance, versions)

    def garbage_versions(self, versions: Sequence[str]) -> set[str]:
        """See `Index.garbage_versions`."""
        with self._reading() as connection:
            return lookups.known(connection, garbage, versions)

    def bury(self, waste: Garbage) -> None:
        """See `Index.bury`."""
        values = {
            "version": waste.version,
            "object_key": waste.key,
            "cleanup_after": waste.cleanup_after,
            "tomb": waste.tomb,
        }
        self._write(lambda connection: connection.execute(self._dialect.insert_new(garbage).values(**values)))

    def strike(self, key: str, now: float) -> float:
        """See `Index.strike`."""

        def mark(connection: Connection) -> float:
            connection.execute(self._dialect.insert_new(orphan).values(object_key=key, first_seen=now))
            return float(connection.execute(select(orphan.c.first_seen).where(orphan.c.object_key == key)).scalar_one())

        return self._write(mark)

    def pardon(self, key: str) -> None:
        """See `Index.pardon`."""
        self._write(lambda connection: connection.execute(delete(orphan).where(orphan.c.object_key == key)))

    def changes(self, since: int = 0, limit: int = 1000, within: Within | None = None) -> list[Change]:
        """See `Index.changes`."""
        statement = select(change).where(change.c.sequence > since).order_by(change.c.sequence).limit(limit)
        if within is not None:
            seen = in_studies(within, self._dialect.glob)
            statement = statement.join(study, study.c.study_instance_uid == change.c.study_uid).where(*seen)
        with self._reading() as connection:
            return [Change(*row) for row in connection.execute(statement)]

    def note(self, name: str) -> str | None:
        """See `Index.note`."""
        with self._reading() as connection:
            return connection.execute(select(note.c.value).where(note.c.name == name)).scalar()

    def notes(self, prefix: str) -> dict[str, str]:
        """See `Index.notes`."""
        with self._reading() as connection:
            rows = connection.execute(select(note).where(note.c.name >= prefix, note.c.name < prefix + "\uffff"))
            return {row.name: row.value for row in rows}

    def set_note(self, name: str, value: str | None) -> None:
        """See `Index.set_note`."""

        def write(connection: Connection) -> None:
            connection.execute(delete(note).where(note.c.name == name))
            if value is not None:
                connection.execute(insert(note).values(name=name, value=value))

        self._write(write)

    def clear(self) -> None:
        """See `Index.clear`."""

        def write(connection: Connection) -> None:
            for table in (instance, request, series, study, garbage, orphan, damage):
                connection.execute(delete(table))

        self._write(write)

    def state(self) -> int | None:
        """See `Index.state`."""
        return None

    def distrust(self, reason: str) -> None:
        """See `Index.distrust`. Where the database is elsewhere, its disk is not ours to judge."""

    def check_writable(self) -> None:
        """See `Index.check_writable`."""

    def check(self) -> None:
        """See `Index.check`."""
        self.check_writable()
        with self._reading() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """See `Index.close`."""
        self._readers.dispose()
        self._writers.dispose()

    # ------------------------------------------------------------ transactions

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._readers.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise self._dialect.translate(error)[0] from error

    @contextmanager
    def _reading_session(self, seconds: float | None = None) -> Iterator[Session]:
        """For reading; with a limit, if any, for each of its statements."""
        with self._reading() as connection:
            limit = nullcontext() if seconds is None else self._dialect.limited(connection, seconds)
            with limit:
                yield CoreSession(connection, self._dialect.insert_new)

    @contextmanager
    def _writing_session(self, *, later: bool = False) -> Iterator[Session]:
        """One transaction, committed at the end; durably, unless `later` is soon enough. Raises SQLAlchemyError."""
        with self._writers.begin() as connection:
            yield CoreSession(connection, self._dialect.insert_new)

    def _in_session(self, work: Callable[[Session], T], *, later: bool = False) -> T:
        """`_write` for prepared statements."""

        def attempt() -> T:
            with self._writing_session(later=later) as session:
                return work(session)

        return self._retried(attempt)

    def _write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction, again when another writer was first or a retry may help."""

        def attempt() -> T:
            with self._writers.begin() as connection:
                return work(connection)

        return self._retried(attempt)

    def _retried(self, attempt: Callable[[], T]) -> T:
        for number in range(self._dialect.attempts):
            try:
                return attempt()
            except writes.Raced as error:
                failure: Exception = IndexUnavailable("other writers were first too often")
                failure.__cause__ = error
            except SQLAlchemyError as error:
                failure, again = self._dialect.translate(error)
                failure.__cause__ = error
                if not again:
                    break
            time.sleep(0.02 * 2**number)
        raise failure

    def _add_group(self, additions: Sequence[_Addition]) -> list[Added | Exception]:
        """One transaction for all; what one record is refused for does not touch the others."""
        # the order of studies is the order of locks
        order = sorted(range(len(additions)), key=lambda position: additions[position].record.study_uid)

        again = False

        def work(session: Session) -> dict[int, Added | Exception]:
            nonlocal again
            reached("P6")
            found = {position: _add_one(session, additions[position], again) for position in order}
            again = True
            reached("P7")
            for position, added in found.items():
                if isinstance(added, Added):
                    _in_time(additions[position].until)
            return found

        try:
            results = self._in_session(work, later=all(addition.later for addition in additions))
            reached("P8")
        except StorageError:
            if len(additions) == 1:
                raise
            return [self._alone(addition) for addition in additions]
        return [results[position] for position in range(len(additions))]

    def _alone(self, addition: _Addition) -> Added | Exception:
        try:
            return self._in_session(lambda session: _add_one(session, addition, again=True))
        except StorageError as error:
            return error


def _in_time(until: float | None) -> None:
    if until is not None and time.time() > until:
        raise IndexUnavailable("it took too long")


def _add_one(session: Session, addition: _Addition, again: bool) -> Added | Exception:
    try:
        _in_time(addition.until)
        return writes.add(
            session,
            addition.record,
            replace=addition.replace,
            tomb=addition.tomb,
            announce=addition.announce,
            again=again,
            repairs=addition.repairs,
            instead=addition.instead,
        )
    except StorageError as refused:  # raised before anything was written
        return refused
