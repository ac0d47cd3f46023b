"""Renditions: what is made from stored objects for an answer, made once, kept while there is room, made again at need.

A rendition is named by a key that holds everything its bytes depend on: the digest of the stored object, what is made
of it, and the version of what makes it. So it never is out of date, its entity tag is strong, and there is nothing to
invalidate. Where they are kept, and why, is in `storage.derived`: many requests for one rendition make it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from gateway import metrics
from gateway.blob import Blob, Chunks, reading
from storage.archive import Archive
from storage.derived import DerivedFile

Make = Callable[[BinaryIO], None]


def get(archive: Archive, key: str, make: Make) -> Blob:
    """The rendition of this key, which `make` writes into a seekable file where it is not kept.

    All who ask for it while it is being made share it, or the error that `make` raises; an error is not remembered. The
    work goes on when the first who asked has gone. `make` must not ask for renditions itself. The blob stays readable
    when the rendition is evicted.

    Raises what `make` raises; Unavailable where there is no room, or too much is being made.
    """

    def counted(out: BinaryIO) -> None:
        metrics.RENDITIONS_MADE.inc()
        make(out)

    with reading():
        return _blob(archive.derived.get(key, counted), key)


def _blob(file: DerivedFile, key: str) -> Blob:
    @contextmanager
    def chunks(start: int, length: int | None) -> Iterator[Chunks]:
        yield file.pieces(start, None if length is None else start + length)

    return Blob(file.length, chunks, hashlib.sha256(key.encode()).hexdigest())


def find(archive: Archive, key: str) -> Blob | None:
    """The rendition of this key where it is kept. Raises Unavailable."""
    with reading():
        file = archive.derived.find(key)
    return None if file is None else _blob(file, key)


def read(blob: Blob) -> bytes:
    """All bytes of a blob that is known to be small."""
    with blob.open(0, None) as chunks:
        return b"".join(chunks)
