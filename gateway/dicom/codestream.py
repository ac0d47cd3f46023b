"""What a compressed frame says of itself, read from its first bytes before any decoder sees it.

A decoder allocates what the codestream announces, so the announcement is checked against the Image Pixel module first.
JPEG: ISO/IEC 10918-1 B.2; JPEG-LS: 14495-1 C.2; JPEG 2000 and HTJ2K: 15444-1 A.5; JPEG XL: 18181-1 D.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.errors import NotRenderable

MAX_TILES = 65_535
"""Most tiles of a JPEG 2000 codestream; that is also the limit of its tile index (15444-1 A.4.2)."""

MAX_BOXES = 256
"""Most boxes or marker segments looked at before the image header."""

_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_JPEG_PROFILE = b"ICC_PROFILE\0"
_JXL_SIGNATURE = b"\x00\x00\x00\x0cJXL \r\n\x87\n"


@dataclass(frozen=True, slots=True)
class Codestream:
    """The image header of one codestream.

    `bits` is the precision of a sample. `colour` is `RGB` or `YBR` where the codestream itself says which (or holds a
    transform that its decoder undoes), else None. `levels` is the number of wavelet decompositions: the picture can be
    decoded at 1/2, 1/4 ... 1/2**levels, `reversible` that these lose nothing. `jpeg_ls` tells JPEG-LS from JPEG.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    signed: bool = False
    colour: str | None = None
    levels: int = 0
    reversible: bool = False
    jpeg_ls: bool = False


def read_jpeg(data: bytes | memoryview) -> Codestream:
    """Read the frame header of a JPEG or JPEG-LS codestream, and its Adobe or JFIF marker.

    Raises:
        NotRenderable: no frame header before the first scan.
    """
    if bytes(data[:2]) != b"\xff\xd8":
        raise NotRenderable("the frame is no JPEG codestream")
    frame: tuple[int, bytes] | None = None
    colour: str | None = None
    for marker, segment in _segments(data):
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            frame = (marker, segment)
        elif marker == 0xEE and segment.startswith(b"Adobe") and len(segment) >= 12:
            colour = "RGB" if segment[11] == 0 else "YBR"
        elif marker == 0xE0 and segment.startswith(b"JFIF\x00") and colour is None:
            colour = "YBR"
    if frame is None:
        raise NotRenderable("the JPEG codestream has no frame header")
    marker, segment = frame
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise NotRenderable("the JPEG frame header is truncated")
    samples = segment[5]
    if samples != 3 or marker == 0xF7:
        colour = None
    elif colour is None and bytes(segment[6 : 6 + 9 : 3]) == b"RGB":
        colour = "RGB"
    return Codestream(
        rows=int.from_bytes(segment[1:3], "big"),
        columns=int.from_bytes(segment[3:5], "big"),
        samples=samples,
        bits=segment[0],
        colour=colour,
        jpeg_ls=marker == 0xF7,
    )


def _segments(data: bytes | memoryview) -> Iterator[tuple[int, bytes]]:
    """Marker segments up to the first scan: marker code and content (10918-1 B.1.1)."""
    position = 2
    for _ in range(MAX_BOXES):
        while bytes(data[position : position + 2]) == b"\xff\xff":  # fill bytes
            position += 1
        if position + 4 > len(data) or data[position] != 0xFF:
            return
        marker = data[position + 1]
        if marker == 0xDA:
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:  # no length; SPIFF ends its directory with a second SOI
            position += 2
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        yield marker, bytes(data[position + 4 : position + 2 + length])
        position += 2 + length


def jpeg_profile(data: bytes | memoryview) -> bytes | None:
    """The ICC profile in the APP2 segments of a JPEG codestream (ICC.1 B.4), unchecked; None where there is none."""
    if bytes(data[:2]) != b"\xff\xd8":
        return None
    chunks: dict[int, bytes] = {}
    count = 0
    for marker, segment in _segments(data):
        if marker == 0xE2 and segment.startswith(_JPEG_PROFILE) and len(segment) > len(_JPEG_PROFILE) + 2:
            number, count = segment[len(_JPEG_PROFILE)], segment[len(_JPEG_PROFILE) + 1]
            chunks[number] = segment[len(_JPEG_PROFILE) + 2 :]
    whole = bool(chunks) and sorted(chunks) == list(range(1, count + 1))
    return b"".join(chunks[number] for number in sorted(chunks)) if whole else None


