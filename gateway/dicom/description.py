"""What the Image Pixel module says of an instance's pixel data (PS3.3 C.7.6.3), checked before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from gateway.errors import NotRenderable

if TYPE_CHECKING:
    from gateway.dicom.header import Header

MAX_FRAME_BYTES = 512 * 1024 * 1024
"""Largest frame, decoded, in bytes. A mammogram of 4096 x 5625 has 46 MB."""

MAX_CODESTREAM_BYTES = MAX_FRAME_BYTES
"""Longest compressed frame, in bytes."""


class PixelKind(Enum):
    """Which element holds the pixels; the value is its element number in group 7FE0 (PS3.3 C.7.6.24, C.7.6.25)."""

    INTEGER = 0x0010
    FLOAT = 0x0008
    DOUBLE = 0x0009


@dataclass(frozen=True, slots=True)
class PixelDescription:
    """One frame's shape and encoding, validated: whoever holds one may compute sizes from it.

    Numbers are those of PS3.3 C.7.6.3.1: `rows` and `columns` 1..65535, `samples_per_pixel` 1 or 3, `bits_allocated`
    1, 8, 16, 32 or 64, `bits_stored` at most that, `high_bit` the 0-based position of the top stored bit,
    `pixel_representation` 1 for two's complement, `planar_configuration` 1 for native planes after each other.
    """

    rows: int
    columns: int
    samples_per_pixel: int = 1
    photometric_interpretation: str = "MONOCHROME2"
    bits_allocated: int = 16
    bits_stored: int = 16
    high_bit: int = 15
    pixel_representation: int = 0
    planar_configuration: int = 0
    number_of_frames: int = 1
    kind: PixelKind = PixelKind.INTEGER

    def __post_init__(self) -> None:
        """Check what sizes and shifts are computed from.

        Raises:
            NotRenderable: a value that the standard forbids or that nothing can be decoded with (S-33).
        """
        if not (1 <= self.rows <= 0xFFFF and 1 <= self.columns <= 0xFFFF):
            raise NotRenderable("Rows and Columns must be 1 to 65535")
        if self.samples_per_pixel not in (1, 3):
            raise NotRenderable("Samples per Pixel must be 1 or 3")
        if self.number_of_frames < 1:
            raise NotRenderable("Number of Frames must be at least 1")
        if self.kind is PixelKind.INTEGER:
            self._check_bits()
        elif self.samples_per_pixel != 1:
            raise NotRenderable("float pixel data has one sample per pixel")
        if self.frame_bytes > MAX_FRAME_BYTES:
            raise NotRenderable(f"a frame of {self.frame_bytes} bytes is larger than the limit of {MAX_FRAME_BYTES}")

    def _check_bits(self) -> None:
        if self.bits_allocated not in (1, 8, 16, 32, 64):
            raise NotRenderable("Bits Allocated must be 1, 8, 16, 32 or 64")
        if not 1 <= self.bits_stored <= self.bits_allocated:
            raise NotRenderable("Bits Stored must be 1 to Bits Allocated")
        if not self.bits_stored - 1 <= self.high_bit < self.bits_allocated:
            raise NotRenderable("High Bit does not agree with Bits Stored and Bits Allocated")
        if self.pixel_representation not in (0, 1):
            raise NotRenderable("Pixel Representation must be 0 or 1")
        if self.planar_configuration not in (0, 1):
            raise NotRenderable("Planar Configuration must be 0 or 1")
        if self.bits_allocated == 1 and self.samples_per_pixel != 1:
            raise NotRenderable("Bits Allocated 1 needs one sample per pixel")

    @classmethod
    def from_header(cls, header: Header) -> PixelDescription:
        """Read the description from a header. Absent values that have one sensible meaning get it.

        Raises:
            NotRenderable: there is no pixel data, no Rows or Columns, or a value that is wrong.
        """
        if header.pixel is None:
            raise NotRenderable("the instance has no pixel data")
        try:
            kind = PixelKind(header.pixel.tag & 0xFFFF)
        except ValueError:
            raise NotRenderable("the instance has no pixel data") from None
        rows, columns = header.number(0x00280010), header.number(0x00280011)
        if rows is None or columns is None:
            raise NotRenderable("the instance has no Rows or Columns")
        samples = _number(header, 0x00280002, 1)
        allocated = {PixelKind.FLOAT: 32, PixelKind.DOUBLE: 64}.get(kind)
        if allocated is None:
            allocated = _number(header, 0x00280100, 16)
        stored = _number(header, 0x00280101, allocated)
        photometric = header.text(0x00280004) or ("MONOCHROME2" if samples == 1 else "RGB")
        return cls(
            rows=rows,
            columns=columns,
            samples_per_pixel=samples,
            photometric_interpretation=photometric.strip().upper(),
            bits_allocated=allocated,
            bits_stored=stored,
            high_bit=_number(header, 0x00280102, stored - 1),
            pixel_representation=_number(header, 0x00280103, 0),
            planar_configuration=_number(header, 0x00280006, 0) if samples > 1 else 0,
            number_of_frames=_number(header, 0x00280008, 1),
            kind=kind,
        )

    @property
    def signed(self) -> bool:
        """Whether stored values are two's complement."""
        return self.pixel_representation == 1

    @property
    def subsampled(self) -> bool:
        """Whether native frames hold chroma once for two pixels: 4:2:2 (PS3.3 C.7.6.3.1.2)."""
        return self.samples_per_pixel == 3 and self.photometric_interpretation in ("YBR_FULL_422", "YBR_PARTIAL_422")

    @property
    def frame_bits(self) -> int:
        """Length of one native frame, in bits (a 1-bit frame need not end on a byte). 4:2:2 counts two samples."""
        return self.rows * self.columns * (2 if self.subsampled else self.samples_per_pixel) * self.bits_allocated

    @property
    def frame_bytes(self) -> int:
        """Length of one decoded frame, in bytes: all samples, one cell each, 1-bit pixels in a byte each."""
        return self.rows * self.columns * self.samples_per_pixel * max(1, self.bits_allocated // 8)


def _number(header: Header, tag: int, default: int) -> int:
    value = header.number(tag)
    return default if value is None else value
