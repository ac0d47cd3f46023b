"""What C-MOVE and C-GET have in common: instances are found and sent one by one, and counted (PS3.4 C.4.2, C.4.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.service_class import QueryRetrieveServiceClass

from gateway import metrics
from gateway.dicom.uids import SYNTAXES
from gateway.dimse import commands, statuses
from gateway.dimse.messages import Unanswered
from gateway.dimse.requests import ProtocolError
from gateway.dimse.retrieval import instances, understand
from gateway.dimse.sending import Sent
from gateway.dimse.transport import PeerLost
from gateway.errors import ClassNotSupported
from gateway.logs import get_logger
from storage.archive import Archive
from storage.attributes import Level
from storage.records import Located

if TYPE_CHECKING:
    from pynetdicom.presentation import PresentationContext

    from gateway.dimse.association import Acceptor

log = get_logger(__name__)

MOST = 0xFFFF
"""Instances that the counters of a response can tell of (PS3.7 9.3.3)."""

PENDING_EVERY = 0.05
"""Seconds between two pending responses at the least, so that small instances are not slowed down by them."""

SIGN_OF_LIFE = 5.0
"""Seconds after which a pending response is sent in any case, so that the peer knows we are still at it."""

FAILED_UIDS = (0x0008, 0x0058)


class Cancelled(Exception):
    """The peer has cancelled the request while a sub-operation was under way."""


class Counts:
    """The sub-operations of one request: every one is in one of the counters."""

    def __init__(self, remaining: int) -> None:
        self.remaining = remaining
        self.completed = self.failed = self.warned = 0
        self.failed_uids: list[str] = []

    def add(self, sent: Sent) -> None:
        """Count one result."""
        self.remaining -= 1
        if sent.warned:
            self.warned += 1
        elif sent.stored:
            self.completed += 1
        else:
            self.failed += 1
            self.failed_uids.append(sent.located.sop_uid)

    def final(self) -> int:
        """The status that the counters mean once none remains (MOVE-03, MOVE-07)."""
        if self.failed and not self.completed and not self.warned:
            return statuses.CANNOT_SEND
        return statuses.SUB_OPERATIONS_WARNING if self.failed or self.warned else statuses.SUCCESS


class RetrieveService(QueryRetrieveServiceClass):
    """The Retrieve SCP of one association. The library's own takes a data set an instance from a handler, encodes it
    and sends it in small pieces."""

    command = ""
    field = 0

    def __init__(self, assoc: Acceptor, archive: Archive, top: Level) -> None:
        super().__init__(assoc)
        self._acceptor = assoc
        self._archive = archive
        self._top = top
        self._told = 0.0

    def SCP(self, req: C_GET | C_MOVE, context: PresentationContext) -> None:  # type: ignore[override]
        """Answer one request: pending responses, then a final one. Raises PeerLost, ProtocolError."""
        assert context.context_id is not None
        self._request, self._context_id = req, context.context_id
        self._syntax_uid = str(context.transfer_syntax[0])
        self._counts = Counts(0)
        started = perf_counter()
        try:
            status, comment = self._perform(req, context)
        except (Unanswered, PeerLost, ProtocolError) as error:
            metrics.OPERATIONS.labels(command=self.command, status="lost").inc()
            if isinstance(error, Unanswered):
                return
            raise
        except statuses.KNOWN_ERRORS as error:
            status, comment = statuses.retrieve_status(error), str(error)
        except Exception as error:
            # A fault of ours must not cost the peer its association, nor put a traceback into any log.
            log.error("retrieve_failed", error=type(error).__name__)
            status, comment = statuses.UNABLE_TO_PROCESS, "internal error"
        metrics.OPERATION_SECONDS.labels(command=self.command).observe(perf_counter() - started)
        metrics.OPERATIONS.labels(command=self.command, status=f"{status:04X}").inc()
        counts = self._counts
        log.info(
            "retrieve_answered",
            command=self.command,
            status=f"{status:04X}",
            completed=counts.completed,
            warned=counts.warned,
            failed=counts.failed,
            remaining=counts.remaining,
        )
        self._acceptor.audited("read", self._operation(req), status)
        if self._acceptor.is_established:
            self._respond(status, comment)

    def _operation(self, req: C_GET | C_MOVE) -> str:
        """What this was, for the audit: where instances went is the point of it."""
        destination = "" if isinstance(req, C_GET) else str(req.MoveDestination or "")[:16].strip()
        return f"{self.command} {destination}".strip()

    def send_all(self, found: Sequence[Located]) -> Iterator[Sent]:
        """Send the instances; one result each, in any order. Closing it stops. Raises GatewayError before the first."""
        raise NotImplementedError

    def check(self) -> None:
        """Refuse what can be refused before the archive is asked. Raises GatewayError."""

    def tick(self) -> None:
        """Time passes while a sub-operation is under way. Raises Cancelled, Unanswered."""
        if self.is_cancelled(self._request.MessageID or 0):
            raise Cancelled
        if not self._acceptor.is_established:
            raise Unanswered
        if monotonic() - self._told > SIGN_OF_LIFE:
            self._pending()

    def _perform(self, req: C_GET | C_MOVE, context: PresentationContext) -> tuple[int, str]:
        if req.AffectedSOPClassUID != context.abstract_syntax:
            raise ClassNotSupported("Affected SOP Class is not that of the presentation context", 0x00000002)
        self.check()
        assert req.Identifier is not None and req.MessageID is not None
        wanted = understand(req.Identifier.getvalue(), self._syntax_uid, self._top)
        found = instances(self._archive, wanted, self._acceptor.caller)
        if len(found) > MOST:
            return statuses.CANNOT_COUNT, f"more than {MOST} instances match; ask for less"
        self._counts = counts = Counts(len(found))
        if not found:
            return statuses.SUCCESS, ""
        self._acceptor.beginning(self._operation(req))
        results = self.send_all(found)
        try:
            for sent in results:
                counts.add(sent)
                if not self._acceptor.is_established:
                    raise Unanswered
                if counts.remaining and self.is_cancelled(req.MessageID):
                    return statuses.CANCELLED, ""
                if counts.remaining and monotonic() - self._told > PENDING_EVERY:
                    self._pending()
        except Cancelled:
            return statuses.CANCELLED, ""
        finally:
            close = getattr(results, "close", None)
            if close is not None:
                close()
        return counts.final(), "" if not counts.failed else "sub-operations failed"

    def _pending(self) -> None:
        self._told = monotonic()
        self._respond(statuses.PENDING)

    def _respond(self, status: int, comment: str = "") -> None:
        """Send a response with the counters as they are (MOVE-04, MOVE-05)."""
        counts = self._counts
        identifier = b""
        if status != statuses.PENDING and counts.failed_uids:
            identifier = failed_list(counts.failed_uids, self._syntax_uid)
        values: dict[int, int | str] = {
            commands.AFFECTED_CLASS: str(self._request.AffectedSOPClassUID),
            commands.FIELD: self.field | commands.RESPONSE,
            commands.RESPONDED_TO: self._request.MessageID or 0,
            commands.DATA_SET_TYPE: commands.DATA_SET if identifier else commands.NO_DATA_SET,
            commands.STATUS: status,
            commands.COMPLETED: counts.completed,
            commands.FAILED: counts.failed,
            commands.WARNING: counts.warned,
        }
        if status in (statuses.PENDING, statuses.CANCELLED):
            values[commands.REMAINING] = counts.remaining
        if comment := statuses.shorten(comment):
            values[commands.ERROR_COMMENT] = comment
        messages = self._acceptor.messages
        pieces = commands.pdus(self._context_id, commands.encode(values), messages.room, command=True)
        pieces += commands.pdus(self._context_id, identifier, messages.room)
        self._acceptor.provider.send_pieces(pieces)


def failed_list(uids: Sequence[str], transfer_syntax_uid: str) -> bytes:
    """An identifier with Failed SOP Instance UID List (0008,0058).

    With explicit VRs, a value of UI has at most 65,534 bytes: UIDs beyond that are left out.
    """
    syntax = SYNTAXES[transfer_syntax_uid]
    order = "<" if syntax.little_endian else ">"
    value = "\\".join(uids).encode("ascii")
    if syntax.explicit and len(value) > 0xFFFE:
        value = value[: value.rindex(b"\\", 0, 0xFFFE)]
    value += b"\0" * (len(value) % 2)
    tag = struct.pack(order + "HH", *FAILED_UIDS)
    if syntax.explicit:
        return tag + b"UI" + struct.pack(order + "H", len(value)) + value
    return tag + struct.pack(order + "L", len(value)) + value
