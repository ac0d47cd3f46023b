"""Instance Availability Notification as a service class user: N-CREATE (PS3.4 Annex R)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from uuid import uuid4

from pydicom.dataset import Dataset

from gateway.caller import Caller
from gateway.dimse import commands, errand, statuses
from gateway.dimse.classes import AVAILABILITY_NOTIFICATION
from gateway.dimse.limits import Limits
from gateway.dimse.report import encoded
from gateway.dimse.scu import Requestor
from gateway.forwarding import study
from gateway.logs import get_logger
from gateway.settings import Settings
from gateway.tasks import Outcome
from storage.archive import Archive
from storage.records import Located
from storage.tasks import Task

log = get_logger(__name__)

_CALLER = Caller("notification", "tasks")


class Notifications:
    """Tells peers which instances of a study are online (IAN-01)."""

    def __init__(self, archive: Archive, settings: Settings, limits: Limits | None = None) -> None:
        self._archive = archive
        self._settings = settings
        self._limits = limits or Limits()

    def __call__(self, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        """See `gateway.tasks.Handler`: the target is the AE title to be told."""
        return errand.run(self._settings, self._limits, tasks, AVAILABILITY_NOTIFICATION, self._tell)

    def _tell(self, association: Requestor, task: Task, message_id: int) -> Outcome:
        accepted = association.accepted.get(AVAILABILITY_NOTIFICATION)
        if not accepted:
            return Outcome(task, "not_supported")
        study_uid, found = study(self._archive, _CALLER, task)
        if not found:  # it was deleted: there is nothing to tell
            return Outcome(task)
        syntax_uid, context_id = next(iter(accepted.items()))
        command = commands.encode(
            {
                commands.AFFECTED_CLASS: AVAILABILITY_NOTIFICATION,
                commands.FIELD: commands.N_CREATE_RQ,
                commands.MESSAGE_ID: message_id,
                commands.DATA_SET_TYPE: commands.DATA_SET,
                commands.AFFECTED_INSTANCE: f"2.25.{uuid4().int}",
            }
        )
        association.request(context_id, command, encoded(notice(study_uid, found, self._settings.aet), syntax_uid))
        response = association.response(message_id)
        if response.status != statuses.SUCCESS:
            return Outcome(task, f"status_{response.status:04X}")
        log.info("notified", target=task.target, study_uid=study_uid, instances=len(found))
        return Outcome(task)


def notice(study_uid: str, found: Sequence[Located], aet: str) -> Dataset:
    """An Instance Availability Notification of a study's instances (PS3.3 C.4.23)."""
    ds = Dataset()
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.StudyInstanceUID = study_uid
    series: dict[str, list[Dataset]] = {}
    for one in found:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.sop_class_uid, one.sop_uid
        item.InstanceAvailability = "ONLINE"
        item.RetrieveAETitle = aet
        series.setdefault(one.series_uid, []).append(item)
    ds.ReferencedSeriesSequence = []
    for series_uid, items in series.items():
        item = Dataset()
        item.SeriesInstanceUID = series_uid
        item.ReferencedSOPSequence = items
        ds.ReferencedSeriesSequence.append(item)
    return ds
