"""The entrance of a folder of objects: files that are kept with one sync, and what a crash leaves of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from storage.errors import ObjectStoreBroken
from storage.objects.filesystem import FolderStore
from storage.versions import object_key

DATA = b"bytes" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()
MARKS = {"digest": DIGEST, "dataset-digest": "0" * 64}


class Disk:
    """Counts syncs, by what they are of; may fail."""

    def __init__(self) -> None:
        self.synced: list[str] = []
        self.fails = False

    def __call__(self, descriptor: int) -> None:
        if self.fails:
            raise OSError(5, "Input/output error")
        self.synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def store(tmp_path: Path, disk: Disk) -> Iterator[FolderStore]:
    with closing(FolderStore(tmp_path / "objects", sync=disk)) as opened:
        yield opened


def arrive(store: FolderStore, sop_uid: str = "1.2.3") -> tuple[str, str]:
    """Receive and keep one file; its version and its key."""
    assert store.entrance is not None
    version, path, file = store.entrance.begin()
    os.write(file, DATA)
    os.close(file)
    key = object_key(sop_uid, version)
    assert store.entrance.keep(key, path, MARKS)
    return version, key


def test_a_file_is_an_object_after_one_sync_of_its_bytes(store: FolderStore, disk: Disk) -> None:
    """F-02: under a name that the disk was told before; names are made ahead, more at a time as more come."""
    arrive(store)
    syncs = len(disk.synced)
    version, key = arrive(store)
    assert disk.synced[syncs:] == [".arrivals", f"{version}.part"]
    for _ in range(3):
        arrive(store)
    assert disk.synced[syncs:].count(".arrivals") == 2
    assert store.read(key) == DATA
    assert store.digests(key) == (DIGEST, "0" * 64)


def test_names_are_settled_together_and_then_what_tells_of_them_goes(store: FolderStore, disk: Disk) -> None:
    """F-02"""
    assert store.entrance is not None
    arrived = [arrive(store) for _ in range(4)]
    syncs = len(disk.synced)
    store.entrance.settle(key for _, key in arrived)
    folder = arrived[0][1].split("/")[1]
    assert disk.synced[syncs:].count(folder) == 1
    assert [one.version for one in store.entrance.left()] == [version for version, _ in arrived]
    store.entrance.forget(version for version, _ in arrived)
    assert disk.synced[-1] == ".arrivals"
    assert store.entrance.left() == []
    assert all(store.read(key) == DATA for _, key in arrived)


def test_a_crash_leaves_what_was_whole_and_nothing_else(store: FolderStore, tmp_path: Path) -> None:
    """F-01: a file that was still coming, and names that nobody used, go."""
    assert store.entrance is not None
    version, key = arrive(store)
    _, _, file = store.entrance.begin()
    os.write(file, b"half")
    os.close(file)
    with closing(FolderStore(tmp_path / "objects")) as again:
        assert again.entrance is not None
        (left,) = again.entrance.left()
        assert (left.version, left.size, left.digest, left.named) == (version, len(DATA), DIGEST, True)
        assert [path.name for path in (tmp_path / "objects" / ".arrivals").iterdir()] == [f"{version}.part"]
        again.delete(key)  # a deleted object does not come back
        assert again.entrance.left() == []


def test_what_a_process_that_ended_was_receiving_goes_while_others_go_on(store: FolderStore, tmp_path: Path) -> None:
    """N: and names that it had made ahead; what was whole stays, and what others receive."""
    assert store.entrance is not None
    whole, _ = arrive(store)
    ours, path, file = store.entrance.begin()
    os.close(file)
    with (path.parent / "theirs.part").open("xb") as theirs:
        os.setxattr(theirs.fileno(), "user.gantry", (os.getpid() + 1).to_bytes(4, "big"))
    assert store.entrance.clean(os.getpid() + 1) == 1
    assert {f"{whole}.part", f"{ours}.part"} <= {one.name for one in path.parent.iterdir()}
    assert store.entrance.clean(os.getpid()) >= 1
    assert [one.name for one in path.parent.iterdir()] == [f"{whole}.part"]


def test_what_was_never_finished_is_tidied_away_one_day(store: FolderStore, tmp_path: Path) -> None:
    """N: of a process that ended while others went on."""
    assert store.entrance is not None
    arrive(store)
    _, path, file = store.entrance.begin()
    os.close(file)
    os.utime(path, (0, 0))
    assert store.tidy() == 1
    assert not path.exists()
    assert len(store.entrance.left()) == 1


def test_after_a_sync_that_failed_nothing_is_received(store: FolderStore, disk: Disk) -> None:
    """F-13"""
    assert store.entrance is not None
    version, path, file = store.entrance.begin()
    os.close(file)
    disk.fails = True
    with pytest.raises(ObjectStoreBroken):
        store.entrance.keep(object_key("1.2.3", version), path, MARKS)
    disk.fails = False
    with pytest.raises(ObjectStoreBroken):
        store.entrance.begin()
