"""What rendering reads of a stored instance: its header with long tables, and bytes wherever they lie."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from gateway import retrieve
from gateway.dicom.header import Header
from gateway.render.overlays import load_overlays
from gateway.render.parameters import load_tables
from gateway.render.profiles import load_profiles
from storage.archive import Archive
from storage.records import Located

SEQUENCES = frozenset({0x00283000, 0x00283010, 0x00480105, 0x00620002, 0x52009229, 0x52009230})
"""Sequences that pictures of frames depend on: Modality and VOI LUTs, optical paths, segments, functional groups."""

MOST_HELD = 8
MOST_BYTES = 4 << 20


class _Held:
    """Headers by the digest of their objects; those not asked for longest go first. Shared by threads.

    `MOST_BYTES` of them in files take about 15 times that in memory, as functional groups are small.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._headers: OrderedDict[str, Header] = OrderedDict()

    def get(self, digest: str) -> Header | None:
        with self._lock:
            found = self._headers.get(digest)
            if found is not None:
                self._headers.move_to_end(digest)
            return found

    def put(self, digest: str, header: Header) -> None:
        if header.size > MOST_BYTES:
            return
        with self._lock:
            self._headers[digest] = header
            while len(self._headers) > MOST_HELD or sum(one.size for one in self._headers.values()) > MOST_BYTES:
                self._headers.popitem(last=False)


_held = _Held()


def header_of(archive: Archive, located: Located, *, profiles: bool = False) -> Header:
    """The header, with what a reader of headers leaves out for its length: tables, overlays, and `profiles`; but of
    sequences only `SEQUENCES`.

    Those of images of many frames are held for a while, since each frame needs them: do not change them.
    """
    header = _held.get(located.digest)
    if header is None:
        header = retrieve.header(archive, located, SEQUENCES)
        if header.number_of_frames > 1 and header.inflated is None:  # a stream cannot be shared by threads
            _held.put(located.digest, header)
    read = reader(archive, located, header)
    load_tables(header, read)
    load_overlays(header, read)
    if profiles:
        load_profiles(header, read)
    return header


def reader(archive: Archive, located: Located, header: Header) -> Callable[[int, int], bytes]:
    """Gives bytes of the instance by offset and length, as the elements of `header` name them."""

    def read(offset: int, length: int) -> bytes:
        if header.inflated is not None:
            header.inflated.seek(offset)
            return header.inflated.read(length)
        with retrieve.reading():
            return archive.read(located, offset, length)

    return read
