"""Size of the pictures of a video, as far as its first bytes or its file format tell."""

from __future__ import annotations

from typing import BinaryIO

from gateway.dicom.model.boxes import boxes
from gateway.dicom.model.image_description import Described

_SEQUENCE = b"\x00\x00\x01\xb3"
"""MPEG-2 sequence header code (ISO/IEC 13818-2 6.2.2.1)."""
_HEAD = 1 << 20
_TO_SAMPLES = (b"mdia", b"minf", b"stbl", b"stsd")
_VISUAL = frozenset({b"avc1", b"avc2", b"avc3", b"avc4", b"hvc1", b"hev1", b"mp4v"})


def read_video(stream: BinaryIO, size: int, syntax_uid: str) -> Described | None:
    """What an MPEG-2 stream or an MP4 file says of its pictures; None where it does not tell, or is neither.

    An H.264 or H.265 stream outside an MP4 file is not looked into.
    """
    stream.seek(0)
    head = stream.read(min(size, _HEAD))
    if head[4:8] == b"ftyp":
        found = _movie(stream, size)
    else:
        at = head.find(_SEQUENCE)
        sides = int.from_bytes(head[at + 4 : at + 7], "big") if at >= 0 else 0
        found = (sides & 0xFFF, sides >> 12)
    if not found[0] or not found[1]:
        return None
    bits = 10 if syntax_uid == "1.2.840.10008.1.2.4.108" else 8  # H.265 Main 10 (PS3.5 8.2.11)
    return Described(found[0], found[1], 3, bits, "YBR_PARTIAL_420")


def _movie(stream: BinaryIO, size: int) -> tuple[int, int]:
    """Rows and columns of the first visual track: its sample entry has them (ISO/IEC 14496-12 12.1.3)."""
    for kind, offset, length in boxes(stream, 0, size):
        if kind != b"moov":
            continue
        for inner, start, extent in boxes(stream, offset, offset + length):
            if inner == b"trak":
                found = _entry(stream, start, start + extent)
                if found is not None:
                    return found
    return 0, 0


def _entry(stream: BinaryIO, start: int, end: int) -> tuple[int, int] | None:
    for wanted in _TO_SAMPLES:
        found = next(((at, size) for kind, at, size in boxes(stream, start, end) if kind == wanted), None)
        if found is None:
            return None
        start, end = found[0], sum(found)
    for kind, offset, length in boxes(stream, start + 8, end):  # after version, flags and the number of entries
        if kind in _VISUAL and length >= 28:
            stream.seek(offset + 24)
            sides = stream.read(4)
            return int.from_bytes(sides[2:], "big"), int.from_bytes(sides[:2], "big")
    return None
