"""What leaves without anybody waiting for it: forwarding and `gantry send`, told to the audit (PS3.15 A.5.3)."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence

from gateway.audit import FAILED, SUCCESS, Audit, Event
from gateway.forwarding import instances
from gateway.tasks import Handler, Outcome
from gateway.trail import MOST_STUDIES
from storage.archive import Archive
from storage.tasks import Task


def audited(handler: Handler, archive: Archive, audit: Audit) -> Handler:
    """`handler`, with two events for each batch: that it begins, and how it ended."""

    def handle(batch: Sequence[Task]) -> Generator[Outcome, None, None]:
        """See `gateway.tasks.Handler`."""
        there = {task.id: located.study_uid for task, located in instances(archive, batch) if located is not None}
        if not there:
            yield from handler(batch)
            return
        operation = f"forward {batch[0].target}"
        sent: list[str] = []
        audit.record(_event("begin", operation, SUCCESS, list(there.values())))
        try:
            for outcome in handler(batch):
                if not outcome.error and outcome.task.id in there:
                    sent.append(there[outcome.task.id])
                yield outcome
        finally:
            good = len(sent) == len(there)
            audit.record(
                _event("send", operation, SUCCESS if good else FAILED, sent or list(there.values()), len(sent))
            )

    return handle


def _event(action: str, operation: str, outcome: str, studies: Sequence[str], count: int = 0) -> Event:
    named = tuple((study, None) for study in list(dict.fromkeys(studies))[:MOST_STUDIES])
    return Event(action, operation, outcome, who="forwarding", door="tasks", studies=named, count=count, at=time.time())
