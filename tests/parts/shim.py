"""`shim.c`: what stands between a program and its disk, makes calls fail, and writes down what was done."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.parts.machine import need

SOURCE = Path(__file__).with_name("shim.c")
WRITE, SYNC, RENAME, UNLINK, LINK, OPEN, MKDIR, TRUNCATE, RMDIR, XATTR = range(1, 11)


def build(folder: Path) -> Path:
    """Compile it; the library to be preloaded."""
    library = folder / "shim.so"
    command = [need("gcc"), "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    subprocess.run([*command, "-ldl", "-lpthread"], check=True, timeout=60)
    return library


def begin() -> None:
    """Let the shim read its variables again, where this process runs under it."""
    if hasattr(ctypes.CDLL(None), "shim_begin"):
        ctypes.CDLL(None).shim_begin()


def seen() -> int:
    """How many calls it has looked at since, of the kind that is to fail."""
    return int(ctypes.CDLL(None).shim_seen())


@dataclass(frozen=True, slots=True)
class Call:
    """One call that changed something. `path` and `other` are below the shim's root; `number` is the offset of a write,
    the size of a truncation, 1 for the sync of a directory."""

    kind: int
    path: str
    data: bytes
    number: int

    @property
    def other(self) -> str:
        """The new name, of RENAME and LINK."""
        return self.data.decode()


def calls(journal: Path) -> Iterator[Call]:
    """What was written down."""
    data = journal.read_bytes()
    at = 0
    while at < len(data):
        kind, a, b, number = (
            int.from_bytes(data[at + 8 * n : at + 8 * n + 8], "little", signed=True) for n in range(4)
        )
        at += 32
        yield Call(kind, data[at : at + a].decode(), data[at + a : at + a + b], number)
        at += a + b
