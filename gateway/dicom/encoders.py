"""Which transfer syntaxes an instance's pixels can be written in, and how: the table.

| transfer syntax | | pixels |
| --- | --- | --- |
| ...1.98, 8.1 | uncompressed, or deflated, frame by frame | all integer pixels, single bits too |
| ...5 | RLE | 8, 16, 32 bits |
| ...4.50 | JPEG baseline, quality 90 | 8 bits, unsigned; colour becomes YBR_FULL_422 |
| ...4.51 | JPEG extended, quality 90 | 12 bits, unsigned, grey |
| ...4.57, 4.70 | JPEG lossless, selection value 1 | up to 16 bits; not YBR |
| ...4.80, 4.81 | JPEG-LS, and with samples at most 2 off | up to 16 bits |
| ...4.90, 4.91 | JPEG 2000, and lossy: 50 dB (65 dB beyond 8 bits) | up to 16 bits; RGB becomes YBR_RCT or YBR_ICT |
| ...4.201, 202, 203 | HTJ2K, RPCL, and lossy: steps of 2**-10 of the range | as JPEG 2000 |
| ...4.110 | JPEG XL lossless | up to 16 bits, unsigned; not YBR, not PALETTE COLOR |

Nothing lossy for PALETTE COLOR, whose values are names and not amounts. Photometric interpretations: PS3.5 8.2.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

from gateway.dicom import compress
from gateway.dicom.codecs import DECODED, DEFLATED_FRAMES, ENCAPSULATED_UNCOMPRESSED, JPEG, JPEG_2000, JPEG_XL, RLE
from gateway.dicom.codecs import HTJ2K as HTJ2K_SYNTAXES
from gateway.dicom.description import PixelDescription, PixelKind
from gateway.dicom.pixels import DecodedFrame
from gateway.dicom.uids import DEFLATED_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN, SYNTAXES
from gateway.errors import NotAcceptable

VERSION = " ".join(
    ["1", *(f"{name}-{version(name)}" for name in ("imagecodecs", "pyjpegls")), f"zlib-{zlib.ZLIB_RUNTIME_VERSION}"]
)
"""Raised, by hand or by a library, when the same instance may be encoded to other bytes than before."""

MAX_VALUE = 0xFFFFFFFE
"""Longest value of a defined length, in bytes (PS3.5 7.1.2)."""

_GREY = {"MONOCHROME1": "MONOCHROME1", "MONOCHROME2": "MONOCHROME2"}
_INDEX = {"PALETTE COLOR": "PALETTE COLOR"}
_RGB = {"RGB": "RGB"}
_YBR = {"YBR_FULL": "YBR_FULL"}
_ONE_SAMPLE = _GREY | _INDEX
_SUBSAMPLED = {"RGB": "YBR_FULL_422", "YBR_FULL": "YBR_FULL_422"}
_REVERSIBLE = {"RGB": "YBR_RCT", **_YBR}
_IRREVERSIBLE = {"RGB": "YBR_ICT", **_YBR}
_UP_TO_16 = {8: range(1, 9), 16: range(1, 17)}
_ANY = {cell: range(1, cell + 1) for cell in (1, 8, 16, 32, 64)}


@dataclass(frozen=True, slots=True)
class Encoder:
    """How frames of a transfer syntax are written, and of which pixels.

    `cells` are the Bits Allocated it takes and the Bits Stored in each, `signed` whether two's complement too.
    `photometric` maps the interpretation of the samples it takes to that of what it writes; None: any, and the same.
    `method` is the Lossy Image Compression Method (0028,2114), None for what loses nothing.
    """

    uid: str
    write: Callable[[DecodedFrame, PixelDescription], bytes]
    cells: Mapping[int, range] = field(default_factory=lambda: _UP_TO_16)
    signed: bool = True
    photometric: Mapping[str, str] | None = None
    method: str | None = None

    def takes(self, description: PixelDescription, photometric: str) -> bool:
        """Whether frames like these, whose samples have this interpretation once decoded, can be written."""
        return (
            description.kind is PixelKind.INTEGER
            and description.bits_stored in self.cells.get(description.bits_allocated, ())
            and (self.signed or not description.signed)
            and (self.photometric is None or photometric in self.photometric)
            and (self.photometric is None or (description.samples_per_pixel == 1) == (photometric in _ONE_SAMPLE))
        )

    def written_as(self, photometric: str) -> str:
        """The Photometric Interpretation of what `write` makes of samples with this one."""
        return photometric if self.photometric is None else self.photometric[photometric]


_JPEG = "1.2.840.10008.1.2.4."

ENCODERS: dict[str, Encoder] = {
    encoder.uid: encoder
    for encoder in (
        Encoder(_JPEG + "201", compress.htj2k, photometric=_ONE_SAMPLE | _REVERSIBLE),
        Encoder(_JPEG + "202", compress.htj2k_rpcl, photometric=_ONE_SAMPLE | _REVERSIBLE),
        Encoder(_JPEG + "90", compress.jpeg_2000, photometric=_ONE_SAMPLE | _REVERSIBLE),
        Encoder(_JPEG + "80", compress.jpeg_ls_lossless, photometric=_ONE_SAMPLE | _RGB | _YBR),
        Encoder(_JPEG + "70", compress.jpeg_lossless, photometric=_ONE_SAMPLE | _RGB),
        Encoder(_JPEG + "57", compress.jpeg_lossless, photometric=_ONE_SAMPLE | _RGB),
        Encoder(RLE, compress.rle, cells={cell: _ANY[cell] for cell in (8, 16, 32)}),
        Encoder(_JPEG + "110", compress.jpeg_xl, signed=False, photometric=_GREY | _RGB),
        Encoder(DEFLATED_FRAMES, compress.deflated, cells=_ANY),
        Encoder(ENCAPSULATED_UNCOMPRESSED, compress.native, cells=_ANY),
        Encoder(
            _JPEG + "50",
            compress.jpeg,
            cells={8: range(8, 9)},
            signed=False,
            photometric=_GREY | _SUBSAMPLED,
            method="ISO_10918_1",
        ),
        Encoder(
            _JPEG + "51",
            compress.jpeg,
            cells={16: range(12, 13)},
            signed=False,
            photometric=_GREY,
            method="ISO_10918_1",
        ),
        Encoder(
            _JPEG + "81",
            compress.jpeg_ls_near,
            cells={8: range(8, 9), 16: range(9, 17)},  # with less, samples could pass the end of Bits Stored
            photometric=_GREY | _RGB | _YBR,
            method="ISO_14495_1",
        ),
        Encoder(_JPEG + "91", compress.jpeg_2000_lossy, photometric=_GREY | _IRREVERSIBLE, method="ISO_15444_1"),
        Encoder(_JPEG + "203", compress.htj2k_lossy, photometric=_GREY | _IRREVERSIBLE, method="ISO_15444_15"),
    )
}
"""Encoders by transfer syntax, those that lose nothing first."""


def available(description: PixelDescription | None, stored_syntax: str) -> tuple[str, ...]:
    """The transfer syntaxes that an instance can be had in: the stored one, then the others, lossless before lossy.

    `description` is None for an instance without pixel data. Implicit VR Little Endian, which is not for the web
    (PS3.18 8.7.3), is left out unless stored; it can be made wherever Explicit VR Little Endian can. What is listed can
    still fail on a frame that is damaged.
    """
    facts = SYNTAXES.get(stored_syntax)
    if facts is None or facts.video or stored_syntax in _BY_REFERENCE:
        return (stored_syntax,)
    if facts.encapsulated and description is not None and stored_syntax not in DECODED:
        return (stored_syntax,)
    found = [stored_syntax]
    if description is None or _native_length(description, facts.encapsulated) <= MAX_VALUE:
        found += [EXPLICIT_LITTLE_ENDIAN, DEFLATED_LITTLE_ENDIAN]
    if description is not None:
        photometric = _once_decoded(description, stored_syntax)
        found += [uid for uid, encoder in ENCODERS.items() if encoder.takes(description, photometric)]
    return tuple(dict.fromkeys(found))


def _native_length(description: PixelDescription, decoded: bool) -> int:
    """Length of native Pixel Data, in bytes, padding included; 4:2:2 that is decoded becomes 4:4:4."""
    bits = description.frame_bits
    if decoded and description.subsampled:
        bits = bits // 2 * 3
    length = -(-bits * description.number_of_frames // 8)
    return length + length % 2


_BY_REFERENCE = frozenset(f"{_JPEG}{number}" for number in (94, 95, 204, 205))
"""JPIP: the pixels are elsewhere."""


def _once_decoded(description: PixelDescription, stored_syntax: str) -> str:
    """The Photometric Interpretation that decoded samples will have (`pixels.decode_frame`)."""
    photometric = description.photometric_interpretation
    transformed = photometric in ("YBR_ICT", "YBR_RCT") and stored_syntax in JPEG_2000 | HTJ2K_SYNTAXES
    jpeg = stored_syntax in JPEG - _JPEG_LS or (stored_syntax in JPEG_XL and photometric != "YBR_FULL")
    if description.samples_per_pixel == 3 and (transformed or jpeg):
        return "RGB"
    return normal(photometric)


_JPEG_LS = {_JPEG + "80", _JPEG + "81"}


def normal(photometric: str) -> str:
    """The interpretation of whole samples: 4:2:2 is undone wherever a frame is decoded."""
    return photometric.removesuffix("_422")


def encode_frame(frame: DecodedFrame, description: PixelDescription, syntax_uid: str) -> tuple[bytes, str]:
    """One frame in an encapsulated transfer syntax, without padding, and its Photometric Interpretation.

    `frame` is what `pixels.decode_frame` gave for `description`. Raises NotAcceptable where the table has no encoder
    for such pixels, or the encoder cannot do it.
    """
    photometric = normal(frame.photometric_interpretation)
    encoder = ENCODERS.get(syntax_uid)
    if encoder is None or not encoder.takes(description, photometric):
        raise NotAcceptable(f"these pixels cannot be had in transfer syntax {syntax_uid}")
    if photometric != frame.photometric_interpretation:
        frame = DecodedFrame(frame.pixels, photometric)
    try:
        return encoder.write(frame, description), encoder.written_as(photometric)
    except (ValueError, RuntimeError, MemoryError) as error:  # imagecodecs' own errors are RuntimeErrors
        raise NotAcceptable(f"a frame cannot be encoded in transfer syntax {syntax_uid}") from error
