"""Objects in a folder: what reaches the disk when, full and failing disks, and what others plant in the tree."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from storage.errors import (
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
    ObjectStoreFull,
    ObjectStoreUnavailable,
)
from storage.objects.filesystem import FolderStore

KEY = "obj/ab/0123456789abcdef0123456789abcdef/1.dcm"


@contextmanager
def memory_disk(folder: Path, options: str) -> Iterator[Path]:
    """A small file system of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"this machine does not let us mount: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def put(store: FolderStore, source: Path, key: str = KEY, data: bytes = b"bytes") -> None:
    """Put `data` by way of the file `source`."""
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(data)
    store.put(key, source, sha256=hashlib.sha256(data).hexdigest())


def files_below(folder: Path) -> list[str]:
    """All that is no folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


class Disk:
    """Stands where fsync does: knows what was asked to be kept, and can fail."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.fails: Callable[[int], None] = lambda calls: None
        self.calls = 0

    def __call__(self, descriptor: int) -> None:
        self.calls += 1
        self.fails(self.calls)
        self.kept.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        os.fsync(descriptor)

    def fail_at(self, call: int, number: int) -> None:
        """Fail once, at that call from now."""
        failing = self.calls + call

        def fails(calls: int) -> None:
            if calls == failing:
                raise OSError(number, os.strerror(number))

        self.fails = fails


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def store(tmp_path: Path, disk: Disk) -> Iterator[FolderStore]:
    with closing(FolderStore(tmp_path / "data", sync=disk)) as opened:
        yield opened


def test_the_file_is_moved_not_copied(store: FolderStore, tmp_path: Path) -> None:
    source = tmp_path / "data" / "spool" / "1.part"
    source.parent.mkdir()
    source.write_bytes(b"bytes")
    inode = source.stat().st_ino
    store.put(KEY, source, sha256=hashlib.sha256(b"bytes").hexdigest())
    assert store.path(KEY).stat().st_ino == inode
    assert not source.exists()


def test_bytes_then_name_then_names_above_are_on_the_disk_before_put_returns(
    store: FolderStore, tmp_path: Path, disk: Disk
) -> None:
    """F-02: every new folder and the one above it, and no others."""
    source, root = tmp_path / "1.part", tmp_path / "data"
    put(store, source)
    assert disk.kept[0] == str(source)
    leaf = (root / KEY).parent
    assert set(disk.kept[1:]) == {str(leaf), str(leaf.parent), str(leaf.parent.parent), str(root)}
    disk.kept.clear()
    put(store, source, KEY.replace("0123", "4567", 1))
    assert set(disk.kept) == {str(source), str(leaf).replace("0123", "4567", 1), str(leaf.parent)}
    assert len(disk.kept) == 3


def test_an_object_beside_others_needs_two_syncs(store: FolderStore, tmp_path: Path, disk: Disk) -> None:
    """F-02: with keys as received objects have them, of the file and of its folder, which stays when it is empty."""
    first, second, third = (f"obj/ab/0123-{number}.dcm" for number in range(3))
    put(store, tmp_path / "1.part", first)
    disk.kept.clear()
    put(store, tmp_path / "1.part", second)
    store.delete(first)
    store.delete(second)
    put(store, tmp_path / "1.part", third)
    assert disk.kept == [str(tmp_path / "1.part"), str(tmp_path / "data" / "obj" / "ab")] * 2


def test_a_folder_that_another_process_made_is_not_taken_to_be_on_the_disk(
    store: FolderStore, tmp_path: Path, disk: Disk
) -> None:
    """F-02: the other may not have come to its own sync."""
    leaf = (tmp_path / "data" / KEY).parent
    leaf.mkdir(parents=True)
    put(store, tmp_path / "1.part")
    assert {str(leaf.parent), str(leaf.parent.parent), str(tmp_path / "data")} <= set(disk.kept)


def test_after_a_failed_sync_nothing_is_believed_any_more(store: FolderStore, tmp_path: Path, disk: Disk) -> None:
    """F-13: whichever sync of a put fails, the put fails, and so does every later write, without another try."""
    put(store, tmp_path / "1.part", KEY.replace("1.dcm", "0.dcm"), b"kept")
    for call in (1, 2, 3):
        with closing(FolderStore(tmp_path / f"data{call}", sync=disk)) as fresh:
            put(fresh, tmp_path / "1.part", "obj/ab/00/1.dcm")
            disk.fail_at(call, errno.EIO)
            with pytest.raises(ObjectStoreUnavailable):
                put(fresh, tmp_path / "1.part")
            with pytest.raises(ObjectMissing):
                fresh.size(KEY)
            calls = disk.calls
            with pytest.raises(ObjectStoreUnavailable, match="restart"):
                put(fresh, tmp_path / "1.part", "obj/ab/02/1.dcm")
            with pytest.raises(ObjectStoreUnavailable, match="restart"):
                fresh.put_bytes("derived/1", b"x")
            with pytest.raises(ObjectStoreUnavailable, match="restart"):
                fresh.check()
            assert disk.calls == calls
            assert fresh.read("obj/ab/00/1.dcm") == b"bytes"
        with closing(FolderStore(tmp_path / f"data{call}", sync=disk)) as again:
            put(again, tmp_path / "1.part")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_space_that_was_missing_at_a_sync_may_come_back(
    store: FolderStore, tmp_path: Path, disk: Disk, number: int
) -> None:
    """F-12."""
    disk.fail_at(1, number)
    with pytest.raises(ObjectStoreFull):
        put(store, tmp_path / "1.part")
    put(store, tmp_path / "1.part")
    assert store.read(KEY) == b"bytes"


