"""A log of JSON lines that shows tampering: each line holds the hash of the one before.

One process writes one chain, in a file for each day: `<chain>-<day>-<number>.jsonl`, where `<chain>` names the process,
`<day>` is in UTC, and `<number>` is that of the first line. A line ends with its own hash, over everything before it.
The first line of a file says which file it is, and names the last line of the file before. The head, number and hash of
the last line, is told to somebody else from time to time: then a tail that was cut off is missed as well.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

SUFFIX = ".jsonl"
_FILE = "file"
_HASHED = ',"hash":"'
_END = '"}\n'


@dataclass(frozen=True, slots=True)
class Head:
    """The last line of a chain: its number, from 1 on, and its hash."""

    number: int = 0
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """Where a chain does not hold."""

    file: str
    line: int
    what: str


class Chain:
    """Appends to a chain of its own in `folder`; for one thread. Raises OSError."""

    def __init__(self, folder: Path, name: str, clock: Callable[[], float] = time.time) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.head = Head()
        self._folder = folder
        self._clock = clock
        self._day = ""
        self._file = -1

    def append(self, entries: Iterable[Mapping[str, Any]], *, sync: bool = True) -> None:
        """Write entries, each a line; with `sync` they are on disk afterwards."""
        opening = [{_FILE: self._open()}] if self._is_new() else []
        head, lines = self.head, []
        for entry in chain(opening, entries):
            body = json.dumps({"n": head.number + 1, "prev": head.hash, **entry}, separators=(",", ":"))[:-1]
            head = Head(head.number + 1, _hash(body))
            lines.append(f"{body}{_HASHED}{head.hash}{_END}")
        data = memoryview("".join(lines).encode("ascii"))
        while data:
            data = data[os.write(self._file, data) :]
        if sync:
            os.fdatasync(self._file)
        self.head = head

    def sync(self) -> None:
        """Have what was written on disk."""
        if self._file >= 0:
            os.fdatasync(self._file)

    def close(self) -> None:
        """Let the file go."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _is_new(self) -> bool:
        """Has another day come, or nothing been written yet?"""
        return self._file < 0 or self._today() != self._day

    def _today(self) -> str:
        return time.strftime("%Y%m%d", time.gmtime(self._clock()))

    def _open(self) -> str:
        """Go on in the file of today; returns its name. Raises FileExistsError where another has that one."""
        self.close()
        day = self._today()
        name = f"{self.name}-{day}-{self.head.number + 1}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._folder / name, flags, 0o600)
        self._day = day
        return name


def files(folder: Path) -> list[Path]:
    """All files of all chains, each chain's oldest first."""
    return sorted(folder.glob(f"*-*-*{SUFFIX}"), key=lambda path: (_chain(path), _first(path)))


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a file; what is no entry is left out."""
    with path.open("rb") as file:
        for line in file:
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict) and _FILE not in found:
                yield found


def verify(folder: Path, heads: Mapping[str, Head]) -> list[Fault]:
    """What is wrong with the chains: lines that were changed, taken out or put in, and tails that are missing.

    `heads` is what is known of each chain from elsewhere. The files of the oldest days may have been removed, whole.
    """
    faults: list[Fault] = []
    last: dict[str, Head | None] = {}
    known = {name: False for name in heads}
    for path in files(folder):
        name = _chain(path)
        head = last.get(name)
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                found = _read(line)
                if found is None:
                    faults.append(Fault(path.name, number, "this line is not as it was written"))
                    head = None
                    continue
                entry, own = found
                if number == 1 and entry.get(_FILE) != path.name:
                    faults.append(Fault(path.name, number, "the beginning of this file is missing"))
                if head is not None and (entry["n"] != head.number + 1 or entry["prev"] != head.hash):
                    faults.append(Fault(path.name, number, "lines before this one are missing or were changed"))
                head = own
                if name in heads and own == heads[name]:
                    known[name] = True
        last[name] = head
    for name, head in heads.items():
        if head.number and not known[name]:
            faults.append(Fault(name, head.number, "the end of this chain is missing or was changed"))
    return faults


def remove_before(folder: Path, seconds: float) -> int:
    """Remove files whose day was over before `seconds` since the epoch; returns how many."""
    day = time.strftime("%Y%m%d", time.gmtime(seconds))
    old = [path for path in files(folder) if day_of(path) < day]
    for path in old:
        path.unlink()
    return len(old)


def _read(line: bytes) -> tuple[dict[str, Any], Head] | None:
    """An entry and its own head, if the line is as it was written."""
    body, sign, tail = line.decode("utf-8", "replace").rpartition(_HASHED)
    if not sign or not tail.endswith(_END) or _hash(body) != tail.removesuffix(_END):
        return None
    try:
        entry = json.loads(body + "}")
    except ValueError:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("n"), int):
        return None
    return entry, Head(entry["n"], tail.removesuffix(_END))


def _hash(body: str) -> str:
    return hashlib.sha256(body.encode("utf-8", "replace")).hexdigest()


def _chain(path: Path) -> str:
    return path.stem.rsplit("-", 2)[0]


def day_of(path: Path) -> str:
    """The day of a file, YYYYMMDD."""
    return path.stem.rsplit("-", 2)[1]


def _first(path: Path) -> int:
    number = path.stem.rpartition("-")[2]
    return int(number) if number.isdigit() else 0
