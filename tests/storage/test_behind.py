"""Small derived files: given at once, written afterwards, made once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.behind import Behind
from storage.derived import Derived
from storage.errors import ObjectStoreUnavailable


@pytest.fixture
def derived(tmp_path: Path) -> Derived:
    return Derived(tmp_path / "derived", 1 << 20)


@pytest.fixture
def behind(derived: Derived) -> Iterator[Behind]:
    made = Behind(derived)
    yield made
    made.close()


def refuses() -> bytes:
    raise AssertionError("this is there already")


def content(derived: Derived, key: str) -> bytes | None:
    file = derived.find(key)
    return None if file is None else b"".join(file.pieces())


def test_what_was_made_is_given_at_once_and_is_a_file_later(behind: Behind, derived: Derived) -> None:
    assert behind.get("key", lambda: b"picture") == b"picture"
    assert behind.get("key", refuses) == b"picture"
    behind.settle()
    assert content(derived, "key") == b"picture"
    assert behind.get("key", refuses) == b"picture"
    again = Behind(Derived(derived.folder, 1 << 20))
    assert again.get("key", refuses) == b"picture", "another process finds it, too"


def test_many_who_ask_at_once_share_one_making(behind: Behind) -> None:
    begun, go_on = threading.Event(), threading.Event()
    makings: list[None] = []

    def make() -> bytes:
        makings.append(None)
        begun.set()
        assert go_on.wait(30)
        return b"picture"

    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(behind.get, "key", make)]
        assert begun.wait(30)
        found += [pool.submit(behind.get, "key", make) for _ in range(7)]
        assert behind.get("another", lambda: b"not held up") == b"not held up"
        go_on.set()
        assert {one.result(30) for one in found} == {b"picture"}
    assert len(makings) == 1


def test_an_error_is_not_remembered(behind: Behind) -> None:
    with pytest.raises(AssertionError):
        behind.get("key", refuses)
    assert behind.get("key", lambda: b"now") == b"now"


def test_what_stops_one_thread_is_another_error_for_those_who_wait(behind: Behind) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def interrupted() -> bytes:
        begun.set()
        assert go_on.wait(30)
        raise KeyboardInterrupt

    def first() -> None:
        with pytest.raises(KeyboardInterrupt):
            behind.get("key", interrupted)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(first)
        assert begun.wait(30)
        other = pool.submit(behind.get, "key", refuses)
        go_on.set()
        one.result(30)
        with pytest.raises((ObjectStoreUnavailable, AssertionError)):  # it may have come after the first was over
            other.result(30)


def test_where_too_much_waits_whoever_made_more_writes_it(derived: Derived) -> None:
    behind = Behind(derived, most=10)
    assert behind.get("long", lambda: bytes(11)) == bytes(11)
    assert content(derived, "long") == bytes(11)
    behind.close()


def test_closing_writes_what_waits_and_what_comes_after_it_is_written_at_once(derived: Derived) -> None:
    behind = Behind(derived)
    for number in range(20):
        behind.get(str(number), lambda: b"x")
    behind.close()
    assert [content(derived, str(number)) for number in range(20)] == [b"x"] * 20
    assert behind.get("late", lambda: b"late") == b"late"
    assert content(derived, "late") == b"late"


def test_without_room_it_is_given_and_not_kept(tmp_path: Path) -> None:
    """F-10: the reserve of the disk is larger than the disk."""
    full = Derived(tmp_path / "full", 1 << 20, reserve=1 << 60)
    behind = Behind(full)
    assert behind.get("key", lambda: b"picture") == b"picture"
    behind.close()
    assert content(full, "key") is None
    assert not [path for path in full.folder.rglob("*") if path.is_file()]


def test_who_waits_too_long_for_a_turn_is_sent_away(tmp_path: Path) -> None:
    behind = Behind(Derived(tmp_path / "derived", 1 << 20, at_once=1, patience=0.05))
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> bytes:
        begun.set()
        assert go_on.wait(30)
        return b"slow"

    with ThreadPoolExecutor(1) as pool:
        one = pool.submit(behind.get, "one", slow)
        assert begun.wait(30)
        with pytest.raises(ObjectStoreUnavailable):
            behind.get("another", lambda: b"quick")
        go_on.set()
        assert one.result(30) == b"slow"
    behind.close()
