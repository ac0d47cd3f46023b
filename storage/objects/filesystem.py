"""Objects as files below one folder.

Every path is walked component by component from the folder that was opened at the start, and no symbolic link is
followed: what somebody plants in the tree leads nowhere. A file gets its name only once its bytes are on the disk, and
`put` returns only once the name is there as well, with that of every folder above it that may be new.

An fsync that failed is never repeated, because the kernel may have dropped the bytes and would call the next one a
success: after an I/O error the store takes nothing more until it is opened again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from uuid import uuid4

from storage.errors import (
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
    ObjectStoreError,
    ObjectStoreFull,
    ObjectStoreUnavailable,
)
from storage.objects import CHUNK, ObjectInfo, check_key, check_span, is_key

_UNFINISHED = ".unfinished"
_FULL = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EMLINK,
    errno.EMFILE,
    errno.ENFILE,
}
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENXIO}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_LINK = "a symbolic link stands among the objects; it is not followed"  # we never make one
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a FIFO must not hold us up


class FolderStore:
    """An ObjectStore below `root`, which is made when there is none.

    The source of `put` is moved when it lies on the same file system, else copied and removed. `sync` is what has the
    disk keep a file or folder, by its descriptor.
    """

    def __init__(self, root: Path, *, sync: Callable[[int], None] = os.fsync) -> None:
        self._path = root.resolve()
        self._fsync = sync
        self._trouble = ""
        self._known: set[str] = set()  # folders whose own name is on the disk for certain
        with _writing("open the object folder"):
            self._path.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._root = os.open(self._path, _FOLDER)

    def put(self, key: str, source: Path, *, sha256: str, metadata: Mapping[str, str] | None = None) -> None:
        """See ObjectStore. There is no room for `metadata`; the digest is verified only when the file is copied."""
        check_key(key)
        self._check_writable()
        with _writing("store"):
            file = os.open(source, _FILE)
            try:
                self._sync(file)
                try:
                    self._place(key, lambda folder, name: _link(source, folder, name))
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                    self._place(key, lambda folder, name: self._copy(file, sha256, folder, name))
            finally:
                os.close(file)
            source.unlink(missing_ok=True)

    def put_bytes(self, key: str, data: bytes) -> None:
        """See ObjectStore."""
        check_key(key)
        self._check_writable()

        def write(folder: int, name: str) -> None:
            with self._unfinished() as (unfinished, temporary, file):
                _write(file, data)
                self._sync(file)
                os.replace(temporary, name, src_dir_fd=unfinished, dst_dir_fd=folder)

        with _writing("store"):
            self._place(key, write)

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """See ObjectStore."""
        with self._opened(key, start, length) as (file, end):
            pieces = list(_pieces(key, file, start, end, end - start))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @contextmanager
    def stream(self, key: str, start: int = 0, length: int | None = None) -> Iterator[Iterator[bytes]]:
        """See ObjectStore. A file that is too short is told on entering."""
        with self._opened(key, start, length) as (file, end):
            yield _pieces(key, file, start, end, CHUNK)

    def size(self, key: str) -> int:
        """See ObjectStore."""
        with self._opened(key, 0, None) as (_, end):
            return end

    def path(self, key: str) -> Path:
        """The file of an object, for `sendfile`. Raises ObjectMissing, and ObjectDamaged for what is no plain file."""
        with self._opened(key, 0, None):
            return self._path / key

    def delete(self, key: str) -> None:
        """See ObjectStore. The object's own folder goes when it is empty; folders above it stay."""
        folders, name = check_key(key).rsplit("/", 1)
        with suppress(ObjectMissing), _reading(key):
            folder = self._walk(folders)
            try:
                os.unlink(name, dir_fd=folder)
            finally:
                os.close(folder)
            if "/" in folders:
                above, last = folders.rsplit("/", 1)
                folder = self._walk(above)
                try:
                    os.rmdir(last, dir_fd=folder)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
                        raise
                finally:
                    os.close(folder)

    def keys(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """See ObjectStore. Holds the names of one folder on each level, not of all."""
        with _reading(prefix):
            folder = os.dup(self._root)
        try:
            yield from _walk_keys(folder, "", prefix, after)
        finally:
            os.close(folder)

    def tidy(self, older_than: float = 86400.0) -> int:
        """Remove unfinished files that a crash left behind more than `older_than` seconds ago; tells how many."""
        removed = 0
        with _writing("tidy"), suppress(FileNotFoundError):
            folder = os.open(_UNFINISHED, _FOLDER, dir_fd=self._root)
            try:
                for name in [entry.name for entry in os.scandir(folder)]:
                    with suppress(FileNotFoundError):
                        if time.time() - os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime > older_than:
                            os.unlink(name, dir_fd=folder)
                            removed += 1
            finally:
                os.close(folder)
        return removed

    def check(self) -> None:
        """See ObjectStore. Writes and removes a small file; sees another file system mounted over the folder."""
        self._check_writable()
        with _writing("check"):
            ours, there = os.fstat(self._root), self._path.stat()
            if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino):
                raise ObjectStoreUnavailable("the object folder was replaced by another since it was opened")
            with self._unfinished() as (_, _, file):
                _write(file, bytes(4096))  # a full disk still takes empty files

    def close(self) -> None:
        """See ObjectStore."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    # Ways down the tree

    def _walk(self, folders: str) -> int:
        """A descriptor of the folder `folders`, to be closed by the caller."""
        at = os.dup(self._root)
        for name in folders.split("/"):
            try:
                below = os.open(name, _FOLDER, dir_fd=at)
            except OSError as error:
                if _is_link(at, name):
                    raise ObjectDamaged(_LINK) from error
                raise
            finally:
                os.close(at)
            at = below
        return at

    @contextmanager
    def _opened(self, key: str, start: int, length: int | None) -> Iterator[tuple[FileIO, int]]:
        """The file of an object, and the end of the range in it.

        A file object and no descriptor: one used by mistake after its end must not read what is open there by then.
        """
        folders, name = check_key(key).rsplit("/", 1)
        check_span(start, length)
        with _reading(key):
            folder = self._walk(folders)
            try:
                descriptor = os.open(name, _FILE, dir_fd=folder)
            except OSError as error:
                if _is_link(folder, name):
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

    # Writing

    def _check_writable(self) -> None:
        if self._trouble:
            raise ObjectStoreUnavailable(self._trouble)

    def _place(self, key: str, write: Callable[[int, str], None]) -> None:
        """Have `write` give `key` its file, in folders made as needed; then see that all names are on the disk."""
        folders, name = key.rsplit("/", 1)
        for attempts_left in reversed(range(5)):
            try:
                with self._made(folders) as (folder, unsure):
                    write(folder, name)
                    try:
                        for descriptor in (folder, *unsure.values()):
                            self._sync(descriptor)
                    except OSError:
                        with suppress(OSError):
                            os.unlink(name, dir_fd=folder)
                        raise
            except FileNotFoundError:  # a delete took the folder away between its making and its use
                if not attempts_left:
                    raise
            else:
                # Folders right above objects come and go; the few above them stay, and need no second look.
                self._known.update(path for path in unsure if path != folders)
                return

    @contextmanager
    def _made(self, folders: str) -> Iterator[tuple[int, dict[str, int]]]:
        """The folder `folders`, made if need be; and by path of each folder that may not be on the disk its parent.

        That another made a folder does not say that its name is on the disk already: it may still be at it.
        """
        at, path = os.dup(self._root), ""
        held = [at]
        unsure: dict[str, int] = {}
        try:
            for name in folders.split("/"):
                path = f"{path}/{name}" if path else name
                if path not in self._known:
                    unsure[path] = at
                try:
                    below = os.open(name, _FOLDER, dir_fd=at)
                except FileNotFoundError:
                    with suppress(FileExistsError):
                        os.mkdir(name, 0o750, dir_fd=at)
                    unsure[path] = at
                    below = os.open(name, _FOLDER, dir_fd=at)
                except NotADirectoryError as error:
                    if _is_link(at, name):
                        raise ObjectStoreUnavailable(_LINK) from error
                    raise ObjectExists(f"{path} is an object") from error
                held.append(at := below)
            yield at, unsure
        finally:
            for descriptor in held:
                os.close(descriptor)

    def _copy(self, file: int, sha256: str, folder: int, name: str) -> None:
        """Bring a file from another file system, by way of an unfinished one on ours."""
        digest = hashlib.sha256()
        with self._unfinished() as (unfinished, temporary, copy):
            position = 0
            while data := os.pread(file, CHUNK, position):
                digest.update(data)
                _write(copy, data)
                position += len(data)
            if digest.hexdigest() != sha256:
                raise ObjectDamaged("the file to be stored is not the one whose digest was given")
            self._sync(copy)
            _link(temporary, folder, name, source_folder=unfinished)

    @contextmanager
    def _unfinished(self) -> Iterator[tuple[int, str, int]]:
        """A new file out of sight: its folder, its name there and the file; gone at the end unless moved away."""
        with suppress(FileExistsError):
            os.mkdir(_UNFINISHED, 0o700, dir_fd=self._root)
        folder, name = os.open(_UNFINISHED, _FOLDER, dir_fd=self._root), uuid4().hex
        try:
            file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640, dir_fd=folder)
            try:
                yield folder, name, file
            finally:
                os.close(file)
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
        finally:
            os.close(folder)

    def _sync(self, descriptor: int) -> None:
        try:
            self._fsync(descriptor)
        except OSError as error:
            if error.errno == errno.EINVAL and stat.S_ISDIR(os.fstat(descriptor).st_mode):
                return  # this file system keeps folders without being asked, or not at all
            if error.errno not in _FULL:
                self._trouble = f"the disk failed to keep what was written ({error.strerror}); check it, then restart"
            raise


def _link(source: Path | str, folder: int, name: str, *, source_folder: int | None = None) -> None:
    """Give the file a second name, which must be free: the one way that never overwrites."""
    try:
        os.link(source, name, src_dir_fd=source_folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without links: claim the name, then move the file over the claim.
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640, dir_fd=folder))
        try:
            os.replace(source, name, src_dir_fd=source_folder, dst_dir_fd=folder)
        except OSError:
            os.unlink(name, dir_fd=folder)
            raise


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _pieces(key: str, file: FileIO, start: int, end: int, piece: int) -> Iterator[bytes]:
    while start < end:
        with _reading(key):
            data = os.pread(file.fileno(), min(piece, end - start), start)
        if not data:
            raise ObjectDamaged(f"{key}: ends at byte {start}, {end} expected")
        start += len(data)
        yield data


def _walk_keys(folder: int, path: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
    """The objects below `folder`, whose path is `path` (empty, or ending with a slash), in the order of their keys."""
    with _reading(path), os.scandir(folder) as entries:
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
                below = os.open(name[:-1], _FOLDER, dir_fd=folder)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise ObjectStoreUnavailable(f"{key}: {error.strerror}") from error
            try:
                yield from _walk_keys(below, key, prefix, after)
            finally:
                os.close(below)
        elif key.startswith(prefix) and key > after and is_key(key):
            try:
                size = os.stat(name, dir_fd=folder, follow_symlinks=False).st_size
            except FileNotFoundError:
                continue
            yield ObjectInfo(key, size)


def _is_link(folder: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _ABSENT:
            raise ObjectMissing(what) from error
        raise ObjectStoreUnavailable(f"{what}: {error.strerror}") from error


@contextmanager
def _writing(what: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise ObjectExists("an object is there already") from error
    except OSError as error:
        if error.errno in _FULL:
            raise ObjectStoreFull(f"cannot {what}: {error.strerror}") from error
        raise ObjectStoreUnavailable(f"cannot {what}: {error.strerror}") from error
