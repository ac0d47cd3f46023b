"""What every index does with tasks, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from storage import open_index
from storage.index import Index
from storage.tasks import FAILED, RUNNING, WAITING, NewTask
from tests.storage.records import record


def new(key: str, due_at: float = 0.0, target: str = "PACS", kind: str = "forward", **more: Any) -> NewTask:
    return NewTask(kind, target, key, f"payload of {key}", due_at, **more)


def test_a_task_is_entered_once_and_claimed_when_due(index: Index) -> None:
    assert index.enqueue([new("a", 10.0), new("b", 5.0)], 1.0) == 2
    assert index.enqueue([new("a", 99.0), new("c", 10.0)], 2.0) == 1
    assert index.next_due() == 5.0
    assert index.claim(4.0, 60.0) == []
    (first,) = index.claim(6.0, 60.0)
    assert (first.key, first.payload, first.attempts, first.created_at) == ("b", "payload of b", 0, 1.0)
    assert [task.key for task in index.claim(10.0, 60.0)] == ["a", "c"]
    assert index.claim(65.0, 60.0) == []
    assert [task.key for task in index.claim(66.0, 60.0)] == ["b"], "the lease is over"


def test_a_claim_is_of_one_kind_and_target(index: Index) -> None:
    index.enqueue([new("a", 1.0), new("b", 2.0, "OTHER"), new("c", 3.0), new("d", 4.0, kind="ian")], 0.0)
    assert [task.key for task in index.claim(9.0, 60.0, busy=[("forward", "OTHER"), ("ian", "PACS")])] == ["a", "c"]
    assert [task.key for task in index.claim(9.0, 60.0, busy=[("forward", "OTHER")])] == ["d"]
    assert [task.key for task in index.claim(9.0, 60.0, limit=1)] == ["b"]


def test_what_fails_waits_and_counts_its_attempts(index: Index) -> None:
    """F-62"""
    index.enqueue([new("a")], 0.0)
    (task,) = index.claim(1.0, 60.0)
    index.fail([task.id], "unreachable", 100.0)
    assert index.claim(99.0, 60.0) == []
    (task,) = index.claim(100.0, 60.0)
    assert (task.attempts, task.error) == (1, "unreachable")
    index.fail([task.id], "refused", None)
    assert index.claim(1e9, 60.0) == [] and index.next_due() is None
    assert index.task_counts() == {("forward", FAILED): 1}
    assert index.retry_tasks(None, 200.0) == 1
    (task,) = index.claim(200.0, 60.0)
    index.done([task.id])
    assert index.tasks() == [] and index.task("a") is None


def test_tasks_given_back_have_not_failed(index: Index) -> None:
    index.enqueue([new("a")], 0.0)
    (task,) = index.claim(1.0, 60.0)
    index.release([task.id], 2.0)
    (task,) = index.claim(2.0, 60.0)
    assert task.attempts == 0


def test_a_target_that_is_back_gets_what_waits_for_it_at_once(index: Index) -> None:
    index.enqueue([new("a"), new("b", 500.0), new("c", target="OTHER")], 0.0)
    for _ in range(2):
        for task in index.claim(1.0, 60.0):
            index.fail([task.id], "unreachable", 1000.0)
    index.hurry("forward", "PACS", 2.0)
    assert [task.key for task in index.claim(3.0, 60.0)] == ["a"], "b was never tried, and has its own time"


def test_a_waiting_task_can_be_postponed(index: Index) -> None:
    index.enqueue([new("a", 10.0)], 0.0)
    assert index.enqueue([NewTask("forward", "PACS", "a", "newer", 20.0, postpone=True)], 1.0) == 0
    assert index.claim(19.0, 60.0) == []
    (task,) = index.claim(20.0, 60.0)
    assert task.payload == "newer"
    index.enqueue([new("a", 30.0, postpone=True)], 1.0)
    index.done([task.id])
    index.fail([task.id], "no", None)
    again = index.task("a")
    assert again is not None and (again.state, again.due_at) == (WAITING, 30.0), "it is done once more"


def test_a_task_can_be_entered_as_claimed(index: Index) -> None:
    index.enqueue([new("a", 60.0, claimed=True)], 0.0)
    assert [task.state for task in index.tasks()] == [RUNNING]
    assert index.claim(59.0, 60.0) == []
    assert [task.key for task in index.claim(60.0, 60.0)] == ["a"], "its claimant died"


def test_tasks_and_a_mark_move_together_or_not_at_all(index: Index) -> None:
    assert index.enqueue([new("a")], 0.0, ("feed", None, "7")) == 1
    assert index.note("feed") == "7"
    assert index.enqueue([new("b")], 0.0, ("feed", None, "8")) is None
    assert index.enqueue([new("b")], 0.0, ("feed", "6", "8")) is None
    assert index.note("feed") == "7"
    assert [task.key for task in index.tasks()] == ["a"]
    assert index.enqueue([new("b")], 0.0, ("feed", "7", "8")) == 1
    assert index.note("feed") == "8"


def test_tasks_are_listed_retried_and_dropped(index: Index) -> None:
    index.enqueue([new(f"t{number}", number, kind="ian" if number > 3 else "forward") for number in range(6)], 0.0)
    ids = [task.id for task in index.tasks()]
    assert [task.key for task in index.tasks(after=ids[1], limit=2)] == ["t2", "t3"]
    assert [task.key for task in index.tasks(kind="ian", state=WAITING)] == ["t4", "t5"]
    index.claim(1.0, 60.0)
    index.fail(ids[:2], "no", None)
    assert index.retry_tasks([ids[0], ids[5]], 0.5) == 2
    assert index.drop_tasks(None) == 1
    assert index.drop_tasks([ids[2], 12345]) == 1
    assert [task.key for task in index.tasks()] == ["t0", "t3", "t4", "t5"]
    assert index.task_counts() == {("forward", WAITING): 2, ("ian", WAITING): 2}


def test_many_workers_claim_each_task_once(index: Index) -> None:
    index.enqueue([new(f"t{number}") for number in range(40)], 0.0)
    barrier = threading.Barrier(4)

    def work(_number: int) -> list[str]:
        barrier.wait()
        mine: list[str] = []
        for _ in range(40):
            mine += [task.key for task in index.claim(1.0, 60.0, limit=3)]
        return mine

    with ThreadPoolExecutor(4) as threads:
        claimed = [key for mine in threads.map(work, range(4)) for key in mine]
    assert sorted(claimed) == sorted(f"t{number}" for number in range(40))


def test_the_horizon_is_the_last_change_that_all_can_see(index: Index) -> None:
    assert index.horizon() == 0
    index.add(record("1.2.3.1.1"))
    index.add(record("1.2.3.1.2"))
    assert index.horizon() == index.changes()[-1].sequence == 2


def test_tasks_outlive_the_process_and_a_cleared_index(index: Index, index_url: str) -> None:
    """F-62"""
    index.enqueue([new("a")], 0.0)
    index.clear()
    index.close()
    again = open_index(index_url)
    try:
        assert [task.key for task in again.claim(1.0, 60.0)] == ["a"]
    finally:
        again.close()


def test_large_payloads_are_claimed_a_few_at_a_time_and_never_listed(index: Index) -> None:
    """S-15: whatever peers have asked for, little of it is in memory at once."""
    index.enqueue([NewTask("commitment", "A", f"t{number}", "x" * 3_000_000, number) for number in range(4)], 0.0)
    assert [task.key for task in index.claim(9.0, 60.0)] == ["t0"]
    assert {task.payload for task in index.tasks()} == {""}
    assert len(index.claim(9.0, 60.0)[0].payload) == 3_000_000


def test_what_was_given_up_is_forgotten_in_the_end(index: Index) -> None:
    index.enqueue([new("a"), new("b")], 10.0)
    (first, _) = index.claim(11.0, 60.0)
    index.fail([first.id], "no", None)
    assert index.expire_tasks(10.0) == 0
    assert index.expire_tasks(11.0) == 1
    assert [task.key for task in index.tasks()] == ["b"]
    assert index.task_counts("PACS") == {("forward", RUNNING): 1}
    assert index.task_counts("OTHER") == {}
