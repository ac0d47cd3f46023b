"""A folder's tree, walked without ever following a symbolic link.

Every path is walked component by component from the folder that was opened at the start: what somebody plants in the
tree leads nowhere, and a folder put in its place is not ours.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from storage.errors import (
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
    ObjectStoreError,
    ObjectStoreFull,
    ObjectStoreUnavailable,
)
from storage.folders import make_folder
from storage.objects import ObjectInfo, is_key

STAYING = 2
"""Levels of folders, from the top, that are never removed."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMLINK, errno.EMFILE, errno.ENFILE})
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not hold us up
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}
_LINK = "a symbolic link stands among the objects; it is not followed"  # we never make one


class Tree:
    """The tree below `path`, which is made when there is none. `root` is the descriptor of its top."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        with writing("open the object folder"):
            make_folder(self.path, 0o750)
            self.root = os.open(self.path, FOLDER)

    def close(self) -> None:
        """Close the top; what is asked afterwards fails."""
        if self.root >= 0:
            os.close(self.root)
            self.root = -1

    def check(self) -> None:
        """Raises ObjectStoreUnavailable when another folder or file system stands where ours was opened."""
        ours, there = os.fstat(self.root), self.path.stat()
        if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino):
            raise ObjectStoreUnavailable("the object folder was replaced by another since it was opened")

    def folder(self, folders: str) -> int:
        """A descriptor of the folder `folders`, to be closed by the caller.

        Raises OSError, and ObjectDamaged for a symbolic link.
        """
        at = os.dup(self.root)
        for name in folders.split("/"):
            try:
                below = os.open(name, FOLDER, dir_fd=at)
            except OSError as error:
                if is_link(at, name):
                    raise ObjectDamaged(_LINK) from error
                raise
            finally:
                os.close(at)
            at = below
        return at

    @contextmanager
    def file(self, key: str, start: int, length: int | None) -> Iterator[tuple[FileIO, int]]:
        """The file of an object, and the end of the range in it. Raises ObjectMissing, ObjectDamaged.

        A file object and no descriptor: one used by mistake after its end must not read what is open there by then.
        """
        folders, name = key.rsplit("/", 1)
        with reading(key):
            folder = self.folder(folders)
            try:
                descriptor = os.open(name, FILE, dir_fd=folder)
            except OSError as error:
                if is_link(folder, name):
                    raise ObjectDamaged(_LINK) from error
                raise
            finally:
                os.close(folder)
        try:
            facts = os.fstat(descriptor)
            if stat.S_ISDIR(facts.st_mode):
                raise ObjectMissing(key)
            if not stat.S_ISREG(facts.st_mode):
                raise ObjectDamaged(f"{key}: not a plain file")
            end = max(start, facts.st_size) if length is None else start + length
            if end > facts.st_size:
                raise ObjectDamaged(f"{key}: {facts.st_size} bytes long, {end} expected")
        except ObjectStoreError:
            os.close(descriptor)
            raise
        with FileIO(descriptor) as file:
            yield file, end

    @contextmanager
    def made(self, folders: str, known: set[str]) -> Iterator[tuple[int, dict[str, int]]]:
        """The folder `folders`, made if need be; and by path of each folder that may not be on the disk its parent.

        Those `known` are on the disk. That another process made a folder does not say that its name is there already.
        """
        at, path = os.dup(self.root), ""
        held = [at]
        unsure: dict[str, int] = {}
        try:
            for name in folders.split("/"):
                path = f"{path}/{name}" if path else name
                if path not in known:
                    unsure[path] = at
                try:
                    below = os.open(name, FOLDER, dir_fd=at)
                except FileNotFoundError:
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o750, dir_fd=at)
                    unsure[path] = at
                    below = os.open(name, FOLDER, dir_fd=at)
                except NotADirectoryError as error:
                    if is_link(at, name):
                        raise ObjectStoreUnavailable(_LINK) from error
                    raise ObjectExists(f"{path} is an object") from error
                held.append(at := below)
            yield at, unsure
        finally:
            for descriptor in held:
                os.close(descriptor)

    def prune(self, folders: str) -> None:
        """Remove the last of `folders` when it is empty. Not one of the upper levels: those are few, and stay."""
        above, _, last = folders.rpartition("/")
        if folders.count("/") >= STAYING:
            folder = self.folder(above)
            try:
                os.rmdir(last, dir_fd=folder)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
                    raise
            finally:
                os.close(folder)

    def keys(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """The objects, in the order of their keys."""
        with reading(prefix):
            folder = os.dup(self.root)
        try:
            yield from _keys(folder, "", prefix, after)
        finally:
            os.close(folder)


def _keys(folder: int, path: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
    """The objects below `folder`, whose path is `path` (empty, or ending with a slash), in the order of their keys."""
    with reading(path), os.scandir(folder) as entries:
        # A folder sorts as if its slash were part of its name, as it is in the keys below it.
        names = sorted(
            entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name
            for entry in entries
            if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
        )
    for name in names:
        key = path + name
        if name.endswith("/"):
            wanted = key.startswith(prefix) or prefix.startswith(key)
            if not wanted or not is_key(f"{key}x/x") or (key < after and not after.startswith(key)):
                continue
            try:
                below = os.open(name[:-1], FOLDER, dir_fd=folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise ObjectStoreUnavailable(f"{key}: {error.strerror}") from error
            try:
                yield from _keys(below, key, prefix, after)
            finally:
                os.close(below)
        elif key.startswith(prefix) and key > after and is_key(key):
            try:
                size = os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
            except FileNotFoundError:
                continue
            yield ObjectInfo(key, size)


def is_link(folder: int, name: str) -> bool:
    """True when the entry is a symbolic link."""
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Our errors for those of the system, while something is read."""
    try:
        yield
    except OSError as error:
        if error.errno in _ABSENT:
            raise ObjectMissing(what) from error
        raise ObjectStoreUnavailable(f"{what}: {error.strerror}") from error


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Our errors for those of the system, while something is written."""
    try:
        yield
    except FileExistsError as error:
        raise ObjectExists("an object is there already") from error
    except OSError as error:
        if error.errno in FULL:
            raise ObjectStoreFull(f"cannot {what}: {error.strerror}") from error
        raise ObjectStoreUnavailable(f"cannot {what}: {error.strerror}") from error
