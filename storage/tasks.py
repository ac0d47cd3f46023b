"""Work that has to be done later, and must not be forgotten: reports, notifications, instances to be sent on."""

from __future__ import annotations

from dataclasses import dataclass

WAITING, RUNNING, FAILED = "waiting", "running", "failed"
"""States of a task: to be done once it is due; claimed by a worker until it is due again; given up, and kept to be
looked at."""


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to be entered. `kind` says what to do and `target` for whom; `payload` is whatever the doer needs.

    `key` is unique: entering a task again changes nothing, or with `postpone` has it wait until the new `due_at`
    (seconds since the epoch), even while it is being done: then it is done once more. `claimed` enters it as running:
    by the caller itself, until it is due.
    """

    kind: str
    target: str
    key: str
    payload: str
    due_at: float
    postpone: bool = False
    claimed: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it stands. `attempts` counts those that failed; `error` is the last one's, in a few words."""

    id: int
    kind: str
    target: str
    key: str
    payload: str
    state: str
    attempts: int
    due_at: float
    created_at: float
    error: str
