"""A DIMSE server in this process, over an archive on a fresh folder and SQLite."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.dimse.limits import Limits
from gateway.dimse.server import DimseServer
from gateway.settings import Settings
from storage import open_archive
from storage.archive import Archive
from tests.gateway.dimse.wire import VERIFICATION, Context, Wire
from tests.parts.received import received


@dataclass
class Door:
    """A running server."""

    archive: Archive
    server: DimseServer
    address: tuple[str, int]
    spool: Path

    def wire(self, *contexts: Context, timeout: float = 10.0) -> Wire:
        """A raw peer; associated when `contexts` are given."""
        wire = Wire(self.address, timeout)
        if contexts:
            wire.associate(contexts)
        return wire

    def spool_files(self) -> list[Path]:
        """What is being received."""
        return received(self.spool)

    def spool_empties(self, seconds: float = 5.0) -> bool:
        """Does the spool folder become empty in time?"""
        end = time.monotonic() + seconds
        while self.spool_files() and time.monotonic() < end:
            time.sleep(0.01)
        return not self.spool_files()

    def is_alive(self) -> bool:
        """Does a lawful peer get its C-ECHO answered?"""
        with Wire(self.address) as wire:
            wire.associate([(1, VERIFICATION, ("1.2.840.10008.1.2",))])
            answered = wire.echo() == 0
            wire.release()
            return answered


OpenDoor = Callable[..., Door]


@contextmanager
def doors(folder: Path) -> Iterator[OpenDoor]:
    """A function that starts servers below `folder`; all are stopped in the end."""
    running: list[Door] = []

    def start(*, limits: Limits | None = None, objects: str = "", **settings: Any) -> Door:
        data = folder / f"door{len(running)}"
        data.mkdir()
        kept = Settings(data=data, dimse="127.0.0.1:0", **settings)
        archive = open_archive(objects or kept.objects_url, kept.index_url, kept.spool)
        server = DimseServer(archive, kept, limits)
        door = Door(archive, server, server.start(), kept.spool)
        running.append(door)
        return door

    yield start
    for door in running:
        door.server.stop(0)
        door.archive.close()


@pytest.fixture
def open_door(tmp_path: Path) -> Iterator[OpenDoor]:
    """A function that starts a server; keywords are settings, `limits` and `objects` (a URL)."""
    with doors(tmp_path) as start:
        yield start


@pytest.fixture
def door(open_door: OpenDoor) -> Door:
    """A server with the settings as they come, for one test."""
    return open_door()


@pytest.fixture(scope="module")
def module_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A server with the settings as they come, for all tests of a module: starting one takes a while."""
    with doors(tmp_path_factory.mktemp("doors")) as start:
        yield start()
