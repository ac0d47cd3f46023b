"""What one operation touched: noted by use cases, told by the door to the audit when the operation is over."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from storage.archive import Archive
from storage.attributes import BY_KEYWORD, Level
from storage.errors import StorageError
from storage.query import Equals, Query

MOST_STUDIES = 1000
"""Studies that are named for one operation; beyond, only their number is known."""


@dataclass(slots=True)
class Trail:
    """Studies by UID with their Patient ID, where that was at hand; keywords that were searched for; how many results
    or instances there were. No other patient data.
    """

    studies: dict[str, str | None] = field(default_factory=dict)
    keys: list[str] = field(default_factory=list)
    count: int = 0

    def study(self, study_uid: str, patient_id: str | None = None) -> None:
        """Note a study."""
        if study_uid in self.studies or len(self.studies) < MOST_STUDIES:
            self.studies[study_uid] = patient_id or self.studies.get(study_uid)

    def search(self, keys: Iterable[str], count: int) -> None:
        """Note a search and the number of its matches."""
        self.keys = sorted({*self.keys, *keys})
        self.count += count


def patient_of(archive: Archive, study_uid: str) -> str | None:
    """The Patient ID of a study, if it is there and has one; None too when the index does not answer."""
    this = (Equals(BY_KEYWORD["StudyInstanceUID"], study_uid),)
    try:
        page = archive.search(Query(Level.STUDY, this, limit=1, shown=frozenset({"PatientID"})))
    except StorageError:
        return None
    value = page.matches[0].values.get("PatientID") if page.matches else None
    return str(value) if value else None
