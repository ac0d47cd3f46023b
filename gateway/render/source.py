"""What rendering reads of a stored instance: its header with long tables, and bytes wherever they lie."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from gateway import retrieve
from gateway.dicom.frames import NativeFrames
from gateway.dicom.header import MARGIN, Header, parse_header
from gateway.dicom.uids import syntax
from gateway.errors import NotRenderable
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
    return _loaded(archive, located, header, profiles=profiles)


def header_and_frame(
    archive: Archive, located: Located, frame: int, *, profiles: bool = False
) -> tuple[Header, bytes | memoryview]:
    """What `header_of` gives, and frame `frame` (1-based) as `retrieve.stored_frame` gives it.

    Of an image with one native frame, which follows its header, both in one read. Raises NotFound, NotRenderable.
    """
    if located.frames is None:
        raise NotRenderable("the instance has no frames that can be told apart")
    table = retrieve.frame_table(located)
    offset, length = table.span(frame)
    plain = isinstance(table, NativeFrames) and table.count == 1 and table.as_stored
    if not plain or located.header_size > offset or syntax(located.transfer_syntax_uid).deflated:
        header = header_of(archive, located, profiles=profiles)
        return header, retrieve.stored_frame(archive, located, frame, table)
    with retrieve.reading():
        data = memoryview(archive.read(located, 0, offset + length))
    header = parse_header(bytes(data[: located.header_size + MARGIN]), located.size, sequences=SEQUENCES)
    return _loaded(archive, located, header, profiles=profiles), data[offset:]


def _loaded(archive: Archive, located: Located, header: Header, *, profiles: bool) -> Header:
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
