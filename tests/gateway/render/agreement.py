"""Which pictures agree with those of independent renderers, to how much, and why not where they do not.

As a script, `python -m tests.gateway.render.agreement`, it writes the table into docs/rendering.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

from pydicom import dcmread, dcmwrite
from pydicom.uid import SecondaryCaptureImageStorage

from gateway.dicom.uids import syntax
from tests.gateway.dicom.opened import Opened
from tests.parts.files import SampleFile, readable_files

RENDERERS = ("dcmtk", "GDCM", "pydicom")
LOSSLESS, LOSSY = 1, 2
"""Largest differences allowed, in grey levels or levels of a colour channel."""

DOCS = Path(__file__).parents[3] / "docs" / "rendering.md"
BEGIN, END = "<!-- agreement: made by tests -->\n", "<!-- /agreement -->\n"

NOT_SQUARE = {"6293", "6924", "color-pl.dcm", "color-px.dcm"}
"""Files whose pixels are not square: others show them as they are stored, so they are compared without the spacing."""

NO_PLAIN_GREY = {"rtdose", "liver"}
"""Beginnings of names of doses and segmentations: shown in colour, and compared as plain grey pixels."""


@dataclass(frozen=True)
class Exempt:
    """A difference that is larger than it should be (None: no picture to compare with), and whose it is."""

    largest: int | None
    reason: str


_GDCM_FRAMES = "GDCM refuses several frames of 16- and 32-bit colour, and of 32-bit grey"
_GDCM_RLE = "GDCM decodes RLE of 16- and 32-bit colour wrongly"
_WIDE = "dcmtk refuses 32-bit colour"
_SEGMENTED = "dcmtk does not know segmented palettes"
_WORDS = (
    "32-bit cells of a big endian file in OW: words of 16 bits are swapped, and not whole cells, as the file has it"
)
_BIG_PALETTE = "pydicom takes the palette of a big endian file for little endian"

EXEMPT: dict[tuple[str, str], Exempt] = {
    ("dcmtk", "SC_rgb_32bit.dcm"): Exempt(None, _WIDE),
    ("dcmtk", "SC_rgb_32bit_2frame.dcm"): Exempt(None, _WIDE),
    ("dcmtk", "SC_rgb_expb_32bit.dcm"): Exempt(None, _WIDE),
    ("dcmtk", "SC_rgb_expb_32bit_2frame.dcm"): Exempt(None, _WIDE),
    ("dcmtk", "SC_rgb_jpeg.dcm"): Exempt(None, "dcmtk cannot read its data set"),
    ("dcmtk", "SC_ybr_full_uncompressed.dcm"): Exempt(2, "dcmtk converts YBR_FULL in integers"),
    ("dcmtk", "gdcm-US-ALOKA-16.dcm"): Exempt(None, _SEGMENTED),
    ("dcmtk", "gdcm-US-ALOKA-16_big.dcm"): Exempt(None, _SEGMENTED),
    ("dcmtk", "eCT_Supplemental.dcm"): Exempt(None, "dcmtk does not know supplemental palettes"),
    ("dcmtk", "rtdose_expb.dcm"): Exempt(255, _WORDS),
    ("dcmtk", "rtdose_expb_1frame.dcm"): Exempt(255, _WORDS),
    ("GDCM", "rtdose_expb_1frame.dcm"): Exempt(255, _WORDS),
    ("GDCM", "rtdose_expb.dcm"): Exempt(None, _GDCM_FRAMES),
    ("GDCM", "rtdose_rle.dcm"): Exempt(None, _GDCM_FRAMES),
    ("GDCM", "SC_rgb_expb_16bit_2frame.dcm"): Exempt(None, _GDCM_FRAMES),
    ("GDCM", "SC_rgb_expb_32bit_2frame.dcm"): Exempt(None, _GDCM_FRAMES),
    ("GDCM", "SC_rgb_rle_16bit.dcm"): Exempt(255, _GDCM_RLE),
    ("GDCM", "SC_rgb_rle_32bit.dcm"): Exempt(255, _GDCM_RLE),
    ("GDCM", "SC_rgb_rle_16bit_2frame.dcm"): Exempt(None, _GDCM_FRAMES),
    ("GDCM", "SC_rgb_rle_32bit_2frame.dcm"): Exempt(None, _GDCM_FRAMES),
    ("pydicom", "OBXXXX1A_expb.dcm"): Exempt(255, _BIG_PALETTE),
    ("pydicom", "OBXXXX1A_expb_2frame.dcm"): Exempt(255, _BIG_PALETTE),
}

_NATIVE = frozenset(("1.2.840.10008.1.2", "1.2.840.10008.1.2.1"))
_JPEG_12_OR_LOSSLESS = frozenset(f"1.2.840.10008.1.2.4.{end}" for end in ("51", "57", "70"))
NO_DECODER: dict[str, tuple[frozenset[str], str]] = {
    "dcmtk": (frozenset(f"1.2.840.10008.1.2.4.{end}" for end in ("90", "91")), "JPEG 2000: dcmtk has no decoder"),
    "GDCM": (
        _NATIVE,
        "Native little endian: GDCM has nothing to decode, and it is pydicom's pipeline that is compared",
    ),
    "pydicom": (
        _JPEG_12_OR_LOSSLESS,
        "JPEG of 12 bits and lossless JPEG: pydicom has no decoder but one under the GPL, which is not installed",
    ),
}
"""Transfer syntaxes that a renderer has no decoder for, or nothing to decode."""

DAMAGED = "JPEG2000-embedded-sequence-delimiter.dcm"
"""Its frames are cut where a delimiter seems to stand in them; it has no picture."""


@cache
def with_frames() -> list[SampleFile]:
    """The files that hold pictures."""
    return [file for file in readable_files() if file.name != DAMAGED and frames_of(file)]


@cache
def frames_of(file: SampleFile) -> int:
    """How many frames it has."""
    table = Opened(file.path.read_bytes()).table
    return 0 if table is None else table.count


def comparable(file: SampleFile) -> bytes:
    """The file; without what others do not take into account."""
    data = file.path.read_bytes()
    plain = file.name.startswith(tuple(NO_PLAIN_GREY))
    if file.name not in NOT_SQUARE and not plain:
        return data
    ds = dcmread(BytesIO(data))
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        if keyword in ds:
            delattr(ds, keyword)
    if plain:
        ds.SOPClassUID = SecondaryCaptureImageStorage
    out = BytesIO()
    dcmwrite(out, ds)
    return out.getvalue()


def tolerance(file: SampleFile) -> int:
    """Largest difference that needs no reason."""
    return LOSSY if syntax(file.transfer_syntax_uid).lossy else LOSSLESS


def has_decoder(renderer: str, file: SampleFile) -> bool:
    """Can it decode the transfer syntax at all?"""
    return renderer not in NO_DECODER or file.transfer_syntax_uid not in NO_DECODER[renderer][0]


def table() -> str:
    """What docs/rendering.md says of it."""
    files = with_frames()
    lossy = sum(tolerance(file) == LOSSY for file in files)
    lines = [
        f"{len(files)} files of pydicom and pydicom-data hold pictures, {lossy} of them compressed with loss. "
        f"At most {LOSSLESS} level apart where nothing was lost, {LOSSY} where something was:",
        "",
        "| renderer | files compared | not decoded | exceptions |",
        "| --- | --- | --- | --- |",
    ]
    for renderer in RENDERERS:
        exempt = sum(name == renderer for name, _ in EXEMPT)
        without = sum(not has_decoder(renderer, file) for file in files)
        lines.append(f"| {renderer} | {len(files) - exempt - without} | {without} | {exempt} |")
    lines += ["", "| exception | renderer | largest difference | reason |", "| --- | --- | --- | --- |"]
    for (renderer, name), exempt_one in sorted(EXEMPT.items(), key=lambda item: (item[0][1].lower(), item[0][0])):
        largest = "no picture" if exempt_one.largest is None else exempt_one.largest
        lines.append(f"| {name} | {renderer} | {largest} | {exempt_one.reason} |")
    lines += [""] + [f"{reason} ({', '.join(sorted(uids))})." for uids, reason in NO_DECODER.values()]
    return "\n".join(lines) + "\n"


def documented() -> str:
    """The table as it stands in docs/rendering.md."""
    return DOCS.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    before, _, rest = DOCS.read_text("utf-8").partition(BEGIN)
    DOCS.write_text(before + BEGIN + table() + END + rest.partition(END)[2], "utf-8")
