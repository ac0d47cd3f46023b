"""Which library decodes which transfer syntax, and what comes out of it.

JPEG of all kinds, JPEG-LS, JPEG 2000, HTJ2K and JPEG XL: imagecodecs (libjpeg-turbo, CharLS, OpenJPEG, OpenJPH, libjxl;
BSD, IJG and similar licences). RLE (PS3.5 Annex G): imagecodecs' PackBits, which writes into a buffer of the size that
Rows and Columns ask for and stops there. Deflated Image Frame Compression: zlib, stopped at that size too. Straight
calls and not pydicom's decoders: no Dataset is needed, and the announcement of the codestream is checked first.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import imagecodecs
import numpy
from numpy.typing import NDArray

from gateway.dicom.codestream import Codestream, read_jpeg, read_jpeg_2000, read_jpeg_xl
from gateway.dicom.description import MAX_CODESTREAM_BYTES, PixelDescription
from gateway.errors import NotRenderable

Samples = NDArray[Any]

_ROOT = "1.2.840.10008.1.2."
RLE = _ROOT + "5"
DEFLATED_FRAMES = _ROOT + "8.1"
JPEG = frozenset(f"{_ROOT}4.{n}" for n in (*range(50, 67), 70, 80, 81))
JPEG_2000 = frozenset(f"{_ROOT}4.{n}" for n in (90, 91, 92, 93))
HTJ2K = frozenset(f"{_ROOT}4.{n}" for n in (201, 202, 203))
JPEG_XL = frozenset(f"{_ROOT}4.{n}" for n in (110, 111, 112))
ENCAPSULATED_UNCOMPRESSED = _ROOT + "1.98"
DECODED = frozenset({RLE, DEFLATED_FRAMES, ENCAPSULATED_UNCOMPRESSED}) | JPEG | JPEG_2000 | HTJ2K | JPEG_XL
"""Encapsulated transfer syntaxes that can be decoded. Video (MPEG-2, H.264, H.265) cannot."""

_LARGE = 1 << 20
_THREADS = min(4, os.cpu_count() or 1)
"""OpenJPEG takes up to a second for 2048 x 2048 pixels: so many threads share a frame of more than `_LARGE`."""

_END_OF_IMAGE = b"\xff\xd9"

_ERRORS = (ValueError, TypeError, RuntimeError, IndexError, NotImplementedError, MemoryError, zlib.error)
"""What the decoders raise for damaged input; imagecodecs' own errors are RuntimeErrors."""


_NEEDED = {
    "JPEG": "JPEG",
    "JPEG-LS": "JPEGLS",
    "JPEG 2000": "JPEG2K",
    "HTJ2K": "HTJ2K",
    "JPEG XL": "JPEGXL",
    "RLE": "PACKBITS",
}


