"""Storage commitment reports: N-EVENT-REPORT (PS3.4 J.3.3), delivered on an association of our own where need be."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import orjson
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from gateway.commitment import DUPLICATE_TRANSACTION, Reference, Verdict, check
from gateway.dicom.uids import SYNTAXES
from gateway.dimse import commands, errand, statuses
from gateway.dimse.classes import COMMITMENT, COMMITMENT_INSTANCE
from gateway.dimse.limits import Limits
from gateway.dimse.scu import Requestor
from gateway.errors import Unavailable
from gateway.logs import get_logger
from gateway.settings import Settings
from gateway.tasks import Outcome
from storage.archive import Archive
from storage.tasks import Task

log = get_logger(__name__)

ALL_COMMITTED, FAILURES_EXIST = 1, 2
"""Event Type IDs (PS3.4 J.3.3.1)."""


def report_request(message_id: int, *, all_committed: bool) -> bytes:
    """The command set of an N-EVENT-REPORT request."""
    return commands.encode(
        {
            commands.AFFECTED_CLASS: COMMITMENT,
            commands.FIELD: commands.N_EVENT_REPORT_RQ,
            commands.MESSAGE_ID: message_id,
            commands.DATA_SET_TYPE: commands.DATA_SET,
            commands.AFFECTED_INSTANCE: COMMITMENT_INSTANCE,
            commands.EVENT_TYPE: ALL_COMMITTED if all_committed else FAILURES_EXIST,
        }
    )


def report_data(
    archive: Archive,
    request: Mapping[str, Any],
    aet: str,
    syntax_uid: str,
    interrupted: Callable[[], bool] = lambda: False,
) -> tuple[bytes, bool] | None:
    """The Event Information that answers `request` (a task's payload), and whether all is committed; None when
    interrupted. Every object is read again for it. Raises Unavailable."""
    references: list[Reference] = [(str(one[0]), str(one[1])) for one in request["references"]]
    if request["duplicate"]:
        verdict: Verdict | None = Verdict((), tuple((one, DUPLICATE_TRANSACTION) for one in references))
    else:
        verdict = check(archive, references, interrupted)
    if verdict is None:
        return None
    ds = Dataset()
    ds.RetrieveAETitle = aet
    ds.TransactionUID = request["transaction"]
    if verdict.failed:
        ds.FailedSOPSequence = [_item(reference, reason) for reference, reason in verdict.failed]
    if verdict.committed:
        ds.ReferencedSOPSequence = [_item(reference) for reference in verdict.committed]
    return encoded(ds, syntax_uid), not verdict.failed


def encoded(ds: Dataset, syntax_uid: str) -> bytes:
    """A data set of ours in the transfer syntax of a presentation context."""
    syntax = SYNTAXES[syntax_uid]
    data = encode(ds, not syntax.explicit, syntax.little_endian)
    assert data is not None  # it is of our own making
    return data


class Reports:
    """Delivers reports to the peers of the settings."""

    def __init__(self, archive: Archive, settings: Settings, limits: Limits | None = None) -> None:
        self._archive = archive
        self._settings = settings
        self._limits = limits or Limits()

    def __call__(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        """See `gateway.tasks.Handler`: the target is the AE title that asked."""
        return errand.run(self._settings, self._limits, tasks, COMMITMENT, self._deliver, as_scp=True)

    def _deliver(self, association: Requestor, task: Task, message_id: int) -> Outcome:
        accepted = association.accepted.get(COMMITMENT)
        if not accepted:
            return Outcome(task, "not_supported")
        syntax_uid, context_id = next(iter(accepted.items()))
        try:
            data = report_data(self._archive, orjson.loads(task.payload), self._settings.aet, syntax_uid)
        except Unavailable:
            return Outcome(task, "archive_unavailable")
        assert data is not None  # nobody interrupts it
        association.request(context_id, report_request(message_id, all_committed=data[1]), data[0])
        response = association.response(message_id)
        if response.status != statuses.SUCCESS:
            return Outcome(task, f"status_{response.status:04X}")
        log.info("commitment_reported", where="new_association")
        return Outcome(task)


def _item(reference: Reference, reason: int | None = None) -> Dataset:
    ds = Dataset()
    ds.ReferencedSOPClassUID, ds.ReferencedSOPInstanceUID = reference
    if reason is not None:
        ds.FailureReason = reason
    return ds
