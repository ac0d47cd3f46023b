"""C-FIND: an identifier becomes a query, and its matches responses, page by page (PS3.4 C.4.1, PS3.7 9.1.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, cast

from pydicom.dataset import Dataset
from pynetdicom.service_class import QueryRetrieveServiceClass

from gateway import metrics
from gateway.caller import Caller
from gateway.dimse import commands, statuses
from gateway.dimse.commands import Request
from gateway.dimse.dressing import Dresser
from gateway.dimse.identifiers import Asked, Model, understand
from gateway.dimse.negotiation import FIND_CLASSES, PATIENT_ROOT_FIND
from gateway.errors import ClassNotSupported, OutOfResources
from gateway.logs import get_logger
from gateway.search import search
from storage.archive import Archive
from storage.attributes import UNIQUE_KEYS, Level
from storage.query import MAX_LIST, OneOf, Query
from storage.records import Match

if TYPE_CHECKING:
    from pynetdicom.events import Event
    from pynetdicom.presentation import PresentationContext

    from gateway.dimse.association import Acceptor

log = get_logger(__name__)

COMMAND = "C-FIND"
PAGE, TOGETHER = 1000, 50
"""Matches fetched, and answered without a look for a C-CANCEL, at a time."""
WRITE = 65_536
"""Bytes of responses that are sent together."""

RELATIONAL, COMBINED_TIMES = 0, 1
"""Positions in the application information of extended negotiation (PS3.4 Table C.5-1)."""


def negotiate(event: Event) -> dict[str, bytes]:
    """Answer SOP Class Extended Negotiation truly: relational queries and combined date and time, nothing else.

    Fields that the requestor did not send stay absent, and so do items for classes that are not ours (NET-09).
    """
    answer = {}
    acceptor = cast("Acceptor", event.assoc)
    proposals: dict[str, bytes] = event.app_info  # type: ignore[attr-defined]
    for uid, wanted in proposals.items():
        if uid in FIND_CLASSES and wanted:
            able = bytes(value == 1 and position <= COMBINED_TIMES for position, value in enumerate(wanted))
            acceptor.extended[str(uid)] = able
            answer[uid] = able
    return answer


class FindService(QueryRetrieveServiceClass):
    """The Query SCP of one association. The library's own decodes and encodes each identifier by way of a `Dataset`,
    and logs the traceback of whatever goes wrong."""

    def __init__(self, assoc: Acceptor, archive: Archive, aet: str) -> None:
        super().__init__(assoc)
        self._acceptor = assoc
        self._archive = archive
        self._aet = aet

    def SCP(self, req: Request, context: PresentationContext) -> None:  # type: ignore[override]
        """Answer one C-FIND request: pending responses, then a final one."""
        started = perf_counter()
        assert context.context_id is not None
        count = 0
        try:
            final = statuses.response(statuses.SUCCESS)
            asked, dresser = self._understand(req, context)
            status = statuses.PENDING_WARNING if asked.unsupported else statuses.PENDING
            pending = self._acceptor.messages.command(commands.answer(req, status, data_set=True), context.context_id)
            for some in _batches(matches(self._archive, asked, self._acceptor.caller)):
                if not count:
                    metrics.OPERATION_SECONDS.labels(command=COMMAND).observe(perf_counter() - started)
                if self.is_cancelled(req.MessageID):
                    final = statuses.response(statuses.CANCELLED)
                    break
                if not self._acceptor.is_established:
                    return
                self._send(pending, context.context_id, map(dresser.dress, some))
                count += len(some)
        except statuses.KNOWN_ERRORS as error:
            final = statuses.refusal(statuses.find_status(error), error)
        except Exception as error:
            # A fault of ours must not cost the peer its association, nor put a traceback into any log.
            log.error("find_failed", error=type(error).__name__)
            final = statuses.response(statuses.UNABLE_TO_PROCESS, "internal error")
        if not count:
            metrics.OPERATION_SECONDS.labels(command=COMMAND).observe(perf_counter() - started)
        self._finish(req, context.context_id, final, count)

    def _send(self, pending: bytes, context_id: int, identifiers: Iterable[bytes]) -> None:
        """Send responses that differ in their identifiers only, in as few writes as their size allows."""
        messages = self._acceptor.messages
        room, pieces, size = messages.room, list[bytes | memoryview](), 0
        for identifier in identifiers:
            pieces.append(pending)
            pieces += commands.pdus(context_id, identifier, room)
            size += len(pending) + len(identifier)
            if size >= WRITE:
                messages.send_bytes(pieces)
                pieces, size = [], 0
        messages.send_bytes(pieces)

    def _understand(self, req: Request, context: PresentationContext) -> tuple[Asked, Dresser]:
        if req.AffectedSOPClassUID != context.abstract_syntax:
            raise ClassNotSupported("Affected SOP Class is not that of the presentation context", 0x00000002)
        able = self._acceptor.extended.get(str(context.abstract_syntax), b"")
        model = Model(
            Level.PATIENT if context.abstract_syntax == PATIENT_ROOT_FIND else Level.STUDY,
            relational=able[RELATIONAL : RELATIONAL + 1] == b"\x01",
            combined_times=able[COMBINED_TIMES : COMBINED_TIMES + 1] == b"\x01",
        )
        syntax = str(context.transfer_syntax[0])
        asked = understand(req.identifier, syntax, model)
        return asked, Dresser(asked, syntax, self._aet)

    def _finish(self, req: Request, context_id: int, final: Dataset, count: int) -> None:
        status = f"{final.Status:04X}"
        metrics.OPERATIONS.labels(command=COMMAND, status=status).inc()
        log.info("find_answered", status=status, matches=count)
        self._acceptor.audited("search", COMMAND, final.Status)
        if not self._acceptor.is_established:
            return
        messages = self._acceptor.messages
        answer = commands.answer(req, final.Status, more=statuses.elements(final))
        messages.send_encoded(messages.command(answer, context_id), context_id)


def _batches(found: Iterator[Match]) -> Iterator[list[Match]]:
    """Matches that are answered together, between two looks for a C-CANCEL."""
    while some := list(islice(found, TOGETHER)):
        yield some


def matches(archive: Archive, asked: Asked, caller: Caller) -> Iterator[Match]:
    """The matches of a request, fetched page by page. Raises BadRequest, OutOfResources, Unavailable."""
    query = _upwards(archive, asked, caller) if asked.lower else asked.query
    if query is None:
        return
    offset = 0
    while True:
        page = search(archive, replace(query, limit=PAGE, offset=offset), caller)
        yield from page.matches
        offset += len(page.matches)
        if not page.matches or offset >= page.total:
            return


def _upwards(archive: Archive, asked: Asked, caller: Caller) -> Query | None:
    """The query with conditions on lower levels (relational queries, PS3.4 C.4.1.2.2.1) turned into a list of unique
    keys of its own level; None when nothing below fulfils them."""
    level = max(condition.attribute.level for condition in asked.lower)
    unique = UNIQUE_KEYS[asked.query.level]
    below = Query(level, (*asked.query.conditions, *asked.lower), shown=frozenset({unique.keyword}))
    found: dict[str, None] = {}
    for match in matches(archive, replace(asked, query=below, lower=()), caller):
        found[str(match.values.get(unique.keyword, ""))] = None
        if len(found) > MAX_LIST:
            raise OutOfResources("too many matches below this level; narrow the query")
    found.pop("", None)
    if not found:
        return None
    return replace(asked.query, conditions=(*asked.query.conditions, OneOf(unique, tuple(found))))
