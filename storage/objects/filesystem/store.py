"""The object store below a folder.

A file gets its name only once its bytes are on the disk, and `put` returns only once the name is there as well, with
that of every folder above it that may be new.

An fsync that failed is never repeated, because the kernel may have dropped the bytes and would call the next one a
success: after an I/O error the store takes nothing more until it is opened again.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from io import FileIO
from pathlib import Path
from uuid import uuid4

from storage.crashpoints import reached
from storage.errors import ObjectDamaged, ObjectMissing, ObjectStoreBroken, ObjectStoreError
from storage.objects import CHUNK, Entrance, ObjectInfo, check_key, check_span
from storage.objects.filesystem.arrivals import ATTRIBUTE, MARK, Arrivals, packed
from storage.objects.filesystem.tree import FILE, FOLDER, FULL, STAYING, Tree, reading, writing
from storage.stalls import Stalls
from storage.versions import version_of

_log = logging.getLogger(__name__)

_UNFINISHED = ".unfinished"
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class FolderStore:
    """An ObjectStore below `root`, which is made when there is none.

    The source of `put` is moved when it lies on the same file system, else copied and removed. `sync` is what has the
    disk keep a file or folder, by its descriptor. `stalls` are the process's waits for its disks.
    """

    worth_a_read = 0

    def __init__(self, root: Path, *, sync: Callable[[int], None] = os.fsync, stalls: Stalls | None = None) -> None:
        self._tree = Tree(root)
        self._fsync = sync
        self._stalls = stalls or Stalls()
        self._trouble = ""
        self._arrivals = Arrivals(self._tree, self._sync, self._check_writable)
        self.entrance: Entrance | None = self._arrivals
        self._known: set[str] = set()  # folders whose own name is on the disk for certain

    def put(self, key: str, source: Path, *, sha256: str, metadata: Mapping[str, str] | None = None) -> None:
        """See ObjectStore. The digest is verified only when the file is copied; of `metadata` the digests are kept, in
        an extended attribute of the file where its file system has these.
        """
        check_key(key)
        self._check_writable()
        with writing("store"), self._stalls.wait(source.stat().st_size):
            file = os.open(source, FILE)
            try:
                digests = packed(metadata or {})
                here = os.fstat(file).st_dev == os.fstat(self._tree.root).st_dev
                if not (here and self._move(key, source, file, digests)):
                    self._place(key, lambda folder, name: self._copy(file, sha256, digests, folder, name))
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

        with writing("store"), self._stalls.wait():
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

    def digests(self, key: str) -> tuple[str, str] | None:
        """See ObjectStore."""
        with self._opened(key, 0, None) as (file, _):
            try:
                mark = os.getxattr(file.fileno(), ATTRIBUTE)
            except OSError:
                return None
        return (mark[:32].hex(), mark[32:].hex()) if len(mark) == MARK else None

    def size(self, key: str) -> int:
        """See ObjectStore."""
        with self._opened(key, 0, None) as (_, end):
            return end

    def path(self, key: str) -> Path:
        """The file of an object, for `sendfile`. Raises ObjectMissing, and ObjectDamaged for what is no plain file."""
        with self._opened(key, 0, None):
            return self._tree.path / key

    def delete(self, key: str) -> None:
        """See ObjectStore. The object's own folder goes when it is empty; folders above it stay."""
        folders, name = check_key(key).rsplit("/", 1)
        self._arrivals.forget([version_of(name)])  # else a crash might bring it back
        with suppress(ObjectMissing), reading(key):
            folder = self._tree.folder(folders)
            try:
                os.unlink(name, dir_fd=folder)
            finally:
                os.close(folder)
            self._tree.prune(folders)

    def keys(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """See ObjectStore. Holds the names of one folder on each level, not of all."""
        return self._tree.keys(prefix, after)

    def tidy(self, older_than: float = 86400.0) -> int:
        """Remove unfinished files that a crash left behind more than `older_than` seconds ago; tells how many."""
        removed = 0
        with writing("tidy"):
            removed += self._arrivals.tidy(older_than)
        with writing("tidy"), suppress(FileNotFoundError):
            folder = os.open(_UNFINISHED, FOLDER, dir_fd=self._tree.root)
            try:
                for name in [entry.name for entry in os.scandir(folder)]:
                    with suppress(FileNotFoundError):
                        if time.time() - os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime > older_than:
                            os.unlink(name, dir_fd=folder)
                            removed += 1
            finally:
                os.close(folder)
        return removed

    def facts(self) -> Mapping[str, str]:
        """See ObjectStore: whether digests can lie beside the objects."""
        with writing("look"), self._unfinished() as (_, _, file):
            try:
                os.setxattr(file, ATTRIBUTE, bytes(MARK))
            except OSError:
                return {"digests beside objects": "no"}
        return {"digests beside objects": "yes"}

    def check(self) -> None:
        """See ObjectStore. Writes and removes a small file; sees another file system mounted over the folder."""
        self._check_writable()
        with writing("check"), self._stalls.wait():
            self._tree.check()
            with self._unfinished() as (_, _, file):
                _write(file, bytes(4096))  # a full disk still takes empty files

    def close(self) -> None:
        """See ObjectStore."""
        self._arrivals.close()
        self._tree.close()

    def _opened(self, key: str, start: int, length: int | None) -> AbstractContextManager[tuple[FileIO, int]]:
        check_key(key)
        check_span(start, length)
        return self._tree.file(key, start, length)

    # Writing

    def _check_writable(self) -> None:
        if self._trouble:
            raise ObjectStoreBroken(self._trouble)
        self._stalls.check()

    def _place(self, key: str, write: Callable[[int, str], None]) -> None:
        """Have `write` give `key` its file, in folders made as needed; then see that all names are on the disk."""
        folders, name = key.rsplit("/", 1)
        for attempts_left in reversed(range(5)):
            try:
                with self._tree.made(folders, self._known) as (folder, unsure):
                    write(folder, name)
                    reached("P4")
                    try:
                        for descriptor in (folder, *unsure.values()):
                            self._sync(descriptor)
                    except (OSError, ObjectStoreError):
                        with suppress(OSError):
                            os.unlink(name, dir_fd=folder)
                        raise
            except FileNotFoundError:  # a delete took the folder away between its making and its use
                if not attempts_left:
                    raise
            except (OSError, ObjectStoreError):
                with suppress(OSError, ObjectStoreError):
                    self._tree.prune(folders)
                raise
            else:
                # Folders deep below come and go; the few at the top stay, and need no second look.
                self._known.update(path for path in unsure if path.count("/") < STAYING)
                return

    def _move(self, key: str, source: Path, file: int, digests: bytes) -> bool:
        """Bring a file of our own file system; False when that is mounted twice, and cannot be linked across."""
        _mark(file, digests)
        self._sync(file)
        reached("P3")
        try:
            self._place(key, lambda folder, name: _link(source, folder, name))
        except OSError as error:
            if error.errno == errno.EXDEV:
                return False
            raise
        return True

    def _copy(self, file: int, sha256: str, digests: bytes, folder: int, name: str) -> None:
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
            _mark(copy, digests)
            self._sync(copy)
            _link(temporary, folder, name, source_folder=unfinished)

    @contextmanager
    def _unfinished(self) -> Iterator[tuple[int, str, int]]:
        """A new file out of sight: its folder, its name there and the file; gone at the end unless moved away."""
        with suppress(FileExistsError):
            os.mkdir(_UNFINISHED, 0o700, dir_fd=self._tree.root)
        folder, name = os.open(_UNFINISHED, FOLDER, dir_fd=self._tree.root), uuid4().hex
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
            with self._stalls.wait(os.fstat(descriptor).st_size):
                self._fsync(descriptor)
        except OSError as error:
            if error.errno == errno.EINVAL and stat.S_ISDIR(os.fstat(descriptor).st_mode):
                return  # this file system keeps folders without being asked, or not at all
            if error.errno not in FULL:
                self._trouble = f"the disk failed to keep what was written ({error.strerror}); check it, then restart"
                _log.error("object store: %s", self._trouble)
                raise ObjectStoreBroken(self._trouble) from error
            raise


def _mark(file: int, digests: bytes) -> None:
    """Keep the digests with the file, where its file system has room for them; synced with the file."""
    if digests:
        with suppress(OSError):
            os.setxattr(file, ATTRIBUTE, digests)


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
        with reading(key):
            data = os.pread(file.fileno(), min(piece, end - start), start)
        if not data:
            raise ObjectDamaged(f"{key}: ends at byte {start}, {end} expected")
        start += len(data)
        yield data
