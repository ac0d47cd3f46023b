"""The data sets that tests are made of are what they claim to be."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from tests.parts import datasets
from tests.parts.files import REFUSED, UNREADABLE, candidates, dataset_bytes, read, readable_files, refused_files, waves
from tests.parts.machine import need

BUILDERS: tuple[Callable[[], Dataset], ...] = (
    datasets.ct_slice,
    datasets.mr_slice,
    datasets.enhanced_mr,
    datasets.multi_frame,
    datasets.color,
    datasets.segmentation,
    datasets.report,
    datasets.pdf,
)
SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_built_file_is_read_by_dcmtk_without_a_word(
    build: Callable[[], Dataset], syntax: str, tmp_path: Path
) -> None:
    path = tmp_path / "built.dcm"
    path.write_bytes(datasets.part10_bytes(build(), syntax))
    done = subprocess.run([need("dcmdump", "dcmtk"), "-M", path], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("build", BUILDERS)
def test_a_built_file_is_the_same_every_time(build: Callable[[], Dataset]) -> None:
    assert datasets.part10_bytes(build()) == datasets.part10_bytes(build())


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless]
)
@pytest.mark.parametrize("build", [datasets.ct_slice, datasets.mr_slice, datasets.enhanced_mr, datasets.color])
def test_every_encoding_holds_the_same_pixels(build: Callable[[], Dataset], syntax: str) -> None:
    plain = dcmread(BytesIO(datasets.part10_bytes(build()))).pixel_array
    other = dcmread(BytesIO(datasets.part10_bytes(build(), syntax)))
    assert other.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(plain, other.pixel_array)


def test_a_segmentation_unpacks_to_its_bits() -> None:
    ds = dcmread(BytesIO(datasets.part10_bytes(datasets.segmentation(frames=3, rows=5, columns=7))))
    frames = np.stack([datasets.phantom(5, 7, frame) > 1000 for frame in (1, 2, 3)])
    assert np.array_equal(ds.pixel_array, frames)


@pytest.mark.parametrize(("table", "fragments"), [("basic", 1), ("basic", 2), ("empty", 1), ("extended", 1)])
def test_encapsulated_frames_come_out_as_they_went_in(table: str, fragments: int) -> None:
    frames = [bytes([n]) * (20 + 2 * n) for n in range(1, 4)]
    ds = datasets.encapsulated(datasets.multi_frame(frames=3), frames, table=table, fragments=fragments)
    back = dcmread(BytesIO(datasets.part10_bytes(ds, JPEG2000Lossless)))
    extended = (back.ExtendedOffsetTable, back.ExtendedOffsetTableLengths) if table == "extended" else None
    found = list(generate_frames(back.PixelData, number_of_frames=3, extended_offsets=extended))
    assert found == frames


def test_names_and_numbers_decide_the_uids() -> None:
    one, same = datasets.ct_slice("a", 1, 1), datasets.ct_slice("a", 1, 1)
    next_slice, next_series, other = (
        datasets.ct_slice("a", 1, 2),
        datasets.ct_slice("a", 2, 1),
        datasets.ct_slice("b", 1, 1),
    )
    assert one.SOPInstanceUID == same.SOPInstanceUID
    assert one.SeriesInstanceUID == next_slice.SeriesInstanceUID != next_series.SeriesInstanceUID
    assert one.StudyInstanceUID == next_series.StudyInstanceUID != other.StudyInstanceUID
    assert len({ds.SOPInstanceUID for ds in (one, next_slice, next_series, other)}) == 4


def test_elements_are_set_and_taken_away_by_keyword() -> None:
    ds = datasets.ct_slice(PatientName="Doe^Jane", Modality=None)
    assert ds.PatientName == "Doe^Jane"
    assert "Modality" not in ds


def test_a_large_file_has_the_frames_it_claims(tmp_path: Path) -> None:
    head = datasets.large_file(tmp_path / "large.dcm", 1_000_000, rows=128, columns=128)
    ds = dcmread(tmp_path / "large.dcm")
    assert head.NumberOfFrames == ds.NumberOfFrames == 31
    assert len(ds.PixelData) == 31 * 128 * 128 * 2
    assert [int(frame[0, 0]) for frame in ds.pixel_array] == list(range(1, 32))


def test_the_data_set_of_a_file_is_all_after_its_file_meta() -> None:
    file = datasets.part10_bytes(datasets.report())
    assert dataset_bytes(file).startswith(b"\x08\x00\x05\x00CS")
    assert file.endswith(dataset_bytes(file))


def test_every_real_file_is_either_offered_or_named_with_a_reason() -> None:
    offered = {file.path for file in (*readable_files(), *refused_files())}
    left_out = {path.name for path in candidates() if path not in offered}
    assert left_out == UNREADABLE.keys()
    assert {file.name for file in refused_files()} == REFUSED.keys()
    assert len(readable_files()) >= 223


def test_a_wave_holds_no_instance_twice_and_all_of_them_every_file() -> None:
    lists = waves(readable_files())
    assert all(len({file.sop_uid for file in wave}) == len(wave) for wave in lists)
    assert sorted(file.path for wave in lists for file in wave) == sorted(file.path for file in readable_files())


def test_a_file_without_uids_is_not_offered() -> None:
    assert all(read(path) is None for path in candidates() if path.name in UNREADABLE)