def test_a_full_disk_is_told_reads_go_on_and_nothing_is_left(tmp_path: Path) -> None:
    """F-10: the source lies elsewhere, so its bytes are copied."""
    with memory_disk(tmp_path / "disk", "size=8m") as disk, closing(FolderStore(disk)) as store:
        put(store, tmp_path / "1.part", data=bytes(5 << 20))
        for _ in range(3):
            with pytest.raises(ObjectStoreFull):
                put(store, tmp_path / "2.part", KEY.replace("1.dcm", "2.dcm"), bytes(5 << 20))
            with pytest.raises(ObjectStoreFull):
                store.put_bytes("derived/1", bytes(5 << 20))
            with pytest.raises(ObjectStoreFull):
                put(store, tmp_path / "2.part", "obj/cd/00/2.dcm", bytes(5 << 20))
        assert files_below(disk) == [KEY]
        assert not (disk / "obj" / "cd" / "00").exists()
        assert store.read(KEY, 100, 100) == bytes(100)
        store.check()
        (disk / "ballast").write_bytes(bytes(2 << 20))
        with suppress(OSError), (disk / "ballast").open("ab") as ballast:
            while True:
                ballast.write(bytes(4096))
        with pytest.raises(ObjectStoreFull):
            store.check()
        (disk / "ballast").unlink()
        store.delete(KEY)
        put(store, tmp_path / "2.part", KEY.replace("1.dcm", "2.dcm"), bytes(5 << 20))
        store.check()


def test_running_out_of_inodes_is_a_full_disk(tmp_path: Path) -> None:
    """F-15."""
    with memory_disk(tmp_path / "disk", "size=8m,nr_inodes=30") as disk, closing(FolderStore(disk)) as store:
        stored = []
        with pytest.raises(ObjectStoreFull):
            for number in range(40):
                key = f"obj/ab/{number:032}/1.dcm"
                put(store, tmp_path / "1.part", key)
                stored.append(key)
        assert files_below(disk) == stored
        assert [store.read(key) for key in stored] == [b"bytes"] * len(stored)
        with pytest.raises(ObjectStoreFull):
            for number in range(40):
                (disk / f"{number}").mkdir()
                store.check()


def test_a_read_only_disk_takes_nothing_and_is_read(tmp_path: Path) -> None:
    """F-14."""
    with memory_disk(tmp_path / "disk", "size=8m") as disk, closing(FolderStore(disk)) as store:
        put(store, tmp_path / "1.part")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(ObjectStoreUnavailable):
            put(store, tmp_path / "2.part", KEY.replace("1.dcm", "2.dcm"))
        with pytest.raises(ObjectStoreUnavailable):
            store.check()
        with pytest.raises(ObjectStoreUnavailable):
            store.delete(KEY)
        assert store.read(KEY) == b"bytes"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_unavailable(store: FolderStore, tmp_path: Path) -> None:
    """F-14."""
    put(store, tmp_path / "1.part")
    (tmp_path / "data" / KEY).parent.chmod(0o500)
    with pytest.raises(ObjectStoreUnavailable):
        put(store, tmp_path / "2.part", KEY.replace("1.dcm", "2.dcm"))


def test_nothing_lands_in_a_folder_that_took_the_place_of_ours(store: FolderStore, tmp_path: Path) -> None:
    """F-14: an empty folder where the disk was mounted."""
    store.check()
    (tmp_path / "data").rename(tmp_path / "away")
    (tmp_path / "data").mkdir()
    with pytest.raises(ObjectStoreUnavailable, match="replaced"):
        store.check()
    put(store, tmp_path / "1.part")
    assert files_below(tmp_path / "data") == []
    assert files_below(tmp_path / "away") == [KEY]


