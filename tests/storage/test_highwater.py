"""An index that is older than its objects is noticed, and then nothing is swept."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from storage import Archive, open_archive
from storage.errors import IndexBehind
from storage.highwater import MARKS, NOTE, HighWater
from storage.versions import OBJECTS, new_version, object_key, version_time

DAY = 86_400.0


def opened(folder: Path, index: str = "index.db") -> Archive:
    """An archive of this folder, with one of its indexes."""
    return open_archive((folder / "objects").as_uri(), f"sqlite:///{folder / index}", folder / "spool")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with closing(opened(tmp_path)) as made:
        yield made


def marks(archive: Archive) -> list[str]:
    """Those of the store."""
    return [info.key.removeprefix(MARKS) for info in archive.objects.keys(MARKS)]


def test_index_and_store_get_the_same_mark_and_only_the_last_one_stays(archive: Archive) -> None:
    """Also when nothing was ever stored, and by two that advance in turn."""
    other = HighWater(archive.objects, archive.index)
    for water in (archive.high_water, other, archive.high_water):
        assert water.advance(every=0.0) is None
        assert marks(archive) == [(archive.index.note(NOTE) or "").partition("/")[0]]
    (last,) = marks(archive)
    assert other.advance(every=60.0) is None  # somebody has just done it
    assert marks(archive) == [last]
    archive.high_water.check()


def test_an_index_from_a_backup_is_noticed_and_stays_so_until_it_is_settled(tmp_path: Path) -> None:
    """F-43: also after more was stored with it, and it was given marks of its own."""
    with closing(opened(tmp_path)) as archive:
        archive.high_water.advance(every=0.0)
        (known,) = marks(archive)
    shutil.copy(tmp_path / "index.db", tmp_path / "backup.db")
    with closing(opened(tmp_path)) as archive:
        archive.high_water.advance(every=0.0)
    for _ in range(2):
        with closing(opened(tmp_path, "backup.db")) as old:
            assert old.high_water.behind() == version_time(known)
            assert old.high_water.advance(every=0.0) == version_time(known)
            with pytest.raises(IndexBehind):
                old.high_water.check()
            with pytest.raises(IndexBehind):
                old.sweep(time.time() + 3 * DAY)
    with closing(opened(tmp_path, "backup.db")) as old:
        old.high_water.settle()
        old.high_water.check()
        assert old.sweep(time.time() + 3 * DAY) == 0


def test_an_index_that_never_had_a_mark_over_a_store_with_one_is_old(tmp_path: Path) -> None:
    """F-43: a backup of a version that knew no marks."""
    with closing(opened(tmp_path)) as archive:
        shutil.copy(tmp_path / "index.db", tmp_path / "backup.db")
        archive.high_water.advance(every=0.0)
    with closing(opened(tmp_path, "backup.db")) as old:
        assert old.high_water.behind() == 0.0


def test_a_mark_that_only_the_index_has_is_no_alarm(archive: Archive) -> None:
    """A crash between the two: the index is always the first to be told."""
    archive.high_water.advance(every=0.0)
    archive.index.set_note(NOTE, f"{new_version()}/0")
    assert archive.high_water.advance(every=0.0) is None
    assert len(marks(archive)) == 1


def test_a_clock_that_goes_back_is_no_alarm(archive: Archive) -> None:
    """F-66: marks go on from the last one."""
    ahead = new_version(time.time() + 3650 * DAY)
    archive.index.set_note(NOTE, f"{ahead}/0")
    archive.objects.put_bytes(MARKS + ahead, b"")
    for _ in range(2):
        assert archive.high_water.advance() is None
    (mark,) = marks(archive)
    assert mark > ahead


def test_more_orphans_than_crashes_leave_are_not_swept(archive: Archive) -> None:
    """F-43: objects that the marks say nothing about, of days ago: noticed by their number alone."""
    long_ago = time.time() - 9 * DAY
    keys = [object_key(f"1.2.{n}", new_version(long_ago + n)) for n in range(101)]
    for key in keys:
        archive.objects.put_bytes(key, b"acknowledged, maybe")
    archive.sweep(time.time())
    with pytest.raises(IndexBehind) as refused:
        archive.sweep(time.time() + 2 * DAY)
    assert abs(refused.value.since - long_ago) < 1
    assert len(list(archive.objects.keys(OBJECTS))) == 101
    with pytest.raises(IndexBehind):
        archive.sweep(time.time() + 9 * DAY)
    archive.high_water.settle()
    archive.objects.delete(keys[0])
    assert archive.sweep(time.time() + 9 * DAY) == 100
