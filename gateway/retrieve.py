"""Retrieve: instances, metadata, frames and bulk data (PS3.18 10.4, PS3.4 C.4.2).

The metadata of an instance and each of its frames are one ranged read of the stored file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

import orjson
from xxhash import xxh3_128

from gateway import metrics, renditions
from gateway.blob import Blob as Blob
from gateway.blob import Chunks as Chunks
from gateway.blob import reading as reading
from gateway.caller import Caller
from gateway.dicom.description import PixelDescription
from gateway.dicom.elements import PIXEL_TAGS, Element
from gateway.dicom.encoders import ENCODERS, VERSION, encode_frame
from gateway.dicom.fragments import ITEM, ITEM_HEADER
from gateway.dicom.frames import FrameTable
from gateway.dicom.header import MARGIN, Header, parse_header, read_header
from gateway.dicom.metadata import Cache, bulk_element, to_json
from gateway.dicom.native import swap, word_size
from gateway.dicom.pixels import decode_frame, frame_to_native
from gateway.dicom.transcode import offered, transcode
from gateway.dicom.uids import syntax
from gateway.dicom.vr import WIDTH
from gateway.errors import Damaged, Gone, NotAcceptable, NotFound, Unavailable
from gateway.rights import Action
from storage.archive import DIGEST, Archive
from storage.records import Located
from storage.seal import Sealer
from storage.versions import version_time

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
WEB_FORBIDDEN = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.2"})
"""Implicit VR Little Endian and Explicit VR Big Endian never leave by the web (PS3.18 8.7.3)."""

MAX_IN_MEMORY = 16 << 20
"""Larger objects are transcoded from a copy on the spool's disk, in bytes."""

SHORT_TABLE = 64
"""Bytes up to which tables of frames are kept in memory."""

MAX_ICON_BYTES = 64 << 20
"""Longest compressed Pixel Data inside a sequence; it is read whole."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as it is sent: `number` is 1-based, `data` a bare codestream or native little-endian bytes."""

    number: int
    syntax_uid: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Bulk:
    """One bulk value and its media type."""

    media_type: str
    blob: Blob


def find(
    archive: Archive, caller: Caller, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None
) -> tuple[Located, ...]:
    """The instances below, by series number and instance number. Raises NotFound when there are none, Gone when
    there were some, Forbidden when the caller may read nothing. What it may not see is not there.
    """
    within = caller.rights.within(Action.READ)
    with reading():
        found = archive.locate(study_uid, series_uid, sop_uid, within)
        # nobody can tell any more whether the caller might have seen what was deleted
        gone = not found and within is None and archive.was_deleted(study_uid, series_uid, sop_uid)
    if not found:
        level = "instance" if sop_uid else "series" if series_uid else "study"
        raise Gone(f"the {level} was deleted") if gone else NotFound(f"no such {level}")
    caller.trail.study(study_uid)
    caller.trail.count += len(found)
    return tuple(found)


# ---------------------------------------------------------------- whole instances


def stored_at(located: Located) -> float:
    """When the instance was stored, in seconds since the epoch."""
    return version_time(located.version)


def part10(archive: Archive, located: Located, syntax_uid: str | None = None) -> Blob:
    """The instance as a Part 10 file: as stored, or in the transfer syntax `syntax_uid`. Raises NotAcceptable."""
    if syntax_uid is None or syntax_uid == located.transfer_syntax_uid:
        return Blob(located.size, lambda start, length: stream(archive, located, start, length), located.digest)

    def make(out: BinaryIO) -> None:
        with _whole(archive, located) as source:
            transcode(source, read_header(source, located.size), out, syntax_uid)

    return renditions.get(archive, f"{located.digest} {syntax_uid} {VERSION}", make)


@contextmanager
def _whole(archive: Archive, located: Located) -> Iterator[BinaryIO]:
    """The stored file in one read, its digest checked: in memory, or nameless on the spool's disk."""
    with SpooledTemporaryFile(MAX_IN_MEMORY, dir=str(archive.spool.folder)) as file:
        try:
            with stream(archive, located) as chunks:
                for chunk in chunks:
                    file.write(chunk)
        except OSError as error:
            raise Unavailable("there is no room for a copy of the object") from error
        file.seek(0)
        yield cast(BinaryIO, file)


@contextmanager
def stream(archive: Archive, located: Located, start: int = 0, length: int | None = None) -> Iterator[Chunks]:
    """Bytes of the stored file in chunks; a whole read is checked before its last chunk is given.

    Against the checksum, where the index has one: it tells damage as surely as the digest, which costs thirty times as
    much, and is what the scrubber compares. Raises Damaged instead of that last chunk when the bytes are not those that
    were received (F-16).
    """
    with reading(), archive.stream(located, start, length) as chunks:
        whole = start == 0 and length in (None, located.size)
        yield _verified(archive, located, chunks) if whole else iter(chunks)


