"""C-FIND over real sockets (PS3.4 C.4.1)."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from gateway.caller import Caller
from gateway.store import receive, store
from tests.gateway.dimse.conftest import Door, OpenDoor
from tests.gateway.dimse.wire import P_DATA, command, element, find_command, pdv
from tests.parts.datasets import ct_slice, mr_slice, part10_bytes, sequence_item, uid
from tests.parts.machine import need

PATIENT_FIND, STUDY_FIND = "1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.2.1"
IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"


def keep(door: Door, *datasets: Dataset) -> None:
    """Store by the use case."""
    for ds in datasets:
        with receive(door.archive, max_bytes=1 << 24) as incoming:
            incoming.write(part10_bytes(ds))
            store(door.archive, incoming, Caller("test", "cli"))


def fill(door: Door) -> None:
    """Two patients: one with a CT of two series and an MR, one with Greek and Japanese names."""
    request = sequence_item(RequestedProcedureID="RP1", ScheduledProcedureStepID="SPS1")
    keep(
        door,
        ct_slice("one", 1, 1, StudyDate="20200101", StudyTime="230000", RequestAttributesSequence=[request]),
        ct_slice("one", 1, 2, StudyDate="20200101", StudyTime="230000", RequestAttributesSequence=[request]),
        ct_slice("one", 2, 3, StudyDate="20200101", StudyTime="230000"),
        mr_slice("two", 1, 1, PatientID="ID-one", PatientName="Test^one", StudyDate="20200102", StudyTime="010000"),
        ct_slice("three", 1, 1, PatientName="Παπαδόπουλος^Γιώργος", StudyDate="20210101", StudyTime="120000"),
        ct_slice("four", 1, 1, PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう", StudyDate="20220101"),
    )


@pytest.fixture(scope="module")
def door(module_door: Door) -> Door:
    """One server for all, which nothing is stored to any more."""
    fill(module_door)
    return module_door


@contextmanager
def asking(
    door: Door, sop_class: str = STUDY_FIND, syntax: str = IMPLICIT, extended: bytes = b""
) -> Iterator[Association]:
    """An association for C-FIND."""
    items: list[Any] = []
    if extended:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid = UID(sop_class)
        item.service_class_application_information = extended
        items.append(item)
    association = AE("SCU").associate(
        *door.address, contexts=[build_context(sop_class, syntax)], ae_title="GANTRY", ext_neg=items
    )
    assert association.is_established
    yield association
    association.release()


def identifier(level: str | None = "STUDY", **keys: Any) -> Dataset:
    """A request identifier."""
    ds = Dataset()
    if level is not None:
        ds.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        if isinstance(value, str):  # which may break the rules of its VR
            ds.add(DataElement(keyword, dictionary_VR(keyword), value, validation_mode=IGNORE))
        else:
            setattr(ds, keyword, value)
    return ds


def ask(
    association: Association, ds: Dataset, sop_class: str = STUDY_FIND
) -> tuple[list[tuple[int, Dataset]], Dataset]:
    """The pending (status, identifier) pairs, and the final status."""
    responses = list(association.send_c_find(ds, sop_class))
    final, nothing = responses.pop()
    assert nothing is None
    return [(status.Status, found) for status, found in responses if found is not None], final


def found(door: Door, ds: Dataset, sop_class: str = STUDY_FIND, **negotiated: Any) -> list[Dataset]:
    """The matches of one request that succeeds."""
    with asking(door, sop_class, **negotiated) as association:
        pending, final = ask(association, ds, sop_class)
    assert final.Status == 0, final
    return [match for _, match in pending]


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_studies_with_what_was_asked_and_nothing_else(door: Door, syntax: str) -> None:
    """FIND-04, FIND-05: requested keys, level and Retrieve AE Title."""
    keys = identifier(StudyInstanceUID="", PatientID="ID-one", ModalitiesInStudy="", NumberOfStudyRelatedInstances="")
    keys.InstanceAvailability = ""
    with asking(door, syntax=syntax) as association:
        pending, final = ask(association, keys)
    assert final.Status == 0
    assert [status for status, _ in pending] == [0xFF00, 0xFF00]
    newest, first = (match for _, match in pending)
    assert newest.StudyInstanceUID == uid("study", "two")
    assert newest.ModalitiesInStudy == "MR"
    assert {element.keyword for element in first} == {
        "QueryRetrieveLevel", "RetrieveAETitle", "InstanceAvailability",
        "StudyInstanceUID", "PatientID", "ModalitiesInStudy", "NumberOfStudyRelatedInstances",
    }  # fmt: skip
    assert first.QueryRetrieveLevel == "STUDY"
    assert first.RetrieveAETitle == "GANTRY"
    assert first.InstanceAvailability == "ONLINE"
    assert first.NumberOfStudyRelatedInstances == 3


def test_all_levels_of_patient_root(door: Door) -> None:
    """FIND-01, FIND-02."""
    with asking(door, PATIENT_FIND) as association:
        patients, _ = ask(
            association, identifier("PATIENT", PatientID="", NumberOfPatientRelatedStudies=""), PATIENT_FIND
        )
        counts = {match.PatientID: match.NumberOfPatientRelatedStudies for _, match in patients}
        assert counts == {"ID-one": 2, "ID-three": 1, "ID-four": 1}
        one = {"PatientID": "ID-one"}
        studies, _ = ask(association, identifier("STUDY", **one, StudyInstanceUID=""), PATIENT_FIND)
        assert len(studies) == 2
        study = {**one, "StudyInstanceUID": uid("study", "one")}
        series, _ = ask(association, identifier("SERIES", **study, SeriesInstanceUID="", SeriesNumber=""), PATIENT_FIND)
        assert [match.SeriesNumber for _, match in series] == [1, 2]
        one_series = {**study, "SeriesInstanceUID": uid("series", "one", 1)}
        images, _ = ask(
            association, identifier("IMAGE", **one_series, SOPInstanceUID="", InstanceNumber="", Rows=""), PATIENT_FIND
        )
        assert [(match.InstanceNumber, match.Rows) for _, match in images] == [(1, 64), (2, 64)]


@pytest.mark.parametrize(
    ("keys", "studies"),
    [
        ({"PatientName": "test^*"}, {"one", "two"}),
        ({"PatientName": "ΠΑΠΑΔΟΠΟΥΛΟΣ^Γιωργος"}, {"three"}),
        ({"PatientName": "山田*"}, {"four"}),
        ({"StudyDate": "20200101-20200131"}, {"one", "two"}),
        ({"StudyDate": "20210101-"}, {"three", "four"}),
        ({"StudyDate": "-20200101"}, {"one"}),
        ({"StudyInstanceUID": [uid("study", "one"), uid("study", "three")]}, {"one", "three"}),
        ({"ModalitiesInStudy": "MR"}, {"two"}),
        ({"ModalitiesInStudy": ["MR", "CT"]}, {"one", "two", "three", "four"}),
        ({"AccessionNumber": "ACC-t*"}, {"two", "three"}),
        ({"PatientID": "*"}, {"one", "two", "three", "four"}),
        ({"PatientID": "id-one"}, set()),
    ],
)  # fmt: skip
def test_matching(door: Door, keys: dict[str, Any], studies: set[str]) -> None:
    """MATCH-01 to MATCH-05, MATCH-08."""
    ds = identifier(**{"StudyInstanceUID": "", **keys})
    ds.SpecificCharacterSet = "ISO_IR 192"
    assert {match.StudyInstanceUID for match in found(door, ds)} == {uid("study", name) for name in studies}


def test_a_key_is_read_in_its_own_character_set(door: Door) -> None:
    """FIND-05: the answer comes in the requested character set when that can say it, else in UTF-8."""
    ds = identifier(PatientName="Παπαδόπουλος*", PatientID="")
    ds.SpecificCharacterSet = "ISO_IR 126"
    (match,) = found(door, ds)
    assert match.SpecificCharacterSet == "ISO_IR 126"
    assert match.PatientName == "Παπαδόπουλος^Γιώργος"
    ds = identifier(PatientName="", PatientID="ID-four")
    ds.SpecificCharacterSet = "ISO_IR 100"
    (match,) = found(door, ds)
    assert match.SpecificCharacterSet == "ISO_IR 192"
    assert str(match.PatientName) == "Yamada^Tarou=山田^太郎=やまだ^たろう"


def test_plain_ascii_needs_no_character_set(door: Door) -> None:
    """FIND-05."""
    (match,) = found(door, identifier(PatientName="", StudyInstanceUID=uid("study", "one")))
    assert "SpecificCharacterSet" not in match


def test_unsupported_keys_come_back_empty_with_a_warning(door: Door) -> None:
    """MATCH-09, FIND-04, FIND-06: FF01; they do not narrow the search."""
    ds = identifier(StudyInstanceUID="", PatientID="ID-one", PatientWeight="70", PatientComments="x")
    ds.ReferencedStudySequence = []
    ds.add_new(0x00191001, "LO", "private")
    with asking(door) as association:
        pending, final = ask(association, ds)
    assert final.Status == 0
    assert [status for status, _ in pending] == [0xFF01, 0xFF01]
    for _, match in pending:
        assert match.PatientWeight is None
        assert match.PatientComments == ""
        assert len(match.ReferencedStudySequence) == 0
        assert 0x00191001 in match


def test_a_counted_attribute_is_returned_but_not_matched(door: Door) -> None:
    """MATCH-09."""
    with asking(door) as association:
        pending, _ = ask(
            association, identifier(NumberOfStudyRelatedInstances="3", StudyInstanceUID=uid("study", "two"))
        )
    assert [(status, match.NumberOfStudyRelatedInstances) for status, match in pending] == [(0xFF01, 1)]


def test_sequences_are_matched_item_by_item(door: Door) -> None:
    """PS3.4 C.2.2.2.6."""
    item = sequence_item(RequestedProcedureID="RP1", ScheduledProcedureStepID="")
    ds = identifier("SERIES", StudyInstanceUID=uid("study", "one"), SeriesNumber="", RequestAttributesSequence=[item])
    (match,) = found(door, ds)
    assert match.SeriesNumber == 1
    (answer,) = match.RequestAttributesSequence
    assert (answer.RequestedProcedureID, answer.ScheduledProcedureStepID) == ("RP1", "SPS1")
    item.RequestedProcedureID = "RP2"
    assert found(door, ds) == []


@pytest.mark.parametrize(
    ("ds", "named"),
    [
        (identifier(None, PatientID=""), "Level"),
        (identifier("PATIENT", PatientID=""), "PATIENT"),
        (identifier("NONSENSE"), "Level"),
        (identifier("SERIES", SeriesInstanceUID=""), "StudyInstanceUID"),
        (identifier("SERIES", StudyInstanceUID=""), "StudyInstanceUID"),
        (identifier("SERIES", StudyInstanceUID=["1.2", "1.3"]), "StudyInstanceUID"),
        (identifier("IMAGE", StudyInstanceUID="1.2", SOPInstanceUID=""), "SeriesInstanceUID"),
        (identifier("STUDY", Modality="CT"), "Modality"),
        (identifier("STUDY", StudyDate="20201301"), "StudyDate"),
        (identifier("STUDY", StudyInstanceUID="1.2.*"), "StudyInstanceUID"),
    ],
)  # fmt: skip
def test_an_identifier_that_breaks_the_rules_is_refused(door: Door, ds: Dataset, named: str) -> None:
    """FIND-03, FIND-06, MATCH-02: A900, with a comment that names what is wrong."""
    with asking(door) as association:
        pending, final = ask(association, ds)
        assert pending == []
        assert final.Status == 0xA900
        assert named in final.ErrorComment
        assert len(final.ErrorComment) <= 64
        assert ask(association, identifier(StudyInstanceUID=""))[1].Status == 0


def test_patient_root_needs_the_patient(door: Door) -> None:
    """FIND-03."""
    with asking(door, PATIENT_FIND) as association:
        _, final = ask(association, identifier("STUDY", StudyInstanceUID=""), PATIENT_FIND)
    assert final.Status == 0xA900
    assert "PatientID" in final.ErrorComment


def test_relational_queries_need_no_keys_above(door: Door) -> None:
    """FIND-03, NET-09: once negotiated, any level may be asked, and keys of lower levels narrow it."""
    relational: dict[str, Any] = {"extended": b"\x01"}
    series = found(door, identifier("SERIES", Modality="MR", SeriesInstanceUID=""), **relational)
    assert [match.SeriesInstanceUID for match in series] == [uid("series", "two", 1)]
    studies = found(door, identifier("STUDY", Modality="MR", StudyInstanceUID=""), **relational)
    assert [match.StudyInstanceUID for match in studies] == [uid("study", "two")]
    item = sequence_item(RequestedProcedureID="RP1")
    patients = found(
        door,
        identifier("PATIENT", PatientID="", SOPInstanceUID="", RequestAttributesSequence=[item]),
        PATIENT_FIND,
        **relational,
    )
    assert [match.PatientID for match in patients] == ["ID-one"]
    assert found(door, identifier("STUDY", Modality="US", StudyInstanceUID=""), **relational) == []


def test_date_and_time_are_one_range_once_negotiated(door: Door) -> None:
    """NET-09, PS3.4 C.2.2.2.5.4: from 22:00 of the first day to 02:00 of the second."""
    ds = identifier(StudyInstanceUID="", StudyDate="20200101-20200102", StudyTime="220000-020000")
    combined = {match.StudyInstanceUID for match in found(door, ds, extended=b"\x00\x01")}
    assert combined == {uid("study", "one"), uid("study", "two")}
    ds.StudyTime = "220000-235959"
    assert {match.StudyInstanceUID for match in found(door, ds)} == {uid("study", "one")}


def test_times_are_those_of_the_stored_data_sets(open_door: OpenDoor) -> None:
    """FIND-07: no adjustment was negotiated, so dates and times match and return as they stand, whatever their zone; a
    zone in the request is no matching key, and the stored one is returned."""
    door = open_door(timezone="-0500")
    keep(door, ct_slice("east", StudyDate="20200101", StudyTime="003000", TimezoneOffsetFromUTC="+0900"))
    keys = {"StudyInstanceUID": "", "StudyTime": "", "TimezoneOffsetFromUTC": "-0500"}
    with asking(door) as association:
        ((status, match),), final = ask(association, identifier(StudyDate="20200101", **keys))
        assert (status, final.Status) == (0xFF01, 0)
        assert (match.StudyDate, match.StudyTime, match.TimezoneOffsetFromUTC) == ("20200101", "003000", "+0900")
        assert ask(association, identifier(StudyDate="20191231", **keys))[0] == []


def test_storms_of_wild_cards(door: Door) -> None:
    """S-11: more than 16 `*` in one key are A900, and why; as many as that are matched as any other."""
    with asking(door) as association:
        for storm in ("*a" * 30 + "*b", "*?" * 31 + "!"):
            pending, final = ask(association, identifier(StudyInstanceUID="", PatientName=storm))
            assert (pending, final.Status) == ([], 0xA900)
            assert "wild cards" in final.ErrorComment
    assert found(door, identifier(StudyInstanceUID="", PatientName="*a" * 16 + "b")) == []
    assert len(found(door, identifier(StudyInstanceUID="", PatientName="*" * 16))) == 4


def test_more_matches_than_a_page(open_door: OpenDoor) -> None:
    """FIND-04: all of them, each once."""
    door = open_door(objects="memory:")
    keep(door, *(ct_slice("large", 1, number, rows=2, columns=2) for number in range(1, 231)))
    ds = identifier(
        "IMAGE", StudyInstanceUID=uid("study", "large"), SeriesInstanceUID=uid("series", "large", 1), InstanceNumber=""
    )
    assert [match.InstanceNumber for match in found(door, ds)] == list(range(1, 231))


def test_findscu_of_dcmtk_gets_its_answer(door: Door) -> None:
    """FIND-04 with dcmtk's findscu."""
    host, port = door.address
    keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", "PatientName=*one", "-k", "StudyInstanceUID"]
    done = subprocess.run(
        [need("findscu"), "-v", "-S", "-aec", "GANTRY", *keys, host, str(port)],
        check=True, capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert uid("study", "one") in output
    assert uid("study", "two") in output
    assert "Success" in output


def test_a_cancel_is_honoured(open_door: OpenDoor) -> None:
    """FIND-04: FE00 soon after the C-CANCEL, though there are more matches; the association goes on."""
    door = open_door(objects="memory:")
    keep(door, *(ct_slice("large", 1, number, rows=2, columns=2) for number in range(1, 61)))
    study, series = uid("study", "large").encode(), uid("series", "large", 1).encode()
    keys = element(0x0052, b"IMAGE ", 0x0008)
    keys += element(0x000D, study + b"\0" * (len(study) % 2), 0x0020)
    keys += element(0x000E, series + b"\0" * (len(series) % 2), 0x0020)
    cancel = command({0x0100: 0x0FFF, 0x0120: 7, 0x0800: 0x0101})
    with door.wire((1, STUDY_FIND, (IMPLICIT,))) as wire:
        wire.send(P_DATA, pdv(1, 3, find_command(7)) + pdv(1, 2, keys) + pdv(1, 3, cancel))
        statuses = [wire.status()]
        while statuses[-1] == 0xFF00:
            statuses.append(wire.status())
        assert statuses[-1] == 0xFE00
        assert len(statuses) < 60
        wire.send(P_DATA, pdv(1, 3, find_command(8)) + pdv(1, 2, keys))
        statuses = [wire.status()]
        while statuses[-1] == 0xFF00:
            statuses.append(wire.status())
        assert (statuses[-1], len(statuses)) == (0, 61)


def test_a_cancel_for_nothing_is_ignored(door: Door) -> None:
    """PS3.7 9.3.2.3: it may cross the final response."""
    cancel = command({0x0100: 0x0FFF, 0x0120: 9, 0x0800: 0x0101})
    keys = element(0x0052, b"STUDY ", 0x0008) + element(0x0010, b"", 0x0010)
    with door.wire((1, STUDY_FIND, (IMPLICIT,))) as wire:
        wire.send(P_DATA, pdv(1, 3, cancel))
        wire.send(P_DATA, pdv(1, 3, find_command(9)) + pdv(1, 2, keys))
        assert [wire.status() for _ in range(5)] == [0xFF00] * 4 + [0]


def test_garbage_for_an_identifier_is_not_understood(door: Door) -> None:
    """FIND-04: Cxxx, and the association goes on."""
    with door.wire((1, STUDY_FIND, (IMPLICIT,))) as wire:
        for garbage in (b"garbage!garbage!", element(0x0052, b"STUDY ", 0x0008)[:-2], b"\xff" * 64):
            wire.send(P_DATA, pdv(1, 3, find_command()) + pdv(1, 2, garbage))
            assert 0xC000 <= wire.status() <= 0xCFFF
        wire.send(P_DATA, pdv(1, 3, find_command()) + pdv(1, 2, element(0x0052, b"STUDY ", 0x0008)))
        assert wire.status() == 0xFF00


def test_an_identifier_without_a_value_for_its_character_set_codec(door: Door) -> None:
    """S-28: names of Python codecs are no character sets."""
    keys = element(0x0005, b"punycode", 0x0008) + element(0x0052, b"STUDY ", 0x0008)
    keys += element(0x0010, b"a" * 60_000, 0x0010)
    with door.wire((1, STUDY_FIND, (IMPLICIT,))) as wire:
        wire.send(P_DATA, pdv(1, 3, find_command()) + pdv(1, 2, keys))
        assert wire.status() == 0xA900


def test_two_peers_ask_at_the_same_time(door: Door) -> None:
    """Associations do not wait for each other."""
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(len(found(door, identifier(StudyInstanceUID=""))))) for _ in "ab"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == [4, 4]
