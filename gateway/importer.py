"""Import: files in folders, on DICOMDIR media and in zip archives, into the archive.

Where they go is a `Target`: the archive itself, or the gateway that has it open at this moment.
"""

from __future__ import annotations

import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from gateway.caller import Caller
from gateway.coerce import Coercer
from gateway.errors import GatewayError, NotUnderstood, Refused
from gateway.store import receive, store
from storage.archive import Archive

Open = Callable[[], AbstractContextManager[BinaryIO]]
Target = Callable[[BinaryIO], str]
"""Stores one Part 10 file; returns the outcome, `stored`, `duplicate` or `replaced`. Raises GatewayError."""

THREADS = 4
CHUNK = 1 << 20
NOT_DICOM = "no DICOM file"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be an instance: a name for people, its size in bytes, and how to open it."""

    name: str
    size: int
    open: Open


@dataclass(slots=True)
class Summary:
    """What became of the files: counts by outcome, and each refused file with the reason.

    Files without the DICOM prefix are `skipped`: folders of images hold other things too.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)

    @property
    def files(self) -> int:
        """All files that were looked at."""
        return self.outcomes.total() + self.skipped + len(self.refused)


def into_archive(
    archive: Archive,
    caller: Caller,
    *,
    max_bytes: int,
    accept_unknown_classes: bool,
    coercer: Coercer | None = None,
) -> Target:
    """A target that stores straight into an archive."""

    def put(stream: BinaryIO) -> str:
        with receive(archive, max_bytes=max_bytes) as incoming:
            while chunk := stream.read(CHUNK):
                incoming.write(chunk)
            stored = store(archive, incoming, caller, accept_unknown_classes=accept_unknown_classes, coercer=coercer)
            return stored.outcome

    return put


def import_files(
    candidates: Sequence[Candidate], target: Target, progress: Callable[[int], None] = lambda size: None
) -> Summary:
    """Store the candidates, some at a time; `progress` hears the size of each file that is done."""
    summary = Summary()
    waiting: dict[Future[str | None], Candidate] = {}

    def settle(done: set[Future[str | None]]) -> None:
        for future in done:
            candidate = waiting.pop(future)
            try:
                outcome = future.result()
            except GatewayError as error:
                summary.refused.append((candidate.name, _reason(error)))
            except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
                # what reading a damaged medium or archive raises; the import goes on with the next file
                summary.refused.append((candidate.name, f"cannot be read: {error}"))
            else:
                if outcome is None:
                    summary.skipped += 1
                else:
                    summary.outcomes[outcome] += 1
            progress(candidate.size)

    with ThreadPoolExecutor(THREADS) as threads:
        for candidate in candidates:
            waiting[threads.submit(_put, candidate, target)] = candidate
            if len(waiting) >= 4 * THREADS:
                settle(wait(waiting, return_when=FIRST_COMPLETED).done)
        settle(wait(waiting).done)
    return summary


def _put(candidate: Candidate, target: Target) -> str | None:
    with candidate.open() as stream:
        head = stream.read(132)
        if head[128:] != b"DICM":
            return None
        stream.seek(0)
        return target(stream)


def _reason(error: GatewayError) -> str:
    code = f" ({error.code:04X}H)" if isinstance(error, Refused) else ""
    return f"{error}{code}"


# ---------------------------------------------------------------- what there is


def candidates(paths: Sequence[Path]) -> Iterator[Candidate]:
    """All files below `paths`: folders are walked, zip archives opened, a DICOMDIR stands for what it lists.

    Raises FileNotFoundError for a path that is not there, NotUnderstood for a DICOMDIR that cannot be read.
    """
    for path in paths:
        if path.is_dir():
            for folder, folders, names in os.walk(path):
                folders.sort()
                for name in sorted(names):
                    yield from _file(Path(folder, name), listed=False)
        else:
            yield from _file(path, listed=True)


def _file(path: Path, *, listed: bool) -> Iterator[Candidate]:
    if path.name.upper() == "DICOMDIR":
        if listed:  # found in a walk, its files are found by the walk too
            yield from _medium(path)
    elif not path.is_file():
        if listed:
            raise FileNotFoundError(f"there is no file {path}")
    elif path.suffix.lower() == ".zip" and zipfile.is_zipfile(path):
        yield from _zipped(path)
    else:
        yield Candidate(str(path), path.stat().st_size, lambda: path.open("rb"))


def _medium(directory: Path) -> Iterator[Candidate]:
    """The files that the records of a DICOMDIR name (PS3.3 F.3), none outside its folder."""
    try:
        records = dcmread(directory, specific_tags=["DirectoryRecordSequence"]).get("DirectoryRecordSequence") or []
        named = [record.get("ReferencedFileID") for record in records]
    except (InvalidDicomError, ValueError, KeyError, EOFError) as error:
        raise NotUnderstood(f"{directory} is no readable DICOMDIR") from error
    root = directory.parent.resolve()
    for parts in named:
        if not parts:
            continue
        path = _below(root, [parts] if isinstance(parts, str) else list(parts))
        if path is not None:
            yield from _file(path, listed=False)


def _below(root: Path, parts: Sequence[str]) -> Path | None:
    """The file of these components, whatever the case its medium wrote it in; None when it is not below `root`."""
    path = root
    for part in parts:
        exact = path / part
        if not exact.exists() and path.is_dir():
            exact = next((other for other in path.iterdir() if other.name.upper() == part.upper()), exact)
        path = exact
    resolved = path.resolve()
    return resolved if resolved.is_relative_to(root) and resolved.is_file() else None


def _zipped(path: Path) -> Iterator[Candidate]:
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    for entry in entries:
        if PurePosixPath(entry.filename).name.upper() != "DICOMDIR":
            yield Candidate(f"{path}:{entry.filename}", entry.file_size, _entry(path, entry))


def _entry(path: Path, entry: zipfile.ZipInfo) -> Open:
    @contextmanager
    def opened() -> Iterator[BinaryIO]:
        with zipfile.ZipFile(path) as archive, archive.open(entry) as stream:
            yield cast(BinaryIO, stream)

    return opened
