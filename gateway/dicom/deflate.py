"""Deflated data sets (PS3.5 A.5), inflated in a stream and within bounds."""

from __future__ import annotations

import zlib
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from gateway.dicom.limits import Limits
from gateway.errors import NotUnderstood

_BLOCK = 65536
_IN_MEMORY = 1024 * 1024
_MAX_REST = 10


def inflate(stream: BinaryIO, offset: int, size: int, limits: Limits) -> BinaryIO:
    """The data set that lies deflated in `stream` from `offset` to `size`, as a temporary file (the caller closes it).

    Raises NotUnderstood where it is no whole deflate stream, where more than padding or
    gzip's check sum follows it, and where
    it grows beyond `limits`.
    """
    allowed = min(limits.inflated, max(limits.inflated_freely, limits.inflate_ratio * (size - offset)))
    out = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  its owner closes it
    try:
        _inflate(stream, offset, size, allowed, cast(BinaryIO, out))
    except BaseException:
        out.close()
        raise
    out.seek(0)
    return cast(BinaryIO, out)


def _inflate(stream: BinaryIO, offset: int, size: int, allowed: int, out: BinaryIO) -> None:
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    stream.seek(offset)
    left = size - offset
    total = crc = 0
    while left and not machine.eof:
        block = stream.read(min(_BLOCK, left))
        if not block:
            raise NotUnderstood("the file is shorter than it says")
        left -= len(block)
        while block and not machine.eof:
            try:
                piece = machine.decompress(block, _BLOCK)
            except zlib.error as error:
                raise NotUnderstood("the deflated data set is damaged") from error
            total += len(piece)
            if total > allowed:
                raise NotUnderstood("the deflated data set inflates to more than is allowed")
            crc = zlib.crc32(piece, crc)
            out.write(piece)
            block = machine.unconsumed_tail
    if not machine.eof:
        raise NotUnderstood("the deflated data set is cut off")
    trailer = crc.to_bytes(4, "little") + (total & 0xFFFFFFFF).to_bytes(4, "little")  # some writers use gzip's
    if machine.unused_data + stream.read(min(left, _MAX_REST)) not in (b"", b"\0", trailer, trailer + b"\0"):
        raise NotUnderstood("something follows the deflated data set")