def _verified(archive: Archive, located: Located, chunks: Iterator[memoryview | bytes]) -> Chunks:
    # without a checksum the digest is told, whose form is not
    totals = (xxh3_128(),) if located.checksum is not None else (hashlib.sha256(), Sealer())
    held: memoryview | bytes | None = None
    for chunk in chunks:
        if held is not None:
            yield held
        for total in totals:
            total.update(chunk)
        held = bytes(chunk)
    if (located.checksum or located.digest) not in [total.hexdigest() for total in totals]:
        metrics.DAMAGED.inc()
        archive.report(located, DIGEST)
        raise Damaged("the stored object is damaged")
    if held is not None:
        yield held


# ---------------------------------------------------------------- metadata and bulk data


def header(archive: Archive, located: Located, sequences: frozenset[int] | None = None) -> Header:
    """The instance's header, by one ranged read; `sequences` as `parse_header` has it."""
    with reading():
        data = archive.read(located, 0, min(located.header_size + MARGIN, located.size))
    return parse_header(data, located.size, sequences=sequences)


def metadata(archive: Archive, located: Located, root: str, cache: Cache | None = None) -> bytes:
    """The instance's metadata as one object of the DICOM JSON Model (PS3.18 10.4.3.3.2).

    BulkDataURIs lie below `root` (`https://host/dicomweb`). Hand one `cache` to all instances of a series.
    """
    place = f"{root}/studies/{located.study_uid}/series/{located.series_uid}/instances/{located.sop_uid}/bulkdata/"
    return orjson.dumps(to_json(header(archive, located), place.__add__, cache=cache))


def bulk_paths(found: Header) -> list[str]:
    """The last parts of all BulkDataURIs that the metadata of the instance name, in their order (PS3.18 10.4.3.3.5)."""
    paths: list[str] = []

    def note(path: str) -> str:
        paths.append(path)
        return path

    to_json(found, note)
    return paths


def bulk(archive: Archive, located: Located, path: str, found: Header | None = None) -> Bulk:
    """The bulk value that the BulkDataURI's last part `path` names; `found` is the header where it was read before.

    Compressed Pixel Data of an icon, inside a sequence, come as one codestream. Raises NotFound.
    """
    found = found or header(archive, located)
    element = bulk_element(found, path)
    etag = hashlib.sha256(f"{located.digest} {path}".encode()).hexdigest()
    media_type = "application/octet-stream"
    if element.tag == 0x00420011:  # Encapsulated Document: its own type, without the padding byte (WADO-17)
        media_type = found.text(0x00420012) or media_type
    if element.encapsulated and element is not found.pixel:
        return Bulk(media_type, _icon(archive, located, found, element, etag))
    if element.encapsulated:
        pieces = frame_table(located).stream()
        return Bulk(_video_type(located.transfer_syntax_uid) or media_type, _joined(archive, located, pieces, etag))
    length = element.length
    if media_type != "application/octet-stream":
        length = min(length, found.number(0x00420015) or length)
    width = _width(found, element)
    if found.inflated is not None:
        data = _inflated(found, element.offset, length)
        return Bulk(media_type, _in_memory(swap(data, width), etag))
    return Bulk(media_type, _joined(archive, located, [(element.offset, length)], etag, width))


def _icon(archive: Archive, located: Located, found: Header, element: Element, etag: str) -> Blob:
    """The fragments of encapsulated Pixel Data that is not the instance's own, joined without their item headers."""
    if element.length > MAX_ICON_BYTES:
        raise NotFound("the bulk data of this path is too large for an icon")
    if found.inflated is not None:
        data = _inflated(found, element.offset, element.length)
    else:
        with reading():
            data = archive.read(located, element.offset, element.length)
    pieces: list[bytes] = []
    at = 0
    while at + ITEM_HEADER.size <= len(data):
        item, length = ITEM_HEADER.unpack_from(data, at)
        if item != ITEM:
            break
        at += ITEM_HEADER.size
        pieces.append(data[at : at + length])
        at += length
    return _in_memory(b"".join(pieces[1:]), etag)  # the first is the Basic Offset Table


def _width(found: Header, element: Element) -> int:
    """Bytes of a word whose order has to be turned around for the web: 1 where there is nothing to turn (GEN-13)."""
    if found.syntax.little_endian:
        return 1
    if element.tag in PIXEL_TAGS:
        return word_size(found, element.tag, element.vr)
    return WIDTH.get(element.vr, 1)


def _inflated(found: Header, offset: int, length: int) -> bytes:
    assert found.inflated is not None
    found.inflated.seek(offset)
    return found.inflated.read(length)