def test_a_root_that_was_removed_is_unavailable(store: FolderStore, tmp_path: Path) -> None:
    """F-14."""
    (tmp_path / "data").rmdir()
    with pytest.raises(ObjectStoreUnavailable):
        put(store, tmp_path / "1.part")
    with pytest.raises(ObjectStoreUnavailable):
        store.check()


def test_a_file_on_another_file_system_is_copied_and_verified(tmp_path: Path) -> None:
    with memory_disk(tmp_path / "disk", "size=8m") as disk, closing(FolderStore(disk)) as store:
        source = tmp_path / "1.part"
        source.write_bytes(b"other bytes")
        with pytest.raises(ObjectDamaged):
            store.put(KEY, source, sha256=hashlib.sha256(b"bytes").hexdigest())
        assert files_below(disk) == []
        data = os.urandom(3_000_000)
        put(store, source, data=data)
        assert store.read(KEY) == data
        assert not source.exists()
        with pytest.raises(ObjectExists):
            put(store, source, data=data)
        assert files_below(disk) == [KEY]


def test_where_no_second_name_can_be_given_the_file_is_moved_and_still_overwrites_nothing(
    store: FolderStore, tmp_path: Path
) -> None:
    """As on file systems without links; here the source has all the names that its file system allows."""
    names = tmp_path / "names"
    names.mkdir()
    source = tmp_path / "1.part"
    source.write_bytes(b"bytes")
    digest = hashlib.sha256(b"bytes").hexdigest()
    with pytest.raises(OSError, match="Too many links"):
        for number in range(70_000):
            (names / f"{number}").hardlink_to(source)
        pytest.skip("this file system sets no such limit")
    store.put(KEY, source, sha256=digest)
    with pytest.raises(ObjectExists):
        store.put(KEY, names / "0", sha256=digest)
    shutil.rmtree(names)
    assert store.read(KEY) == b"bytes"
    assert not source.exists()


def test_the_same_file_system_mounted_twice_is_no_obstacle(tmp_path: Path) -> None:
    """Two volumes of a container, say: one device, and yet no links across."""
    with memory_disk(tmp_path / "disk", "size=8m") as disk:
        for name in ("spool", "objects", "mounted"):
            (disk / name).mkdir()
        subprocess.run(["mount", "--bind", disk / "objects", disk / "mounted"], check=True)
        try:
            with closing(FolderStore(disk / "mounted")) as store:
                put(store, disk / "spool" / "1.part")
                assert store.read(KEY) == b"bytes"
        finally:
            subprocess.run(["umount", disk / "mounted"], check=True)


def test_a_symbolic_link_leads_nowhere(store: FolderStore, tmp_path: Path) -> None:
    """F-20: as a folder on each level, and as an object."""
    outside = tmp_path / "outside"
    (outside / "ab" / "00").mkdir(parents=True)
    (outside / "ab" / "00" / "1.dcm").write_bytes(b"secret")
    root = tmp_path / "data"
    (root / "obj" / "cd").mkdir(parents=True)
    (root / "obj" / "ab").symlink_to(outside / "ab")
    (root / "obj" / "cd" / "00").symlink_to(outside / "ab" / "00")
    (root / "obj" / "cd" / "01").mkdir()
    (root / "obj" / "cd" / "01" / "1.dcm").symlink_to(outside / "ab" / "00" / "1.dcm")
    (root / "tomb").symlink_to(outside)
    before = files_below(outside)
    for key in ("obj/ab/00/1.dcm", "obj/cd/00/1.dcm", "obj/cd/01/1.dcm", "tomb/ab/00/1.dcm"):
        with pytest.raises(ObjectDamaged, match="symbolic link"):
            store.read(key)
        with pytest.raises(ObjectDamaged, match="symbolic link"):
            store.path(key)
    for key in ("obj/ab/00/2.dcm", "obj/cd/00/2.dcm", "tomb/2.json"):
        with pytest.raises(ObjectStoreUnavailable, match="symbolic link"):
            put(store, tmp_path / "1.part", key)
        with pytest.raises(ObjectStoreUnavailable, match="symbolic link"):
            store.put_bytes(key, b"x")
        with pytest.raises(ObjectDamaged, match="symbolic link"):
            store.delete(key)
    with pytest.raises(ObjectExists):
        put(store, tmp_path / "1.part", "obj/cd/01/1.dcm")
    store.put_bytes("obj/cd/01/1.dcm", b"ours")
    assert store.read("obj/cd/01/1.dcm") == b"ours"
    assert [info.key for info in store.keys("")] == ["obj/cd/01/1.dcm"]
    assert files_below(outside) == before
    assert (outside / "ab" / "00" / "1.dcm").read_bytes() == b"secret"


def test_a_pipe_among_the_objects_holds_nobody_up(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "data" / "obj" / "ab").mkdir(parents=True)
    os.mkfifo(tmp_path / "data" / "obj" / "ab" / "1.dcm")
    with pytest.raises(ObjectDamaged):
        store.read("obj/ab/1.dcm")
    assert list(store.keys("")) == []


