"""Export in the process: media lose no temporary folder, and a file that cannot be listed costs only itself."""

from __future__ import annotations

import gc
import tempfile
from pathlib import Path

from gateway.caller import Caller
from gateway.export import FromArchive, export
from storage.archive import Archive
from tests.end_to_end.test_export import directory
from tests.gateway.stored import put
from tests.parts.datasets import ct_slice, report, series_of


def left() -> set[Path]:
    """Temporary folders."""
    return {path for path in Path(tempfile.gettempdir()).iterdir() if path.name.startswith("gantry-media-")}


def test_media_leave_no_temporary_folder(archive: Archive, tmp_path: Path) -> None:
    """Warnings are errors: the library's own folder is one that nobody would close."""
    for ds in (*series_of(2), report(series=2)):
        put(archive, ds)
    before = left()
    done = export(
        FromArchive(archive, Caller("export", "cli")), [ct_slice().StudyInstanceUID], tmp_path / "media", media=True
    )
    gc.collect()
    assert (done.files, done.failed) == (3, [])
    assert left() == before
    assert len(directory(tmp_path / "media")) == 3
    zipped = export(FromArchive(archive, Caller("export", "cli")), [], tmp_path / "media.zip", media=True)
    assert (zipped.files, zipped.failed) == (3, [])
    assert left() == before
    gc.collect()
