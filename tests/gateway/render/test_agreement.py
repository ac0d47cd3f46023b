"""Pictures compared with those of an independent renderer: dcmtk's dcmj2pnm and dcml2pnm, given the same window."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gateway.errors import NotRenderable
from gateway.render import View, draw
from tests.gateway.dicom.opened import Opened
from tests.gateway.render.pictures import array_of
from tests.parts.files import SampleFile, readable_files

WORD_ORDER = "32-bit cells in OW of a big endian file: dcmtk swaps 16-bit words, GDCM and pydicom whole cells, as here"
SQUARE = "pixels that are not square: dcmtk shows them as they are stored"
HEAT = "RT Dose is a heat map here, grey at dcmtk's"
EXCEPTIONS = {
    **{f"rtdose{form}{frames}.dcm": HEAT for form in ("", "_rle") for frames in ("", "_1frame")},
    "rtdose_expb.dcm": WORD_ORDER,
    "rtdose_expb_1frame.dcm": WORD_ORDER,
    "6293": SQUARE,
    "6924": SQUARE,
    "color-pl.dcm": SQUARE,
    "color-px.dcm": SQUARE,
    "eCT_Supplemental.dcm": "dcmtk does not know supplemental palettes",
    "gdcm-US-ALOKA-16.dcm": "dcmtk does not know segmented palettes",
    "gdcm-US-ALOKA-16_big.dcm": "dcmtk does not know segmented palettes",
    "SC_rgb_32bit.dcm": "dcmtk refuses 32-bit colour",
    "SC_rgb_32bit_2frame.dcm": "dcmtk refuses 32-bit colour",
    "SC_rgb_expb_32bit.dcm": "dcmtk refuses 32-bit colour",
    "SC_rgb_expb_32bit_2frame.dcm": "dcmtk refuses 32-bit colour",
    "SC_rgb_jpeg.dcm": "dcmtk cannot read its data set",
}
"""Files of which the pictures differ, or have no counterpart: why, by name."""

ROUNDED_TWICE = {"SC_ybr_full_uncompressed.dcm": 2}
"""Largest difference allowed where it is not 1: dcmtk converts YBR_FULL in integers."""

FLAT = {"17136", "17166", "17196", *(f"SC_jpeg_no_color_transform{n}.dcm" for n in ("", "_2"))}
"""Files whose pictures are of one shade, or nearly: everything lies above the window."""

NOT_IN_DCMTK = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")


@cache
def with_frames() -> list[SampleFile]:
    return [file for file in readable_files() if Opened(file.path.read_bytes()).table is not None]


def compared_files() -> list[SampleFile]:
    return [
        file for file in with_frames() if file.transfer_syntax_uid not in NOT_IN_DCMTK and file.name not in EXCEPTIONS
    ]


def options(window: str) -> list[str]:
    """dcmj2pnm's options for the window that a picture says it has."""
    if not window:
        return []
    if window.startswith("lut"):
        return ["+Wl", "1"]
    center, width, function = window.partition(";")[0].split(",")
    assert function in ("linear", "sigmoid")
    return ["+Ww", center, width, "+Wfs" if function == "sigmoid" else "+Wfl"]


@pytest.mark.skipif(shutil.which("dcmj2pnm") is None, reason="dcmtk is not installed")
@pytest.mark.parametrize("file", compared_files(), ids=lambda file: file.name)
def test_pictures_are_those_of_dcmtk(file: SampleFile, tmp_path: Path) -> None:
    """IMG-01 to IMG-14: at most 1 grey level apart, rounding aside nothing."""
    one = Opened(file.path.read_bytes())
    picture = draw(one.header, one.frame(), 1, View(), "image/png")
    mask = file.name.startswith("liver")  # a segmentation: its mask is the opacity of its colour
    window = "1,2,linear" if mask else picture.window
    tool = "dcml2pnm" if file.transfer_syntax_uid.endswith((".4.80", ".4.81")) else "dcmj2pnm"
    target = tmp_path / "dcmtk.png"
    subprocess.run(
        [tool, "-q", *options(window), "--write-png", str(file.path), str(target)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    with Image.open(target) as image:
        theirs = np.asarray(image).astype(int)
    ours = array_of(picture).astype(int)
    if mask:
        ours = ours[..., 3]
    assert ours.shape == theirs.shape
    difference = np.abs(ours - theirs)
    assert difference.max() <= ROUNDED_TWICE.get(file.name, 1)


@pytest.mark.parametrize("file", with_frames(), ids=lambda file: file.name)
def test_every_file_with_frames_has_a_picture(file: SampleFile) -> None:
    one = Opened(file.path.read_bytes())
    assert one.table is not None
    if file.name == "JPEG2000-embedded-sequence-delimiter.dcm":
        with pytest.raises(NotRenderable):
            draw(one.header, one.frame(), 1, View(), "image/jpeg")
        return
    last = one.table.count
    found = array_of(draw(one.header, one.frame(last), last, View(), "image/jpeg"))
    assert found.max() - found.min() > 10 or file.name in FLAT
