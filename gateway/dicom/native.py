"""How native pixel values are stored: their sizes and byte order (PS3.5 8.1.1, PS3.3 C.7.6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gateway.dicom.elements import PIXEL_DATA

if TYPE_CHECKING:
    from gateway.dicom.header import Header

FLOAT_PIXEL_DATA = 0x7FE00008
DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00009
_CELL_BITS = frozenset((1, 8, 16, 24, 32, 64))


def swap(data: bytes, word: int) -> bytes:
    """Values of `word` bytes (1, 2, 4 or 8) in the other byte order; an incomplete last one stays as it is."""
    if word == 1:
        return data
    whole = len(data) - len(data) % word
    return np.frombuffer(data[:whole], f"u{word}").byteswap().tobytes() + data[whole:]


def frame_bits_of(header: Header, tag: int) -> int:
    """The size of an uncompressed frame in bits; 0 when the header does not tell."""
    rows, columns = header.number(0x00280010), header.number(0x00280011)
    samples = 1 if header.find(0x00280002) is None else header.number(0x00280002)
    cell = {FLOAT_PIXEL_DATA: 32, DOUBLE_FLOAT_PIXEL_DATA: 64}.get(tag) or header.number(0x00280100)
    if not rows or not columns or not samples or cell not in _CELL_BITS or min(rows, columns, samples) < 0:
        return 0
    return int(rows * columns * samples * cell)


def stored_frame_bits(header: Header, frame_bits: int, count: int, length: int) -> int:
    """YBR_FULL_422 stores two chrominance samples for two pixels (PS3.3 C.7.6.3.1.2).

    Some writers keep the name and store all samples: the length of the value tells them apart.
    """
    samples = header.number(0x00280002)
    if samples != 3 or header.text(0x00280004) not in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        return frame_bits
    full = (frame_bits * count + 7) // 8
    return frame_bits if length in (full, full + full % 2) else frame_bits // 3 * 2


def word_size(header: Header, tag: int, vr: str) -> int:
    """The size in bytes of the values a big endian file swaps: the cell's, but OW swaps pairs of 8-bit cells too."""
    if tag != PIXEL_DATA:
        return 4 if tag == FLOAT_PIXEL_DATA else 8
    cell = header.number(0x00280100) or 8
    if cell <= 8 or cell % 16:
        return 2 if vr == "OW" else 1
    return cell // 8
