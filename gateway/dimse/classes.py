"""SOP classes of the services besides storage: what each is called, and what it answers in (PS3.4 Annexes C, J, Y)."""

from __future__ import annotations

from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    CompositeInstanceRootRetrieveGet,
    CompositeInstanceRootRetrieveMove,
    InstanceAvailabilityNotification,
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from storage.attributes import Level

GET_CLASSES: dict[str, Level] = {
    str(PatientRootQueryRetrieveInformationModelGet): Level.PATIENT,
    str(StudyRootQueryRetrieveInformationModelGet): Level.STUDY,
    str(CompositeInstanceRootRetrieveGet): Level.IMAGE,
}
"""C-GET: the top level of each information model."""

MOVE_CLASSES: dict[str, Level] = {
    str(PatientRootQueryRetrieveInformationModelMove): Level.PATIENT,
    str(StudyRootQueryRetrieveInformationModelMove): Level.STUDY,
    str(CompositeInstanceRootRetrieveMove): Level.IMAGE,
}
"""C-MOVE: the top level of each information model."""

COMMITMENT = str(StorageCommitmentPushModel)
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"
"""The well-known SOP Instance of Storage Commitment Push (PS3.4 J.3.5)."""

AVAILABILITY_NOTIFICATION = str(InstanceAvailabilityNotification)

SERVED = frozenset({*GET_CLASSES, *MOVE_CLASSES, COMMITMENT})
"""What we accept besides Verification, Storage and Query."""
