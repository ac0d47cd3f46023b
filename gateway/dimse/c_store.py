"""C-STORE: what a peer sends becomes an `Incoming`, fragment by fragment, and then one call of the store use case.

PS3.4 B, PS3.7 9.1.1. Success is answered only after object and index row are durable.
"""

from __future__ import annotations

from time import monotonic, perf_counter
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from gateway import metrics
from gateway.coerce import Coercer
from gateway.dicom.part10 import FileMeta
from gateway.dicom.uids import is_uid
from gateway.dimse import commands, statuses
from gateway.dimse.commands import Request
from gateway.dimse.requests import ProtocolError
from gateway.errors import ClassNotSupported, InvalidInstance, OutOfResources, Refused
from gateway.logs import get_logger
from gateway.store import Incoming, receive, store
from storage.archive import Archive

if TYPE_CHECKING:
    from gateway.dimse.association import Acceptor

log = get_logger(__name__)

COMMAND = "C-STORE"
_SECONDS = metrics.OPERATION_SECONDS.labels(command=COMMAND)
_SUCCESSES = metrics.OPERATIONS.labels(command=COMMAND, status="0000")


class Reception:
    """Receives the data sets of one association's C-STORE requests, one after the other.

    A data set that is refused while it arrives is read to its end and thrown away, so that the peer gets its status
    and may go on; beyond `max_bytes` more of it, the association is given up. `stored` counts what was accepted;
    `pending` is the request that was not answered yet, and its presentation context.
    """

    def __init__(
        self, archive: Archive, *, max_bytes: int, accept_unknown_classes: bool, coercer: Coercer | None = None
    ) -> None:
        self.stored = 0
        self.pending: tuple[Request, int] | None = None
        self._archive = archive
        self._max_bytes = max_bytes
        self._accept_unknown_classes = accept_unknown_classes
        self._coercer = coercer
        self._association: Acceptor | None = None
        self._incoming: Incoming | None = None
        self._refused: Refused | None = None
        self._discarded = 0
        self._since = 0.0  # when what the disk takes part in began, 0 while there is nothing of that

    def bind(self, association: Acceptor) -> None:
        """Say which association this is for."""
        self._association = association
        self._log = log.bind()  # once, since binding costs more than a line that is not written

    def begin(self, request: Request, context_id: int) -> None:
        """Open a spool file for the data set of `request`. Raises ProtocolError for a context that was not accepted."""
        assert self._association is not None
        self.close()
        self.pending, self._since = (request, context_id), monotonic()
        abstract_syntax, transfer_syntax = self._association.context(context_id)
        sop_class_uid, sop_uid = request.AffectedSOPClassUID, request.AffectedSOPInstanceUID
        self._refused, self._discarded = None, 0
        try:
            if sop_class_uid != abstract_syntax:
                raise ClassNotSupported("Affected SOP Class is not that of the presentation context", 0x00000002)
            if not is_uid(sop_uid):
                raise InvalidInstance("Affected SOP Instance UID is malformed", 0x00001000)
            self._incoming = receive(self._archive, max_bytes=self._max_bytes)
            meta = FileMeta(sop_class_uid, sop_uid, transfer_syntax)
            self._incoming.begin(meta, self._association.requestor.ae_title)
        except Refused as refused:
            self._refuse(refused)
        finally:
            self._since = 0.0

    def write(self, fragment: memoryview) -> None:
        """Take the next bytes of the data set. Raises ProtocolError when a refused one does not end."""
        if self._incoming is not None:
            self._since = monotonic()
            try:
                self._incoming.write(fragment)
            except Refused as refused:
                self._refuse(refused)
            finally:
                self._since = 0.0
        else:
            self._discarded += len(fragment)
            if self._discarded > self._max_bytes:
                raise ProtocolError(ProtocolError.NOT_SPECIFIED, "a data set that was refused does not end")

    def close(self) -> None:
        """Drop the spool file, unless the object store took it."""
        if self._incoming is not None:
            self._incoming.close()
            self._incoming = None

    def answer(self, request: Request) -> bytes:
        """Store what was received; the command set of the C-STORE response (PS3.4 B.2.3)."""
        started, self._since = perf_counter(), monotonic()
        try:
            ds = self._store((request.AffectedSOPClassUID, request.AffectedSOPInstanceUID))
        finally:
            self.close()
            self.pending, self._since = None, 0.0
        _SECONDS.observe(perf_counter() - started)
        assert self._association is not None
        self._association.audited("store", COMMAND, statuses.SUCCESS if ds is None else ds.Status)
        if ds is None:
            return commands.answer(request, statuses.SUCCESS)
        return commands.answer(request, ds.Status, more=statuses.elements(ds))

    def has_waited_since(self, before: float) -> bool:
        """Whether what the disk takes part in has lasted since then, or longer."""
        return 0.0 < self._since < before

    def stalled(self, request: Request) -> bytes:
        """The response to a request whose data set nobody can tell whether it is stored: out of resources (A700H)."""
        error = OutOfResources("the disk does not answer; try again")
        status = statuses.store_status(error)
        affected = (request.AffectedSOPClassUID, request.AffectedSOPInstanceUID)
        ds = self._failed(status, "stalled", affected, statuses.refusal(status, error))
        return commands.answer(request, status, more=statuses.elements(ds))

    def _store(self, affected: tuple[str, str]) -> Dataset | None:
        """None for a success without warning, else the status elements of the response."""
        assert self._association is not None
        try:
            if self._refused is not None or self._incoming is None:
                raise self._refused or InvalidInstance("no data set was received")
            stored = store(
                self._archive,
                self._incoming,
                self._association.caller,
                affected=affected,
                accept_unknown_classes=self._accept_unknown_classes,
                coercer=self._coercer,
            )
        except statuses.KNOWN_ERRORS as error:
            status = statuses.store_status(error)
            reason = getattr(error, "reason", type(error).__name__)
            return self._failed(status, reason, affected, statuses.refusal(status, error))
        except Exception as error:
            # A fault of ours must not cost the peer its association, nor put a traceback into the library's log.
            answer = statuses.response(statuses.PROCESSING_FAILURE, "internal error")
            return self._failed(statuses.PROCESSING_FAILURE, type(error).__name__, affected, answer)
        self.stored += 1
        self._log.debug("stored", sop_uid=stored.sop_uid, outcome=stored.outcome)
        if not stored.coerced:
            _SUCCESSES.inc()
            return None
        metrics.OPERATIONS.labels(command=COMMAND, status=f"{statuses.COERCED:04X}").inc()
        return statuses.response(statuses.COERCED, "coerced; see Original Attributes Sequence", stored.coerced[0])

    def _failed(self, status: int, reason: str, affected: tuple[str, str], answer: Dataset) -> Dataset:
        metrics.OPERATIONS.labels(command=COMMAND, status=f"{status:04X}").inc()
        sop_uid = affected[1] if is_uid(affected[1]) else ""
        log.warning("store_refused", status=f"{status:04X}", reason=reason, sop_uid=sop_uid)
        return answer

    def _refuse(self, refused: Refused) -> None:
        """Remember why, and free the disk at once."""
        self.close()
        self._refused = refused
        metrics.STORES.labels(door="dimse", outcome=refused.reason).inc()
