"""One frame's bytes to its stored values (PS3.3 C.7.6.3, PS3.5 8.1).

Stored values are the integers that the Modality LUT takes: the Bits Stored bits that end at High Bit, sign-extended
where Pixel Representation says so; whatever else lies in the cell (overlays of old) is cut off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from gateway.dicom import codecs, decoding
from gateway.dicom.description import PixelDescription, PixelKind
from gateway.dicom.uids import syntax
from gateway.errors import NotRenderable

__all__ = ["DecodedFrame", "PixelDescription", "PixelKind", "decode_frame", "decoded_values", "frame_to_native"]


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One frame's stored values.

    `pixels` is shaped (rows, columns) or (rows, columns, 3), of a signed, unsigned or float type as wide as its cells;
    1-bit pixels are 0 and 1 in bytes. It may be read-only. `photometric_interpretation` is that of `pixels`: what a
    decoder has transformed (YBR_RCT, YBR_ICT, JPEG's YCbCr) is RGB by now, 4:2:2 has become YBR_FULL or YBR_PARTIAL.
    """

    pixels: NDArray[Any]
    photometric_interpretation: str


def decode_frame(
    data: bytes | memoryview, description: PixelDescription, syntax_uid: str, *, halvings: int = 0
) -> DecodedFrame:
    """Decode one frame: a codestream, or a native frame in little endian that starts on a byte.

    `halvings` asks for 1/2**halvings of the size, where the codec can do that for less than the whole (else it is
    ignored).

    Raises:
        NotRenderable: the frame is too short, damaged, or does not agree with the description; or no decoder for it.
        Unavailable: all decoders are busy.
    """
    if syntax_uid in codecs.DECODED:
        decoded = decoding.decode(bytes(data), description, syntax_uid, halvings=halvings)
        if isinstance(decoded, codecs.Decoded):
            return decoded_values(decoded, description, syntax_uid)
        data = decoded
    elif syntax(syntax_uid).encapsulated:
        raise NotRenderable(f"transfer syntax {syntax_uid} cannot be decoded")
    return _native(data, description)


