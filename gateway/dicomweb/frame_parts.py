"""Frames as response bodies (PS3.18 10.4.1.1.6): of known length as long as they are sent as they are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from gateway import retrieve
from gateway.dicom.encoders import VERSION
from gateway.dicom.transcode import NATIVE, offered
from gateway.dicom.uids import syntax
from gateway.dicomweb import offers
from gateway.dicomweb.media_types import Offer
from gateway.dicomweb.multipart import Part
from storage.archive import Archive
from storage.records import Located

RUN = 4 << 20
"""Bytes of neighbouring frames that are read at once; one frame may be longer."""


class StoredFrames:
    """Frames of one response as they are stored, in the order asked: each is read when it is sent.

    From a store where every read has its price, neighbours are read together; what was read last is kept until the next
    is. Lengths are known from the index.
    """

    def __init__(self, archive: Archive, located: Located, numbers: Sequence[int]) -> None:
        self._archive = archive
        self._located = located
        self._table = table = retrieve.frame_table(located)
        self._numbers = numbers
        self._spans = [table.span(number) for number in numbers]
        self._gap = 0 if syntax(located.transfer_syntax_uid).deflated else archive.objects.worth_a_read
        self._run = (0, 0, 0, b"")  # from which place up to which, and from where in the file: what was read

    def length(self, place: int) -> int:
        """Of the frame at this place of the list, in bytes."""
        if not self._table.encapsulated:
            return (self._table.frame_bits + 7) // 8
        return sum(size for _, size in self._table.ranges(self._numbers[place]))

    def read(self, place: int) -> bytes:
        """The frame at this place of the list. Raises Damaged."""
        first, last, start, data = self._run
        if not first <= place < last:
            end = self._end_of_run(place)
            if end == place + 1:
                return retrieve.stored_frame(self._archive, self._located, self._numbers[place], self._table)
            start = self._spans[place][0]
            offset, size = self._spans[end - 1]
            with retrieve.reading():
                data = self._archive.read(self._located, start, offset + size - start)
            self._run = (place, end, start, data)
        offset, size = self._spans[place]
        return self._table.extract(self._numbers[place], data[offset - start : offset - start + size])

    def _end_of_run(self, place: int) -> int:
        """Up to which place the frames lie one after the other, and near enough to be read at once."""
        start = self._spans[place][0]
        end = place + 1
        while self._gap and end < len(self._spans):
            offset, size = self._spans[end]
            before = sum(self._spans[end - 1])
            if not before <= offset <= before + self._gap or offset + size - start > RUN:
                break
            end += 1
        return end


class StoredFrame:
    """One of them, as the body of a part."""

    def __init__(self, frames: StoredFrames, place: int) -> None:
        self._frames = frames
        self._place = place
        self.length = frames.length(place)

    @property
    def open(self) -> Callable[[int, int | None], AbstractContextManager[Iterator[bytes | memoryview]]]:
        """See `gateway.http.bodies.Source`."""
        return self._open

    @contextmanager
    def _open(self, start: int, length: int | None) -> Iterator[Iterator[bytes | memoryview]]:
        data = self._frames.read(self._place)
        whole = start == 0 and length in (None, len(data))
        yield iter([data if whole else data[start:] if length is None else data[start : start + length]])


def stored_parts(archive: Archive, located: Located, url: str, numbers: Sequence[int], offer: Offer) -> list[Part]:
    """The frames as they are stored, each with its own location below the instance's `url` (WADO-13)."""
    frames = StoredFrames(archive, located, numbers)
    place = f"{url}/frames/"
    return [Part(offer.content_type, f"{place}{number}", StoredFrame(frames, at)) for at, number in enumerate(numbers)]


def made_parts(archive: Archive, located: Located, url: str, numbers: Sequence[int], offer: Offer) -> Iterator[Part]:
    """The frames in another transfer syntax, made one after the other."""
    place = f"{url}/frames/"
    for frame in retrieve.frames(archive, located, numbers, offer.syntax):
        yield Part(offer.content_type, f"{place}{frame.number}", frame.data)


def possible(archive: Archive, located: Located, tries: offers.Tries) -> tuple[str, ...]:
    """The transfer syntaxes that the instance can be had in, looked up only when the client names any of its own."""
    if not offers.wants_more(tries, located.transfer_syntax_uid):
        return ()
    found = offered(retrieve.header(archive, located))
    if located.frames is None:  # nothing of which frames could be made, compressed or not
        return tuple(uid for uid in found if uid in NATIVE or uid == located.transfer_syntax_uid)
    return found


def named(offer: Offer) -> str:
    """The offer's name in entity tags: with the encoders' version where these make the bytes."""
    made = not offer.stored and offer.syntax not in (None, offers.EXPLICIT_LITTLE_ENDIAN)
    return f"{offer} {VERSION}" if made else str(offer)
