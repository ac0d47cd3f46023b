"""Storage Commitment Push as a service class provider: N-ACTION (PS3.4 J.3.2, PS3.7 10.1.4).

A request is answered once it is a task. Then the objects are read again at once, and the report goes out on the same
association where the peer waits for it; when it does something else instead, the task is left to the workers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import orjson
from pynetdicom.dimse_primitives import N_ACTION
from pynetdicom.service_class import ServiceClass

from gateway import metrics, tasks
from gateway.commitment import Reference
from gateway.dicom.elements import Element, read_elements
from gateway.dicom.limits import Limits as ReadLimits
from gateway.dicom.uids import SYNTAXES, is_uid
from gateway.dimse import commands, statuses
from gateway.dimse.classes import COMMITMENT, COMMITMENT_INSTANCE
from gateway.dimse.messages import ActionInformation, Unanswered
from gateway.dimse.report import report_data, report_request
from gateway.errors import BadRequest, GatewayError, NotUnderstood
from gateway.logs import get_logger
from gateway.settings import Settings
from storage.archive import Archive
from storage.tasks import NewTask, Task

if TYPE_CHECKING:
    from pynetdicom.presentation import PresentationContext

    from gateway.dimse.association import Acceptor

log = get_logger(__name__)

COMMAND = "N-ACTION"
REQUEST_COMMITMENT = 1
MOST_REFERENCES = 10_000
MOST_REQUESTS, MOST_OF_ONE = 2_000, 500
"""Requests that are not reported on yet, of all and of one AE title; more are refused."""

AT_ONCE = 10.0
"""Seconds for which the peer's association is kept busy with reading objects again."""

CLAIM = 120.0
"""Seconds for which the task is ours before a worker takes it: reading, and the peer's answer to the report."""

_TRANSACTION_UID, _REFERENCES = 0x00081195, 0x00081199
_REFERENCED_CLASS, _REFERENCED_INSTANCE = 0x00081150, 0x00081155
_READ = ReadLimits(depth=8, elements=8 * MOST_REFERENCES)


class TooMany(GatewayError):
    """More references or requests than are taken."""

    reason = "too_many"


class CommitmentService(ServiceClass):
    """The Storage Commitment Push SCP of one association."""

    def __init__(self, assoc: Acceptor, archive: Archive, settings: Settings) -> None:
        super().__init__(assoc)
        self._acceptor = assoc
        self._archive = archive
        self._settings = settings

    def SCP(self, req: N_ACTION, context: PresentationContext) -> None:
        """Answer one request, and report on it if the peer waits. Raises PeerLost, ProtocolError."""
        assert context.context_id is not None
        task: Task | None = None
        comment = ""
        syntax_uid = str(context.transfer_syntax[0])
        try:
            status = _refusal(req, context)
            if status == statuses.SUCCESS:
                transaction_uid, references = _understand(req.ActionInformation, syntax_uid)
                task = self._enter(transaction_uid, references)
        except TooMany as error:
            status, comment = statuses.RESOURCE_LIMITATION, str(error)
        except (BadRequest, NotUnderstood) as error:
            status, comment = statuses.INVALID_ARGUMENT, str(error)
        except statuses.KNOWN_ERRORS as error:
            status, comment = statuses.RESOURCE_LIMITATION, str(error)
        except Exception as error:
            # A fault of ours must not cost the peer its association, nor put a traceback into any log.
            log.error("commitment_failed", error=type(error).__name__)
            status, comment = statuses.PROCESSING_FAILURE, "internal error"
        metrics.OPERATIONS.labels(command=COMMAND, status=f"{status:04X}").inc()
        log.info("commitment_answered", status=f"{status:04X}")
        self._acceptor.audited("search", f"{COMMAND} storage commitment", status)
        try:
            self._respond(req, context.context_id, status, comment)
            if task is not None:
                self._report(task, context.context_id, syntax_uid)
        except Unanswered:
            return

    def _enter(self, transaction_uid: str, references: Sequence[Reference]) -> Task:
        """Make the request a task that is ours for a while; the same request again is the same task."""
        aet = self._acceptor.requestor.ae_title
        for target, most in ((None, MOST_REQUESTS), (aet, MOST_OF_ONE)):
            if tasks.number(self._archive, tasks.COMMITMENT, target) >= most:
                raise TooMany("too many requests wait for their report")
        key = f"{tasks.COMMITMENT}:{aet}:{transaction_uid}"
        values = {"transaction": transaction_uid, "references": references}
        content = tasks.payload(**values, duplicate=False)
        self._enter_once(aet, key, content)
        found = tasks.find(self._archive, key)
        if found is not None and found.payload != content:
            # the UID of a transaction that is not over names another one: every reference fails (0131)
            key = f"{key}:{time.time_ns()}"
            self._enter_once(aet, key, tasks.payload(**values, duplicate=True))
            found = tasks.find(self._archive, key)
        if found is None:  # a worker was quicker
            raise BadRequest("TransactionUID", "the transaction was reported on meanwhile")
        return found

    def _enter_once(self, aet: str, key: str, content: str) -> None:
        until = time.time() + CLAIM
        tasks.enter(self._archive, [NewTask(tasks.COMMITMENT, aet, key, content, until, claimed=True)])

    def _report(self, task: Task, context_id: int, syntax_uid: str) -> None:
        """Read the objects and report on this association, unless the peer turns to something else first."""
        until = time.monotonic() + AT_ONCE
        connection = self._acceptor.provider.connection
        delivered = False
        try:
            data = report_data(
                self._archive,
                orjson.loads(task.payload),
                self._settings.aet,
                syntax_uid,
                interrupted=lambda: connection.readable() or time.monotonic() > until,
            )
            if data is not None:
                messages = self._acceptor.messages
                command = report_request(1, all_committed=data[1])
                pieces = commands.pdus(context_id, command, messages.room, command=True)
                messages.send(pieces + commands.pdus(context_id, data[0], messages.room))
                delivered = messages.response(1).status == statuses.SUCCESS
        except statuses.KNOWN_ERRORS as error:
            log.warning("commitment_waits", error=type(error).__name__)
        finally:
            self._settle(task, delivered)

    def _settle(self, task: Task, delivered: bool) -> None:
        """Write down what became of the task; when that fails, it is done again once the claim is over."""
        try:
            if delivered:
                log.info("commitment_reported", where="same_association")
                tasks.settle(self._archive, [tasks.Outcome(task)])
            else:
                tasks.release(self._archive, [task])
        except statuses.KNOWN_ERRORS as error:
            log.warning("task_unsettled", error=type(error).__name__)

    def _respond(self, req: N_ACTION, context_id: int, status: int, comment: str) -> None:
        values: dict[int, int | str] = {
            commands.AFFECTED_CLASS: COMMITMENT,
            commands.FIELD: commands.N_ACTION_RQ | commands.RESPONSE,
            commands.RESPONDED_TO: req.MessageID or 0,
            commands.DATA_SET_TYPE: commands.NO_DATA_SET,
            commands.STATUS: status,
            commands.AFFECTED_INSTANCE: COMMITMENT_INSTANCE,
            commands.ACTION_TYPE: req.ActionTypeID or 0,
        }
        if comment := statuses.shorten(comment):
            values[commands.ERROR_COMMENT] = comment
        messages = self._acceptor.messages
        messages.send(commands.pdus(context_id, commands.encode(values), messages.room, command=True))


