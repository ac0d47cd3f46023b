"""Stored values to codestreams: which library writes what, and with which parameters.

JPEG of all kinds (libjpeg-turbo), JPEG 2000 (OpenJPEG), HTJ2K (OpenJPH), JPEG XL (libjxl) and RLE (PackBits) come from
imagecodecs, JPEG-LS (CharLS) from pyjpegls or imagecodecs. A codestream's precision is Bits Stored wherever the library
lets one say so. Formats without a sign get the two's complement bits of signed values, as PS3.5 8.2 has it: readers
extend the sign from Bits Stored.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Any

import imagecodecs
import jpeg_ls
import numpy
from numpy.typing import NDArray

from gateway.dicom.description import PixelDescription
from gateway.dicom.pixels import DecodedFrame

Samples = NDArray[Any]

JPEG_QUALITY = 90
"""Of JPEG with a DCT, on libjpeg's scale of 1 to 100."""

NEAR = 2
"""Of near-lossless JPEG-LS: how far a sample may be off (ISO/IEC 14495-1 4.2)."""

PSNR_8, PSNR_16 = 50, 65
"""Of lossy JPEG 2000, in dB: what its rate control aims at, up to 8 bits and above."""

STEP_BITS = 10
"""Of lossy HTJ2K: the quantiser's step is 2**-10 of the range, but not below one grey level."""

_LOWEST_RESOLUTION = 64
_LEVELS = 5
DEFLATE_LEVEL = 1
"""Of zlib: a tenth of the time of its default, and pixels hardly get longer."""
_JPEG_XL_EFFORT = 3
_LARGE = 1 << 20
_THREADS = min(os.cpu_count() or 1, 4)
_PRECISION_OF_FIRST = 42


