"""Boxes of the ISO base media and JPEG 2000 file formats (ISO/IEC 14496-12 4.2, 15444-1 I.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from gateway.dicom.codestream import MAX_BOXES

JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
JXL_SIGNATURE = b"\x00\x00\x00\x0cJXL \r\n\x87\n"


def boxes(stream: BinaryIO, start: int, end: int | None) -> Iterator[tuple[bytes, int, int]]:
    """Kind, and offset and length of the content, of each box from `start` up to `end`: at most `MAX_BOXES`.

    Stops at the first that is malformed or goes beyond `end`. Without an `end` the last one may be cut off.
    """
    at = start
    for _ in range(MAX_BOXES):
        stream.seek(at)
        head = stream.read(16)
        if len(head) < 8:
            return
        length, kind, content = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, content = int.from_bytes(head[8:16], "big"), 16
        elif length == 0 and end is not None:
            length = end - at
        if length < content or (end is not None and at + length > end):
            return
        yield kind, at + content, length - content
        at += length
