"""Files on their way into a folder of objects, under names that the disk knows before the first byte comes.

A name costs a sync of its folder, so names are made several at a time, ahead. Once the bytes of such a file are synced
as well nothing of it can be lost: its second name, among the objects, and what the index says of it may be synced
later, together with those of many others. Until then the first name stays, and tells the next start what there was.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from storage.crashpoints import reached
from storage.errors import ObjectStoreError, ObjectStoreUnavailable
from storage.objects import Arrival, check_key
from storage.objects.filesystem.tree import FILE, FOLDER, FULL, STAYING, Tree, writing
from storage.versions import new_version, version_of

FOLDER_NAME = ".arrivals"
SUFFIX = ".part"
ATTRIBUTE = "user.gantry"
MARK = 64
"""Bytes of a mark, both digests: an extended attribute of this size has room in the inode of ext4."""
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
MOST, FEW = 32, 12
ATTEMPTS = 100
"""How often a name that has gone, or waited too long, is followed by another."""
FRESH = 30.0
"""Seconds for which a name may wait to be used: it says when its file came."""


class Arrivals:
    """An Entrance to the objects of `tree`. `sync` has the disk keep a file or folder, by its descriptor; `check`
    raises ObjectStoreError when nothing may be written.
    """

    def __init__(self, tree: Tree, sync: Callable[[int], None], check: Callable[[], None]) -> None:
        self.folder = tree.path / FOLDER_NAME
        self._tree = tree
        self._sync = sync
        self._check = check
        self._guard = threading.Lock()
        self._ready: deque[tuple[float, str]] = deque()
        self._maker: threading.Thread | None = None
        self._many = 1
        self._at = -1
        self._sure = False  # that the name of the folder itself is on the disk
        self._past: list[int] = []
        self._known: set[str] = set()  # folders whose own name is on the disk for certain

    def begin(self) -> tuple[str, Path, int]:
        """See Entrance."""
        self._check()
        with self._guard:
            for _ in range(ATTEMPTS):
                try:
                    if not self._ready:
                        self._ready += self._make(self._many)
                        self._many = min(2 * self._many, MOST)
                    self._look()
                    made, version = self._ready.popleft()
                    name = version + SUFFIX
                    if made < time.monotonic() - FRESH:
                        self._many = 1
                        self._remove(name)
                        continue
                    file = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._at)
                except FileNotFoundError:  # somebody tidied up here, or put another folder over all of it
                    self._tree.check()
                    self._ready.clear()
                    self._past.append(self._at)  # others may be using it
                    self._at, self._sure = -1, False
                else:
                    if self._many == MOST and len(self._ready) <= FEW and self._maker is None:
                        self._maker = threading.Thread(target=self._make_ahead, name="arrivals", daemon=True)
                        self._maker.start()
                    return version, self.folder / name, file
        raise ObjectStoreUnavailable("the folder of arrivals does not stay")

    def keep(self, key: str, source: Path, metadata: Mapping[str, str]) -> bool:
        """See Entrance."""
        check_key(key)
        if source.parent != self.folder or source.name != version_of(key.rpartition("/")[2]) + SUFFIX:
            return False
        self._check()
        with writing("store"):
            file = os.open(source.name, FILE, dir_fd=self._at)
            try:
                try:
                    os.setxattr(file, ATTRIBUTE, packed(metadata))
                except OSError:
                    return False
                self._sync(file)
                reached("P3")
                try:
                    self._name(key, source.name, file)
                except OSError as error:
                    if error.errno not in FULL:
                        raise
                    self._give_back()  # names that nobody needs yet take room as well
                    self._name(key, source.name, file)
                reached("P4")
            finally:
                os.close(file)
        return True

    def settle(self, keys: Iterable[str]) -> None:
        """See Entrance."""
        self._check()
        with writing("store"):
            for folders in sorted({key.rpartition("/")[0] for key in keys}):
                with self._tree.made(folders, self._known) as (folder, unsure):
                    for descriptor in (folder, *unsure.values()):
                        self._sync(descriptor)
                self._known.update(path for path in unsure if path.count("/") < STAYING)

    def forget(self, versions: Iterable[str]) -> None:
        """See Entrance."""
        with writing("tidy"):
            if self._is_there() and any([self._remove(version + SUFFIX) for version in versions]):
                self._sync(self._at)

    def left(self) -> list[Arrival]:
        """See Entrance."""
        found = []
        with writing("look at what a crash left"):
            for name in sorted(entry.name for entry in os.scandir(self._at)) if self._is_there() else ():
                arrival = self._arrival(name)
                if arrival is None:
                    self._remove(name)
                else:
                    found.append(arrival)
        return found

    def clean(self, process: int) -> int:
        """See Entrance."""
        removed, owner = 0, _owner(process)
        with writing("tidy"):
            for name in [entry.name for entry in os.scandir(self._at)] if self._is_there() else ():
                with suppress(FileNotFoundError):
                    removed += self._read(name)[0] == owner and self._remove(name)
        return removed

    def tidy(self, older_than: float) -> int:
        """Remove what processes that ended in the midst of it were receiving; tells how many files.

        What may be whole is left to the next start.
        """
        before = time.time() - older_than
        removed = 0
        for name in [entry.name for entry in os.scandir(self._at)] if self._is_there() else ():
            with suppress(FileNotFoundError):
                old = os.stat(name, dir_fd=self._at, follow_symlinks=False).st_mtime < before
                removed += old and self._arrival(name) is None and self._remove(name)
        return removed

    def close(self) -> None:
        """Remove the names that nobody needed, and let the folder go."""
        if (maker := self._maker) is not None:
            maker.join()
        self._give_back()
        with self._guard:
            for descriptor in (*self._past, self._at):
                if descriptor >= 0:
                    os.close(descriptor)
            self._past, self._at, self._sure = [], -1, False

    def _name(self, key: str, name: str, file: int) -> None:
        """Give the file its name among the objects, which it may have already."""
        folders, own = key.rsplit("/", 1)
        with self._tree.made(folders, self._known) as (folder, _):
            try:
                os.link(name, own, src_dir_fd=self._at, dst_dir_fd=folder, follow_symlinks=False)
            except FileExistsError:
                if not os.path.samestat(os.fstat(file), os.stat(own, dir_fd=folder, follow_symlinks=False)):
                    raise

    def _arrival(self, name: str) -> Arrival | None:
        """A file that may be whole."""
        try:
            mark, facts = self._read(name)
        except OSError:
            return None
        if len(mark) != MARK or not name.endswith(SUFFIX):
            return None
        version = name.removesuffix(SUFFIX)
        return Arrival(version, self.folder / name, facts.st_size, mark[:32].hex(), facts.st_nlink > 1)

    def _read(self, name: str) -> tuple[bytes, os.stat_result]:
        """The mark of a file, or whose it is as long as it has none; and the facts. Raises OSError."""
        file = os.open(name, FILE, dir_fd=self._at)
        try:
            facts = os.fstat(file)
            try:
                return os.getxattr(file, ATTRIBUTE), facts
            except OSError:
                return b"", facts
        finally:
            os.close(file)

    def _make_ahead(self) -> None:
        """Make names while there still are some, since many come."""
        made: list[tuple[float, str]] = []
        with suppress(OSError, ObjectStoreError):  # whoever finds none will hear of it
            made = self._make(MOST)
        with self._guard:
            self._ready += made
            self._maker = None

    def _make(self, many: int) -> list[tuple[float, str]]:
        """Make names, and have the disk know them."""
        made: list[tuple[float, str]] = []
        if not self._sure:
            with suppress(FileExistsError):
                os.mkdir(FOLDER_NAME, 0o700, dir_fd=self._tree.root)
            self._sync(self._tree.root)
            self._sure = self._is_there()
        try:
            while len(made) < many:
                version = new_version()
                file = os.open(version + SUFFIX, NEW, 0o600, dir_fd=self._at)
                with suppress(OSError):
                    os.setxattr(file, ATTRIBUTE, _owner(os.getpid()))
                os.close(file)
                made.append((time.monotonic(), version))
        except OSError:
            if not made:
                raise
            self._many = 1
            for _, version in made[1:]:  # one will do, and may need the room for its second name
                self._remove(version + SUFFIX)
            del made[1:]
        try:
            self._sync(self._at)
        except (OSError, ObjectStoreError):
            for _, version in made:
                with suppress(OSError):
                    self._remove(version + SUFFIX)
            raise
        return made

    def _give_back(self) -> None:
        """Remove the names that nobody needed yet."""
        with self._guard:
            while self._ready:
                with suppress(OSError):
                    self._remove(self._ready.popleft()[1] + SUFFIX)

    def _is_there(self) -> bool:
        """Whether the folder is open, or can be opened."""
        if self._at < 0:
            with suppress(FileNotFoundError):
                self._at = os.open(FOLDER_NAME, FOLDER, dir_fd=self._tree.root)
        return self._at >= 0

    def _look(self) -> None:
        """Raises FileNotFoundError where the folder is gone, ObjectStoreUnavailable where another is in its place."""
        ours, there = os.fstat(self._at), self.folder.stat()
        if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino):
            self._tree.check()
            raise ObjectStoreUnavailable("the folder of arrivals was replaced by another since it was opened")

    def _remove(self, name: str) -> bool:
        """Remove a file; whether there was one."""
        try:
            os.unlink(name, dir_fd=self._at)
        except FileNotFoundError:
            return False
        return True


def _owner(process: int) -> bytes:
    """What a file bears until it is whole: the process that receives it."""
    return process.to_bytes(4, "big")


def packed(metadata: Mapping[str, str]) -> bytes:
    """Both digests as a mark."""
    return bytes.fromhex(metadata.get("digest", "") + metadata.get("dataset-digest", ""))
