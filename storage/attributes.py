"""The one table of indexed attributes (PS3.4 C.6, PS3.18 Tables 10.6.1-5 and 10.6.3-3 to 5).

Schema, extraction at ingest, QIDO-RS, C-FIND and the conformance statement derive from `ATTRIBUTES`. To index one more
attribute, add a row here and a migration.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import lru_cache
from typing import NamedTuple


class Level(IntEnum):
    """Query/Retrieve level, from the top (PS3.4 C.6.1.1). IMAGE is what PS3.18 calls Instance."""

    PATIENT = 0
    STUDY = 1
    SERIES = 2
    IMAGE = 3


class Returned(Enum):
    """When a search result holds the attribute."""

    ALWAYS = "always"  # R in the tables: present and empty when unknown
    KNOWN = "known"  # C in the tables: present when it has a value
    ASKED = "asked"  # only when requested (includefield, a C-FIND key, or a matching key)


class Step(NamedTuple):
    """One element on the way to an attribute. `creator` is that of a private one, whose `tag` has block 00."""

    tag: int
    creator: str = ""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of the index, or one beyond it that a search asks for by `path`.

    `keyword` is the DICOM keyword; in a sequence it is dotted: `RequestAttributesSequence.RequestedProcedureID`.
    `tag` is that of the last element. `computed` attributes are worked out from the rows below (counts, modalities)
    and are not read from the data set. `unique` marks the unique key of its level. `multiple` values are kept as a
    backslash-separated list. `path` leads to an attribute that the index does not hold, from the top of the data set.
    """

    keyword: str
    tag: int
    vr: str
    level: Level
    returned: Returned
    unique: bool = False
    computed: bool = False
    multiple: bool = False
    path: tuple[Step, ...] = ()

    def __hash__(self) -> int:
        return hash(self.keyword)

    @property
    def indexed(self) -> bool:
        """Whether the index holds it."""
        return not self.path

    @property
    def steps(self) -> tuple[Step, ...]:
        """The way to the element, from the top of the data set."""
        if self.path:
            return self.path
        return (Step(SEQUENCES[self.sequence]), Step(self.tag)) if self.sequence else (Step(self.tag),)

    @property
    def column(self) -> str:
        """Column name: the keyword in snake case (`StudyInstanceUID` -> `study_instance_uid`)."""
        return snake(self.keyword.rpartition(".")[2])

    @property
    def sequence(self) -> str | None:
        """Keyword of the enclosing sequence, or None for a top-level attribute."""
        return self.keyword.rpartition(".")[0] or None


@lru_cache(maxsize=1024)
def snake(keyword: str) -> str:
    """`StudyInstanceUID` -> `study_instance_uid`; runs of capitals stay together."""
    out: list[str] = []
    for position, char in enumerate(keyword):
        before = keyword[position - 1] if position else ""
        after = keyword[position + 1 : position + 2]
        starts_word = char.isupper() and (not before.isupper() or (after.islower() and keyword[position + 1 :] != "s"))
        if position and starts_word:
            out.append("_")
        out.append(char.lower())
    return "".join(out)


P, ST, SE, IM = Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE
ALWAYS, KNOWN, ASKED = Returned.ALWAYS, Returned.KNOWN, Returned.ASKED

