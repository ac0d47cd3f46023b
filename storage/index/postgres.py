"""The index in PostgreSQL, shared by any number of gateways; its row locks are the only arbiter between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, create_engine
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError, TimeoutError

from storage.errors import IndexFull, IndexStoreError, IndexTooSlow, IndexUnavailable
from storage.index.migrate import upgrade
from storage.index.patience import PatientConnection
from storage.index.sql import Dialect, SqlIndex

RETRY = frozenset({"40001", "40P01", "57P01", "57P02", "57P03"})
"""Serialization failure, deadlock, and a server that is going down or coming up.

Not a lock time-out: whoever holds the lock for so long will hold it on, and others wait behind us (F-39).
"""
FULL = frozenset({"53100", "53200"})
CANCELED = "57014"
"""Ended by statement_timeout."""


def glob(column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    """LIKE with `*` and `?` for `%` and `_`, and its own signs escaped."""
    escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return column.like(escaped.replace("*", "%").replace("?", "_"), escape="\\")


def translate(error: SQLAlchemyError) -> tuple[IndexStoreError, bool]:
    """Our error for the driver's; a lost connection is worth another try on a new one."""
    if isinstance(error, TimeoutError):
        return IndexUnavailable("all connections to the index are in use"), False
    state = getattr(getattr(error, "orig", None), "sqlstate", None) or ""
    if state in FULL:
        return IndexFull("no room left for the index"), False
    if state == CANCELED:
        return IndexTooSlow("a statement took too long"), False
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if state in RETRY or lost:
        return IndexUnavailable("the index was interrupted"), True
    if state:
        return IndexUnavailable(f"the index refused a statement (SQLSTATE {state})"), False
    return IndexUnavailable("the index does not answer"), False


@contextmanager
def limited(connection: Connection, seconds: float) -> Iterator[None]:
    """Until its transaction ends, the statements of the connection may take this long."""
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {max(int(seconds * 1000), 1)}")
    yield


class PostgresIndex(SqlIndex):
    """`Index` in the database at `url` (`postgresql://user@host:port/name`), silent for `patience` seconds at most."""

    def __init__(self, url: str, *, patience: float = 10.0) -> None:
        writers = _engine(url, size=8, patience=patience)
        try:
            upgrade(writers)
        except BaseException as error:
            writers.dispose()
            if isinstance(error, SQLAlchemyError):
                raise translate(error)[0] from error
            raise
        super().__init__(
            _engine(url, size=16, patience=patience),
            writers,
            Dialect(insert_new=_insert_new, glob=glob, translate=translate, limited=limited),
        )

    def timeline(self) -> int:
        """See `Index.timeline`. The first eight digits of the name of the log file that is written."""
        asked = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END"
        with self._reading() as connection:
            name = connection.exec_driver_sql(asked).scalar_one()
        return int(name[:8], 16) if name else 0

    def facts(self) -> Mapping[str, str]:
        """See `Index.facts`."""
        asked = {
            "PostgreSQL": "current_setting('server_version')",
            "schema": "(SELECT version_num FROM alembic_version)",
            "synchronous_commit": "current_setting('synchronous_commit')",
            "recovery": "pg_is_in_recovery()::text",
            "max_connections": "current_setting('max_connections')",
            "clock": "extract(epoch FROM clock_timestamp())::text",
        }
        with self._reading() as connection:
            row = connection.exec_driver_sql("SELECT " + ", ".join(asked.values())).one()
        return dict(zip(asked, map(str, row), strict=True))


def _insert_new(table: Any) -> Any:
    return insert(table).on_conflict_do_nothing()


def _engine(url: str, *, size: int, patience: float) -> Engine:
    """Readers and writers have pools of their own, so that one cannot starve the other (F-36)."""
    arguments: dict[str, Any] = {
        "connect_timeout": 3,
        "application_name": "gantry",
        "options": "-c lock_timeout=5s -c statement_timeout=60s -c idle_in_transaction_session_timeout=60s",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
    }
    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: PatientConnection.patient(url, patience, **arguments),
        pool_size=size,
        max_overflow=size,
        pool_timeout=2,
        pool_pre_ping=True,
        pool_recycle=1800,
    )