def read_jpeg_2000(data: bytes | memoryview) -> Codestream:
    """Read SIZ and COD of a JPEG 2000 or HTJ2K codestream, bare or in a JP2 file (which the standard forbids).

    Raises:
        NotRenderable: no such codestream, more than `MAX_TILES` tiles, or components of different sizes.
    """
    start = _box(data, b"jp2c") if bytes(data[:12]) == _JP2_SIGNATURE else 0
    if bytes(data[start : start + 4]) != b"\xff\x4f\xff\x51" or len(data) < start + 45:
        raise NotRenderable("the frame is no JPEG 2000 codestream")
    x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0 = (
        int.from_bytes(data[start + at : start + at + 4], "big") for at in range(8, 40, 4)
    )
    samples = int.from_bytes(data[start + 40 : start + 42], "big")
    if samples < 1 or len(data) < start + 42 + 3 * samples:
        raise NotRenderable("the JPEG 2000 image header is truncated")
    parts = {bytes(data[start + 42 + 3 * n : start + 45 + 3 * n]) for n in range(samples)}
    if len(parts) != 1:
        raise NotRenderable("the JPEG 2000 components differ in precision or size")
    precision, step_x, step_y = parts.pop()
    if (step_x, step_y) != (1, 1) or x1 <= x0 or y1 <= y0 or not tile_x or not tile_y:
        raise NotRenderable("the JPEG 2000 image header is wrong")
    tiles = -(-(x1 - tile_x0) // tile_x) * -(-(y1 - tile_y0) // tile_y)
    if not 1 <= tiles <= MAX_TILES:
        raise NotRenderable(f"the JPEG 2000 codestream announces {tiles} tiles")
    levels, transformed, reversible = _coding_style(data, start + 2)
    return Codestream(
        rows=y1 - y0,
        columns=x1 - x0,
        samples=samples,
        bits=(precision & 0x7F) + 1,
        signed=bool(precision & 0x80),
        colour="RGB" if transformed and samples == 3 else None,
        levels=levels,
        reversible=reversible,
    )


def _coding_style(data: bytes | memoryview, position: int) -> tuple[int, bool, bool]:
    """Decomposition levels, use of the component transform and of the 5-3 wavelet, of COD (15444-1 A.6.1)."""
    for _ in range(MAX_BOXES):
        marker = int.from_bytes(data[position : position + 2], "big")
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xFF52 and position + 14 <= len(data):
            return min(data[position + 9], 32), data[position + 8] == 1, data[position + 13] == 1
        if marker in (0xFF90, 0) or length < 2:
            break
        position += 2 + length
    raise NotRenderable("the JPEG 2000 codestream has no coding style")


def read_jpeg_xl(data: bytes | memoryview) -> Codestream:
    """Read the size header and the image metadata of a JPEG XL codestream, bare or in its container.

    Raises:
        NotRenderable: no such codestream, or one with an animation, a preview, extra channels or float samples.
    """
    start = 0
    if bytes(data[:12]) == _JXL_SIGNATURE:
        try:
            start = _box(data, b"jxlc")
        except NotRenderable:
            start = _box(data, b"jxlp") + 4
    if bytes(data[start : start + 2]) != b"\xff\x0a":
        raise NotRenderable("the frame is no JPEG XL codestream")
    bits = _Bits(bytes(data[start + 2 : start + 66]))
    rows, columns = _jxl_size(bits)
    if bits.take(1):  # all default: 8 bits, RGB in XYB
        return Codestream(rows, columns, 3, 8, colour="RGB")
    if bits.take(1):  # extra fields
        bits.take(3)
        if bits.take(1):
            _jxl_size(bits)
        if bits.take(1) or bits.take(1):
            raise NotRenderable("the JPEG XL codestream has a preview or an animation")
    if bits.take(1):
        raise NotRenderable("the JPEG XL codestream has float samples")
    precision = (8, 10, 12, None)[bits.take(2)] or 1 + bits.take(6)
    bits.take(1)
    if bits.take(2):
        raise NotRenderable("the JPEG XL codestream has extra channels")
    transformed = bool(bits.take(1))
    samples = 3
    if not bits.take(1):
        bits.take(1)
        samples = 1 if bits.choose((0, 0), (0, 1), (4, 2), (6, 18)) == 1 else 3
    return Codestream(rows, columns, samples, precision, colour="RGB" if transformed and samples == 3 else None)


def _jxl_size(bits: _Bits) -> tuple[int, int]:
    """SizeHeader: rows and columns (18181-1 D.2)."""
    small = bits.take(1)

    def side() -> int:
        return 8 * (1 + bits.take(5)) if small else bits.choose((9, 1), (13, 1), (18, 1), (30, 1))

    rows = side()
    ratio = bits.take(3)
    if not ratio:
        return rows, side()
    across, down = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return rows, rows * across // down


class _Bits:
    """Bits of a JPEG XL header, lowest first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise NotRenderable("the JPEG XL image header is truncated")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return value

    def choose(self, *ways: tuple[int, int]) -> int:
        """U32: two bits choose how many bits follow and what to add (18181-1 B.2.2)."""
        count, offset = ways[self.take(2)]
        return self.take(count) + offset


def _box(data: bytes | memoryview, kind: bytes) -> int:
    """Offset of the content of the first box of this kind (15444-1 I.4)."""
    position = 0
    for _ in range(MAX_BOXES):
        size = int.from_bytes(data[position : position + 4], "big")
        content = position + 8
        if size == 1:
            size = int.from_bytes(data[content : content + 8], "big")
            content += 8
        if bytes(data[position + 4 : position + 8]) == kind:
            return content
        if size < 8 or position + size >= len(data):
            break
        position += size
    raise NotRenderable("the frame's file format holds no codestream")
