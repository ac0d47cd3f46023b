"""Import: folders, DICOMDIR media, zip archives, and what is no image among them."""

from __future__ import annotations

import gc
import warnings
import zipfile
from pathlib import Path

import pytest
from pydicom.fileset import FileSet

from gateway.errors import NotUnderstood
from gateway.importer import Summary, candidates, import_files, into_archive
from storage.archive import Archive
from tests.gateway.stored import CALLER
from tests.parts.datasets import ct_slice, part10_bytes, series_of, write_all


def run(archive: Archive, *paths: Path) -> Summary:
    target = into_archive(archive, CALLER, max_bytes=1 << 30, accept_unknown_classes=True)
    return import_files(list(candidates(paths)), target)


def test_a_folder_is_walked_and_what_is_no_dicom_is_skipped(archive: Archive, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deep" / "er").mkdir(parents=True)
    write_all(folder / "deep" / "er", series_of(5))
    (folder / "README.txt").write_text("hello")
    (folder / "empty").touch()
    sizes: list[int] = []
    target = into_archive(archive, CALLER, max_bytes=1 << 30, accept_unknown_classes=True)
    summary = import_files(list(candidates([folder])), target, sizes.append)
    assert (dict(summary.outcomes), summary.skipped, summary.refused) == ({"stored": 5}, 2, [])
    assert len(sizes) == summary.files == 7
    again = run(archive, folder)
    assert dict(again.outcomes) == {"duplicate": 5}


def test_refused_files_are_listed_with_their_reason_and_stop_nothing(archive: Archive, tmp_path: Path) -> None:
    write_all(tmp_path, series_of(2))
    (tmp_path / "truncated.dcm").write_bytes(part10_bytes(ct_slice(number=3))[:-100])
    (tmp_path / "other.dcm").write_bytes(part10_bytes(ct_slice(number=1, PatientID="other")))
    summary = run(archive, *sorted(tmp_path.glob("*.dcm")))
    # two files hold one instance with other bytes: whichever comes second is refused
    assert summary.outcomes["stored"] == 2
    reasons = sorted(reason[-7:] for _, reason in summary.refused)
    assert reasons == ["(0111H)", "(C000H)"]


def test_zip_archives_are_read_without_unpacking(archive: Archive, tmp_path: Path) -> None:
    """S-76"""
    path = tmp_path / "images.ZIP"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archived:
        for number, ds in enumerate(series_of(3)):
            archived.writestr(f"../../evil/{number}", part10_bytes(ds))
        archived.writestr("note.txt", "hello")
        archived.writestr("folder/", "")
    before = {other for other in tmp_path.parent.rglob("evil*")}
    summary = run(archive, path)
    assert (dict(summary.outcomes), summary.skipped) == ({"stored": 3}, 1)
    assert {other for other in tmp_path.parent.rglob("evil*")} == before


def test_a_damaged_zip_entry_is_refused_by_name(archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as archived:
        archived.writestr("one.dcm", part10_bytes(ct_slice()))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    ((name, reason),) = run(archive, path).refused
    assert name.endswith("one.dcm")
    assert "read" in reason


def medium(folder: Path) -> Path:
    """A medium with a DICOMDIR and four instances."""
    files = FileSet()
    for ds in series_of(4):
        files.add(write_all(folder, [ds])[0])
    files.write(folder / "medium")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a FileSet has no way to close its temporary folder
        del files
        gc.collect()
    return folder / "medium"


def test_a_dicomdir_stands_for_the_files_it_lists(archive: Archive, tmp_path: Path) -> None:
    root = medium(tmp_path)
    (root / "unlisted.dcm").write_bytes(part10_bytes(ct_slice(number=99)))
    assert dict(run(archive, root / "DICOMDIR").outcomes) == {"stored": 4}
    assert dict(run(archive, root).outcomes) == {"duplicate": 4, "stored": 1}


def test_a_dicomdir_leads_nowhere_outside_its_folder(archive: Archive, tmp_path: Path) -> None:
    root = medium(tmp_path)
    (tmp_path / "SECRET").write_bytes(part10_bytes(ct_slice(number=50)))
    first = next(path for path in sorted(root.rglob("*")) if path.is_file() and path.name != "DICOMDIR")
    first.unlink()
    first.symlink_to(tmp_path / "SECRET")
    assert dict(run(archive, root / "DICOMDIR").outcomes) == {"stored": 3}


def test_paths_that_cannot_be_used_are_refused_before_anything_is_stored(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(candidates([tmp_path / "missing"]))
    (tmp_path / "DICOMDIR").write_bytes(b"no directory")
    with pytest.raises(NotUnderstood):
        list(candidates([tmp_path / "DICOMDIR"]))
