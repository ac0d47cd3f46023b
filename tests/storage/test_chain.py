"""The log that shows tampering: every change of it is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.chain import Chain, Head, entries, files, remove_before, verify


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, dict[str, Head]]:
    """A chain of ten entries."""
    chain = Chain(tmp_path, "one")
    for number in range(5):
        chain.append([{"what": f"a{number}"}, {"what": 'with "quotes"\n', "hash": "x"}])
    chain.close()
    return tmp_path, {"one": chain.head}


def test_what_was_written_holds(written: tuple[Path, dict[str, Head]]) -> None:
    folder, heads = written
    assert verify(folder, heads) == []
    (path,) = files(folder)
    found = list(entries(path))
    assert [entry["n"] for entry in found] == list(range(2, 12))  # the first line names the file
    assert heads["one"].number == 11
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("line", range(11))
@pytest.mark.parametrize("how", ["changed", "removed", "doubled", "swapped", "rewritten"])
def test_any_change_is_found(written: tuple[Path, dict[str, Head]], line: int, how: str) -> None:
    """S-82"""
    folder, heads = written
    (path,) = files(folder)
    lines = path.read_bytes().splitlines(keepends=True)
    match how:
        case "changed":
            lines[line] = lines[line].replace(b'{"n":', b'{"N":', 1)
        case "removed":
            del lines[line]
        case "doubled":
            lines.insert(line, lines[line])
        case "swapped":
            other = (line + 1) % 11
            lines[line], lines[other] = lines[other], lines[line]
        case _:  # with a hash of its own that is right
            forged = Chain(folder / "forged", "one")
            forged.append({"what": "forged"} for _ in range(line + 1))
            forged.close()
            (false,) = files(folder / "forged")
            line = max(1, line)  # the first line of a file is the same in both
            lines[line] = false.read_bytes().splitlines(keepends=True)[line]
    path.write_bytes(b"".join(lines))
    assert verify(folder, heads), lines


def test_a_tail_that_was_cut_off_is_missed(written: tuple[Path, dict[str, Head]]) -> None:
    """S-82: by who was told of the head; so is a chain that is gone."""
    folder, heads = written
    (path,) = files(folder)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))
    assert verify(folder, {}) == []
    assert [fault.what for fault in verify(folder, heads)] == ["the end of this chain is missing or was changed"]
    path.unlink()
    assert verify(folder, heads)


def test_entries_after_the_head_that_is_known_are_no_fault(tmp_path: Path) -> None:
    chain = Chain(tmp_path, "one")
    chain.append([{"a": 1}])
    heads = {"one": chain.head}
    chain.append([{"a": 2}])
    chain.close()
    assert verify(tmp_path, heads) == []


def test_old_files_may_go_whole(tmp_path: Path) -> None:
    days = iter([1_500_000_000.0, 1_600_000_000.0, 1_600_000_000.0])
    chain = Chain(tmp_path, "one", lambda: next(days))
    chain.append([{"a": 1}])
    chain.append([{"a": 2}])
    chain.close()
    heads = {"one": chain.head}
    old, new = files(tmp_path)
    assert verify(tmp_path, heads) == []
    assert remove_before(tmp_path, 1_550_000_000) == 1
    assert files(tmp_path) == [new] and old != new
    assert verify(tmp_path, heads) == []
    lines = new.read_bytes().splitlines(keepends=True)
    new.write_bytes(b"".join(lines[1:]))
    assert [fault.what for fault in verify(tmp_path, heads)] == ["the beginning of this file is missing"]