ATTRIBUTES: tuple[Attribute, ...] = (
    # Patient: kept in the study's row, since a search for studies is what asks for them
    Attribute("PatientName", 0x00100010, "PN", P, ALWAYS),
    Attribute("PatientID", 0x00100020, "LO", P, ALWAYS, unique=True),
    Attribute("IssuerOfPatientID", 0x00100021, "LO", P, KNOWN),
    Attribute("PatientBirthDate", 0x00100030, "DA", P, ALWAYS),
    Attribute("PatientSex", 0x00100040, "CS", P, ALWAYS),
    Attribute("NumberOfPatientRelatedStudies", 0x00201200, "IS", P, ASKED, computed=True),
    Attribute("NumberOfPatientRelatedSeries", 0x00201202, "IS", P, ASKED, computed=True),
    Attribute("NumberOfPatientRelatedInstances", 0x00201204, "IS", P, ASKED, computed=True),
    # Study
    Attribute("StudyInstanceUID", 0x0020000D, "UI", ST, ALWAYS, unique=True),
    Attribute("StudyDate", 0x00080020, "DA", ST, ALWAYS),
    Attribute("StudyTime", 0x00080030, "TM", ST, ALWAYS),
    Attribute("AccessionNumber", 0x00080050, "SH", ST, ALWAYS),
    Attribute("ReferringPhysicianName", 0x00080090, "PN", ST, ALWAYS),
    Attribute("StudyID", 0x00200010, "SH", ST, ALWAYS),
    Attribute("StudyDescription", 0x00081030, "LO", ST, KNOWN),
    Attribute("TimezoneOffsetFromUTC", 0x00080201, "SH", ST, KNOWN),
    Attribute("ModalitiesInStudy", 0x00080061, "CS", ST, ALWAYS, computed=True, multiple=True),
    Attribute("SOPClassesInStudy", 0x00080062, "UI", ST, ASKED, computed=True, multiple=True),
    Attribute("NumberOfStudyRelatedSeries", 0x00201206, "IS", ST, ALWAYS, computed=True),
    Attribute("NumberOfStudyRelatedInstances", 0x00201208, "IS", ST, ALWAYS, computed=True),
    # Series
    Attribute("SeriesInstanceUID", 0x0020000E, "UI", SE, ALWAYS, unique=True),
    Attribute("Modality", 0x00080060, "CS", SE, ALWAYS),
    Attribute("SeriesNumber", 0x00200011, "IS", SE, ALWAYS),
    Attribute("SeriesDescription", 0x0008103E, "LO", SE, KNOWN),
    Attribute("SeriesDate", 0x00080021, "DA", SE, KNOWN),
    Attribute("SeriesTime", 0x00080031, "TM", SE, KNOWN),
    Attribute("BodyPartExamined", 0x00180015, "CS", SE, KNOWN),
    Attribute("Laterality", 0x00200060, "CS", SE, ASKED),
    Attribute("StationName", 0x00081010, "SH", SE, ASKED),
    Attribute("InstitutionName", 0x00080080, "LO", SE, ASKED),
    Attribute("Manufacturer", 0x00080070, "LO", SE, ASKED),
    Attribute("PerformedProcedureStepStartDate", 0x00400244, "DA", SE, KNOWN),
    Attribute("PerformedProcedureStepStartTime", 0x00400245, "TM", SE, KNOWN),
    Attribute("RequestAttributesSequence.ScheduledProcedureStepID", 0x00400009, "SH", SE, KNOWN),
    Attribute("RequestAttributesSequence.RequestedProcedureID", 0x00401001, "SH", SE, KNOWN),
    Attribute("NumberOfSeriesRelatedInstances", 0x00201209, "IS", SE, ALWAYS, computed=True),
    # Instance
    Attribute("SOPClassUID", 0x00080016, "UI", IM, ALWAYS),
    Attribute("SOPInstanceUID", 0x00080018, "UI", IM, ALWAYS, unique=True),
    Attribute("InstanceNumber", 0x00200013, "IS", IM, ALWAYS),
    Attribute("Rows", 0x00280010, "US", IM, KNOWN),
    Attribute("Columns", 0x00280011, "US", IM, KNOWN),
    Attribute("BitsAllocated", 0x00280100, "US", IM, KNOWN),
    Attribute("NumberOfFrames", 0x00280008, "IS", IM, KNOWN),
    Attribute("ContentDate", 0x00080023, "DA", IM, ASKED),
    Attribute("ContentTime", 0x00080033, "TM", IM, ASKED),
    Attribute("AvailableTransferSyntaxUID", 0x00083002, "UI", IM, KNOWN, computed=True),
)

BY_KEYWORD: dict[str, Attribute] = {attribute.keyword: attribute for attribute in ATTRIBUTES}

SEQUENCES: dict[str, int] = {"RequestAttributesSequence": 0x00400275}
"""Sequences whose items are indexed, with their tags."""

UNIQUE_KEYS: dict[Level, Attribute] = {attribute.level: attribute for attribute in ATTRIBUTES if attribute.unique}


def at_level(level: Level) -> tuple[Attribute, ...]:
    """The attributes of one level, in the table's order."""
    return tuple(attribute for attribute in ATTRIBUTES if attribute.level is level)