def _refusal(req: N_ACTION, context: PresentationContext) -> int:
    """The status of a request that is none of ours; 0000 for one that is (PS3.7 10.1.4.1.10)."""
    if req.RequestedSOPClassUID != context.abstract_syntax:
        return statuses.NO_SUCH_CLASS
    if req.RequestedSOPInstanceUID != COMMITMENT_INSTANCE:
        return statuses.NO_SUCH_INSTANCE
    return statuses.SUCCESS if req.ActionTypeID == REQUEST_COMMITMENT else statuses.NO_SUCH_ACTION


def _understand(information: BytesIO | None, syntax_uid: str) -> tuple[str, list[Reference]]:
    """Transaction UID and references of a request. Raises TooMany, BadRequest, NotUnderstood."""
    if information is None:
        raise BadRequest("ActionInformation", "Action Information is missing")
    if isinstance(information, ActionInformation) and information.too_long:
        raise TooMany("the request is too long; ask for less at a time")
    syntax, data = SYNTAXES[syntax_uid], information.getvalue()
    elements = read_elements(
        BytesIO(data),
        0,
        len(data),
        implicit=not syntax.explicit,
        little_endian=syntax.little_endian,
        limits=_READ,
    )
    by_tag = {element.tag: element for element in elements}
    transaction_uid = _uid(by_tag.get(_TRANSACTION_UID), "TransactionUID")
    sequence = by_tag.get(_REFERENCES)
    items = (sequence.items or []) if sequence is not None else []
    if not items:
        raise BadRequest("ReferencedSOPSequence", "Referenced SOP Sequence is missing or empty")
    if len(items) > MOST_REFERENCES:
        raise TooMany(f"more than {MOST_REFERENCES} references")
    return transaction_uid, [_reference(item) for item in items]


def _reference(item: Sequence[Element]) -> Reference:
    by_tag = {element.tag: element for element in item}
    return (
        _uid(by_tag.get(_REFERENCED_CLASS), "ReferencedSOPClassUID"),
        _uid(by_tag.get(_REFERENCED_INSTANCE), "ReferencedSOPInstanceUID"),
    )


def _uid(element: Element | None, keyword: str) -> str:
    text = (element.value or b"").decode("ascii", "replace").strip(" \0") if element is not None else ""
    if not is_uid(text):
        raise BadRequest(keyword, f"{keyword} is missing or no UID")
    return text
