"""`gantry export`: what comes out is what was stored, in a folder, a zip archive, or on media that others can read."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest
from pydicom.fileset import FileSet

from tests.end_to_end.doors import Doors
from tests.end_to_end.test_damage import flip, stored_file
from tests.parts.command import gantry
from tests.parts.datasets import color, ct_slice, part10_bytes, report, series_of, uid
from tests.parts.files import dataset_bytes
from tests.parts.fix_gateway import StartGateway
from tests.parts.gateway import GatewayProcess
from tests.parts.machine import need

STUDY, OTHER = uid("study", "export"), uid("study", "other")


def fill(gateway: GatewayProcess) -> dict[str, bytes]:
    """Store some; the data sets by SOP Instance UID."""
    slices = [*series_of(3, "export"), report("export", series=2), color("other")]
    files = [part10_bytes(ds) for ds in slices]
    with Doors(gateway) as doors:
        assert doors.stow(*files).status == 200
    return {ds.SOPInstanceUID: dataset_bytes(file) for ds, file in zip(slices, files, strict=True)}


def directory(folder: Path) -> dict[str, Path]:
    """The files of media by SOP Instance UID, as pydicom reads their DICOMDIR."""
    fileset = FileSet(folder / "DICOMDIR")
    fileset._stage["t"].cleanup()  # which it leaves to the garbage collector
    return {str(one.SOPInstanceUID): Path(one.path) for one in fileset}


def names(folder: Path) -> set[str]:
    """All files below."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("running", [True, False])
def test_studies_come_out_as_they_went_in(start_gateway: StartGateway, tmp_path: Path, running: bool) -> None:
    """From a running gateway or its folder; one study, or all of them; nothing is overwritten."""
    gateway = start_gateway()
    sent = fill(gateway)
    if not running:
        assert gateway.stop() == 0
    data = ("--data", gateway.data)
    whole = gantry("export", "--all", "--to", tmp_path / "all.zip", *data)
    assert (whole.returncode, whole.stdout) == (0, "5 files written, 0 failed\n")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert archive.testzip() is None
        found = {Path(name).stem: dataset_bytes(archive.read(name)) for name in archive.namelist()}
    assert found == sent
    if running:
        one = gantry("export", STUDY, "--to", tmp_path / "one", *data)
        assert (one.returncode, one.stdout) == (0, "4 files written, 0 failed\n")
        files = list((tmp_path / "one").rglob("*.dcm"))
        assert {path.stem: dataset_bytes(path.read_bytes()) for path in files} == {
            sop: data for sop, data in sent.items() if sop != color("other").SOPInstanceUID
        }
        assert {path.parts[-3] for path in files} == {STUDY}
        again = gantry("export", STUDY, "--to", tmp_path / "one", *data)
        assert (again.returncode, "not an empty folder" in again.stderr) == (1, True)
        unknown = gantry("export", "1.2.3", "--to", tmp_path / "none", *data)
        assert (unknown.returncode, "no such study" in unknown.stderr) == (1, True)
        assert gantry("export", "--to", tmp_path / "nothing", *data).returncode == 2


def test_media_have_a_directory_that_others_read(start_gateway: StartGateway, tmp_path: Path) -> None:
    """PS3.10 8.6, PS3.3 F.3: pydicom and dcmtk find every file by the DICOMDIR; importing it changes nothing."""
    gateway = start_gateway()
    sent = fill(gateway)
    with Doors(gateway) as doors:  # values that a directory record must have, missing
        bare = ct_slice("bare", StudyID="", StudyDate="", PatientID="")
        assert doors.stow(part10_bytes(bare)).status in (200, 202)
    data = ("--data", gateway.data)
    assert gantry("export", "--all", "--dicomdir", "--to", tmp_path / "media", *data).stdout.startswith("6 files")
    folder = tmp_path / "media"
    assert all(part.isupper() or part.isdigit() for name in names(folder) for part in name.replace("/", ""))
    assert all(len(part) <= 8 for name in names(folder) for part in name.split("/"))
    listed = directory(folder)
    assert listed.keys() == {*sent, bare.SOPInstanceUID}
    for sop, data_set in sent.items():
        assert dataset_bytes(listed[sop].read_bytes()) == data_set
    dump = subprocess.run([need("dcmdump"), "+P", "0004,1430", folder / "DICOMDIR"], capture_output=True, text=True)
    assert dump.returncode == 0
    kinds = [line.split("[")[1].split("]")[0].strip() for line in dump.stdout.splitlines()]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "PATIENT": kinds.count("PATIENT"),
        "STUDY": 3,
        "SERIES": 4,
        "IMAGE": 5,
        "SR DOCUMENT": 1,
    }
    again = gantry("import", folder, *data)
    assert again.returncode == 0
    assert "0 refused" in again.stdout


def test_a_damaged_instance_is_not_exported(start_gateway: StartGateway, tmp_path: Path) -> None:
    """F-16: it is named, the others are written, and the command does not call it a success."""
    gateway = start_gateway()
    fill(gateway)
    bad = ct_slice("export", number=2).SOPInstanceUID
    flip(stored_file(gateway.data, bad), 2000)
    done = gantry("export", STUDY, "--to", tmp_path / "out", "--data", gateway.data)
    assert (done.returncode, done.stdout) == (1, "3 files written, 1 failed\n")
    assert f"failed {bad}" in done.stderr
    assert bad not in " ".join(names(tmp_path / "out"))
