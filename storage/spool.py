"""Files being received, on the object store's own file system where it has one.

A spool file is private to its process, holds no name but its version, and is worth nothing until it was moved into the
object store: whatever a crash left is removed at the next start.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import BinaryIO

from storage.crashpoints import reached
from storage.errors import ObjectStoreFull, ObjectStoreUnavailable

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENFILE, errno.EMFILE})


class Spool:
    """A folder of files being received. `reserve` bytes of its file system are never used up."""

    def __init__(self, folder: Path, *, reserve: int = 0) -> None:
        self.folder = folder
        self.reserve = reserve
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def create(self, version: str) -> tuple[Path, BinaryIO]:
        """A new, empty file, open for writing and reading.

        Raises ObjectStoreFull, ObjectStoreUnavailable.
        """
        path = self.folder / f"{version}.part"
        try:
            try:
                descriptor = self._open(path)
            except FileNotFoundError:  # a cleaner of temporary files took the folder away (F-69)
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
        try:
            self._check_room()
        except OSError as error:
            raise spool_error(error) from error

    def clean(self) -> int:
        """Remove what an earlier process left; returns how many files."""
        count = 0
        for path in self.folder.glob("*.part"):
            path.unlink(missing_ok=True)
            count += 1
        return count

    def _check_room(self) -> None:
        if self.reserve:
            facts = os.statvfs(self.folder)
            if facts.f_bavail * facts.f_frsize < self.reserve:
                raise OSError(errno.ENOSPC, "less than the reserve is free")


def spool_error(error: OSError) -> ObjectStoreFull | ObjectStoreUnavailable:
    """The storage error that an OSError on a spool file means."""
    if error.errno in NO_SPACE:
        return ObjectStoreFull("no room for a spool file")
    return ObjectStoreUnavailable(f"the spool folder cannot be written: {os.strerror(error.errno or errno.EIO)}")
