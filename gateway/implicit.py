"""Instances in Implicit VR Little Endian, which DIMSE peers may ask for and the web may not (PS3.18 8.7.3)."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast
from weakref import finalize

from gateway.dicom.header import read_header
from gateway.dicom.implicit import to_implicit_little_endian
from gateway.dicom.uids import EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN
from gateway.retrieve import Blob, Chunks, part10, reading
from storage.archive import Archive
from storage.records import Located


def implicit(archive: Archive, located: Located) -> Blob:
    """The instance as a Part 10 file in Implicit VR Little Endian, compressed frames decoded.

    Raises NotAcceptable when it cannot be made, Damaged, Unavailable.
    """
    explicit = part10(archive, located, EXPLICIT_LITTLE_ENDIAN)
    with _nameless(archive) as source, _nameless(archive) as target:
        with explicit.open(0, None) as chunks:
            for chunk in chunks:
                source.write(chunk)
        to_implicit_little_endian(source, read_header(source, explicit.length), target)
        kept = _Kept(target)
    etag = hashlib.sha256(f"{located.digest} {IMPLICIT_LITTLE_ENDIAN}".encode()).hexdigest()

    @contextmanager
    def open_blob(start: int, length: int | None) -> Iterator[Chunks]:
        yield kept.pieces(start, kept.length if length is None else min(start + length, kept.length))

    return Blob(kept.length, open_blob, etag)


@contextmanager
def _nameless(archive: Archive) -> Iterator[BinaryIO]:
    """A new file on the spool's disk that goes away with its last descriptor."""
    with reading():
        path, file = archive.spool.create(archive.new_version())
    with file:
        path.unlink()
        with io.BufferedRandom(cast(io.RawIOBase, file), 1 << 20) as buffered:
            yield cast(BinaryIO, buffered)


class _Kept:
    """Holds a nameless file for as long as anyone holds this."""

    def __init__(self, file: BinaryIO) -> None:
        file.flush()
        self.length = file.seek(0, os.SEEK_END)
        self._descriptor = os.dup(file.fileno())
        finalize(self, os.close, self._descriptor)

    def pieces(self, start: int, end: int) -> Chunks:
        while start < end and (piece := os.pread(self._descriptor, min(1 << 20, end - start), start)):
            yield piece
            start += len(piece)
