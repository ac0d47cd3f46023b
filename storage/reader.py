"""A stored object as a seekable binary file, by ranged reads."""

from __future__ import annotations

import io
from typing import Protocol

from storage.archive import Archive


class StoredFile(Protocol):
    """What names a stored object: a located instance, or a listed object."""

    @property
    def key(self) -> str: ...
    @property
    def size(self) -> int: ...


class _Ranges(io.RawIOBase):
    """Raw side of `open_reader`: each read is one ranged read of the object."""

    def __init__(self, archive: Archive, located: StoredFile) -> None:
        self._archive = archive
        self._located = located
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._located.size}[whence]
        if base + offset < 0:
            raise ValueError("negative position")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]  # typeshed's WriteableBuffer is not nameable in 3.11
        length = min(len(view), self._located.size - self._at)
        if length <= 0:
            return 0
        data = self._archive.objects.read(self._located.key, self._at, length)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def open_reader(archive: Archive, located: StoredFile, *, buffer: int = 1 << 20) -> io.BufferedReader:
    """The instance's Part 10 file for reading and seeking; `buffer` bytes are fetched at a time.

    Reads raise ObjectMissing, ObjectDamaged, ObjectStoreUnavailable.
    """
    return io.BufferedReader(_Ranges(archive, located), buffer)