def _native(data: bytes | memoryview, description: PixelDescription) -> DecodedFrame:
    rows, columns, samples = description.rows, description.columns, description.samples_per_pixel
    photometric = description.photometric_interpretation
    if len(data) < -(-description.frame_bits // 8):
        raise NotRenderable("the frame has too few bytes")
    if description.kind is not PixelKind.INTEGER:
        width = 4 if description.kind is PixelKind.FLOAT else 8
        return DecodedFrame(numpy.frombuffer(data, f"<f{width}", rows * columns).reshape(rows, columns), photometric)
    if description.bits_allocated == 1:
        packed = numpy.frombuffer(data, numpy.uint8, -(-rows * columns // 8))
        bits = numpy.unpackbits(packed, count=rows * columns, bitorder="little").reshape(rows, columns)
        return DecodedFrame(-bits.view(numpy.int8) if description.signed else bits, photometric)
    cell = f"<u{description.bits_allocated // 8}"
    full = rows * columns * samples
    pixels: NDArray[Any]
    if description.subsampled and len(data) < full * description.bits_allocated // 8:
        pixels = _upsample(numpy.frombuffer(data, cell, rows * columns * 2), description)
        photometric = photometric.removesuffix("_422")
    else:
        pixels = numpy.frombuffer(data, cell, full)
        if samples == 1:
            pixels = pixels.reshape(rows, columns)
        elif description.planar_configuration == 1:
            pixels = numpy.ascontiguousarray(pixels.reshape(samples, rows, columns).transpose(1, 2, 0))
        else:
            pixels = pixels.reshape(rows, columns, samples)
    return DecodedFrame(_stored_values(pixels, description), photometric)


def _upsample(cells: NDArray[Any], description: PixelDescription) -> NDArray[Any]:
    """4:2:2, Y1 Y2 Cb Cr for two pixels of a row, to 4:4:4 (PS3.3 C.7.6.3.1.2)."""
    if description.columns % 2:
        raise NotRenderable("4:2:2 pixel data needs an even number of Columns")
    pairs = cells.reshape(description.rows, description.columns // 2, 4)
    pixels = numpy.empty((description.rows, description.columns, 3), cells.dtype)
    pixels[:, 0::2, 0] = pairs[..., 0]
    pixels[:, 1::2, 0] = pairs[..., 1]
    pixels[:, 0::2, 1:] = pairs[..., 2:]
    pixels[:, 1::2, 1:] = pairs[..., 2:]
    return pixels


def _stored_values(cells: NDArray[Any], description: PixelDescription) -> NDArray[Any]:
    """Cut the stored bits out of unsigned cells and extend their sign."""
    allocated, stored, high = description.bits_allocated, description.bits_stored, description.high_bit
    values: NDArray[Any] = cells
    if description.signed:
        signed = cells.dtype.str.replace("u", "i")
        if stored == allocated or (high + 1 == stored and _lies_within(cells.view(signed), -1 << (stored - 1), stored)):
            return cells.view(signed)
        # To the top, which drops what lies above, and back with the sign, which drops what lies below.
        values = (cells << cells.dtype.type(allocated - 1 - high)).view(signed)
        values >>= values.dtype.type(allocated - stored)
    elif stored < allocated and not (high + 1 == stored and _lies_within(cells, 0, stored + 1)):
        values = cells >> cells.dtype.type(high + 1 - stored) if high + 1 > stored else cells
        values = values & cells.dtype.type((1 << stored) - 1)
    return values


def _lies_within(values: NDArray[Any], low: int, bits: int) -> bool:
    """Are all at least `low` and below 2**(bits - 1)? They mostly are: then there is nothing to cut out, and looking
    costs a tenth of cutting."""
    return bool(values.max() < 1 << (bits - 1) and (values.dtype.kind == "u" or values.min() >= low))


def decoded_values(decoded: codecs.Decoded, description: PixelDescription, syntax_uid: str) -> DecodedFrame:
    """What a codec gave, as stored values of the described cell.

    Codestreams are often wrong about the sign (JPEG cannot express one) and may have more precision than Bits Stored:
    then the cell as a whole was compressed and is cut as a native one. Fewer bits than Bits Stored: the sign bit is the
    codestream's top one.
    """
    samples = decoded.samples
    allocated, stored, signed = description.bits_allocated, description.bits_stored, description.signed
    cell = numpy.dtype(f"<{'i' if signed else 'u'}{max(8, allocated) // 8}")
    unsigned = f"<u{cell.itemsize}"
    values: NDArray[Any]
    if decoded.bits > stored and decoded.signed == signed and syntax(syntax_uid).lossy:
        low = -(1 << (stored - 1)) if signed else 0  # ringing goes past the top: cut, white would turn black
        values = numpy.clip(samples, low, low + (1 << stored) - 1).astype(cell)
    elif decoded.bits > stored:
        values = _stored_values(samples.astype(unsigned), description)
    elif decoded.signed == signed:
        values = samples.astype(cell, copy=False)
    elif signed:
        shift = cell.itemsize * 8 - decoded.bits
        values = (samples.astype(unsigned) << shift).view(cell) >> shift
    else:  # a signed codestream of unsigned values: the same bits
        values = (samples.astype(numpy.int64) & ((1 << stored) - 1)).astype(cell)
    return DecodedFrame(values, decoded.photometric_interpretation)


def frame_to_native(data: bytes, description: PixelDescription, syntax_uid: str) -> tuple[bytes, str]:
    """One frame as Explicit VR Little Endian has it, colour by pixel, and its Photometric Interpretation.

    Frames of 1-bit pixels start on a byte. `data` as for `decode_frame`, which also says what is raised.
    """
    if syntax_uid not in codecs.DECODED and not syntax(syntax_uid).encapsulated:
        return bytes(data), description.photometric_interpretation
    frame = decode_frame(data, description, syntax_uid)
    if description.bits_allocated == 1:
        return numpy.packbits(frame.pixels != 0, bitorder="little").tobytes(), frame.photometric_interpretation
    pixels = numpy.ascontiguousarray(frame.pixels)
    return pixels.tobytes(), frame.photometric_interpretation
