"""Frames as response bodies (PS3.18 10.4.1.1.6): of known length as long as they are sent as they are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from gateway import retrieve
from gateway.dicom.encoders import VERSION
from gateway.dicom.frames import FrameTable
from gateway.dicom.transcode import offered
from gateway.dicomweb import offers
from gateway.dicomweb.media_types import Offer
from gateway.dicomweb.multipart import Part
from storage.archive import Archive
from storage.records import Located


class StoredFrame:
    """One frame as it is stored: its length is known from the index, its bytes are read when they are sent."""

    def __init__(self, archive: Archive, located: Located, table: FrameTable, number: int) -> None:
        self._archive = archive
        self._located = located
        self._table = table
        self._number = number
        pieces = table.ranges(number)
        self.length = sum(size for _, size in pieces) if table.encapsulated else (table.frame_bits + 7) // 8

    @property
    def open(self) -> Callable[[int, int | None], AbstractContextManager[Iterator[bytes | memoryview]]]:
        """See `gateway.http.bodies.Source`."""
        return self._open

    @contextmanager
    def _open(self, start: int, length: int | None) -> Iterator[Iterator[bytes | memoryview]]:
        data = retrieve.stored_frame(self._archive, self._located, self._number, self._table)
        yield iter([memoryview(data)[start:] if length is None else memoryview(data)[start : start + length]])


def stored_parts(archive: Archive, located: Located, url: str, numbers: Sequence[int], offer: Offer) -> list[Part]:
    """The frames as they are stored, each with its own location below the instance's `url` (WADO-13)."""
    table = retrieve.frame_table(located)
    place = f"{url}/frames/"
    return [
        Part(offer.content_type, f"{place}{number}", StoredFrame(archive, located, table, number)) for number in numbers
    ]


def made_parts(archive: Archive, located: Located, url: str, numbers: Sequence[int], offer: Offer) -> Iterator[Part]:
    """The frames in another transfer syntax, made one after the other."""
    place = f"{url}/frames/"
    for frame in retrieve.frames(archive, located, numbers, offer.syntax):
        yield Part(offer.content_type, f"{place}{frame.number}", frame.data)


def possible(archive: Archive, located: Located, tries: offers.Tries) -> tuple[str, ...]:
    """The transfer syntaxes that the instance can be had in, looked up only when the client names any of its own."""
    if not offers.wants_more(tries, located.transfer_syntax_uid):
        return ()
    return offered(retrieve.header(archive, located))


def named(offer: Offer) -> str:
    """The offer's name in entity tags: with the encoders' version where these make the bytes."""
    made = not offer.stored and offer.syntax not in (None, offers.EXPLICIT_LITTLE_ENDIAN)
    return f"{offer} {VERSION}" if made else str(offer)
