"""Every picture in pydicom's and pydicom-data's sets, compared with those of independent renderers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.errors import NotRenderable
from gateway.render import View, draw
from tests.gateway.dicom.opened import Opened
from tests.gateway.render import agreement, reference
from tests.gateway.render.agreement import (
    DAMAGED,
    EXEMPT,
    RENDERERS,
    comparable,
    frames_of,
    has_decoder,
    tolerance,
    with_frames,
)
from tests.gateway.render.pictures import array_of
from tests.parts.files import SampleFile, readable_files

FLAT = {"17136", "17166", "17196", *(f"SC_jpeg_no_color_transform{n}.dcm" for n in ("", "_2"))}
"""Files whose pictures are of one shade, or nearly: everything lies above the window."""


def theirs(renderer: str, data: bytes, syntax_uid: str, window: str, folder: Path) -> np.ndarray:
    """The picture of another renderer. Raises Refused."""
    if renderer == "dcmtk":
        copy = folder / "copy.dcm"
        copy.write_bytes(data)
        return reference.dcmtk(copy, syntax_uid, window)
    return reference.gdcm(data, window) if renderer == "GDCM" else reference.pydicom(data, window)


@pytest.mark.parametrize("file", with_frames(), ids=lambda file: file.name)
def test_pictures_are_those_of_others(file: SampleFile, tmp_path: Path) -> None:
    """IMG-01 to IMG-08, IMG-11 to IMG-18: the first frame, with the window that our picture says it has.

    What is exempt has to differ as much as it is said to: an exception that is none any more fails.
    """
    data = comparable(file)
    one = Opened(data)
    picture = draw(one.header, one.frame(), 1, View(), "image/png")
    ours = array_of(picture).astype(int)
    assert ours.max() - ours.min() > 10 or file.name in FLAT
    for renderer in RENDERERS:
        if not has_decoder(renderer, file):
            continue
        exempt = EXEMPT.get((renderer, file.name))
        try:
            found = np.asarray(theirs(renderer, data, one.syntax_uid, picture.window, tmp_path), int)
        except reference.Refused as refused:
            assert exempt is not None and exempt.largest is None, f"{renderer}: {refused}"
            continue
        if exempt is not None and exempt.largest is None:
            assert found.shape != ours.shape, f"{renderer} is exempt, and could be compared"
            continue
        assert found.shape == ours.shape, renderer
        largest = int(np.abs(ours - found).max())
        if exempt is None:
            assert largest <= tolerance(file), f"{renderer}: {largest}"
        else:
            assert tolerance(file) < largest <= (exempt.largest or 0), f"{renderer}: {largest}"


@pytest.mark.parametrize("file", [file for file in with_frames() if frames_of(file) > 1], ids=lambda file: file.name)
def test_the_last_frame_of_many_has_a_picture(file: SampleFile) -> None:
    """IMG-18, as pydicom shows it where it can."""
    data = comparable(file)
    one = Opened(data)
    last = frames_of(file)
    picture = draw(one.header, one.frame(last), last, View(), "image/png")
    found = array_of(picture).astype(int)
    assert found.max() - found.min() > 10 or file.name in FLAT
    if has_decoder("pydicom", file) and ("pydicom", file.name) not in EXEMPT:
        other = np.asarray(reference.pydicom(data, picture.window, last), int)
        assert np.abs(found - other).max() <= tolerance(file)


def test_a_damaged_file_has_no_picture() -> None:
    """S-32: it announces 14 million tiles."""
    (file,) = [file for file in readable_files() if file.name == DAMAGED]
    one = Opened(file.path.read_bytes())
    with pytest.raises(NotRenderable):
        draw(one.header, one.frame(), 1, View(), "image/jpeg")


def test_the_table_of_exceptions_is_documented() -> None:
    """`python -m tests.gateway.render.agreement` writes it."""
    assert agreement.documented() == agreement.table()
