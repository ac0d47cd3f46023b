"""C-GET: instances are sent on the association that asks for them (PS3.4 C.4.3, PS3.7 9.1.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.dimse import commands
from gateway.dimse.requests import ProtocolError
from gateway.dimse.sending import CutShort, Sender, Sent
from gateway.dimse.sub_operations import RetrieveService
from storage.records import Located


class GetService(RetrieveService):
    """C-GET as a service class provider: on contexts for which the peer took the SCP role (NET-08)."""

    command = "C-GET"
    field = commands.C_GET_RQ

    def send_all(self, found: Sequence[Located]) -> Iterator[Sent]:
        """See RetrieveService."""
        sender = Sender(self._archive, self._acceptor.messages, self._contexts(), priority=self._request.Priority or 0)
        try:
            yield from sender.send(found)
        except CutShort as error:
            raise ProtocolError(ProtocolError.NOT_SPECIFIED, "an instance could not be sent to its end") from error

    def _contexts(self) -> dict[str, dict[str, int]]:
        contexts: dict[str, dict[str, int]] = {}
        for context in self._acceptor.accepted_contexts:
            if (abstract := str(context.abstract_syntax)) in self._acceptor.returned:
                by_syntax = contexts.setdefault(abstract, {})
                by_syntax.setdefault(str(context.transfer_syntax[0]), context.context_id or 0)
        return contexts
