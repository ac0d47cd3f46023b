"""Where the bytes are kept: immutable objects under keys that are ours.

A key is ASCII, of two or more `[a-z0-9._-]` components joined by `/`, each at most 255 bytes and not starting with `.`
(such names are a store's own); the first is not `spool`, which lies beside the objects. It never holds a UID or patient
data. A key of another form is a mistake of the caller: ValueError.
Every store behaves the same to its caller; `tests/storage/objects/` holds the contract that all of them pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CHUNK = 1 << 20
"""Bytes in the largest piece that a stream yields."""

_COMPONENT = r"[a-z0-9_-][a-z0-9._-]{0,254}"
_KEY = re.compile(rf"(?!spool/){_COMPONENT}(?:/{_COMPONENT})+")
_LONGEST = 900  # S3 allows 1,024 bytes, with the store's own prefix


def is_key(text: str) -> bool:
    """True when `text` has the form of a key."""
    return len(text) <= _LONGEST and _KEY.fullmatch(text) is not None


def check_key(key: str) -> str:
    """The key itself; raises ValueError for what is none."""
    if not is_key(key):
        raise ValueError(f"not a key of this store: {key[:80]!r}")
    return key


def check_span(start: int, length: int | None) -> None:
    """Raises ValueError for a range that cannot be (both in bytes, none negative)."""
    if start < 0 or (length is not None and length < 0):
        raise ValueError(f"not a byte range: start {start}, length {length}")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One listed object. `size` is in bytes."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that had come when its process ended. `size` is in bytes; `digest` is the SHA-256 (hex) that it should
    have; `named` says whether it has its name among the objects as well."""

    version: str
    path: Path
    size: int
    digest: str
    named: bool


class Entrance(Protocol):
    """Where files are received that can be kept with one sync: of their bytes, under a name that the disk knows.

    Their names among the objects are settled later, and then the first ones are forgotten. Until that, a start after a
    power cut finds them here. Every method may raise ObjectStoreError.
    """

    def begin(self) -> tuple[str, Path, int]:
        """A new version, and an empty file named by it: its path and a descriptor to write and read. Raises OSError."""

    def keep(self, key: str, source: Path, metadata: Mapping[str, str]) -> bool:
        """As `ObjectStore.put` for a file from here, whose version is that of `key`: its bytes are durable afterwards,
        its name as an object is there. False when it has to be put in the other way.
        """

    def settle(self, keys: Iterable[str]) -> None:
        """Have the names of these objects be durable."""

    def forget(self, versions: Iterable[str]) -> None:
        """Remove the files of these versions from here, durably."""

    def clean(self, process: int) -> int:
        """Remove what this process, which has ended, was receiving; returns how many files. What was whole stays."""

    def left(self) -> list[Arrival]:
        """What a crash left, the oldest first; files that were never whole are removed."""


class ObjectStore(Protocol):
    """Immutable objects by key. Blocking; one instance is shared by all threads.

    Every method may raise ObjectStoreUnavailable; writes may raise ObjectStoreFull. `worth_a_read` is how many bytes
    are rather read for nothing than left out by another read: 0 where a read costs next to nothing. `entrance` is where
    files are better received, where there is such a place.
    """

    worth_a_read: int
    entrance: Entrance | None

    def put(self, key: str, source: Path, *, sha256: str, metadata: Mapping[str, str] | None = None) -> None:
        """Keep the file `source` under `key`, durably before returning.

        `sha256` (hex) is that of the file; stores that can verify it on arrival do. `metadata` are small ASCII values
        kept beside the object where the store has room for them. The source may be moved away.
        Raises ObjectExists when the key is taken: objects are never overwritten.
        """

    def put_bytes(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`, replacing what was there in one step: for derived, disposable objects only."""

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """`length` bytes (or all to the end) from byte `start`, in one ranged read.

        Raises ObjectMissing, and ObjectDamaged when the object ends before `start + length`.
        """

    def stream(
        self, key: str, start: int = 0, length: int | None = None
    ) -> AbstractContextManager[Iterator[memoryview | bytes]]:
        """As `read`, in chunks of at most 1 MiB; the source is closed on leaving the context.

        ObjectMissing is raised on entering; ObjectDamaged when the object ends early.
        """

    def digests(self, key: str) -> tuple[str, str] | None:
        """The SHA-256 (hex) of the file and of its data set, as `put` was told them in `metadata` by the names `digest`
        and `dataset-digest`; None where the store has kept none. Raises ObjectMissing.
        """

    def size(self, key: str) -> int:
        """Length in bytes. Raises ObjectMissing."""

    def delete(self, key: str) -> None:
        """Remove the object; no error when there is none."""

    def keys(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """All objects whose key starts with `prefix` and sorts after `after`, in the order of their keys."""

    def tidy(self, older_than: float = 86400.0) -> int:
        """Remove what crashed writes left out of sight more than `older_than` seconds ago; returns how many."""

    def facts(self) -> Mapping[str, str]:
        """What there is to know of the store, for people; `clock` is its time, in seconds since the epoch,
        and `public` is there when strangers may list or read it.
        """

    def check(self) -> None:
        """Return when the store can be written to now; else raise. For readiness probes: quick and cheap."""

    def close(self) -> None:
        """Give back connections and files."""