def native(frame: DecodedFrame, description: PixelDescription) -> bytes:
    """Native cells, little endian, colour by pixel; single bits packed from the first byte's lowest on."""
    if description.bits_allocated == 1:
        return numpy.packbits(frame.pixels != 0, bitorder="little").tobytes()
    return frame.pixels.astype(frame.pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def deflated(frame: DecodedFrame, description: PixelDescription) -> bytes:
    """The native frame, deflated (PS3.5 A.4.13)."""
    machine = zlib.compressobj(DEFLATE_LEVEL, wbits=-zlib.MAX_WBITS)
    return machine.compress(native(frame, description)) + machine.flush()


def rle(frame: DecodedFrame, description: PixelDescription) -> bytes:
    """RLE: one segment for each byte of each sample, the highest byte first, each row by itself (PS3.5 G)."""
    rows, columns = frame.pixels.shape[:2]
    width = frame.pixels.dtype.itemsize
    cells = numpy.frombuffer(native(frame, description), numpy.uint8)
    planes = cells.reshape(rows, columns, description.samples_per_pixel, width)[..., ::-1].transpose(2, 3, 0, 1)
    segments = []
    for plane in numpy.ascontiguousarray(planes).reshape(-1, rows, columns):
        segment = bytes(imagecodecs.packbits_encode(plane))
        segments.append(segment + b"\0" * (len(segment) % 2))
    offsets, at = [], 64
    for segment in segments:
        offsets.append(at)
        at += len(segment)
    header = struct.pack("<16I", len(segments), *offsets, *([0] * (15 - len(segments))))
    return header + b"".join(segments)


def jpeg(frame: DecodedFrame, description: PixelDescription) -> bytes:
    """JPEG with a DCT, 8 or 12 bits; colour as YCbCr with half of the chroma samples across (4:2:2)."""
    if description.samples_per_pixel == 1:
        return bytes(imagecodecs.jpeg8_encode(frame.pixels, level=JPEG_QUALITY, bitspersample=description.bits_stored))
    space = "RGB" if frame.photometric_interpretation == "RGB" else "YCbCr"
    return bytes(
        imagecodecs.jpeg8_encode(
            frame.pixels, level=JPEG_QUALITY, colorspace=space, outcolorspace="YCbCr", subsampling="422"
        )
    )


def jpeg_lossless(frame: DecodedFrame, description: PixelDescription) -> bytes:
    """JPEG Lossless with selection value 1; RGB stays RGB, which an Adobe marker says."""
    bits = _precision(description)
    space = None if description.samples_per_pixel == 1 else "RGB"
    return bytes(
        imagecodecs.jpeg8_encode(
            _unsigned(frame.pixels, bits),
            lossless=True,
            predictor=1,
            bitspersample=bits,
            colorspace=space,
            outcolorspace=space,
        )
    )


def jpeg_ls_lossless(frame: DecodedFrame, description: PixelDescription) -> bytes:
    """JPEG-LS without loss, colour interleaved by sample."""
    return _jpeg_ls(frame.pixels, description, 0)


def jpeg_ls_near(frame: DecodedFrame, description: PixelDescription) -> bytes:
    """JPEG-LS, samples at most NEAR off; signed ones that near to an end of their range at most twice that.

    The decoder keeps within the unsigned range only. Values next to an end of the signed one are moved away from it
    first: over the end, white would turn black.
    """
    pixels = frame.pixels
    if description.signed:
        end = 1 << (description.bits_stored - 1)
        pixels = numpy.clip(pixels, min(NEAR - end, 0), max(end - 1 - NEAR, 0))
    return _jpeg_ls(pixels, description, NEAR)


def _jpeg_ls(pixels: Samples, description: PixelDescription, near: int) -> bytes:
    # Decoders in use (dcmtk 3.6) misread fewer than 8 bits.
    bits = 8 if description.bits_allocated == 8 else _precision(description)
    near = min(near, ((1 << bits) - 1) // 2)
    if bits not in (8, 16):
        samples = _unsigned(pixels, bits)
        interleave = 2 if description.samples_per_pixel == 3 else 0
        rows, columns = pixels.shape[:2]
        try:
            return bytes(
                jpeg_ls.encode_buffer(
                    samples.tobytes(), rows, columns, description.samples_per_pixel, bits, near, interleave
                )
            )
        except RuntimeError:  # a codestream longer than the pixels, of noise or a few pixels: it has no room for that
            bits, near = description.bits_allocated, 0
    return bytes(imagecodecs.jpegls_encode(_unsigned(pixels, bits), level=near))


def _precision(description: PixelDescription) -> int:
    """Bits Stored, or a little more: 2 is the least there is, and cells of 16 bits ask some decoders for 9."""
    return max(description.bits_stored, 2 if description.bits_allocated == 8 else 9)


def jpeg_2000(frame: DecodedFrame, description: PixelDescription) -> bytes:
    """JPEG 2000 with the reversible transforms."""
    return _jpeg_2000(frame, description, reversible=True, level=None)


def jpeg_2000_lossy(frame: DecodedFrame, description: PixelDescription) -> bytes:
    """JPEG 2000 with the irreversible transforms, at PSNR_8 or PSNR_16."""
    level = PSNR_8 if description.bits_stored <= 8 else PSNR_16
    return _jpeg_2000(frame, description, reversible=False, level=level)


def _jpeg_2000(frame: DecodedFrame, description: PixelDescription, *, reversible: bool, level: int | None) -> bytes:
    return bytes(
        imagecodecs.jpeg2k_encode(
            _narrowed(frame.pixels, description.bits_stored),
            level=level,
            reversible=reversible,
            codecformat="j2k",
            bitspersample=description.bits_stored,
            mct=frame.photometric_interpretation == "RGB",
            numthreads=_THREADS if frame.pixels.size > _LARGE else 1,
        )
    )


def htj2k(frame: DecodedFrame, description: PixelDescription) -> bytes:
    """HTJ2K with the reversible transforms."""
    return _htj2k(frame, description, reversible=True)


def htj2k_rpcl(frame: DecodedFrame, description: PixelDescription) -> bytes:
    """As `htj2k`, in RPCL order, a tile-part for each resolution with TLM, the smallest at most 64 x 64 (PS3.5 10.18).

    (OpenJPH always writes RPCL.)
    """
    size = max(frame.pixels.shape[:2])
    levels = _LEVELS
    while size > _LOWEST_RESOLUTION << levels:
        levels += 1
    return _htj2k(frame, description, reversible=True, resolutions=levels, tlm=True, tilepart=1)


def htj2k_lossy(frame: DecodedFrame, description: PixelDescription) -> bytes:
    """HTJ2K with the irreversible transforms, quantised by STEP_BITS."""
    return _htj2k(frame, description, reversible=False, level=2.0 ** -min(description.bits_stored, STEP_BITS))


def _htj2k(frame: DecodedFrame, description: PixelDescription, *, reversible: bool, **parameters: Any) -> bytes:
    """The binding knows the precisions 8 and 16 only; the image header (SIZ) is corrected to Bits Stored afterwards.

    The level shift of unsigned samples, which depends on the precision, is applied here, and the encoder is given
    signed ones. Reversible coding then is one of integers, whatever their range. Quantiser steps are relative to the
    range, so samples are scaled to the whole of it first: the decoder, told the smaller precision, scales them back.
    """
    bits = description.bits_stored
    kind = numpy.int8 if bits <= 8 else numpy.int16
    shift = 0 if description.signed else 1 << (bits - 1)
    scale = 0 if reversible else kind().itemsize * 8 - bits
    samples = ((frame.pixels.astype(numpy.int32) - shift) << scale).astype(kind)
    rgb = frame.photometric_interpretation == "RGB"
    data = bytearray(imagecodecs.htj2k_encode(samples, reversible=reversible, rgb=rgb, **parameters))
    for sample in range(description.samples_per_pixel):
        data[_PRECISION_OF_FIRST + 3 * sample] = (bits - 1) | (0x80 if description.signed else 0)
    return bytes(data)


def jpeg_xl(frame: DecodedFrame, description: PixelDescription) -> bytes:
    """JPEG XL without loss, a bare codestream."""
    bits = description.bits_stored
    samples = _narrowed(frame.pixels, bits)
    return bytes(
        imagecodecs.jpegxl_encode(
            samples, lossless=True, effort=_JPEG_XL_EFFORT, bitspersample=bits, usecontainer=False, numthreads=1
        )
    )


def _narrowed(pixels: Samples, bits: int) -> Samples:
    """The same values in the smallest cells that hold `bits` bits: 8 or 16."""
    return pixels.astype(f"{pixels.dtype.kind}{1 if bits <= 8 else 2}", copy=False)


def _unsigned(pixels: Samples, bits: int) -> Samples:
    """The low `bits` bits of each value."""
    narrow = _narrowed(pixels, bits)
    cells = numpy.ascontiguousarray(narrow).view(narrow.dtype.str.replace("i", "u"))
    return cells if bits == cells.dtype.itemsize * 8 else cells & cells.dtype.type((1 << bits) - 1)
