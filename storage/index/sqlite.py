"""The index in one SQLite file, for one machine.

WAL with `synchronous=FULL`: a commit that was answered survives a power cut. Only stores that can be told again from
what was received need not, until the index is synced: these are committed with `synchronous=NORMAL`, which writes to
the log and leaves syncing it to the next checkpoint or full commit. One process owns the file, by a lock on
`<file>.lock`: SQLite before 3.51.3 can corrupt a WAL that several processes write and checkpoint at once, and a second
gateway on one folder is a mistake in any case. `pysqlite3` carries a current SQLite; Python's own is the second choice.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Engine, create_engine, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from storage.errors import (
    IndexBroken,
    IndexBusy,
    IndexDamaged,
    IndexFull,
    IndexStalled,
    IndexStoreError,
    IndexTooSlow,
    IndexUnavailable,
)
from storage.folders import make_folder
from storage.index.migrate import upgrade
from storage.index.session import DriverSession, Session
from storage.index.sql import Dialect, SqlIndex
from storage.stalls import Stalls

T = TypeVar("T")

_log = logging.getLogger(__name__)

SAFE_VERSION = (3, 51, 3)
_STEPS_PER_SECOND = 200_000
"""Of SQLite's machine, which does some 50 millions: of a limit one part in 250 passes between two looks at the clock.
Each look takes the interpreter's lock, for which a busy gateway makes it wait."""
SYNCED = "synced"
"""The note of the last `sync`: when it was."""
LONG = 256 << 20
"""Bytes that a transaction of housekeeping may take the time of."""
LOOK = 1.0
"""Seconds after which who waits for the turn looks whether the disk stands still."""
IO_ERROR = 10
"""SQLITE_IOERR, the low byte of a result code that says which kind of input or output failed."""


def driver() -> ModuleType:
    """The SQLite driver: pysqlite3 where it is installed, else Python's own."""
    try:
        from pysqlite3 import dbapi2
    except ImportError:
        if sqlite3.sqlite_version_info < SAFE_VERSION:
            warnings.warn(
                f"SQLite {sqlite3.sqlite_version} has a fault in its WAL (fixed in 3.51.3); install pysqlite3",
                RuntimeWarning,
                stacklevel=2,
            )
        return sqlite3
    module: ModuleType = dbapi2
    return module


