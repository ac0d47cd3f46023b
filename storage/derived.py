"""Derived data: files that can be made again from stored objects, kept for as long as there is room.

They lie in a folder on the local disk, beside the spool, and not in the object store. What is kept here costs
milliseconds to seconds to make; a put and a get of an S3-compatible store cost several of the first, an object store
has no time of last use to evict by, and would have to be listed to know its size. Gateways that share a store each keep
what their own clients ask for. The folder may be emptied at any time, and may be used by several processes: a file
appears whole, by a rename, and one that is evicted stays readable for whoever has it open.

Nothing is flushed to the disk on purpose: that would cost more than most files take to make, and hold up those who
store. A file outlives the processes of this machine, not the machine: after a crash of the system some could be there
in part. So they lie in a folder with the name of the present boot, and those of earlier ones are removed.

A file is named by a hash of its key, and holds nothing else that says whose it is. The key holds everything that the
bytes depend on, so no file is ever out of date.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast
from weakref import finalize

from storage.errors import ObjectStoreFull, ObjectStoreUnavailable, StorageError
from storage.spool import NO_SPACE, spool_error

Make = Callable[[BinaryIO], object]

LEAST = 32 << 10
"""Every file counts as at least this many bytes, so that their number is bounded too."""

_CHUNK = 1 << 20
_LOOK_EVERY = 16 << 20
_PART_AGE = 86_400.0
_LOOK_AFTER = 3.0
"""Seconds from the first file that is made until the folder is looked at for the first time."""
_TOUCH_AGE = 60.0
_ROOM = 0.9


class DerivedFile:
    """A finished file, readable for as long as anyone holds this, evicted or not. `length` is in bytes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        finalize(self, os.close, descriptor)
        self.length = os.fstat(descriptor).st_size

    def pieces(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to `end`, in pieces of at most 1 MiB; by any number of threads at once."""
        end = self.length if end is None else min(end, self.length)
        while start < end and (piece := os.pread(self._descriptor, min(_CHUNK, end - start), start)):
            yield piece
            start += len(piece)


class Derived:
    """The folder of derived files.

    Files together take at most `max_bytes`; those that were not used for longest go first. `at_once` files are made at
    the same time at most (None: one for each processor); who waits longer than `patience` seconds for a turn is sent
    away. `reserve` bytes of the disk are never used up. Blocking; shared by all threads.
    """

    def __init__(
        self, folder: Path, max_bytes: int, *, at_once: int | None = None, patience: float = 60.0, reserve: int = 0
    ) -> None:
        self.folder = folder
        self._home = folder / _boot()
        self.max_bytes = max_bytes
        self._reserve = reserve
        self._patience = patience
        self._turns = threading.BoundedSemaphore(at_once or os.cpu_count() or 1)
        self._guard = threading.Lock()
        self._flights: dict[str, Future[DerivedFile]] = {}
        self._sweeping = threading.Lock()
        self._used: int | None = None  # bytes, known once the folder was looked at
        self._looked = False
        self._unseen = 0  # bytes kept since then
        self._numbers = itertools.count()

    def get(self, key: str, make: Make) -> DerivedFile:
        """The file of `key`, made by `make` if it is not there: it writes the file, seeks as it likes, returns.

        Requests for a key that is being made wait for it and share it, or the error; an error is not remembered. The
        work is done in the thread of the first who asked, to the end, whatever becomes of the others. `make` must not
        come here again.

        Raises what `make` raises; ObjectStoreFull, ObjectStoreUnavailable: no room, or no turn.
        """
        name = hashlib.sha256(key.encode()).hexdigest()
        found = self._find(name)
        if found is not None:
            return found
        with self._guard:
            flight = self._flights.get(name)
            mine = flight is None
            if flight is None:
                flight = self._flights[name] = Future()
        if not mine:
            return flight.result()
        try:
            result = self._find(name) or self._make(name, make)
        except BaseException as error:
            flight.set_exception(theirs(error))
            raise
        else:
            flight.set_result(result)
            return result
        finally:
            with self._guard:
                del self._flights[name]

    def find(self, key: str) -> DerivedFile | None:
        """The file of `key` if it is there. Raises ObjectStoreUnavailable."""
        return self._find(hashlib.sha256(key.encode()).hexdigest())

    def put(self, key: str, data: bytes) -> None:
        """Keep what was made elsewhere. Raises ObjectStoreFull, ObjectStoreUnavailable."""
        name = hashlib.sha256(key.encode()).hexdigest()
        part = self._create(name)
        kept = False
        try:
            with part:
                rest = memoryview(data)
                while rest:
                    rest = rest[part.write(rest) :]
            kept = self._place(name, part.path, len(data))
        finally:
            if not kept:
                part.path.unlink(missing_ok=True)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One of the turns to make something. Raises ObjectStoreUnavailable where none is free in time."""
        if not self._turns.acquire(timeout=self._patience):
            raise ObjectStoreUnavailable("too much is being made at this moment")
        try:
            yield
        finally:
            self._turns.release()

    def tidy(self, older_than: float) -> int:
        """Remove files that were not used for `older_than` seconds, and room that is used up; returns how many files.

        What belongs to a deleted instance can no longer be used, and goes this way.
        """
        return self._sweep(time.time() - older_than)

    # ------------------------------------------------------------ one file

    def _path(self, name: str) -> Path:
        return self._home / name[:2] / name

    def _find(self, name: str) -> DerivedFile | None:
        try:
            descriptor = os.open(f"{self._home}/{name[:2]}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise spool_error(error) from error
        with suppress(OSError):  # the time of last use is worth no failure
            if time.time() - os.fstat(descriptor).st_mtime > _TOUCH_AGE:
                os.utime(descriptor)
        return DerivedFile(descriptor)

    def _make(self, name: str, make: Make) -> DerivedFile:
        with self.turn():
            return self._write(name, make)

    def _write(self, name: str, make: Make) -> DerivedFile:
        part = self._create(name)
        kept = False
        try:
            with io.BufferedRandom(part, _CHUNK) as out:
                try:
                    make(cast(BinaryIO, out))
                    out.flush()
                except BaseException:
                    part.abandoned = True  # closing writes what is left in the buffer: not to a full disk again
                    raise
                result, kept = self._keep(name, part)
                return result
        finally:
            if not kept:
                part.path.unlink(missing_ok=True)

    def _create(self, name: str) -> _Part:
        part = self._home / f"{os.getpid()}-{next(self._numbers)}-{name[:8]}.part"
        try:
            with suppress(FileNotFoundError):  # the folders are there but for the first time
                return _Part(part, self._check_room)
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._home.mkdir(exist_ok=True, mode=0o700)
            return _Part(part, self._check_room)
        except OSError as error:
            raise spool_error(error) from error

    def _keep(self, name: str, part: _Part) -> tuple[DerivedFile, bool]:
        """The finished file, put in its place if it fits in at all; whether it was."""
        result = DerivedFile(os.dup(part.fileno()))
        return result, self._place(name, part.path, result.length)

    def _place(self, name: str, part: Path, length: int) -> bool:
        """Put a finished file in its place, if it fits in at all; whether it was."""
        size = max(length, LEAST)
        if size > self.max_bytes:
            return False
        path = self._path(name)
        try:
            try:
                part.replace(path)
            except FileNotFoundError:
                path.parent.mkdir(exist_ok=True, mode=0o700)
                part.replace(path)
        except FileNotFoundError:  # the folder was taken away meanwhile; what was made is good all the same
            return False
        except OSError as error:
            raise spool_error(error) from error
        self._count(size)
        return True

    # ------------------------------------------------------------ room

    def _count(self, size: int) -> None:
        """Look at the folder when it may be full, or when others may have filled it meanwhile."""
        with self._guard:
            self._unseen += size
            first, self._looked = not self._looked, True
            full = (self._used or 0) + self._unseen > self.max_bytes
            look = full or self._unseen > self.max_bytes // 8
        if look:
            self._sweep()
        elif first:  # what earlier processes left may be many files, and somebody waits for this one
            later = threading.Timer(_LOOK_AFTER, self._look)
            later.daemon = True
            later.start()

    def _look(self) -> None:
        with suppress(StorageError):  # who makes the next file will hear of it
            self._sweep()

    def _check_room(self, descriptor: int) -> None:
        """Called from time to time while a file is written. Raises ObjectStoreFull."""
        if not self._reserve or _free(descriptor) >= self._reserve:
            return
        self._sweep(budget=0)
        if _free(descriptor) < self._reserve:
            raise ObjectStoreFull("less than the reserve is free")

    def _sweep(self, not_before: float = 0.0, budget: int | None = None) -> int:
        """Remove files last used before `not_before`, and the oldest beyond the budget. One thread at a time."""
        if not self._sweeping.acquire(blocking=False):
            return 0
        try:
            budget = self.max_bytes if budget is None else budget
            with self._guard:
                self._unseen = 0
            files = sorted(self._files())
            used = sum(size for _, size, _ in files)
            room = int(budget * _ROOM) if used > budget else budget  # not a file for each new one
            removed = 0
            for last_used, size, path in files:
                if last_used >= not_before and used <= room:
                    break
                Path(path).unlink(missing_ok=True)
                used -= size
                removed += 1
            with self._guard:
                self._used = used
            return removed
        except OSError as error:
            raise spool_error(error) from error
        finally:
            self._sweeping.release()

    def _files(self) -> Iterator[tuple[float, int, str]]:
        """Time of last use, size and path of each file. What earlier boots and processes left is removed on the way."""
        for folder in list(self.folder.glob("????????-????-????-????-????????????")):
            if folder != self._home:
                shutil.rmtree(folder, ignore_errors=True)
        old = time.time() - _PART_AGE
        for path in list(self._home.glob("*.part")):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < old:
                    path.unlink()
        for place in list(self._home.glob("??")):
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(place) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):
                        facts = entry.stat(follow_symlinks=False)
                        yield facts.st_mtime, max(facts.st_size, LEAST), entry.path


class _Part(io.FileIO):
    """A file being made. `abandoned` lets what is still written to it go nowhere."""

    def __init__(self, path: Path, check_room: Callable[[int], None]) -> None:
        super().__init__(path, "x+", opener=_private)
        self.path = path
        self.abandoned = False
        self._check_room = check_room
        self._until_look = 0

    def write(self, data: object, /) -> int:
        size = memoryview(data).nbytes  # type: ignore[arg-type]  # typeshed's Buffer is not nameable in 3.11
        if self.abandoned:
            return size
        self._until_look -= size
        if self._until_look < 0:
            self._until_look = _LOOK_EVERY
            self._check_room(self.fileno())
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            if error.errno in NO_SPACE:
                raise ObjectStoreFull("no room for a derived file") from error
            raise spool_error(error) from error


def theirs(error: BaseException) -> Exception:
    """What those hear who wait for work that failed so: they would wait for ever. What stops one thread alone is not
    theirs."""
    return error if isinstance(error, Exception) else ObjectStoreUnavailable("the work was interrupted")


def _free(descriptor: int) -> int:
    """Bytes that are free on the disk of an open file."""
    facts = os.statvfs(descriptor)
    return facts.f_bavail * facts.f_frsize


def _boot() -> str:
    """A UUID that is another after each start of the system."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return str(uuid.uuid4())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
