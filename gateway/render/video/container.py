"""What a stored video is packed in: its first bytes tell, and its transfer syntax does not (PS3.5 8.2.5 to 8.2.11)."""

from __future__ import annotations

from enum import Enum

PACKET = 188
"""Bytes of a packet of a transport stream (ISO/IEC 13818-1 2.4.3.2)."""
HEAD = 4 * PACKET
"""Bytes that `container_of` looks at."""


class Container(Enum):
    """Container of a video stream; the value is its own media type."""

    MP4 = "video/mp4"
    TRANSPORT = "video/mp2t"
    PROGRAM = "video/mpeg"
    BARE = "application/octet-stream"
    """No container: an elementary stream."""


def container_of(head: bytes) -> Container:
    """The container of a stream that begins with `head`; BARE for what is none of the others."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
        return Container.MP4
    marks = head[::PACKET]
    if len(marks) > 1 and set(marks) == {0x47}:
        return Container.TRANSPORT
    return Container.PROGRAM if head[:4] == b"\0\0\1\xba" else Container.BARE