def missing_codecs() -> list[str]:
    """Those that this installation of imagecodecs lacks."""
    return [name for name, part in _NEEDED.items() if not getattr(getattr(imagecodecs, part, None), "available", False)]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a decoder gave: `samples` shaped (rows, columns) or (rows, columns, 3) as it wrote them.

    `bits` is the codestream's precision, `signed` what it says of its own samples, `photometric_interpretation` that of
    the samples now: decoders undo YBR_ICT and YBR_RCT, and JPEG's YCbCr.
    """

    samples: Samples
    bits: int
    signed: bool
    photometric_interpretation: str


def decode(data: bytes, description: PixelDescription, syntax_uid: str, *, halvings: int = 0) -> Decoded | bytes:
    """Decode one encapsulated frame. Deflated and uncompressed ones come back as the native frame's bytes.

    `halvings` asks for 1/2**halvings of the size where the codec can do that cheaply (HTJ2K); others ignore it, so look
    at the shape.

    Raises:
        NotRenderable: no decoder, a codestream that does not agree with the description, or a damaged one.
    """
    if len(data) > MAX_CODESTREAM_BYTES:
        raise NotRenderable("the compressed frame is too long")
    if not data:
        raise NotRenderable("the frame is empty")
    try:
        if syntax_uid == RLE:
            return _rle(data, description)
        if syntax_uid == DEFLATED_FRAMES:
            return _inflate(data, description)
        if syntax_uid == ENCAPSULATED_UNCOMPRESSED:
            return bytes(data)
        if syntax_uid in JPEG:
            return _jpeg(data, description)
        if syntax_uid in JPEG_2000 or syntax_uid in HTJ2K:
            return _jpeg_2000(data, description, syntax_uid, halvings)
        if syntax_uid in JPEG_XL:
            return _jpeg_xl(data, description)
    except _ERRORS as error:
        raise NotRenderable(f"the frame cannot be decoded: {type(error).__name__}") from error
    raise NotRenderable(f"transfer syntax {syntax_uid} cannot be decoded")


def agree(stream: Codestream, description: PixelDescription) -> Codestream:
    """`stream`, unless it announces another picture than the header (S-32). Raises NotRenderable."""
    if (stream.rows, stream.columns) != (description.rows, description.columns):
        raise NotRenderable(
            f"the codestream has {stream.rows} x {stream.columns} pixels, the header "
            f"{description.rows} x {description.columns}"
        )
    if stream.samples != description.samples_per_pixel:
        raise NotRenderable("the codestream has another number of samples per pixel than the header")
    if not 1 <= stream.bits <= max(description.bits_allocated, 8):
        raise NotRenderable("the codestream has more bits per sample than Bits Allocated")
    return stream


def _as_described(samples: Samples, description: PixelDescription, halvings: int = 0) -> Samples:
    """Check what really came out: decoders have been wrong before."""
    shape: tuple[int, ...] = (-(-description.rows >> halvings), -(-description.columns >> halvings))
    if halvings:
        shape = samples.shape[:2]
    if description.samples_per_pixel != 1:
        shape = (*shape, description.samples_per_pixel)
    if samples.ndim == len(shape) + 1 and samples.shape[-1] == 1:
        samples = samples[..., 0]
    if samples.shape != shape or samples.dtype.kind not in "iu":
        raise NotRenderable("the decoder gave another shape than the header announces")
    return samples


def _jpeg(data: bytes, description: PixelDescription) -> Decoded:
    stream = agree(read_jpeg(data), description)
    photometric = description.photometric_interpretation
    if stream.jpeg_ls:
        # JPEG-LS has no colour transform but HP's own (APP8), which the decoder undoes.
        # CharLS spends seconds past the end of a stream that is cut off; an end marker stops it.
        samples = imagecodecs.jpegls_decode(data if data.endswith(_END_OF_IMAGE) else data + _END_OF_IMAGE)
    elif stream.samples == 1:
        samples = imagecodecs.jpeg8_decode(data)
    else:
        # Told what it has and what to give, the decoder guesses nothing. Where neither an Adobe nor a JFIF marker
        # speaks, the header decides (IMG-14).
        colour = stream.colour or ("YBR" if photometric.startswith("YBR") else "RGB")
        space = "YCbCr" if colour == "YBR" else "RGB"
        samples = imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace="RGB")
        photometric = "RGB"
    return Decoded(_as_described(samples, description), stream.bits, stream.signed, photometric)


def _jpeg_2000(data: bytes, description: PixelDescription, syntax_uid: str, halvings: int) -> Decoded:
    stream = agree(read_jpeg_2000(data), description)
    photometric = description.photometric_interpretation
    if photometric in ("YBR_ICT", "YBR_RCT"):
        photometric = "RGB"  # the component transform is undone; without one the samples never were anything else
    # OpenJPH's binding lets what goes past the ends of the range wrap, which lossy frames do: white would turn black.
    ours = syntax_uid in HTJ2K and stream.reversible
    halvings = max(0, min(halvings, stream.levels)) if ours else 0
    samples = _htj2k(data, halvings) if ours else None
    if samples is None:
        halvings = 0
        threads = _THREADS if description.rows * description.columns > _LARGE else 1
        samples = imagecodecs.jpeg2k_decode(data, numthreads=threads)
    return Decoded(_as_described(samples, description, halvings), stream.bits, stream.signed, photometric)


def _htj2k(data: bytes, halvings: int) -> Samples | None:
    """OpenJPH's picture; None where it may have given up half-way.

    The binding loses the library's errors once decoding has begun and leaves what was not reached at 0. So where the
    last row is all 0, OpenJPEG has to decode the frame again: that takes two to four times as long, and does report.
    """
    samples: Samples = imagecodecs.htj2k_decode(data, planar=False, skipres=halvings or None)
    return samples if samples.size and bool(samples[-1].any()) else None


def _jpeg_xl(data: bytes, description: PixelDescription) -> Decoded:
    stream = agree(read_jpeg_xl(data), description)
    samples = imagecodecs.jpegxl_decode(data, keeporientation=True)
    photometric = description.photometric_interpretation
    if stream.samples == 3 and (stream.colour == "RGB" or photometric != "YBR_FULL"):
        photometric = "RGB"  # XYB and the YCbCr of a recompressed JPEG come out as RGB
    return Decoded(_as_described(samples, description), stream.bits, False, photometric)


def _rle(data: bytes, description: PixelDescription) -> Decoded:
    """RLE: one segment for each byte of each sample, the highest byte first (PS3.5 G.2)."""
    if description.bits_allocated == 1:
        raise NotRenderable("RLE of 1-bit pixels is not supported")
    width = description.bits_allocated // 8
    pixels = description.rows * description.columns
    wanted = description.samples_per_pixel * width
    if len(data) < 64:
        raise NotRenderable("the RLE header is truncated")
    header = [int(value) for value in numpy.frombuffer(data, "<u4", 16)]
    if header[0] != wanted:
        raise NotRenderable(f"{header[0]} RLE segments, {wanted} expected")
    edges = [*header[1 : 1 + wanted], len(data)]
    if edges[0] < 64 or any(after <= before for before, after in pairwise(edges)):
        raise NotRenderable("the RLE segment offsets are wrong")
    # Planes of bytes, lowest byte first within a sample.
    planes = numpy.empty((description.samples_per_pixel, width, pixels), numpy.uint8)
    for segment in range(wanted):
        sample, place = divmod(segment, width)
        _packbits(data[edges[segment] : edges[segment + 1]], memoryview(planes[sample, width - 1 - place]))
    cells = numpy.ascontiguousarray(planes.transpose(2, 0, 1)).view(f"<u{width}")
    shape = (description.rows, description.columns, description.samples_per_pixel)
    samples = cells.reshape(shape if description.samples_per_pixel > 1 else shape[:2])
    return Decoded(samples, description.bits_allocated, False, description.photometric_interpretation)


def _packbits(segment: bytes, out: memoryview) -> None:
    """Decode one RLE segment into `out`, no further; what is left over must be padding."""
    try:
        written = len(imagecodecs.packbits_decode(segment, out=out))
    except RuntimeError:  # imagecodecs' errors are none but that
        # Padding after the last run may look like a run that no longer fits, or like a literal without its bytes.
        # The buffer is full then: decode once more, cut where it fills.
        written = len(imagecodecs.packbits_decode(segment[: _packbits_end(segment, len(out))], out=out))
    if written != len(out):
        raise NotRenderable("an RLE segment is too short")


def _packbits_end(segment: bytes, size: int) -> int:
    """Where the segment's runs have made `size` bytes (PS3.5 G.3.2)."""
    position = made = 0
    while made < size and position < len(segment):
        control = segment[position]
        if control < 128:
            made += control + 1
            position += control + 2
        else:
            made += 0 if control == 128 else 257 - control
            position += 1 if control == 128 else 2
    if made != size or position > len(segment) or len(segment) - position > 2:
        raise NotRenderable("an RLE segment does not fit Rows and Columns")
    return position


def _inflate(data: bytes, description: PixelDescription) -> bytes:
    """Deflated Image Frame Compression (PS3.5 A.4.13): the native frame, deflated, byte-aligned."""
    size = -(-description.frame_bits // 8)
    native = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size)
    if len(native) < size:
        raise NotRenderable("the deflated frame is too short")
    return native
