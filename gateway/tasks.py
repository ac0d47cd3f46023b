"""Work that is done later and never forgotten: what there is, when it is tried again, and its state for people.

Tasks are rows of the index. They are entered when something happened, claimed and done by `gateway.workers`, and
tried again with growing delays when a peer is away (F-62).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass

import orjson

from gateway.errors import Unavailable
from storage.archive import Archive
from storage.errors import StorageError
from storage.tasks import NewTask, Task

FORWARD, COMMITMENT, NOTIFICATION, WEBHOOK = "forward", "commitment", "notification", "webhook"
"""Kinds of tasks: send an instance on; report on a storage commitment; tell a peer that a study is available; tell a
web server of changes."""

FIRST_DELAY = 10.0
LONGEST_DELAY = 86_400.0
PATIENCE = 7 * 86_400.0
"""Seconds after which a task that still fails is given up, and kept to be looked at."""

KEPT = 30 * 86_400.0
"""Seconds after which a task that was given up is forgotten."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one task: done when `error` is empty, else to be tried again, or (`final`) given up."""

    task: Task
    error: str = ""
    final: bool = False


Handler = Callable[[Sequence[Task]], Generator[Outcome, None, None]]
"""Does tasks of one kind and target; one outcome each. Those without one are tried again soon."""


def next_attempt(task: Task, now: float) -> float | None:
    """When a task that has failed once more is due again: 10 s, 20 s, 40 s and so on up to a day; None to give up.

    A little chance keeps tasks that failed together from coming back together.
    """
    if now - task.created_at > PATIENCE:
        return None
    delay = min(FIRST_DELAY * 2.0 ** min(task.attempts, 20), LONGEST_DELAY)
    return now + delay * random.uniform(0.9, 1.1)


def payload(**values: object) -> str:
    """Values as a task's payload."""
    return orjson.dumps(values).decode()


def enter(archive: Archive, tasks: Sequence[NewTask]) -> int:
    """Enter tasks; returns how many were new. Raises Unavailable."""
    try:
        return archive.index.enqueue(tasks, time.time()) or 0
    except StorageError as error:
        raise _unavailable() from error


def find(archive: Archive, key: str) -> Task | None:
    """The task of this key. Raises Unavailable."""
    try:
        return archive.index.task(key)
    except StorageError as error:
        raise _unavailable() from error


def number(archive: Archive, kind: str, target: str | None = None) -> int:
    """How many tasks of this kind there are, for one target or all, those that were given up included.

    Raises Unavailable.
    """
    try:
        return sum(count for (one, _), count in archive.index.task_counts(target).items() if one == kind)
    except StorageError as error:
        raise _unavailable() from error


def settle(archive: Archive, outcomes: Iterable[Outcome]) -> None:
    """Write outcomes down. Raises Unavailable."""
    now = time.time()
    done: list[int] = []
    failed: dict[tuple[str, float | None], list[int]] = {}
    for outcome in outcomes:
        if not outcome.error:
            done.append(outcome.task.id)
        else:
            again = None if outcome.final else next_attempt(outcome.task, now)
            failed.setdefault((outcome.error, again), []).append(outcome.task.id)
    try:
        archive.index.done(done)
        for (error, again), ids in failed.items():
            archive.index.fail(ids, error, again)
    except StorageError as error:
        raise _unavailable() from error


def release(archive: Archive, tasks: Sequence[Task], seconds: float = 0.0) -> None:
    """Give tasks back that were not tried. Raises Unavailable."""
    try:
        archive.index.release([task.id for task in tasks], time.time() + seconds)
    except StorageError as error:
        raise _unavailable() from error


def _unavailable() -> Unavailable:
    return Unavailable("the index does not answer; try again")
