"""Export: studies to a folder, a zip archive, or media with a DICOMDIR (PS3.10 8, PS3.3 F).

Where they come from is a `Source`: the archive itself, or the gateway that has it open at this moment. What is written
are the stored files, byte for byte, each checked against its digest on the way.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from gateway.caller import Caller
from gateway.errors import BadRequest, GatewayError, NotFound
from gateway.media import Directory
from gateway.retrieve import find, part10
from gateway.running import Reader
from storage.archive import Archive
from storage.attributes import Level
from storage.errors import StorageError
from storage.query import Query

STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"
CHUNK = 1 << 20
PAGE = 200
_STAMP = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Kept:
    """One instance to be written; `open` gives its Part 10 file in chunks, which raise GatewayError when damaged."""

    study_uid: str
    series_uid: str
    sop_uid: str
    open: Callable[[], AbstractContextManager[Iterator[bytes | memoryview]]]

    @property
    def name(self) -> str:
        """Of the file in a folder or archive: UIDs, which are digits and dots."""
        return f"{self.study_uid}/{self.series_uid}/{self.sop_uid}.dcm"


class Source(Protocol):
    """Where instances come from. Methods raise GatewayError, StorageError."""

    def studies(self) -> Iterator[str]:
        """All Study Instance UIDs."""

    def instances(self, study_uid: str) -> Iterator[Kept]:
        """Those of a study. Raises NotFound."""


class FromArchive:
    """Straight from the archive."""

    def __init__(self, archive: Archive, caller: Caller) -> None:
        self._archive = archive
        self._caller = caller

    def studies(self) -> Iterator[str]:
        """See Source."""
        offset = 0
        while True:
            page = self._archive.search(Query(level=Level.STUDY, limit=PAGE, offset=offset))
            yield from (str(match.values["StudyInstanceUID"]) for match in page.matches)
            offset += len(page.matches)
            if len(page.matches) < PAGE:
                return

    def instances(self, study_uid: str) -> Iterator[Kept]:
        """See Source."""
        for one in find(self._archive, self._caller, study_uid):
            blob = part10(self._archive, one)
            yield Kept(one.study_uid, one.series_uid, one.sop_uid, partial(blob.open, 0, None))


class FromRunning:
    """By the web door of the gateway that has the archive open: what may not leave there comes in Explicit VR."""

    def __init__(self, http_url: str, token: str | None) -> None:
        self._running = Reader(http_url, token)

    def studies(self) -> Iterator[str]:
        """See Source."""
        yield from (one[0] for one in self._running.search("/studies", (STUDY,)))

    def instances(self, study_uid: str) -> Iterator[Kept]:
        """See Source."""
        found = False
        for study, series, sop in self._running.search(f"/studies/{study_uid}/instances", (STUDY, SERIES, INSTANCE)):
            found = True
            path = f"/studies/{study}/series/{series}/instances/{sop}"
            yield Kept(study, series, sop, partial(self._running.file, path))
        if not found:
            raise NotFound("no such study")


@dataclass(slots=True)
class Exported:
    """What came of it: files written, and what was not, with the reason."""

    files: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def export(
    source: Source,
    studies: Sequence[str],
    to: Path,
    *,
    media: bool = False,
    progress: Callable[[int], None] = lambda count: None,
) -> Exported:
    """Write studies (none: all) to the folder `to`, or into a zip archive of that name (`.zip`), which must be new.

    `media` lays the files out with names of eight characters, and a DICOMDIR that lists them. Raises BadRequest,
    GatewayError, StorageError, OSError; what was written until then stays.
    """
    if to.suffix.lower() == ".zip":
        if to.exists():
            raise BadRequest("to", f"{to} is there already")
        # named only when it is whole
        unfinished = to.with_name(f".{to.name}.partial")
        try:
            with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
                report = _write(source, studies, _Zip(archive), media, progress)
            unfinished.replace(to)
        finally:
            unfinished.unlink(missing_ok=True)
        return report
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise BadRequest("to", f"{to} is not an empty folder")
    to.mkdir(parents=True, exist_ok=True)
    return _write(source, studies, _Folder(to), media, progress)


class _Place(Protocol):
    def put(self, name: str, chunks: Iterator[bytes | memoryview]) -> None:
        """Write a file; leaves nothing of it when `chunks` raises."""


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, name: str, chunks: Iterator[bytes | memoryview]) -> None:
        """See _Place."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("xb") as file:
                _copy(chunks, file)
                os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def put(self, name: str, chunks: Iterator[bytes | memoryview]) -> None:
        """See _Place. By way of a file of its own: an archive cannot take back what it has."""
        with tempfile.TemporaryFile() as whole:
            _copy(chunks, whole)
            size = whole.tell()
            whole.seek(0)
            entry = zipfile.ZipInfo(name, _STAMP)
            entry.external_attr = 0o644 << 16
            entry.file_size = size
            with self._archive.open(entry, "w") as target:
                while chunk := whole.read(CHUNK):
                    target.write(chunk)


def _copy(chunks: Iterator[bytes | memoryview], file: BinaryIO) -> None:
    for chunk in chunks:
        file.write(chunk)


def _write(
    source: Source, studies: Sequence[str], place: _Place, media: bool, progress: Callable[[int], None]
) -> Exported:
    report = Exported()
    with Directory() if media else nullcontext() as directory:
        for study_uid in studies or source.studies():
            for one in source.instances(study_uid):
                try:
                    with one.open() as chunks:
                        if directory is not None:
                            directory.add(one.sop_uid, chunks)
                        else:
                            place.put(one.name, iter(chunks))
                            report.files += 1
                except (GatewayError, StorageError) as error:
                    report.failed.append((one.sop_uid, str(error)))
                progress(1)
        if directory is not None:
            _write_media(directory, place, report)
    return report


def _write_media(directory: Directory, place: _Place, report: Exported) -> None:
    for name, file in directory.files():
        with file.open("rb") as stream:
            place.put(name, iter(partial(stream.read, CHUNK), b""))
        report.files += 1
    place.put("DICOMDIR", iter([directory.dicomdir()]))
