"""The boxes of JPEG 2000 files: JPH made here, and colour profiles in JP2 (ISO/IEC 15444-1 I, 15444-15 D)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import imagecodecs
import numpy
from numpy.typing import NDArray

from gateway.errors import BadRequest

_MATRIX = frozenset({b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC"})


def jph(samples: NDArray[numpy.uint8], profile: bytes | None = None) -> bytes:
    """HTJ2K in the boxes that `image/jph` asks for, lossless: 8 bits, grey or RGB, which is sRGB without a profile."""
    rows, columns = samples.shape[:2]
    colour = samples.ndim == 3
    stream = bytes(
        imagecodecs.htj2k_encode(numpy.ascontiguousarray(samples), reversible=True, rgb=colour, planar=False)
    )
    header = box(b"ihdr", struct.pack(">IIHBBBB", rows, columns, 3 if colour else 1, 7, 7, 0, 0))
    known = box(b"colr", struct.pack(">BBBI", 1, 0, 0, 16 if colour else 17))  # sRGB, or greyscale
    header += known if profile is None else _colours(profile)
    return b"".join(
        (
            box(b"jP  ", b"\r\n\x87\n"),
            box(b"ftyp", b"jph \0\0\0\0jph "),
            box(b"jp2h", header),
            box(b"jp2c", stream),
        )
    )


def with_colours(file: bytes, profile: bytes) -> bytes:
    """A JP2 file with a profile in place of what it says of its colours. Raises BadRequest as `restricted` does."""
    return b"".join(_changed(kind, content, profile) for kind, content in boxes(file))


def _changed(kind: bytes, content: bytes, profile: bytes) -> bytes:
    if kind != b"jp2h":
        return box(kind, content)
    header = ((one, within) for one, within in boxes(content))
    return box(kind, b"".join(_colours(profile) if one == b"colr" else box(one, within) for one, within in header))


def _colours(profile: bytes) -> bytes:
    """A Colour Specification box of the restricted ICC method (ISO/IEC 15444-1 I.5.3.3)."""
    restricted(profile)
    return box(b"colr", b"\2\0\0" + profile)


def restricted(profile: bytes) -> None:
    """Raises BadRequest for a profile that is no matrix with three tone curves, which is all that JP2 and JPH take."""
    count = min(int.from_bytes(profile[128:132], "big"), 100)
    tags = {profile[at : at + 4] for at in range(132, 132 + 12 * count, 12)}
    if not tags >= _MATRIX or any(tag.startswith(b"A2B") for tag in tags):
        raise BadRequest(
            "iccprofile",
            "JPEG 2000 files take matrix profiles only, which the image's is not; srgb, for one, can be asked for",
        )


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The boxes of a file that was made here, or of one of its boxes: their kinds and contents."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        end = at + size if size else len(data)
        yield kind, data[at + 8 : end]
        at = max(end, at + 8)


def box(kind: bytes, content: bytes) -> bytes:
    """A box with its size before it."""
    return struct.pack(">I4s", 8 + len(content), kind) + content
