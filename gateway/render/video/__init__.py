"""Stored videos: as they are, or their H.264 in an MP4 file, which is what browsers play (PS3.18 8.7.4, Video)."""

from __future__ import annotations

from typing import BinaryIO

from gateway import renditions, retrieve
from gateway.blob import Blob
from gateway.render.animation import rate_of
from gateway.render.video.container import HEAD, Container, container_of
from gateway.render.video.remux import remux
from gateway.render.video.transport import Piece, streams_of
from storage.archive import Archive
from storage.records import Located

VERSION = "2"
"""Of the writer: raised when it writes other bytes."""

_PREFIX = "1.2.840.10008.1.2.4."
_MPEG_2 = frozenset(_PREFIX + end for end in ("100", "100.1", "101", "101.1"))
_H265 = frozenset(_PREFIX + end for end in ("107", "108"))
_PIXEL_DATA = "7FE00010"
MP4 = "video/mp4"


def video_types(archive: Archive, located: Located) -> tuple[str, ...]:
    """Media types that the video can be had as, the default first (RT-03)."""
    syntax, packed = located.transfer_syntax_uid, _container(archive, located)
    if syntax in _MPEG_2:
        return ("video/mpeg",)
    if syntax in _H265:
        return (MP4, "video/h265") if packed is Container.MP4 else ("video/h265",)
    if packed is Container.MP4:
        return (MP4,)
    return MP4, Container.TRANSPORT.value if packed is Container.TRANSPORT else "video/h264"


def video(archive: Archive, located: Located, media_type: str) -> Blob:
    """The video: as it is stored, or, where `media_type` is MP4 and it is not, packed anew and kept.

    Raises NotRenderable when the stream is not what its transfer syntax says.
    """
    stored = retrieve.bulk(archive, located, _PIXEL_DATA).blob
    if media_type != MP4 or _container(archive, located) is Container.MP4:
        return stored

    def make(out: BinaryIO) -> None:
        rate = rate_of(retrieve.header(archive, located))
        with stored.open(0, None) as chunks:
            packed = _container(archive, located) is Container.TRANSPORT
            remux(streams_of(chunks) if packed else (Piece(bytes(chunk)) for chunk in chunks), rate, out)

    return renditions.get(archive, f"{located.digest} mp4 {VERSION}", make)


def _container(archive: Archive, located: Located) -> Container:
    blob = retrieve.bulk(archive, located, _PIXEL_DATA).blob
    with blob.open(0, min(HEAD, blob.length)) as chunks:
        return container_of(b"".join(chunks))