def glob(column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    """GLOB has our `*` and `?`; only its brackets have to be escaped."""
    return column.op("GLOB", is_comparison=True)(pattern.replace("[", "[[]"))


def translate(error: SQLAlchemyError) -> tuple[IndexStoreError, bool]:
    """Our error for the driver's; a busy database is worth another try."""
    cause = str(getattr(error, "orig", error))
    if "disk is full" in cause:
        return IndexFull("no room left for the index"), False
    if getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF == IO_ERROR:
        return IndexBroken(f"the disk of the index failed ({cause}); check it, then restart"), False
    if "not a database" in cause or "malformed" in cause:
        return IndexDamaged(
            "the file of the index is damaged: restore a backup of it, or move it away and run `gantry index rebuild`"
        ), False
    if "locked" in cause or "busy" in cause:
        return IndexUnavailable("the index is busy"), True
    if cause == "interrupted":
        return IndexTooSlow("a statement took too long"), False
    return IndexUnavailable(f"the index cannot be used: {cause}"), False


@contextmanager
def limited(connection: Connection, seconds: float) -> Iterator[None]:
    """The statements of the connection may take this long, all together: SQLite asks from time to time."""
    with _watched(connection.connection.dbapi_connection, seconds):
        yield


@contextmanager
def _watched(raw: Any, seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    steps = max(int(seconds * _STEPS_PER_SECOND), 100)
    raw.set_progress_handler(lambda: time.monotonic() > end, steps)
    try:
        yield
    finally:
        raw.set_progress_handler(None, steps)


class SqliteIndex(SqlIndex):
    """`Index` in the file `path`, made when it is not there. Raises IndexBusy when another process has it open, unless
    it is opened `beside` one of ours, which shares it. `stalls` are the process's waits for its disks.
    """

    syncs_later = True

    def __init__(self, path: Path, *, beside: bool = False, stalls: Stalls | None = None) -> None:
        make_folder(path.parent)
        self._lock = -1 if beside else _own(path)
        try:
            writers = _engine(path, immediate=True)
            upgrade(writers)
            super().__init__(
                _engine(path, immediate=False),
                writers,
                Dialect(insert_new=_insert_new, glob=glob, translate=translate, limited=limited),
            )
        except BaseException as error:
            if self._lock >= 0:
                os.close(self._lock)
            if isinstance(error, SQLAlchemyError):
                raise translate(error)[0] from error
            raise
        self._drivers = _Drivers(path, "FULL")
        self._unhurried = _Drivers(path, "NORMAL")
        self._watcher = _Watcher(path)
        self._trouble = ""
        if not beside:
            _turn_path(path).unlink(missing_ok=True)
        self._stalls = stalls or Stalls()
        self._turn = _Turn(path if beside else None, self._stalls)

    @contextmanager
    def _reading_session(self, seconds: float | None = None) -> Iterator[Session]:
        try:
            with (
                self._drivers.one() as connection,
                nullcontext() if seconds is None else _watched(connection, seconds),
            ):
                yield DriverSession(connection.cursor(), self._readers.dialect, _insert_new)
        except SQLAlchemyError as error:
            raise translate(error)[0] from error

    @contextmanager
    def _writing_session(self, *, later: bool = False) -> Iterator[Session]:
        with self._turn, self._stalls.wait(), (self._unhurried if later else self._drivers).one() as connection:
            cursor = connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            yield DriverSession(cursor, self._writers.dialect, _insert_new)
            cursor.execute("COMMIT")

    def _write(self, work: Callable[[Connection], T]) -> T:
        with self._turn, self._stalls.wait(LONG):
            return super()._write(work)

    def _retried(self, attempt: Callable[[], T]) -> T:
        """After an I/O error nothing is written: the kernel may have dropped what it could not write, and would call
        the next sync a success, which SQLite would believe."""
        self.check_writable()
        try:
            return super()._retried(attempt)
        except IndexBroken as error:
            self.distrust(str(error))
            raise

    def state(self) -> int | None:
        """See `Index.state`."""
        return self._watcher.state()

    def distrust(self, reason: str) -> None:
        """See `Index.distrust`."""
        if not self._trouble:
            self._trouble = reason
            _log.error("index: %s", reason)
            self._turn.distrust()

    def sync(self) -> None:
        """See `Index.sync`. The sync of a commit takes in all that was written to the log before it, by whomever."""
        self.set_note(SYNCED, repr(time.time()))

    def share(self) -> tuple[int, ...]:
        """See `Index.share`."""
        if driver().sqlite_version_info < SAFE_VERSION:
            raise IndexUnavailable(f"SQLite {driver().sqlite_version} is safe in one process only; install pysqlite3")
        return (self._lock,)

    def check_writable(self) -> None:
        """See `Index.check_writable`."""
        if not self._trouble and self._turn.is_distrusted():
            self._trouble = "the disk failed to keep what another of the processes wrote; check it, then restart"
        if self._trouble:
            raise IndexBroken(self._trouble)
        if self._stalls.found:
            raise IndexStalled("the disk does not answer")

    def facts(self) -> Mapping[str, str]:
        """See `Index.facts`."""
        found = {"SQLite": driver().sqlite_version}
        with self._reading() as connection:
            found["schema"] = str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar())
            said = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
        return found if said == "ok" else {**found, "trouble": "its file is damaged"}

    def close(self) -> None:
        """Give back connections and the lock."""
        super().close()
        self._drivers.close()
        self._watcher.close()
        self._unhurried.close()
        self._turn.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _turn_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.turn")


class _Turn:
    """Writers wait here, not in SQLite, which would have them ask again and again: those of this process, and where
    the index at `path` is shared, those of the others. Nobody waits for one who has come upon a disk that stands still.
    """

    def __init__(self, path: Path | None, stalls: Stalls) -> None:
        self._guard = threading.Lock()
        self._stalls = stalls
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._file = -1 if path is None else os.open(_turn_path(path), flags, 0o600)

    def __enter__(self) -> None:
        while not self._guard.acquire(timeout=LOOK):
            if self._stalls.found:
                raise IndexStalled("the disk does not answer")
        if self._file >= 0:
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._guard.release()

    def distrust(self) -> None:
        """Tell the other processes that the disk cannot be trusted; to be forgotten at the next start of all."""
        if self._file >= 0:
            with suppress(OSError):  # what else could be done
                os.pwrite(self._file, b"!", 0)

    def is_distrusted(self) -> bool:
        """Whether one of them said so."""
        return self._file >= 0 and bool(os.pread(self._file, 1, 0))

    def close(self) -> None:
        """Give back the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class _Drivers:
    """Connections of the driver itself, without a pool's work at each use. Errors come out as SQLAlchemy's."""

    def __init__(self, path: Path, synchronous: str) -> None:
        self._path = path
        self._synchronous = synchronous
        self._idle: deque[Any] = deque()

    @contextmanager
    def one(self) -> Iterator[Any]:
        """A connection for one thread; what was begun and not committed is undone."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = _connect(self._path, self._synchronous)
        try:
            yield connection
        except driver().Error as error:
            raise DBAPIError(None, None, error) from error
        finally:
            if connection.in_transaction:
                connection.rollback()
            self._idle.append(connection)

    def close(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            self._idle.pop().close()


class _Watcher:
    """A connection that writes nothing, and so hears from SQLite of every commit: all are those of others."""

    def __init__(self, path: Path) -> None:
        self._guard = threading.Lock()
        self._connection = _connect(path)
        self._connection.execute("PRAGMA busy_timeout=0").close()

    def state(self) -> int | None:
        """See `Index.state`; None, too, while it cannot be read at once."""
        try:
            with self._guard:
                (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        except driver().Error:
            return None
        return int(version)

    def close(self) -> None:
        """Close it."""
        self._connection.close()


def _insert_new(table: Any) -> Any:
    return insert(table).on_conflict_do_nothing()


def _own(path: Path) -> int:
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise IndexBusy(f"another process uses the index {path}") from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _engine(path: Path, *, immediate: bool) -> Engine:
    """Connections that begin their transactions themselves: a writer takes the write lock at BEGIN, not midway."""
    pool: dict[str, Any] = (
        {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0, "pool_timeout": 30}
        if immediate
        else {"poolclass": QueuePool, "pool_size": 16, "max_overflow": 48, "pool_timeout": 10}
    )
    engine = create_engine("sqlite+pysqlite://", module=driver(), creator=lambda: _connect(path), **pool)
    begin = "BEGIN IMMEDIATE" if immediate else "BEGIN"

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _connect(path: Path, synchronous: str = "FULL") -> Any:
    connection = driver().connect(path, timeout=10, check_same_thread=False, isolation_level=None)
    for pragma in (
        "journal_mode=WAL",
        f"synchronous={synchronous}",
        "foreign_keys=ON",
        "busy_timeout=10000",
        "cache_size=-16000",
        "temp_store=MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}").close()
    return connection
