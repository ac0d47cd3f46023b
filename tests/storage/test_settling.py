"""Settling what was acknowledged: by itself, and again where it failed."""

from __future__ import annotations

import errno
import os
import time
from contextlib import closing
from pathlib import Path

from storage.index.sqlite import SqliteIndex
from storage.objects.filesystem import FolderStore
from storage.settling import Settler
from storage.stalls import Stalls
from storage.versions import object_key


class Disk:
    """Has no room for the next so many syncs."""

    def __init__(self) -> None:
        self.full = 0

    def __call__(self, descriptor: int) -> None:
        if self.full:
            self.full -= 1
            raise OSError(errno.ENOSPC, "No space left on device")


def test_what_could_not_be_settled_is_tried_again_without_another_store(tmp_path: Path) -> None:
    """F-10: a disk that was full for a while; what tells the next start of the store goes in the end."""
    disk = Disk()
    with (
        closing(FolderStore(tmp_path / "objects", sync=disk)) as store,
        closing(SqliteIndex(tmp_path / "index.db")) as index,
    ):
        assert store.entrance is not None
        settler = Settler(store.entrance, index, Stalls(), after=0.01)
        version, path, file = store.entrance.begin()
        os.close(file)
        key = object_key("1.2.3", version)
        assert store.entrance.keep(key, path, {"digest": "0" * 64, "dataset-digest": "0" * 64})
        disk.full = 3
        settler.add(version, key)
        end = time.monotonic() + 30
        while settler.holds(version) or path.exists():
            assert time.monotonic() < end
            time.sleep(0.01)
        assert disk.full == 0
        settler.close()
