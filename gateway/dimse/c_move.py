"""C-MOVE: instances are sent to a node of the settings, on an association of our own (PS3.4 C.4.2, PS3.7 9.1.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.dimse import commands
from gateway.dimse.association import Acceptor
from gateway.dimse.limits import Limits
from gateway.dimse.scu import PeerFailure, Requestor
from gateway.dimse.sending import CutShort, Originator, Sender, Sent, proposals
from gateway.dimse.statuses import UnknownDestination
from gateway.dimse.sub_operations import RetrieveService
from gateway.logs import get_logger
from gateway.settings import Settings
from storage.archive import Archive
from storage.attributes import Level
from storage.records import Located

log = get_logger(__name__)


class MoveService(RetrieveService):
    """C-MOVE as a service class provider. Destinations come from the settings alone, never from the wire (S-13)."""

    command = "C-MOVE"
    field = commands.C_MOVE_RQ

    def __init__(self, assoc: Acceptor, archive: Archive, top: Level, settings: Settings, limits: Limits) -> None:
        super().__init__(assoc, archive, top)
        self._settings = settings
        self._limits = limits

    def check(self) -> None:
        """See RetrieveService. Raises UnknownDestination."""
        wanted = str(getattr(self._request, "MoveDestination", "") or "").strip()
        peer = next((one for one in self._settings.peers if one.aet == wanted), None)
        if peer is None:
            raise UnknownDestination("the Move Destination is not among the peers in the settings")
        self._peer = peer

    def send_all(self, found: Sequence[Located]) -> Iterator[Sent]:
        """See RetrieveService. What cannot be sent since the destination is away counts as failed."""
        originator = Originator(self._acceptor.requestor.ae_title, self._request.MessageID or 0)
        for contexts, some in proposals(found):
            left = list(some)
            reason = ""
            while left and not reason:
                try:
                    with Requestor(
                        self._peer, self._settings, contexts, limits=self._limits, waiting=self.tick
                    ) as association:
                        sender = Sender(
                            self._archive,
                            association,
                            association.accepted,
                            originator=originator,
                            priority=self._request.Priority or 0,
                        )
                        for sent in sender.send(tuple(left)):
                            left.pop(0)
                            yield sent
                except CutShort:  # this instance is of no use, those after it may be
                    yield Sent(left.pop(0), None, "damaged")
                except PeerFailure as failure:
                    reason = failure.reason
                    log.warning("destination_failed", destination=self._peer.aet, reason=reason)
            for one in left:
                yield Sent(one, None, reason)
