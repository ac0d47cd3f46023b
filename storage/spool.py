"""Files being received, on the object store's own file system where it has one.

A spool file is private to its process, whose number its name ends with after the version, and is worth nothing until it
was moved into the object store: whatever a crash left is removed at the next start, or when the process is replaced.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from storage.crashpoints import reached
from storage.errors import ObjectStoreBroken, ObjectStoreFull, ObjectStoreUnavailable, SpoolBusy
from storage.objects import Entrance
from storage.stalls import Stalls
from storage.versions import new_version

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENFILE, errno.EMFILE})


class Share:
    """What one transfer takes of the spool's budget, until it is closed."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.bytes = 0

    def add(self, size: int) -> None:
        """Take more bytes. Raises SpoolBusy beyond the budget, unless this is the oldest transfer of all."""
        self._spool.charge(self, size)

    def close(self) -> None:
        """Give all bytes back."""
        self._spool.discharge(self)


class Spool:
    """A folder of files being received. `reserve` bytes of its file system are never used up.

    `budget` bounds the bytes that are being received or wait to be stored, of all transfers together (0: no bound).
    Beyond it no transfer begins, and of those that go on only the oldest may still grow: so one always gets through.
    `distrust` is told when the disk of the entrance failed; `stalls` are the process's waits for its disks.
    """

    def __init__(
        self,
        folder: Path,
        *,
        reserve: int = 0,
        budget: int = 0,
        entrance: Entrance | None = None,
        distrust: Callable[[str], None] = lambda reason: None,
        stalls: Stalls | None = None,
    ) -> None:
        self.folder = folder
        self.reserve = reserve
        self.budget = budget
        self.in_flight = 0
        self._shares: dict[Share, None] = {}  # the oldest first
        self._guard = threading.Lock()
        self._entrance = entrance
        self._distrust = distrust
        self.stalls = stalls or Stalls()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def admit(self) -> Share:
        """Begin a transfer. Raises SpoolBusy, ObjectStoreStalled."""
        self.stalls.check()
        share = Share(self)
        with self._guard:
            if self._is_busy():
                raise SpoolBusy("too much is being received at this time")
            self._shares[share] = None
        return share

    def charge(self, share: Share, size: int) -> None:
        """See `Share.add`."""
        with self._guard:
            if self._is_busy(size) and next(iter(self._shares), share) is not share:
                raise SpoolBusy("too much is being received at this time")
            share.bytes += size
            self.in_flight += size

    def discharge(self, share: Share) -> None:
        """See `Share.close`."""
        with self._guard:
            self._shares.pop(share, None)
            self.in_flight -= share.bytes
            share.bytes = 0

    def check_budget(self) -> None:
        """Return when another transfer may begin. Raises SpoolBusy."""
        with self._guard:
            if self._is_busy():
                raise SpoolBusy("too much is being received at this time")

    def _is_busy(self, more: int = 0) -> bool:
        return bool(self.budget) and self.in_flight + more >= self.budget

    def begin(self) -> tuple[str, Path, BinaryIO]:
        """A new version, and an empty file for an instance of this name, open for writing and reading.

        Where the object store has an entrance it lies there. Raises ObjectStoreError.
        """
        if self._entrance is None:
            version = new_version()
            return version, *self.create(version)
        try:
            with self.stalls.wait():
                self._check_room()
                version, path, descriptor = self._entrance.begin()
        except ObjectStoreBroken as error:
            self._distrust(str(error))
            raise
        except OSError as error:
            raise spool_error(error) from error
        reached("P1")
        return version, path, os.fdopen(descriptor, "w+b", buffering=0)

    def create(self, version: str) -> tuple[Path, BinaryIO]:
        """A new, empty file, open for writing and reading.

        Raises ObjectStoreFull, ObjectStoreUnavailable.
        """
        path = self.folder / f"{version}-{os.getpid()}.part"
        try:
            with self.stalls.wait():
                try:
                    descriptor = self._open(path)
                except FileNotFoundError:
                    self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                    descriptor = self._open(path)
        except OSError as error:
            raise spool_error(error) from error
        reached("P1")
        return path, os.fdopen(descriptor, "w+b", buffering=0)

    def _open(self, path: Path) -> int:
        self._check_room()
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def check(self) -> None:
        """Return when there is room to receive; else raise ObjectStoreFull or ObjectStoreUnavailable."""
        self.stalls.check()
        try:
            self._check_room()
        except OSError as error:
            raise spool_error(error) from error

    def clean(self, process: int | None = None) -> int:
        """Remove what earlier processes left, or this one that has ended; returns how many files."""
        count = 0
        for path in self.folder.glob("*.part" if process is None else f"*-{process}.part"):
            path.unlink(missing_ok=True)
            count += 1
        if process is not None and self._entrance is not None:
            count += self._entrance.clean(process)
        return count

    def _check_room(self) -> None:
        if self.reserve:
            try:
                facts = os.statvfs(self.folder)
            except FileNotFoundError:  # a cleaner of temporary files took the folder away (F-69)
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                facts = os.statvfs(self.folder)
            if facts.f_bavail * facts.f_frsize < self.reserve:
                raise OSError(errno.ENOSPC, "less than the reserve is free")


def spool_error(error: OSError) -> ObjectStoreFull | ObjectStoreUnavailable:
    """The storage error that an OSError on a spool file means."""
    if error.errno in NO_SPACE:
        return ObjectStoreFull("no room for a spool file")
    return ObjectStoreUnavailable(f"the spool folder cannot be written: {os.strerror(error.errno or errno.EIO)}")
