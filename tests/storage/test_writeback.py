"""Writeback begun early changes nothing of a file, and needs no right to it."""

from __future__ import annotations

from pathlib import Path

from storage.writeback import begin_writeback


def test_a_file_is_as_it_was_and_may_be_written_further(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("w+b", buffering=0) as file:
        file.write(b"a" * 100_000)
        begin_writeback(file.fileno())
        file.write(b"b")
        begin_writeback(file.fileno())
    assert path.read_bytes() == b"a" * 100_000 + b"b"


def test_what_cannot_be_hastened_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with path.open("rb") as file:
        begin_writeback(file.fileno())
    begin_writeback(-1)