def _in_memory(data: bytes, etag: str) -> Blob:
    @contextmanager
    def chunks(start: int, length: int | None) -> Iterator[Chunks]:
        yield iter([data[start:] if length is None else data[start : start + length]])

    return Blob(len(data), chunks, etag)


def _joined(archive: Archive, located: Located, pieces: Sequence[tuple[int, int]], etag: str, width: int = 1) -> Blob:
    """Pieces of the stored file (offset, length) one after the other; words of `width` bytes are turned around."""

    def selected(start: int, length: int | None) -> Iterator[tuple[int, int]]:
        left = sum(size for _, size in pieces) - start if length is None else length
        for offset, size in pieces:
            skipped = min(start, size)
            start -= skipped
            taken = min(size - skipped, left)
            if taken > 0:
                yield offset + skipped, taken
                left -= taken

    def read(start: int, length: int | None) -> Chunks:
        for offset, size in selected(start, length):
            with reading(), archive.stream(located, offset, size) as chunks:
                yield from chunks

    @contextmanager
    def chunks(start: int, length: int | None) -> Iterator[Chunks]:
        yield read(start, length) if width == 1 else iter([_turned(start, length)])

    def _turned(start: int, length: int | None) -> bytes:
        """A part of a big-endian value: read from word to word, turned around, and cut to size."""
        end = total if length is None else min(start + length, total)
        first, last = start - start % width, min(-(-end // width) * width, total)
        return swap(b"".join(read(first, last - first)), width)[start - first : end - first]

    total = sum(size for _, size in pieces)
    return Blob(total, chunks, etag)


def _video_type(syntax_uid: str) -> str | None:
    facts = syntax(syntax_uid)
    if not facts.video:
        return None
    return (
        "video/mpeg" if syntax_uid.startswith(("1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.101")) else "video/mp4"
    )


# ---------------------------------------------------------------- frames


def frame_table(located: Located) -> FrameTable:
    """Where the instance's frames lie. Raises NotFound when it has none that can be addressed."""
    if located.frames is None:
        raise NotFound("the instance has no frames")
    return _short_table(located.frames) if len(located.frames) <= SHORT_TABLE else FrameTable.from_bytes(located.frames)


@lru_cache(256)
def _short_table(data: bytes) -> FrameTable:
    """The slices of a series often have the same one."""
    return FrameTable.from_bytes(data)


def stored_frame(archive: Archive, located: Located, number: int, table: FrameTable | None = None) -> bytes:
    """Frame `number` (1-based) as stored, by one ranged read: a codestream, or native little-endian bytes.

    Raises NotFound, and Damaged when the object is not what the index promises.
    """
    table = table or frame_table(located)
    offset, length = table.span(number)
    if syntax(located.transfer_syntax_uid).deflated:
        found = header(archive, located)
        return table.extract(number, _inflated(found, offset, length))
    with reading():
        return table.extract(number, archive.read(located, offset, length))


def frames(
    archive: Archive, located: Located, numbers: Sequence[int], syntax_uid: str | None = None
) -> Iterator[Frame]:
    """The frames `numbers` in the order asked, each by one ranged read (PS3.18 10.4.1.1.6).

    As stored when `syntax_uid` is None (native ones as Explicit VR Little Endian), else in that transfer syntax.
    Decoded frames are made anew each time, encoded ones are kept as renditions. All numbers, and the syntax, are
    checked before the first frame. Raises NotFound, NotAcceptable.
    """
    table = frame_table(located)
    for number in numbers:
        table.span(number)
    stored = located.transfer_syntax_uid
    given = stored if table.encapsulated else EXPLICIT_LITTLE_ENDIAN
    if syntax_uid in (None, given):
        return (Frame(number, given, stored_frame(archive, located, number, table)) for number in numbers)
    found = header(archive, located)
    if syntax_uid != EXPLICIT_LITTLE_ENDIAN and (syntax_uid not in ENCODERS or syntax_uid not in offered(found)):
        raise NotAcceptable("the frames are not available in this transfer syntax", offered(found), stored)
    description = PixelDescription.from_header(found)
    wanted = syntax_uid

    def decoded(number: int) -> Frame:
        data = stored_frame(archive, located, number, table)
        return Frame(number, wanted, frame_to_native(data, description, stored)[0])

    def encoded(number: int) -> Frame:
        def make(out: BinaryIO) -> None:
            frame = decode_frame(stored_frame(archive, located, number, table), description, stored)
            out.write(encode_frame(frame, description, wanted)[0])

        key = f"{located.digest} frame {number} {wanted} {VERSION}"
        return Frame(number, wanted, renditions.read(renditions.get(archive, key, make)))

    return map(decoded if wanted == EXPLICIT_LITTLE_ENDIAN else encoded, numbers)
