"""Sending instances to peers outside of any C-MOVE: forwarding rules and `gantry send` (PS3.4 B)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from gateway.dimse.limits import Limits
from gateway.dimse.scu import PeerFailure, Requestor
from gateway.dimse.sending import CutShort, Sender, Sent, proposals
from gateway.forwarding import instances
from gateway.settings import Peer, Settings
from gateway.tasks import Outcome
from storage.archive import Archive
from storage.records import Located
from storage.tasks import Task


def deliver(
    archive: Archive, settings: Settings, peer: Peer, found: Sequence[Located], limits: Limits
) -> Iterator[Sent]:
    """Send instances to `peer` on as few associations as they need; one result each, in any order.

    Raises PeerFailure: those without a result were not sent.
    """
    for contexts, some in proposals(found):
        left = list(some)
        while left:
            try:
                with Requestor(peer, settings, contexts, limits=limits) as association:
                    for sent in Sender(archive, association, association.accepted).send(tuple(left)):
                        left.pop(0)
                        yield sent
            except CutShort:  # this instance is of no use, those after it may be
                yield Sent(left.pop(0), None, "damaged")


class Deliveries:
    """Handles tasks whose target is the AE title of a peer: all of a batch on one association, where it can be."""

    def __init__(self, archive: Archive, settings: Settings, limits: Limits | None = None) -> None:
        self._archive = archive
        self._settings = settings
        self._limits = limits or Limits()

    def __call__(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        """See `gateway.tasks.Handler`."""
        peer = next((one for one in self._settings.peers if one.aet == tasks[0].target), None)
        wanted: dict[str, list[Task]] = {}
        found: dict[str, Located] = {}
        for task, located in instances(self._archive, tasks):
            if peer is None:
                yield Outcome(task, "no_such_peer", final=True)
            elif located is None:  # it was deleted: there is nothing to send
                yield Outcome(task)
            else:
                wanted.setdefault(located.sop_uid, []).append(task)
                found[located.sop_uid] = located
        if peer is None:
            return
        try:
            for sent in deliver(self._archive, self._settings, peer, list(found.values()), self._limits):
                for task in wanted.pop(sent.located.sop_uid):
                    yield _outcome(task, sent)
        except PeerFailure as failure:
            for some in wanted.values():
                for task in some:
                    yield Outcome(task, failure.reason)


def _outcome(task: Task, sent: Sent) -> Outcome:
    if sent.stored:
        return Outcome(task)
    if sent.status is None:
        return Outcome(task, sent.reason, final=sent.reason in ("no_context", "damaged"))
    # out of resources may pass; whatever else the peer says of this instance, it would say again (PS3.4 B.2.3)
    return Outcome(task, f"status_{sent.status:04X}", final=sent.status >> 8 != 0xA7)
