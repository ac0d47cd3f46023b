"""Which transfer syntaxes a compressed frame can truthfully be labelled with, read from the codestream itself.

A media type names a family (`image/jpeg`) and its default is often not what a client has: Table 8.7.3-5 gives a JPEG
without a parameter the lossless syntax. A frame under a wrong label is decoded wrongly or not at all.
JPEG: ISO/IEC 10918-1 B.2.2; JPEG-LS: 14495-1 C.2.3; JPEG 2000: 15444-1 A.5, A.6; HTJ2K: 15444-15; JPEG XL: 18181-2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO

from gateway.dicom.codecs import HTJ2K, JPEG, JPEG_2000
from gateway.dicom.codestream import MAX_BOXES, Codestream, read_jpeg, read_jpeg_2000, read_jpeg_xl
from gateway.dicom.model.boxes import JXL_SIGNATURE, boxes
from gateway.errors import NotRenderable

HEAD = 1 << 20
"""Bytes at the start of a frame that tell: profiles and thumbnails of cameras may come first."""

_PREFIX = "1.2.840.10008.1.2."

MAGIC: dict[str, bytes] = {
    **dict.fromkeys(JPEG, b"\xff\xd8\xff"),
    **dict.fromkeys(JPEG_2000 | HTJ2K, b"\xff\x4f\xff\x51"),
}
"""How a frame of a transfer syntax starts, where that is telling."""

_MARKER = re.compile(rb"\xff{1,1024}([^\xff])", re.DOTALL)
"""A marker, with the fill bytes that may stand before it: few, so that nobody can have us read a million."""
_JPEG_PROCESSES: dict[int, tuple[str, ...]] = {
    0xC0: ("4.50", "4.51"),
    0xC1: ("4.51",),
    0xC2: ("4.55",),  # progressive, retired from DICOM; the web is full of it, and another label would be untrue
}


def jpeg(head: bytes) -> tuple[Codestream, tuple[str, ...]]:
    """Image header and transfer syntaxes of a JPEG or JPEG-LS codestream, the best first. Raises NotRenderable."""
    process, parameter = _frame_and_scan(head)
    found = read_jpeg(head)
    if process == 0xF7:  # NEAR of the first scan is 0 where nothing is lost
        return found, _uids("4.81") if parameter else _uids("4.80", "4.81")
    if process == 0xC3:
        return found, _uids("4.70", "4.57") if parameter == 1 else _uids("4.57")
    if process not in _JPEG_PROCESSES:
        raise NotRenderable("the JPEG codestream is of a process that DICOM has not")
    return found, _uids(*_JPEG_PROCESSES[process])


def jpeg_2000(head: bytes) -> tuple[Codestream, tuple[str, ...]]:
    """Image header and transfer syntaxes of a bare JPEG 2000 or HTJ2K codestream. Raises NotRenderable."""
    found = read_jpeg_2000(head)
    high_throughput = False
    for marker, content in _j2k_segments(head):
        if marker == 0xFF50:  # CAP: Part 15 is bit 15 of Pcap, counted from the most significant
            high_throughput = bool(int.from_bytes(content[:4], "big") & 0x00020000)
        if marker == 0xFF52 and len(content) >= 10:
            return found, _wavelets(high_throughput, rpcl=content[1] == 2, reversible=content[9] == 1)
    raise NotRenderable("the JPEG 2000 codestream has no coding style")


def _wavelets(high_throughput: bool, *, rpcl: bool, reversible: bool) -> tuple[str, ...]:
    """A reversible wavelet may have lost bits after all, so that the general syntax is true as well."""
    if not high_throughput:
        return _uids("4.90", "4.91", "4.92", "4.93") if reversible else _uids("4.91", "4.93")
    if not reversible:
        return _uids("4.203")
    return _uids("4.202", "4.201", "4.203") if rpcl else _uids("4.201", "4.203")


def jpeg_xl(head: bytes) -> tuple[Codestream, tuple[str, ...]]:
    """Image header and transfer syntaxes of a JPEG XL codestream or file. Raises NotRenderable."""
    found = read_jpeg_xl(head)
    if head.startswith(JXL_SIGNATURE) and any(kind == b"jbrd" for kind, _, _ in boxes(BytesIO(head), 0, None)):
        return found, _uids("4.111")
    lossy = found.samples == 3 and found.colour == "RGB"  # XYB is no reversible transform
    return found, _uids("4.112") if lossy else _uids("4.110", "4.112")


def is_rle(head: bytes) -> bool:
    """Whether this can be the start of an RLE frame: 1 to 15 segments, the first after the header (PS3.5 G.5)."""
    return len(head) >= 64 and 1 <= int.from_bytes(head[:4], "little") <= 15 and head[4:8] == b"\x40\0\0\0"


def _uids(*ends: str) -> tuple[str, ...]:
    return tuple(_PREFIX + end for end in ends)


def _frame_and_scan(head: bytes) -> tuple[int, int]:
    """The SOF marker's code, and of the first scan header Ss: the predictor of lossless JPEG, NEAR of JPEG-LS."""
    process = 0
    at = 2
    for _ in range(MAX_BOXES):
        found = _MARKER.match(head, at)
        if found is None:
            break
        marker, at = found[1][0], found.end()
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue
        if marker == 0xDA:
            place = at + 3 + 2 * int.from_bytes(head[at + 2 : at + 3], "big")
            if process and place < len(head):
                return process, head[place]
            break
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            process = marker
        at += int.from_bytes(head[at : at + 2], "big")
    raise NotRenderable("the JPEG codestream has no scan")


def _j2k_segments(head: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker segments of the main header: marker and content, without the length."""
    at = 2
    for _ in range(MAX_BOXES):
        marker = int.from_bytes(head[at : at + 2], "big")
        length = int.from_bytes(head[at + 2 : at + 4], "big")
        if marker == 0xFF90 or length < 2:
            return
        yield marker, head[at + 4 : at + 2 + length]
        at += 2 + length
