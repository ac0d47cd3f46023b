"""Files being received."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from storage.errors import ObjectStoreFull, ObjectStoreUnavailable, SpoolBusy
from storage.spool import Spool, spool_error
from storage.versions import new_version


def test_a_spool_file_is_new_private_and_readable(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    version = new_version()
    path, file = spool.create(version)
    with file:
        file.write(b"data")
        file.seek(0)
        assert file.read() == b"data"
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(ObjectStoreUnavailable):
        spool.create(version)


def test_cleaning_removes_spool_files_and_nothing_else(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for _ in range(3):
        spool.create(new_version())[1].close()
    (tmp_path / "other").touch()
    assert spool.clean() == 3
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_what_a_process_left_that_ended_goes_and_that_of_others_stays(tmp_path: Path) -> None:
    """F-01, N: one of several that share a spool is replaced while the others receive."""
    pid = os.fork()
    if not pid:
        Spool(tmp_path).create(new_version())[1].close()
        os._exit(0)
    os.waitpid(pid, 0)
    spool = Spool(tmp_path)
    own, file = spool.create(new_version())
    file.close()
    assert spool.clean(pid) == 1
    assert list(tmp_path.iterdir()) == [own]


def test_the_reserve_is_never_used_up(tmp_path: Path) -> None:
    """F-10"""
    with pytest.raises(ObjectStoreFull):
        Spool(tmp_path, reserve=1 << 60).create(new_version())
    with pytest.raises(ObjectStoreFull):
        Spool(tmp_path, reserve=1 << 60).check()
    Spool(tmp_path, reserve=1).check()


def test_a_spool_folder_that_was_cleaned_away_is_made_again(tmp_path: Path) -> None:
    """F-69"""
    spool = Spool(tmp_path / "spool")
    spool.folder.rmdir()
    spool.create(new_version())[1].close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE])
def test_running_out_is_full(number: int) -> None:
    """F-12, F-15, F-68"""
    assert isinstance(spool_error(OSError(number, os.strerror(number))), ObjectStoreFull)


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.EACCES])
def test_a_failing_disk_is_unavailable(number: int) -> None:
    """F-12, F-14"""
    assert isinstance(spool_error(OSError(number, os.strerror(number))), ObjectStoreUnavailable)


def test_beyond_the_budget_only_the_oldest_transfer_grows(tmp_path: Path) -> None:
    """F-73: so one always gets through, and what it took is given back."""
    spool = Spool(tmp_path, budget=100)
    first, second = spool.admit(), spool.admit()
    second.add(60)
    with pytest.raises(SpoolBusy):
        second.add(40)
    first.add(1000)
    with pytest.raises(SpoolBusy):
        spool.admit()
    with pytest.raises(SpoolBusy):
        spool.check_budget()
    first.close()
    first.close()
    assert spool.in_flight == 60
    second.add(1000)  # the oldest by now
    second.close()
    assert spool.in_flight == 0
    spool.check_budget()
