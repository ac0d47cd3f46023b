"""F-02: what a start makes of stores whose names and rows the disk had not been told when the power went."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gateway.recover import recover
from storage import Archive, open_archive
from storage.index.sqlite import driver
from tests.gateway.stored import put
from tests.parts.datasets import ct_slice

Cut = Callable[[], Archive]


def keep_index(archive: Archive) -> Path:
    """What the disk has of the index at this moment."""
    folder = archive.spool.folder.parent
    kept = folder / "kept.db"
    kept.unlink(missing_ok=True)
    with closing(driver().connect(folder / "index.db")) as source, closing(driver().connect(kept)) as target:
        source.backup(target)
    return kept


@pytest.fixture
def cut(archive: Archive) -> Iterator[Cut]:
    """The archive as the next start finds it: its objects now, its index as it was kept last."""
    folder = archive.spool.folder.parent
    opened: list[Archive] = []

    def start() -> Archive:
        there = folder / "cut"
        there.mkdir()
        subprocess.run(["cp", "-a", folder / "objects", there], check=True)  # with both names of a file
        (folder / "kept.db").replace(there / "index.db")
        opened.append(open_archive((there / "objects").as_uri(), f"sqlite:///{there / 'index.db'}", there / "spool"))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def arrivals(archive: Archive) -> list[Path]:
    """Files at the entrance."""
    return list((archive.spool.folder.parent / "objects" / ".arrivals").iterdir())


def file_of(archive: Archive, key: str) -> Path:
    """The file of an object."""
    return archive.spool.folder.parent / "objects" / key


def test_a_row_that_was_lost_is_made_again(archive: Archive, cut: Cut) -> None:
    keep_index(archive)
    stored = [put(archive, ct_slice(number=number)) for number in (1, 2)]
    before = {one.sop_uid: one for one in archive.locate(stored[0].study_uid)}
    again = cut()
    assert again.locate(stored[0].study_uid) == []
    assert recover(again) == 2
    assert {one.sop_uid: one for one in again.locate(stored[0].study_uid)} == before
    assert all(again.read(one) for one in before.values())
    assert [change.action for change in again.changes()] == ["create", "create"]
    assert arrivals(again) == []
    assert recover(again) == 0


def test_a_name_that_was_lost_is_given_again_with_its_row_or_without(archive: Archive, cut: Cut) -> None:
    first = put(archive, ct_slice(number=1))
    keep_index(archive)
    put(archive, ct_slice(number=2))
    found = archive.locate(first.study_uid)
    data = {one.sop_uid: archive.read(one) for one in found}
    again = cut()
    for one in found:
        file_of(again, one.key).unlink()
    assert recover(again) == 1
    assert {one.sop_uid: again.read(one) for one in again.locate(first.study_uid)} == data
    assert arrivals(again) == []


def test_what_was_deleted_or_refused_does_not_come_back(archive: Archive, cut: Cut) -> None:
    stored = put(archive, ct_slice(number=1))
    archive.delete(stored.study_uid)
    keep_index(archive)
    again = cut()
    assert len(arrivals(again)) > 0
    assert recover(again) == 0
    assert again.locate(stored.study_uid) == []
    assert arrivals(again) == []


def test_what_is_not_whole_is_dropped(archive: Archive, cut: Cut) -> None:
    keep_index(archive)
    stored = put(archive, ct_slice(number=1))
    (one,) = archive.locate(stored.study_uid)
    again = cut()
    with file_of(again, one.key).open("r+b") as file:
        file.seek(one.size - 1)
        file.write(b"\xff")
    assert recover(again) == 0
    assert again.locate(stored.study_uid) == []
    assert arrivals(again) == []
    assert put(again, ct_slice(number=1)).outcome == "stored"


def test_where_the_instance_was_stored_by_others_the_duplicate_rule_decides(archive: Archive, cut: Cut) -> None:
    keep_index(archive)
    put(archive, ct_slice(number=1))
    again = cut()
    assert put(again, ct_slice(number=1)).outcome == "stored"
    recover(again)
    (one,) = again.locate(put(again, ct_slice(number=1)).study_uid)
    assert again.read(one)