def test_a_folder_is_no_object_and_an_object_no_folder(store: FolderStore, tmp_path: Path) -> None:
    put(store, tmp_path / "1.part")
    with pytest.raises(ObjectMissing):
        store.size("obj/ab")
    with pytest.raises(ObjectMissing):
        store.size(KEY + "/x")
    with pytest.raises(ObjectExists):
        put(store, tmp_path / "1.part", "obj/ab")
    with pytest.raises(ObjectExists):
        put(store, tmp_path / "1.part", KEY + "/x")
    store.delete("obj/ab")
    assert files_below(tmp_path / "data") == [KEY]


def test_only_objects_are_listed_and_in_the_order_of_their_keys(store: FolderStore, tmp_path: Path) -> None:
    keys = ["a/x", "a-b/x", "a.b/x", "a0/x", "a/x/y".replace("x/y", "z/y"), "ab/x", "a/z-1", "a/z.1", "a/z0"]
    for key in keys:
        put(store, tmp_path / "data" / "spool" / "1.part", key)
    root = tmp_path / "data"
    (root / "spool" / "2.part").write_bytes(b"being received")
    (root / ".store-id").write_text("id")
    (root / "index.sqlite").write_bytes(b"")
    (root / "a" / "Thumbs.db").write_bytes(b"")
    (root / "a" / ".hidden").mkdir()
    keys.sort()
    assert [info.key for info in store.keys("")] == keys
    for at, key in enumerate(keys):
        assert [info.key for info in store.keys("", after=key)] == keys[at + 1 :]
        assert [info.key for info in store.keys(key[:2])] == [other for other in keys if other.startswith(key[:2])]


def test_the_folder_of_an_object_goes_with_it(store: FolderStore, tmp_path: Path) -> None:
    put(store, tmp_path / "1.part")
    put(store, tmp_path / "1.part", KEY.replace("1.dcm", "2.dcm"))
    leaf = (tmp_path / "data" / KEY).parent
    store.delete(KEY)
    assert leaf.exists()
    store.delete(KEY.replace("1.dcm", "2.dcm"))
    assert not leaf.exists()
    assert leaf.parent.exists()


def test_deleting_beside_a_put_takes_no_folder_from_under_it(store: FolderStore, tmp_path: Path) -> None:
    def work(number: int) -> None:
        source = tmp_path / f"{number}.part"
        for round_ in range(40):
            key = f"obj/ab/00/{number}-{round_}.dcm"
            put(store, source, key)
            assert store.read(key) == b"bytes"
            store.delete(key)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert files_below(tmp_path / "data") == []


def test_what_a_crash_left_is_tidied_and_what_is_being_written_is_not(store: FolderStore, tmp_path: Path) -> None:
    store.put_bytes("derived/1", b"x")
    left = tmp_path / "data" / ".unfinished" / "left"
    left.write_bytes(b"half")
    fresh = left.with_name("fresh")
    fresh.write_bytes(b"half")
    os.utime(left, (0, 0))
    assert store.tidy() == 1
    assert files_below(tmp_path / "data") == [".unfinished/fresh", "derived/1"]


def test_a_stream_reads_nothing_once_it_was_left(store: FolderStore, tmp_path: Path) -> None:
    """Its descriptor may be another file's by then."""
    put(store, tmp_path / "1.part")
    with store.stream(KEY) as chunks:
        pass
    with (tmp_path / "other").open("w+b") as other:
        other.write(b"another patient's bytes")
        other.flush()
        with pytest.raises(ValueError, match="closed"):
            next(chunks)


def test_no_descriptor_is_left_open(store: FolderStore, tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    put(store, tmp_path / "1.part")
    before = descriptors()
    for number in range(10):
        put(store, tmp_path / "1.part", f"obj/ab/{number}/1.dcm")
        with suppress(ObjectExists):
            put(store, tmp_path / "1.part", f"obj/ab/{number}/1.dcm")
        with suppress(ObjectMissing):
            store.read("obj/ab/none/1.dcm")
        with suppress(ObjectDamaged), store.stream(KEY, 0, 100):
            pass
        with store.stream(KEY) as chunks:
            next(chunks)
        list(store.keys(""))
        store.check()
        store.delete(f"obj/ab/{number}/1.dcm")
    assert descriptors() == before


def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "data")
    put(store, tmp_path / "1.part")
    store.close()
    store.close()
    with pytest.raises(ObjectStoreUnavailable):
        store.read(KEY)
    with pytest.raises(ObjectStoreUnavailable):
        put(store, tmp_path / "1.part")
    with pytest.raises(ObjectStoreUnavailable):
        list(store.keys(""))
