"""One SQLite index in several processes of a gateway: each has it open beside the first."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from storage.errors import IndexBusy
from storage.index import Added
from storage.index.sqlite import SAFE_VERSION, SqliteIndex, driver
from tests.storage.records import record


def test_writers_of_all_of_them_take_turns(tmp_path: Path) -> None:
    """F-35, F-46: no count is lost, no instance is there twice, nobody is told that the index is busy."""
    path = tmp_path / "index.db"
    first = SqliteIndex(path)
    assert first.share()
    others = [SqliteIndex(path, beside=True) for _ in range(3)]
    added: list[Added] = []

    def write(index: SqliteIndex, offset: int) -> None:
        for number in range(40):
            # every second one is offered by all of them
            added.append(index.add(record(f"1.2.3.1.{number if number % 2 else 1000 * offset + number}")))

    threads = [threading.Thread(target=write, args=(index, place + 1)) for place, index in enumerate(others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert added.count(Added.STORED) == 3 * 20 + 20
    assert added.count(Added.DUPLICATE) == 2 * 20
    assert {index.count() for index in (first, *others)} == {(1, 1, 80)}
    for index in others:
        index.close()
    first.close()


def test_strangers_are_kept_out_as_long_as_one_has_it_open(tmp_path: Path) -> None:
    """F-40"""
    path = tmp_path / "index.db"
    first = SqliteIndex(path)
    other = SqliteIndex(path, beside=True)
    with pytest.raises(IndexBusy):
        SqliteIndex(path)
    other.close()
    with pytest.raises(IndexBusy):
        SqliteIndex(path)
    first.close()
    SqliteIndex(path).close()


def test_sqlite_has_no_fault_in_its_log() -> None:
    """F-41: the driver that comes with us; older ones corrupt an index that two connections checkpoint at once."""
    assert driver().sqlite_version_info >= SAFE_VERSION
