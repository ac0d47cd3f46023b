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
from gateway.forwarding import removed, study
from gateway.logs import get_logger
from gateway.settings import Settings
from gateway.tasks import Outcome
from storage.archive import Archive
from storage.tasks import Task

log = get_logger(__name__)

ONLINE, UNAVAILABLE = "ONLINE", "UNAVAILABLE"
"""Instance Availability (0008,0056), as far as it is told (PS3.3 C.4.23.1.1)."""

_CALLER = Caller("notification", "tasks")


class Notifications:
    """Tells peers which instances of a study are online, or were taken away (IAN-01)."""

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
        study_uid, instances = removed(task)
        availability = UNAVAILABLE if instances else ONLINE
        if not instances:
            study_uid, found = study(self._archive, _CALLER, task)
            instances = [(one.series_uid, one.sop_class_uid, one.sop_uid) for one in found]
        if not instances:  # it was deleted since, which another task tells
            return Outcome(task)
        notice = notification(study_uid, instances, availability, self._settings)
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
        association.request(context_id, command, encoded(notice, syntax_uid))
        response = association.response(message_id)
        if response.status != statuses.SUCCESS:
            return Outcome(task, f"status_{response.status:04X}")
        log.info(
            "notified", target=task.target, study_uid=study_uid, instances=len(instances), availability=availability
        )
        return Outcome(task)


def notification(
    study_uid: str, instances: Sequence[tuple[str, str, str]], availability: str, settings: Settings
) -> Dataset:
    """An Instance Availability Notification (PS3.3 C.4.23) of a study's instances: series, SOP Class and SOP Instance
    UID of each."""
    ds = Dataset()
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.StudyInstanceUID = study_uid
    series: dict[str, list[Dataset]] = {}
    for series_uid, class_uid, sop_uid in instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = class_uid, sop_uid
        item.InstanceAvailability = availability
        item.RetrieveAETitle = settings.aet
        if settings.public_url and availability == ONLINE:
            root = f"{settings.public_url.rstrip('/')}/dicomweb"
            item.RetrieveURL = f"{root}/studies/{study_uid}/series/{series_uid}/instances/{sop_uid}"
        series.setdefault(series_uid, []).append(item)
    ds.ReferencedSeriesSequence = []
    for series_uid, items in series.items():
        item = Dataset()
        item.SeriesInstanceUID = series_uid
        item.ReferencedSOPSequence = items
        ds.ReferencedSeriesSequence.append(item)
    return ds
