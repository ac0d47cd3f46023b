"""Codestreams are decoded in a process of their own: what they hold was written by nobody knows whom.

The libraries that read JPEG and its kin are in C and C++, and a damaged codestream has made each of them crash, hang or
ask for more memory than there is. Deflated and uncompressed frames stay here: `zlib` is told where to stop, and native
pixels are numbers in an array whose size was checked.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy

from gateway import isolated
from gateway.dicom import codecs
from gateway.dicom.codecs import Decoded
from gateway.dicom.description import MAX_CODESTREAM_BYTES, PixelDescription, PixelKind
from gateway.errors import NotRenderable
from gateway.isolated import Facts, Work

_HERE = frozenset({codecs.DEFLATED_FRAMES, codecs.ENCAPSULATED_UNCOMPRESSED})
_WIDEST = 8
"""Bytes of the widest sample that a decoder gives."""


def decode(data: bytes, description: PixelDescription, syntax_uid: str, *, halvings: int = 0) -> Decoded | bytes:
    """As `codecs.decode`; raises Unavailable, too, where no decoder is free."""
    if syntax_uid in _HERE or syntax_uid not in codecs.DECODED or not data:
        return codecs.decode(data, description, syntax_uid, halvings=halvings)
    return ask(decode_here, data, description, syntax_uid, halvings)


def ask(work: Work, data: bytes, description: PixelDescription, syntax_uid: str, halvings: int) -> Decoded:
    """Let a child decode: `work` is `decode_here`, or another function that takes and gives what that one does."""
    if len(data) > MAX_CODESTREAM_BYTES:
        raise NotRenderable("the compressed frame is too long")
    facts = {
        "description": asdict(description) | {"kind": description.kind.value},
        "syntax": syntax_uid,
        "halvings": halvings,
    }
    cells = description.rows * description.columns * description.samples_per_pixel
    answer, samples = isolated.call(work, data, facts, cells * _WIDEST)
    return _decoded(answer, samples, description)


def _decoded(answer: Facts, samples: memoryview, description: PixelDescription) -> Decoded:
    """The child's answer, believed as far as it can be true."""
    try:
        shape = tuple(int(side) for side in answer["shape"])
        kind = numpy.dtype(str(answer["dtype"]))
        bits, signed, photometric = int(answer["bits"]), bool(answer["signed"]), str(answer["photometric"])
        if kind.kind not in "iu" or not 1 <= bits <= 64 or min(shape) < 1:
            raise ValueError
        if len(shape) != (2 if description.samples_per_pixel == 1 else 3):
            raise ValueError
        pixels = numpy.frombuffer(samples, kind).reshape(shape)
    except (KeyError, TypeError, ValueError) as error:
        raise NotRenderable("its decoder gave no picture") from error
    return Decoded(pixels, bits, signed, photometric)


def decode_here(data: memoryview, facts: Facts) -> tuple[Facts, Any]:
    """The work of a child."""
    return described(codecs.decode(bytes(data), *asked(facts), halvings=int(facts["halvings"])))


def asked(facts: Facts) -> tuple[PixelDescription, str]:
    """What a child is asked for: the description and the transfer syntax."""
    given = dict(facts["description"])
    given["kind"] = PixelKind(given["kind"])
    return PixelDescription(**given), str(facts["syntax"])


def described(decoded: Decoded | bytes) -> tuple[Facts, Any]:
    """What a child answers."""
    assert isinstance(decoded, Decoded)
    samples = numpy.ascontiguousarray(decoded.samples)
    facts = {
        "shape": samples.shape,
        "dtype": samples.dtype.str,
        "bits": decoded.bits,
        "signed": decoded.signed,
        "photometric": decoded.photometric_interpretation,
    }
    return facts, samples
