"""Metadata of many instances as one JSON array: worked out once, kept compressed, put together for whoever asks.

Instances of a series, in their order, are cut into groups where the digest of an instance says so. So the groups stay
the same when an instance arrives or leaves, but for the one it belongs to: a series grows by what is new, and what was
made of an instance that left is asked for no more. A group's name follows from the digests in it: nothing is ever out
of date. BulkDataURIs are kept without the DICOMweb root, which every client may reach by another name; the finished
array is kept for each root, as it is and compressed.
"""

from __future__ import annotations

import hashlib
import secrets
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import orjson

from gateway import foreground, renditions, retrieve
from gateway.blob import Blob
from gateway.dicom.metadata import Cache, to_json
from storage.archive import Archive
from storage.derived import DerivedFile
from storage.records import Located

Encode = Callable[[Iterator[bytes]], Iterator[bytes]]

FORM = "1"
"""Raised when the same stored bytes give other metadata than before, so that no cache holds on to the old."""
LONGEST = 512
"""Instances in a group at most; 64 on average."""
ALONE = 64 << 10
"""Length of a header from which the metadata of a single instance are worth keeping."""
_ONE_IN = 64
_LEVEL = 4
_ROOT = b"\xff"
"""Stands for the DICOMweb root: a byte that UTF-8 never has."""
_OURS = f"urn:{secrets.token_hex(16)}"
"""Stands for it while JSON is made; data cannot hold what is other in each process, and told to nobody."""


def array(
    archive: Archive, found: Sequence[Located], root: str, etag: str, encode: Encode = iter
) -> Blob | Iterator[bytes]:
    """The metadata of `found` as a JSON array, BulkDataURIs below `root`, in the coding that `encode` makes of it.

    Of known length once all of its groups are there; while they are made, it flows. `etag` names the bytes, coding and
    root included. Raises Damaged, NotUnderstood.
    """
    if len(found) == 1 and found[0].header_size < ALONE:
        return encode(iter([b"[%b]" % retrieve.metadata(archive, found[0], root)]))
    whole = f"metadata {FORM} {etag}"
    kept = renditions.find(archive, whole)
    if kept is not None:
        return kept
    groups = grouped(found)
    files = [archive.derived.find(key(group)) for group in groups]
    chunks = _joined(archive, groups, files, root)
    if None in files:
        return encode(chunks)

    def make(out: BinaryIO) -> None:
        for chunk in encode(chunks):
            out.write(chunk)

    return renditions.get(archive, whole, make)


def prepare(archive: Archive, found: Sequence[Located], rest: Callable[[], None] = lambda: None) -> None:
    """Make the groups that are not there yet, without haste: before each one `rest` is called, and after each instance
    others get a moment; not more, since somebody may wait for the group by then.
    """
    cache: Cache = {}
    if len(found) > 1:
        for group in grouped(found):
            if archive.derived.find(key(group)) is None:
                rest()
                _group(archive, group, cache, foreground.breathe)


def grouped(found: Sequence[Located]) -> list[Sequence[Located]]:
    """The groups of `found`, in their order."""
    groups: list[Sequence[Located]] = []
    start = 0
    for at, located in enumerate(found, 1):
        if int(located.digest[:8], 16) % _ONE_IN == 0 or at - start == LONGEST or at == len(found):
            groups.append(found[start:at])
            start = at
    return groups


def key(group: Sequence[Located]) -> str:
    """What a group is kept under."""
    names = " ".join(located.digest for located in group)
    return f"metadata group {FORM} {hashlib.sha256(names.encode()).hexdigest()}"


def _group(
    archive: Archive, group: Sequence[Located], cache: Cache, pause: Callable[[], None] | None = None
) -> DerivedFile:
    """The file of a group: its instances' objects, with commas between them, compressed."""

    def make(out: BinaryIO) -> None:
        packer = zlib.compressobj(_LEVEL)
        for number, located in enumerate(group):
            out.write(packer.compress((b"," if number else b"") + _object(archive, located, cache)))
            if pause is not None:
                pause()
        out.write(packer.flush())

    with retrieve.reading():
        return archive.derived.get(key(group), make)


def _object(archive: Archive, located: Located, cache: Cache) -> bytes:
    place = f"{_OURS}/studies/{located.study_uid}/series/{located.series_uid}/instances/{located.sop_uid}/bulkdata/"
    found = to_json(retrieve.header(archive, located), place.__add__, cache=cache)
    return orjson.dumps(found).replace(_OURS.encode(), _ROOT)


def _joined(
    archive: Archive, groups: Sequence[Sequence[Located]], files: Sequence[DerivedFile | None], root: str
) -> Iterator[bytes]:
    """The array in chunks; groups that are not there are made on the way."""
    cache: Cache = {}
    place = orjson.dumps(root)[1:-1]
    for number, (group, file) in enumerate(zip(groups, files, strict=True)):
        unpacker = zlib.decompressobj()
        yield b"," if number else b"["
        for piece in (file or _group(archive, group, cache)).pieces():
            yield unpacker.decompress(piece).replace(_ROOT, place)
    yield b"]" if groups else b"[]"
