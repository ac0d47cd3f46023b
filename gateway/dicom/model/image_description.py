"""Image Pixel Description of bulk pixel data that came without it (PS3.18 10.5.2; PS3.3 C.7.6.3).

What the metadata say stays, and is only checked; what they leave out is taken from the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.dicom.codestream import Codestream
from gateway.dicom.model import Model, ModelElement, number, text
from gateway.dicom.model.values import encode
from gateway.errors import ClassMismatch, NotUnderstood

SAMPLES, PHOTOMETRIC, PLANAR, NUMBER_OF_FRAMES = 0x00280002, 0x00280004, 0x00280006, 0x00280008
ROWS, COLUMNS = 0x00280010, 0x00280011
BITS_ALLOCATED, BITS_STORED, HIGH_BIT, REPRESENTATION = 0x00280100, 0x00280101, 0x00280102, 0x00280103


@dataclass(frozen=True, slots=True)
class Described:
    """What a picture says of itself. `photometric_interpretation` is a defined term of PS3.3 C.7.6.3.1.2.

    `bits` are those of a sample. `bits_allocated` is None where the samples are compressed and lie in no cells.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    photometric_interpretation: str
    signed: bool = False
    bits_allocated: int | None = None


def of_codestream(stream: Codestream, syntax_uid: str) -> Described:
    """What a frame of this transfer syntax says. Raises NotUnderstood for samples that DICOM cannot describe."""
    if stream.samples not in (1, 3):
        raise NotUnderstood(f"the picture has {stream.samples} samples per pixel, not 1 or 3", SAMPLES)
    photometric = (
        "MONOCHROME2" if stream.samples == 1 else _colour(stream, syntax_uid.removeprefix("1.2.840.10008.1.2."))
    )
    return Described(stream.rows, stream.columns, stream.samples, stream.bits, photometric, stream.signed)


def _colour(stream: Codestream, syntax: str) -> str:
    """Photometric Interpretation of three samples, as PS3.5 8.2 wants it for the syntax."""
    if syntax in ("4.50", "4.51", "4.55"):  # without any marker decoders take three samples for YCbCr
        return "RGB" if stream.colour == "RGB" else "YBR_FULL_422"
    if syntax == "4.111":
        return "YBR_FULL_422"
    if syntax == "4.112":
        return "XYB" if stream.colour == "RGB" else "RGB"
    if stream.colour == "RGB" and syntax in ("4.90", "4.92", "4.201", "4.202"):
        return "YBR_RCT"
    if stream.colour == "RGB" and syntax in ("4.91", "4.93", "4.203"):
        return "YBR_ICT"
    return "RGB"


def complete(model: Model, found: Described) -> None:
    """Add the attributes of the Image Pixel Description Macro that `model` lacks.

    Raises ClassMismatch where it has Rows, Columns or Samples per Pixel, or Bits Allocated of native pixels, that are
    not the picture's, or cells too small for its samples.
    """
    facts = [(ROWS, found.rows), (COLUMNS, found.columns), (SAMPLES, found.samples)]
    if found.bits_allocated is not None:
        facts.append((BITS_ALLOCATED, found.bits_allocated))
    for tag, value in facts:
        if _absent(model, tag):
            set_number(model, tag, value)
        elif number(model, tag) != value:
            raise ClassMismatch("the pixel data are not what the metadata say", tag)
    if _absent(model, PHOTOMETRIC):
        model[PHOTOMETRIC] = ModelElement("CS", found.photometric_interpretation.encode())
    if _absent(model, BITS_STORED):
        set_number(model, BITS_STORED, found.bits)
    stored = number(model, BITS_STORED) or found.bits
    if _absent(model, BITS_ALLOCATED):
        set_number(model, BITS_ALLOCATED, 8 if stored <= 8 else 16 if stored <= 16 else 32)
    elif (number(model, BITS_ALLOCATED) or 0) < found.bits:
        raise ClassMismatch("the pixel data have more bits than the metadata say", BITS_ALLOCATED)
    if _absent(model, HIGH_BIT):
        set_number(model, HIGH_BIT, stored - 1)
    if _absent(model, REPRESENTATION):
        set_number(model, REPRESENTATION, int(found.signed))
    if found.samples > 1 and _absent(model, PLANAR):
        set_number(model, PLANAR, 0)


def check_frames(model: Model, count: int) -> None:
    """Number of Frames, added where there are several and it is missing. Raises ClassMismatch where it is another."""
    if _absent(model, NUMBER_OF_FRAMES):
        if count > 1:
            model[NUMBER_OF_FRAMES] = ModelElement("IS", str(count).encode())
    elif number(model, NUMBER_OF_FRAMES) != count:
        raise ClassMismatch(f"the request holds {count} frames, not as many as the metadata say", NUMBER_OF_FRAMES)


def require(model: Model) -> None:
    """Raises NotUnderstood where attributes are missing that this picture's format does not tell."""
    for tag in (ROWS, COLUMNS, SAMPLES, PHOTOMETRIC, BITS_ALLOCATED, BITS_STORED, HIGH_BIT, REPRESENTATION):
        if _absent(model, tag):
            raise NotUnderstood("an attribute is missing that cannot be read from pixel data of this format", tag)


def set_number(model: Model, tag: int, value: int) -> None:
    """An element of US."""
    model[tag] = ModelElement("US", encode(tag, "US", [value]))


def _absent(model: Model, tag: int) -> bool:
    return text(model, tag) is None and number(model, tag) is None
