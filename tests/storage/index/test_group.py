"""Group commit: who waits together is committed together."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage.index.group import GroupCommit


def test_callers_that_wait_at_the_same_time_share_a_batch() -> None:
    batches: list[int] = []
    first_is_in, go_on = threading.Event(), threading.Event()

    def commit(items: Sequence[int]) -> list[int | Exception]:
        batches.append(len(items))
        if len(batches) == 1:
            first_is_in.set()
            go_on.wait(10)
        return [item * 2 for item in items]

    group: GroupCommit[int, int] = GroupCommit(commit)
    with ThreadPoolExecutor(9) as threads:
        leader = threads.submit(group.submit, 0)
        first_is_in.wait(10)
        others = [threads.submit(group.submit, number) for number in range(1, 9)]
        while len(group._waiting) < 8:
            pass
        go_on.set()
        assert [future.result(10) for future in [leader, *others]] == [0, 2, 4, 6, 8, 10, 12, 14, 16]
    assert batches == [1, 8]


def test_each_caller_gets_its_own_error_and_a_failed_batch_fails_all() -> None:
    def commit(items: Sequence[int]) -> list[int | Exception]:
        if 13 in items:
            raise OSError("the whole transaction")
        return [ValueError(str(item)) if item < 0 else item for item in items]

    group: GroupCommit[int, int] = GroupCommit(commit)
    assert group.submit(1) == 1
    with pytest.raises(ValueError, match="-1"):
        group.submit(-1)
    with pytest.raises(OSError, match="whole transaction"):
        group.submit(13)
    assert group.submit(2) == 2


def test_a_batch_has_a_largest_size_and_nobody_is_forgotten() -> None:
    sizes: list[int] = []

    def commit(items: Sequence[int]) -> list[int | Exception]:
        sizes.append(len(items))
        return list(items)

    group: GroupCommit[int, int] = GroupCommit(commit, most=4)
    with ThreadPoolExecutor(16) as threads:
        assert sorted(threads.map(group.submit, range(200))) == list(range(200))
    assert max(sizes) <= 4
    assert sum(sizes) == 200


def test_who_comes_while_others_are_committed_leads_the_next_batch_itself() -> None:
    leaders: list[str] = []
    first_is_in, go_on = threading.Event(), threading.Event()

    def commit(items: Sequence[str]) -> list[str | Exception]:
        leaders.append(threading.current_thread().name)
        if len(leaders) == 1:
            first_is_in.set()
            go_on.wait(10)
        return list(items)

    group: GroupCommit[str, str] = GroupCommit(commit, most=2)
    threads = [threading.Thread(target=group.submit, args=(name,), name=name) for name in "abcdef"]
    threads[0].start()
    first_is_in.wait(10)
    for number, thread in enumerate(threads[1:], 1):
        thread.start()
        while len(group._waiting) < number:
            pass
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert leaders == ["a", "b", "d", "f"]
