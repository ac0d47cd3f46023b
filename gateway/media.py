"""DICOMDIR media: a directory of instances and the files it names (PS3.10 8.6, PS3.3 F.3)."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet

from gateway.errors import NotUnderstood

_REQUIRED = {
    "PatientID": "UNKNOWN",
    "StudyDate": "19000101",
    "StudyTime": "000000",
    "StudyID": "1",
    "Modality": "OT",
    "SeriesNumber": 0,
    "InstanceNumber": 0,
}
"""What a directory record must have and many instances lack: said in the directory only, the files stay as they are."""


class Directory:
    """Collects instances, then gives the DICOMDIR and the files with the names it has for them.

    Files wait in a temporary folder until the end of the context.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="gantry-media-")
        self._root = Path(self._folder.name)
        self._set = FileSet()
        self._made: Path | None = None

    def add(self, sop_uid: str, chunks: Iterator[bytes | memoryview]) -> None:
        """Take one Part 10 file. Raises NotUnderstood for what no directory record can be made of."""
        path = self._root / f"{sop_uid}.dcm"
        try:
            with path.open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._set.add(_record(path))
        except (ValueError, AttributeError, TypeError, KeyError, NotImplementedError) as error:
            path.unlink(missing_ok=True)
            raise NotUnderstood("no directory record can be made of it") from error
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def files(self) -> Iterator[tuple[str, Path]]:
        """Name on the media, with slashes, and the file, of each instance."""
        made = self._make()
        for one in self._set:
            name = Path(one.path).relative_to(made).as_posix()
            yield name, self._root / f"{one.SOPInstanceUID}.dcm"

    def dicomdir(self) -> bytes:
        """The DICOMDIR file."""
        return (self._make() / "DICOMDIR").read_bytes()

    def _make(self) -> Path:
        """Let the library lay out the records; the files it writes have no pixels, and only their names are used."""
        if self._made is None:
            self._made = self._root / "media"
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._set.write(self._made)
        return self._made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._set._stage["t"].cleanup()  # which the library leaves to the garbage collector
        self._folder.cleanup()


def _record(path: Path) -> Dataset:
    """What the directory has to know of a file, and nothing else of it."""
    ds = dcmread(path, stop_before_pixels=True)
    for keyword, value in _REQUIRED.items():
        if ds.get(keyword) in (None, ""):
            setattr(ds, keyword, value)
    # the library writes it out once: in its own syntax, which the record goes on to name
    out = BytesIO()
    ds.save_as(out, enforce_file_format=False)
    out.seek(0)
    return dcmread(out)
