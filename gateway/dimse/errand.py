"""Tasks that are one request each to a peer, all of a batch on one association of one service."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from gateway.dicom.uids import EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN
from gateway.dimse.limits import Limits
from gateway.dimse.scu import PeerFailure, Requestor
from gateway.settings import Settings
from gateway.tasks import Outcome
from storage.tasks import Task

Work = Callable[[Requestor, Task, int], Outcome]
"""Does one task on the association; the number is the Message ID it may use."""


def run(
    settings: Settings, limits: Limits, tasks: Sequence[Task], sop_class_uid: str, work: Work, *, as_scp: bool = False
) -> Generator[Outcome, None, None]:
    """Do the tasks for the peer whose AE title is their target. `as_scp`: we are the service's provider (NET-08)."""
    peer = next((one for one in settings.peers if one.aet == tasks[0].target), None)
    if peer is None:
        for task in tasks:
            yield Outcome(task, "no_such_peer", final=True)
        return
    contexts = [(sop_class_uid, (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN))]
    left = list(tasks)
    try:
        with Requestor(
            peer, settings, contexts, limits=limits, scp_of=[sop_class_uid] if as_scp else []
        ) as association:
            for number, task in enumerate(tasks, 1):
                yield work(association, task, number)
                left.remove(task)
    except PeerFailure as failure:
        for task in left:
            yield Outcome(task, failure.reason)
