"""What a disk may show after the power went: the calls that a program made, replayed onto an empty disk.

All that was synced is there. Of the rest there may be any part: each write of a file whole, torn or not at all, each
name in a folder or not, marks with or without the bytes that they mark, in any combination (POSIX promises no order).
A name is safe once its folder was synced, the
bytes of a file once the file was.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from storage.objects.filesystem.arrivals import ATTRIBUTE
from tests.parts.shim import LINK, MKDIR, OPEN, RENAME, RMDIR, SYNC, TRUNCATE, UNLINK, WRITE, XATTR, Call

SECTOR = 512


class Luck(Enum):
    """What became of that which was not synced."""

    LOST = "all of it lost"
    KEPT = "all of it kept"
    NAMES = "names kept, bytes lost"
    BYTES = "bytes kept, names lost"
    SOME = "some of each"


@dataclass
class _File:
    data: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # None: cut at this size
    mark: bytes = b""  # the extended attribute, and that which is not synced
    new_mark: bytes = b""

    def sync(self) -> None:
        for effect in self.pending:
            _apply(self.data, *effect)
        self.pending = []
        self.mark = self.new_mark

    def shown_mark(self, luck: Luck, chance: random.Random) -> bytes:
        lost = luck in (Luck.LOST, Luck.BYTES) or (luck is Luck.SOME and chance.random() < 0.5)
        return self.mark if lost else self.new_mark

    def shown(self, luck: Luck, chance: random.Random) -> bytearray:
        data = bytearray(self.data)
        if luck in (Luck.LOST, Luck.NAMES):
            return data
        for at, written in self.pending:
            if luck is Luck.SOME:
                if chance.random() < 0.5:
                    continue
                if written is not None and chance.random() < 0.2:  # torn
                    written = written[: chance.randrange(len(written) + 1) // SECTOR * SECTOR]
            _apply(data, at, written)
        return data


@dataclass
class _Folder:
    names: dict[str, _File | _Folder] = field(default_factory=dict)
    pending: list[list[tuple[str, _File | _Folder | None]]] = field(default_factory=list)  # None: the name goes

    def sync(self) -> None:
        for change in self.pending:
            _rename(self.names, change)
        self.pending = []

    def shown(self, luck: Luck, chance: random.Random) -> dict[str, _File | _Folder]:
        names = dict(self.names)
        if luck in (Luck.LOST, Luck.BYTES):
            return names
        for change in self.pending:
            if luck is not Luck.SOME or chance.random() < 0.5:
                _rename(names, change)
        return names


def _rename(names: dict[str, _File | _Folder], change: Iterable[tuple[str, _File | _Folder | None]]) -> None:
    for name, what in change:
        if what is None:
            names.pop(name, None)
        else:
            names[name] = what


def _apply(data: bytearray, at: int, written: bytes | None) -> None:
    if written is None:
        del data[at:]
        data.extend(bytes(at - len(data)))
        return
    data.extend(bytes(max(0, at - len(data))))
    data[at : at + len(written)] = written


class Disk:
    """A disk, empty at first; `play` tells it of the calls, one after the other."""

    def __init__(self) -> None:
        self._root = _Folder()
        self._live: dict[str, _File | _Folder] = {"": self._root}  # as the program sees it

    def play(self, call: Call) -> None:
        """One call was made."""
        path = call.path
        if call.kind in (OPEN, MKDIR):
            self._add(path, _Folder() if call.kind == MKDIR else _File())
        elif call.kind == LINK:
            self._add(call.other, self._live[path])
        elif call.kind in (UNLINK, RMDIR):
            self._live.pop(path, None)
            self._change(path, [(_name(path), None)])
        elif call.kind == RENAME:
            moved = self._live.pop(path)
            assert isinstance(moved, _File), "folders are never renamed"
            self._live[call.other] = moved
            if _folder(path) == _folder(call.other):
                self._change(path, [(_name(path), None), (_name(call.other), moved)])
            else:
                self._change(path, [(_name(path), None)])
                self._change(call.other, [(_name(call.other), moved)])
        elif (found := self._live.get(path)) is not None:  # what has no name any more cannot come back
            if call.kind == SYNC:
                found.sync()
            elif call.kind == XATTR:
                assert isinstance(found, _File)
                found.new_mark = call.data
            elif isinstance(found, _File):
                found.pending.append((call.number, call.data if call.kind == WRITE else None))
                assert call.kind in (WRITE, TRUNCATE)

    def show(self, folder: Path, luck: Luck, chance: random.Random) -> None:
        """Write what a disk may show now into an empty folder."""
        _show(self._root, folder, luck, chance, {})

    def _add(self, path: str, what: _File | _Folder) -> None:
        self._live[path] = what
        self._change(path, [(_name(path), what)])

    def _change(self, path: str, names: list[tuple[str, _File | _Folder | None]]) -> None:
        folder = self._live[_folder(path)]
        assert isinstance(folder, _Folder)
        folder.pending.append(names)


def _show(folder: _Folder, path: Path, luck: Luck, chance: random.Random, shown: dict[int, Path]) -> None:
    for name, what in folder.shown(luck, chance).items():
        if isinstance(what, _Folder):
            (path / name).mkdir()
            _show(what, path / name, luck, chance, shown)
        elif (other := shown.setdefault(id(what), path / name)) != path / name:
            os.link(other, path / name)
        else:
            (path / name).write_bytes(what.shown(luck, chance))
            if mark := what.shown_mark(luck, chance):
                os.setxattr(path / name, ATTRIBUTE, mark)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def states(calls: Iterable[Call], moments: Iterable[int], chance: random.Random) -> Iterator[tuple[int, Luck, Disk]]:
    """The disk before the call of each moment; with each kind of luck in turn, all of them at the end."""
    disk = Disk()
    wanted = sorted(moments)
    lucks = list(Luck)
    chance.shuffle(lucks)
    turn = 0
    for number, call in enumerate(calls):
        while wanted and wanted[0] <= number:
            wanted.pop(0)
            yield number, lucks[turn % len(lucks)], disk
            turn += 1
        disk.play(call)
    for luck in Luck:
        yield number + 1, luck, disk
