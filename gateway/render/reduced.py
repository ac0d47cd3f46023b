"""Frames decoded at a fraction of their size, for thumbnails."""

from __future__ import annotations

import io
from typing import Any

import numpy
from PIL import Image

from gateway.dicom import codecs, decoding
from gateway.dicom.codestream import Codestream, read_jpeg_2000
from gateway.dicom.description import PixelDescription
from gateway.dicom.pixels import DecodedFrame, decode_frame, decoded_values
from gateway.isolated import Facts

_BARE_CODESTREAM = b"\xff\x4f\xff\x51"


def decode_reduced(
    data: bytes | memoryview, description: PixelDescription, syntax_uid: str, halvings: int
) -> DecodedFrame:
    """Decode a frame at about 1/2**halvings of its size, or larger where the codec cannot do that for less.

    HTJ2K: by its own decoder. JPEG 2000: by Pillow, whose binding of OpenJPEG can leave out resolution levels.

    Raises:
        NotRenderable, Unavailable: as `decode_frame`.
    """
    if halvings > 0 and syntax_uid in codecs.JPEG_2000 and data[:4] == _BARE_CODESTREAM:
        decoded = decoding.ask(reduce_here, bytes(data), description, syntax_uid, halvings)
        return decoded_values(decoded, description, syntax_uid)
    return decode_frame(data, description, syntax_uid, halvings=halvings)


def reduce_here(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    """The work of a child: by Pillow at the size it can do, else as always."""
    description, _ = decoding.asked(facts)
    stream = codecs.agree(read_jpeg_2000(data), description)
    for fewer in range(min(int(facts["halvings"]), stream.levels), 0, -1):
        decoded = _decode(data, description, stream, fewer)
        if decoded is not None:
            return decoding.described(decoded)
    return decoding.decode_here(data, facts)


def _decode(
    data: memoryview, description: PixelDescription, stream: Codestream, halvings: int
) -> codecs.Decoded | None:
    """None where Pillow has no mode for it, or gives up: as it does from 1/4 on when the size is no multiple of 4."""
    image = Image.open(io.BytesIO(data), formats=("JPEG2000",))
    image.reduce = halvings  # type: ignore[method-assign, assignment]
    try:
        image.load()
    except OSError:
        return None
    samples = numpy.asarray(image)
    if stream.samples == 3:
        if image.mode != "RGB" or stream.bits != 8 or stream.signed:
            return None
    elif (image.mode, samples.dtype.itemsize) not in (("L", 1), ("I;16", 2)):
        return None
    else:
        # Pillow moves samples up to fill 8 or 16 bits, and signed ones above zero.
        samples = samples >> (8 * samples.dtype.itemsize - stream.bits)
        if stream.signed:
            samples = samples.astype(numpy.int32) - (1 << (stream.bits - 1))
    photometric = description.photometric_interpretation
    if photometric in ("YBR_ICT", "YBR_RCT"):
        photometric = "RGB"
    return codecs.Decoded(samples, stream.bits, stream.signed, photometric)
