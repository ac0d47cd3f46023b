"""Rendering what is stored: one ranged read for the header, one for the frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from gateway import retrieve
from gateway.caller import Caller
from gateway.errors import NotFound, NotRenderable
from gateway.render import View, render, thumbnail
from gateway.store import receive, store
from storage import Archive, open_archive
from storage.records import Located
from tests.gateway.render.pictures import array_of, rendered
from tests.parts.datasets import ct_slice, multi_frame, part10_bytes, report
from tests.parts.files import readable_files

CALLER = Caller("test", "web")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    opened = open_archive(f"file://{tmp_path}/objects", f"sqlite:///{tmp_path}/index.db", tmp_path / "spool")
    yield opened
    opened.close()


def keep(archive: Archive, data: bytes) -> Located:
    with receive(archive, max_bytes=1 << 30) as incoming:
        incoming.write(data)
        stored = store(archive, incoming, CALLER)
    return retrieve.find(archive, CALLER, stored.study_uid, stored.series_uid, stored.sop_uid)[0]


def kept(archive: Archive, ds: Dataset, transfer_syntax: str = "1.2.840.10008.1.2.1") -> Located:
    return keep(archive, part10_bytes(ds, transfer_syntax))


def test_a_stored_frame_is_rendered(archive: Archive) -> None:
    located = kept(archive, ct_slice())
    picture = render(archive, located, 1, View(), "image/png")
    assert np.array_equal(array_of(picture), rendered(ct_slice()))
    assert picture.window == "40,400,linear; source=image"


@pytest.mark.parametrize("transfer_syntax", ["1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"])
def test_the_transfer_syntax_does_not_show(archive: Archive, transfer_syntax: str) -> None:
    located = kept(archive, multi_frame(frames=3), transfer_syntax)
    for frame in (1, 2, 3):
        picture = render(archive, located, frame, View(), "image/png")
        assert np.array_equal(array_of(picture), rendered(multi_frame(frames=3), frame=frame))


def test_a_frame_beyond_the_last_is_not_found(archive: Archive) -> None:
    located = kept(archive, multi_frame(frames=3))
    for frame in (0, 4, -1):
        with pytest.raises(NotFound):
            render(archive, located, frame, View())


def test_a_report_has_no_picture(archive: Archive) -> None:
    """IMG-22"""
    located = kept(archive, report())
    with pytest.raises(NotRenderable):
        render(archive, located, 1, View())
    with pytest.raises(NotRenderable):
        thumbnail(archive, located, 1)


def test_a_thumbnail_of_a_stored_frame(archive: Archive) -> None:
    located = kept(archive, ct_slice(rows=512, columns=256))
    picture = thumbnail(archive, located, 1, (100, 100))
    assert (picture.width, picture.height, picture.media_type) == (50, 100, "image/jpeg")


def test_tables_too_long_for_a_header_are_loaded(archive: Archive) -> None:
    """IMG-04: 65,536 entries."""
    ds = ct_slice(PhotometricInterpretation="PALETTE COLOR", PixelRepresentation=0)
    table = (np.arange(65536, dtype=np.uint32) // 4 * 4 % 65536).astype("<u2").tobytes()
    for colour in ("Red", "Green", "Blue"):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [0, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", table)
    for transfer_syntax in ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"):
        ds.SOPInstanceUID = f"2.25.{transfer_syntax.replace('.', '')}"
        picture = render(archive, kept(archive, ds, transfer_syntax), 1, View(), "image/png")
        stored = np.frombuffer(ds.PixelData, "<u2").reshape(64, 64)
        assert np.array_equal(array_of(picture)[..., 0], stored // 4 * 4 >> 8)


def test_every_real_palette_image_is_rendered_from_the_store(archive: Archive) -> None:
    names = {"OBXXXX1A.dcm", "gdcm-US-ALOKA-16.dcm", "eCT_Supplemental.dcm"}
    found = [file for file in readable_files() if file.name in names]
    assert {file.name for file in found} == names
    for file in found:
        picture = render(archive, keep(archive, file.path.read_bytes()), 1, View(), "image/png")
        array = array_of(picture)
        assert array.ndim == 3 and array.std() > 10
