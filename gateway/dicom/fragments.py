"""Which fragments of encapsulated Pixel Data make which frame (PS3.5 A.4).

An offset table in a file is a claim of its sender; the fragments are what is there. The header's reader has visited
every item once, at ingest, so an offset table only decides where the fragments alone leave a question: more fragments
than frames, and more than one frame. There the codestreams themselves are asked first, then the Extended Offset Table
(PS3.3 C.7.6.3.1.8), then the Basic Offset Table. What stays unclear stays unanswered: a missing frame is better than
another frame's bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from gateway.dicom.header import Header

MAX_LOOKED_AT = 500_000
"""Most fragments whose first bytes are read to tell frames apart; that many take a second."""
ITEM = 0xE000FFFE
"""(FFFE,E000) as a little endian 32-bit word holds it: group in the low half."""
ITEM_HEADER = Struct("<II")

_JPEG = (b"\xff\xd8\xff",)
_J2K = (b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  \r\n\x87\n")
_JXL = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n")
_RLE = tuple(bytes((segments, 0, 0, 0, 64, 0, 0, 0)) for segments in range(1, 16))
_PREFIX = "1.2.840.10008.1.2."
_STARTS: dict[str, tuple[bytes, ...]] = {
    **{f"{_PREFIX}4.{n}": _JPEG for n in (*range(50, 67), 70, 80, 81)},
    **{f"{_PREFIX}4.{n}": _J2K for n in (90, 91, 92, 93, 201, 202, 203)},
    **{f"{_PREFIX}4.{n}": _JXL for n in (110, 111, 112)},
    f"{_PREFIX}5": _RLE,
}
"""The first bytes of a frame by transfer syntax."""
_MARKED_END = frozenset(uid for uid, starts in _STARTS.items() if starts in (_JPEG, _J2K))
_TELLING = _MARKED_END | {f"{_PREFIX}5"}
"""Syntaxes whose frames show where they begin beyond doubt; the two bytes of JPEG XL are too few."""
_ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"


@dataclass(frozen=True, slots=True)
class Fragments:
    """The fragments of a Pixel Data element. `start` is the file offset of the first one's item tag.

    `lengths` holds their lengths in bytes (uint32); `basic` the Basic Offset Table (uint32), which may be empty.
    """

    start: int
    lengths: NDArray[np.uint32]
    basic: NDArray[np.uint32]

    def item_offsets(self) -> NDArray[np.int64]:
        """Where each item tag is, in bytes from the first fragment's, as the offset tables count."""
        ends = np.cumsum(self.lengths.astype(np.int64) + ITEM_HEADER.size)
        return np.concatenate((np.zeros(1, np.int64), ends[:-1]))


def fragments_of(stream: BinaryIO, header: Header) -> Fragments | None:
    """The fragments that the header's reader found; None where there are none or the offset table is malformed."""
    found = header.fragments
    if found is None or len(found) < 4:
        return None
    pairs = np.array(found, np.uint64).reshape(-1, 2)
    table, size = int(pairs[0, 0]), int(pairs[0, 1])
    if size % 4:
        return None
    stream.seek(table)
    data = stream.read(size)
    if len(data) < size:
        return None
    start = int(pairs[1, 0]) - ITEM_HEADER.size
    return Fragments(start, pairs[1:, 1].astype(np.uint32), np.frombuffer(data, "<u4").astype(np.uint32))


def frame_starts(
    stream: BinaryIO,
    fragments: Fragments,
    count: int,
    syntax_uid: str,
    *,
    frame_bytes: int | None,
    extended: Callable[[], NDArray[np.uint64]],
) -> NDArray[np.int64] | None:
    """The index of the first fragment of each of `count` frames, ascending from 0; None when that cannot be known.

    `frame_bytes` is the size of an uncompressed frame; `extended` reads the Extended Offset Table (empty: none).
    """
    total = len(fragments.lengths)
    if count < 1 or count > total:
        return None
    if syntax_uid == _ENCAPSULATED_UNCOMPRESSED and frame_bytes:
        return _by_size(fragments, count, frame_bytes)
    if count == total:
        return np.arange(count, dtype=np.int64)
    if count == 1:
        return np.zeros(1, np.int64)
    if total > MAX_LOOKED_AT:
        return None
    magic = _codestream_starts(stream, fragments, syntax_uid)
    if magic is not None and syntax_uid in _TELLING:
        whole = magic & _after_end(stream, fragments, magic, syntax_uid)
        if whole[0] and np.count_nonzero(whole) == count:
            return np.flatnonzero(whole).astype(np.int64)
    for offsets in (extended(), fragments.basic):
        starts = _by_offsets(fragments, count, offsets.astype(np.uint64))
        if starts is not None and (magic is None or bool(magic[starts].all())):
            return starts
    # A frame whose end marker was lost still shows by the next one's start.
    if magic is not None and syntax_uid in _MARKED_END and magic[0] and np.count_nonzero(magic) == count:
        return np.flatnonzero(magic).astype(np.int64)
    return None


def _by_offsets(fragments: Fragments, count: int, offsets: NDArray[np.uint64]) -> NDArray[np.int64] | None:
    """Fragments at these offsets, if every one is where an item begins, in ascending order from the first."""
    if len(offsets) != count or offsets[0] != 0 or not bool((offsets[1:] > offsets[:-1]).all()):
        return None
    items = fragments.item_offsets().astype(np.uint64)
    if offsets[-1] > items[-1]:
        return None
    starts = np.searchsorted(items, offsets)
    if not np.array_equal(items[starts], offsets):
        return None
    return starts.astype(np.int64)


def _by_size(fragments: Fragments, count: int, frame_bytes: int) -> NDArray[np.int64] | None:
    """Fragments that add up to one uncompressed frame each, with or without a padding byte at its end."""
    starts: list[int] = []
    filled = frame_bytes
    for index, size in enumerate(fragments.lengths.tolist()):
        if filled >= frame_bytes:
            if filled > frame_bytes + frame_bytes % 2:
                return None
            starts.append(index)
            filled = 0
        filled += size
    if len(starts) != count or not frame_bytes <= filled <= frame_bytes + frame_bytes % 2:
        return None
    return np.array(starts, np.int64)


def _codestream_starts(stream: BinaryIO, fragments: Fragments, syntax_uid: str) -> NDArray[np.bool_] | None:
    """For each fragment whether a codestream may begin there; None where the syntax does not tell."""
    starts = _STARTS.get(syntax_uid)
    if starts is None:
        return None
    found = np.zeros(len(fragments.lengths), np.bool_)
    for index, (offset, size) in enumerate(zip(fragments.item_offsets(), fragments.lengths, strict=True)):
        stream.seek(fragments.start + int(offset) + ITEM_HEADER.size)
        found[index] = stream.read(min(12, int(size))).startswith(starts)
    return found


def _after_end(stream: BinaryIO, fragments: Fragments, magic: NDArray[np.bool_], syntax_uid: str) -> NDArray[np.bool_]:
    """For each possible start whether the fragment before it ends a codestream (JPEG EOI, JPEG 2000 EOC)."""
    if syntax_uid not in _MARKED_END:
        return np.ones(len(magic), np.bool_)
    after = np.zeros(len(magic), np.bool_)
    after[0] = True
    items = fragments.item_offsets()
    for index in np.flatnonzero(magic[1:]).tolist():
        size = min(10, int(fragments.lengths[index]))
        stream.seek(fragments.start + int(items[index + 1]) - size)
        after[index + 1] = stream.read(size).rstrip(b"\x00\xff").endswith(b"\xff\xd9")
    return after
