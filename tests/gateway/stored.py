"""Ways to put instances into an archive, as the wings do."""

from __future__ import annotations

from typing import Any

from pydicom.dataset import Dataset

from gateway.caller import Caller
from gateway.store import Stored, receive, store
from storage.archive import Archive
from tests.parts.datasets import part10_bytes

CALLER = Caller(name="test", door="cli")
EXPLICIT = "1.2.840.10008.1.2.1"
MAX = 1 << 30


def put_bytes(archive: Archive, data: bytes, *, piece: int = 1000, **options: Any) -> Stored:
    """Store a Part 10 file, written in pieces of `piece` bytes."""
    with receive(archive, max_bytes=MAX) as incoming:
        for start in range(0, len(data), piece):
            incoming.write(data[start : start + piece])
        return store(archive, incoming, CALLER, **options)


def put(archive: Archive, ds: Dataset, transfer_syntax: str = EXPLICIT, **options: Any) -> Stored:
    """Store a data set."""
    return put_bytes(archive, part10_bytes(ds, transfer_syntax), **options)
