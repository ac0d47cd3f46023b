"""Objects in memory: for tests, and for trying things out. Everything is gone with the process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from storage.errors import ObjectDamaged, ObjectExists, ObjectMissing, ObjectStoreUnavailable
from storage.objects import CHUNK, Entrance, ObjectInfo, check_key, check_span


class MemoryStore:
    """An ObjectStore in a dictionary."""

    worth_a_read = 0
    entrance: Entrance | None = None

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._digests: dict[str, tuple[str, str]] = {}
        self._lock = Lock()

    def put(self, key: str, source: Path, *, sha256: str, metadata: Mapping[str, str] | None = None) -> None:
        """See ObjectStore. The digest is verified; of `metadata` only the digests are kept."""
        check_key(key)
        try:
            data = source.read_bytes()
        except OSError as error:
            raise ObjectStoreUnavailable(f"the file to be stored cannot be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ObjectDamaged(f"{key}: the file is not the one whose digest was given")
        with self._lock:
            if key in self._objects:
                raise ObjectExists(key)
            self._objects[key] = data
            if metadata and {"digest", "dataset-digest"} <= metadata.keys():
                self._digests[key] = (metadata["digest"], metadata["dataset-digest"])

    def put_bytes(self, key: str, data: bytes) -> None:
        """See ObjectStore."""
        check_key(key)
        with self._lock:
            self._objects[key] = bytes(data)

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """See ObjectStore."""
        check_span(start, length)
        data = self._object(key)
        end = max(start, len(data)) if length is None else start + length
        if end > len(data):
            raise ObjectDamaged(f"{key}: {len(data)} bytes long, {end} expected")
        return data[start:end]

    @contextmanager
    def stream(self, key: str, start: int = 0, length: int | None = None) -> Iterator[Iterator[bytes]]:
        """See ObjectStore."""
        data = self.read(key, start, length)
        yield (data[at : at + CHUNK] for at in range(0, len(data), CHUNK))

    def digests(self, key: str) -> tuple[str, str] | None:
        """See ObjectStore."""
        self._object(key)
        return self._digests.get(key)

    def size(self, key: str) -> int:
        """See ObjectStore."""
        return len(self._object(key))

    def delete(self, key: str) -> None:
        """See ObjectStore."""
        check_key(key)
        with self._lock:
            self._objects.pop(key, None)
            self._digests.pop(key, None)

    def keys(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        """See ObjectStore. What is put or deleted meanwhile is not seen."""
        with self._lock:
            found = [ObjectInfo(key, len(data)) for key, data in self._objects.items() if key.startswith(prefix)]
        yield from sorted((info for info in found if info.key > after), key=lambda info: info.key)

    def tidy(self, older_than: float = 86400.0) -> int:
        """Nothing is ever left behind here."""
        return 0

    def facts(self) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def check(self) -> None:
        """Memory is always there."""

    def close(self) -> None:
        """Nothing to give back."""

    def _object(self, key: str) -> bytes:
        check_key(key)
        with self._lock:
            data = self._objects.get(key)
        if data is None:
            raise ObjectMissing(key)
        return data
