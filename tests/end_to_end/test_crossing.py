"""One archive behind two doors: what goes in by either comes out the same, and both give the same answers.

The files are all that pydicom and pydicom-data bring along, the questions a table.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import (
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom.dsutils import encode

from tests.end_to_end.conftest import Site
from tests.end_to_end.doors import PATIENT_ROOT, STUDY_ROOT, Doors, Instance
from tests.parts.datasets import (
    change,
    color,
    ct_slice,
    encapsulated,
    enhanced_mr,
    mr_slice,
    multi_frame,
    part10_bytes,
    report,
    sequence_item,
    uid,
)
from tests.parts.files import REFUSED, SampleFile, dataset_bytes, readable_files, refused_files, waves

TWO = ["folder+sqlite", "rgw+postgres"]

NEVER_ON_THE_WEB = {ImplicitVRLittleEndian, ExplicitVRBigEndian}
"""They leave as Explicit VR Little Endian (PS3.18 8.7.3)."""

PADDING = 0xFFFCFFFC

BAD_DATA_SET, BAD_UID = 0xC000, 0x0117

Put = Callable[[Doors, Sequence[SampleFile]], dict[str, object]]


def by_c_store(doors: Doors, files: Sequence[SampleFile]) -> dict[str, object]:
    """Send files by C-STORE; the status of each that was not taken, by name."""
    statuses = doors.c_store([Instance.of(file) for file in files])
    return {file.name: f"{status:04X}" for file, status in zip(files, statuses, strict=True) if status}


def by_stow(doors: Doors, files: Sequence[SampleFile]) -> dict[str, object]:
    """Send files by STOW-RS in one request; the Failure Reason of each that was not taken, by name."""
    answer = doors.stow(*(file.path.read_bytes() for file in files))
    if answer.status not in (200, 202) or answer.failed or answer.others:  # 202 tells of values that break their VR
        return {file.name: answer.module for file in files if file.sop_uid not in answer.stored}
    assert Counter(answer.stored) == Counter(file.sop_uid for file in files)
    return {}


@pytest.fixture
def fresh(site: Site) -> Site:
    """The module's gateway, with nothing to be found in it."""
    site.doors.empty()
    return site


@pytest.mark.parametrize("put", [by_c_store, by_stow])
@pytest.mark.parametrize("site", TWO, indirect=True)
def test_every_real_file_comes_out_as_it_went_in(fresh: Site, put: Put) -> None:
    """Its data set is the same byte for byte; where its encoding is not allowed on the web, all its values are."""
    problems: dict[str, object] = {}
    for wave in waves(readable_files()):
        problems |= put(fresh.doors, wave)
        for file in wave:
            if file.name not in problems and (problem := difference(file, fresh.doors)):
                problems[file.name] = problem
        fresh.doors.empty()
    assert problems == {}


def difference(file: SampleFile, doors: Doors) -> str:
    """What is wrong with a stored file as WADO-RS gives it; '' for nothing."""
    (got,) = doors.retrieve(file.study_uid, file.series_uid, file.sop_uid)
    syntax = Instance.of(got).transfer_syntax_uid
    if file.transfer_syntax_uid not in NEVER_ON_THE_WEB:
        if syntax != file.transfer_syntax_uid:
            return f"its transfer syntax has become {syntax}"
        return "" if dataset_bytes(got) == file.dataset_bytes() else "its bytes are others"
    return other_values(file, got) if syntax == ExplicitVRLittleEndian else f"it left in {syntax}"


def other_values(file: SampleFile, got: bytes) -> str:
    """Which elements of a transcoded file have other values than before; '' for none.

    Group lengths and padding may go (PS3.5 7.2, PS3.10 7.2); OW changes its byte order.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of these files have values that are not as they should be
        before, after = dcmread(file.path), dcmread(BytesIO(got))
        if "PixelData" in before and not np.array_equal(before.pixel_array, after.pixel_array):
            return "other pixels"
        for ds in (before, after):
            for tag in [element.tag for element in ds if element.tag.element == 0 or element.tag == PADDING]:
                del ds[tag]
            ds.pop("PixelData", None)
        if file.transfer_syntax_uid == ExplicitVRBigEndian:
            for element in before:
                if element.VR == "OW":
                    element.value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()
        one, other = before.to_json_dict(), after.to_json_dict()
    return " ".join(tag for tag in sorted(one.keys() | other.keys()) if one.get(tag) != other.get(tag))


@pytest.mark.parametrize("site", TWO, indirect=True)
def test_what_is_kept_is_what_was_sent(fresh: Site) -> None:
    """Also of files that the web never gets as they are: the store holds their bytes, behind a head of our own."""
    files = [file for file in readable_files() if file.transfer_syntax_uid in NEVER_ON_THE_WEB]
    wave = waves(files)[0]
    assert by_c_store(fresh.doors, wave[::2]) == by_stow(fresh.doors, wave[1::2]) == {}
    kept = {dataset_bytes(one) for one in fresh.objects()}
    assert [file.name for file in wave if file.dataset_bytes() not in kept] == []


COMPOSITE = "1.2.840.10008.5.1.4.1.1."
PRIVATE_CLASS, CLASS_OF_THE_FUTURE = "1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.999.1"
REAL_TIME = "1.2.840.10008.1.2.7."
"""DICOM-RTV: these are streamed, never stored (PS3.22)."""
JPIP = {"1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.204", "1.2.840.10008.1.2.4.205"}
"""They have a URL in place of Pixel Data (PS3.5 A.6)."""
DEFLATED = {DeflatedExplicitVRLittleEndian, "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}
NATIVE = {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
STORAGE_CLASSES = [
    *(one for one, facts in UID_dictionary.items() if one.startswith(COMPOSITE) and "Storage" in facts[0]),
    PRIVATE_CLASS,
    CLASS_OF_THE_FUTURE,
]
SYNTAXES = [
    *(str(one) for one in AllTransferSyntaxes if not one.startswith(REAL_TIME)),
    *(f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203, 110, 111, 112)),
    *(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109)),
    *(f"1.2.840.10008.1.2.4.{number}.1" for number in range(100, 107)),
]


@pytest.mark.parametrize("site", TWO[:1], indirect=True)
def test_every_storage_class_is_taken(fresh: Site) -> None:
    """And those that the standard does not have, or does not have yet. By both doors, each found by its class."""
    files = [part10_bytes(report("classes", 1, number, SOPClassUID=one)) for number, one in enumerate(STORAGE_CLASSES)]
    assert fresh.doors.c_store(files[::2]) == [0] * len(files[::2])
    assert fresh.doors.stow(*files[1::2]).status == 200
    found = fresh.doors.qido("/instances", limit=1000)
    assert sorted(one["SOPClassUID"] for one in found) == sorted(STORAGE_CLASSES)
    assert len(STORAGE_CLASSES) > 150


@pytest.mark.parametrize("site", TWO[:1], indirect=True)
def test_every_transfer_syntax_is_taken(fresh: Site) -> None:
    """By both doors; of what is in the fragments nothing has to be known. Each is told by QIDO-RS."""
    instances = []
    for number, syntax in enumerate(dict.fromkeys(SYNTAXES)):
        ds = multi_frame("syntaxes", number=number, frames=1)
        if syntax in JPIP:
            change(ds, {"PixelData": None, "PixelDataProviderURL": "http://127.0.0.1/pixels"})
        elif syntax not in NATIVE:
            encapsulated(ds, [bytes(100)])
        data = encode(ds, syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian, syntax in DEFLATED)
        assert data is not None
        instances.append(Instance(ds.SOPClassUID, ds.SOPInstanceUID, syntax, data))
    assert fresh.doors.c_store(instances[::2]) == [0] * len(instances[::2])
    answer = fresh.doors.stow(*(one.file() for one in instances[1::2]))
    assert (answer.status, answer.failed, answer.others) == (200, {}, [])
    found = fresh.doors.qido("/instances", limit=1000, includefield="AvailableTransferSyntaxUID")
    assert {one["SOPInstanceUID"]: one["AvailableTransferSyntaxUID"] for one in found} == {
        one.sop_uid: one.transfer_syntax_uid for one in instances
    }


@pytest.mark.parametrize("site", TWO[:1], indirect=True)
def test_the_same_file_by_the_other_door_is_the_same_instance(fresh: Site) -> None:
    """STOW-13: success, and nothing is written twice."""
    file = part10_bytes(ct_slice("twice"))
    before = len(list(fresh.objects()))
    assert fresh.doors.c_store([file]) == [0]
    assert fresh.doors.stow(file).status == 200
    assert fresh.doors.c_store([file]) == [0]
    assert len(list(fresh.objects())) == before + 1
    other = part10_bytes(ct_slice("twice", PatientName="Another"))
    assert fresh.doors.c_store([other]) == [0x0111]
    answer = fresh.doors.stow(other)
    assert (answer.status, list(answer.failed.values())) == (409, [0x0111])
    assert dataset_bytes(fresh.doors.retrieve(uid("study", "twice"))[0]) == dataset_bytes(file)


REFUSALS = {
    # name: C-STORE status, Failure Reason of STOW-RS
    **dict.fromkeys(REFUSED, (BAD_DATA_SET, BAD_DATA_SET)),
    # no UIDs that a command could name either
    "bad_sequence.dcm": (BAD_UID, BAD_DATA_SET),
}


@pytest.mark.parametrize("site", TWO[:1], indirect=True)
@pytest.mark.parametrize("file", refused_files(), ids=lambda file: file.name)
def test_a_file_that_cannot_be_archived_is_refused_by_both_doors(fresh: Site, file: SampleFile) -> None:
    """S-21, S-24, STORE-06: truncated ones, and those without their UIDs; see REFUSED for the reason of each."""
    by_command, by_web = REFUSALS[file.name]
    assert fresh.doors.c_store([Instance.of(file)]) == [by_command]
    answer = fresh.doors.stow(file.path.read_bytes())
    assert (answer.status, [*answer.failed.values(), *answer.others]) == (409, [by_web])
    assert file.sop_uid not in [one["SOPInstanceUID"] for one in fresh.doors.qido("/instances")]


# ---------------------------------------------------------------- the same question by C-FIND and QIDO-RS


STUDIES = {
    "alpha": [ct_slice("alpha", 1, 1), ct_slice("alpha", 1, 2), report("alpha", 2, 1)],
    "beta": [
        mr_slice("beta", 1, number, PatientName="Müller^Jörg", StudyDate="20250101", StudyTime="235959")
        for number in (1, 2, 3)
    ],
    "gamma": [
        enhanced_mr(
            "gamma",
            PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう",
            StudyDate="20261231",
            StudyTime="000000",
            RequestAttributesSequence=[sequence_item(ScheduledProcedureStepID="SPS 7", RequestedProcedureID="RP-7")],
        )
    ],
    "delta": [color("delta", AccessionNumber=None, PatientID="ID*delta", StudyDate="20250101", StudyTime="08")],
    "epsilon": [ct_slice("epsilon", 3, 4, StudyDate=None, StudyDescription="100% [sure]_", Modality="CT")],
}

ALPHA, BETA = uid("study", "alpha"), uid("study", "beta")
ALPHA_CT, BETA_MR = uid("series", "alpha", 1), uid("series", "beta", 1)

QUESTIONS: list[tuple[str, dict[str, str], int]] = [
    # level, keys, number of matches
    ("STUDY", {}, 5),
    ("STUDY", {"PatientName": "Test^alpha"}, 1),
    ("STUDY", {"PatientName": "test^*"}, 3),
    ("STUDY", {"PatientName": "*a"}, 2),
    ("STUDY", {"PatientName": "Müller*"}, 1),
    ("STUDY", {"PatientName": "山田*"}, 1),
    ("STUDY", {"PatientName": "Test^?????"}, 2),
    ("STUDY", {"PatientName": "Nobody"}, 0),
    ("STUDY", {"PatientID": "ID-beta"}, 1),
    ("STUDY", {"PatientID": "ID*"}, 5),
    ("STUDY", {"AccessionNumber": "ACC-*"}, 4),
    ("STUDY", {"StudyDate": "20250101"}, 2),
    ("STUDY", {"StudyDate": "20250101-20260304"}, 3),
    ("STUDY", {"StudyDate": "20260305-"}, 1),
    ("STUDY", {"StudyDate": "-20260304"}, 3),
    ("STUDY", {"StudyTime": "080000-120000"}, 3),
    ("STUDY", {"StudyInstanceUID": ALPHA}, 1),
    ("STUDY", {"StudyInstanceUID": f"{ALPHA}\\{BETA}\\1.2.3"}, 2),
    ("STUDY", {"ModalitiesInStudy": "MR"}, 2),
    ("STUDY", {"ModalitiesInStudy": "SR"}, 1),
    ("STUDY", {"StudyDescription": "100% [sure]_"}, 1),
    ("STUDY", {"StudyDescription": "1%_*"}, 0),
    ("STUDY", {"ReferringPhysicianName": "referrer^rita", "StudyDate": "20260101-20261231"}, 2),
    ("SERIES", {"StudyInstanceUID": ALPHA}, 2),
    ("SERIES", {"StudyInstanceUID": ALPHA, "Modality": "SR"}, 1),
    ("SERIES", {"StudyInstanceUID": ALPHA, "SeriesNumber": "1"}, 1),
    ("SERIES", {"StudyInstanceUID": ALPHA, "SeriesInstanceUID": f"{ALPHA_CT}\\{BETA_MR}"}, 1),
    ("SERIES", {"StudyInstanceUID": uid("study", "gamma"), "SeriesDescription": "Series*"}, 1),
    ("SERIES", {"StudyInstanceUID": uid("study", "nobody")}, 0),
    ("IMAGE", {"StudyInstanceUID": BETA, "SeriesInstanceUID": BETA_MR}, 3),
    ("IMAGE", {"StudyInstanceUID": BETA, "SeriesInstanceUID": BETA_MR, "InstanceNumber": "2"}, 1),
    ("IMAGE", {"StudyInstanceUID": ALPHA, "SeriesInstanceUID": BETA_MR}, 0),
]

UNIQUE = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
KEYS_OF_THE_URI = {"STUDY": (), "SERIES": ("StudyInstanceUID",), "IMAGE": ("StudyInstanceUID", "SeriesInstanceUID")}
PATHS = {"STUDY": "/studies", "SERIES": "/studies/{}/series", "IMAGE": "/studies/{}/series/{}/instances"}


@pytest.fixture(scope="module")
def filled(site: Site) -> Doors:
    """The studies of the questions, half by each door."""
    site.doors.empty()
    files = [part10_bytes(ds) for study in STUDIES.values() for ds in study]
    assert site.doors.stow(*files[::2]).status == 200
    assert site.doors.c_store(files[1::2]) == [0] * len(files[1::2])
    return site.doors


@pytest.mark.parametrize(("level", "keys", "count"), QUESTIONS, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("site", TWO, indirect=True)
def test_the_same_question_gives_the_same_uids(filled: Doors, level: str, keys: dict[str, str], count: int) -> None:
    """C-FIND in Study Root, and QIDO-RS."""
    unique = UNIQUE[level]
    found = filled.c_find(STUDY_ROOT, **{"QueryRetrieveLevel": level, unique: ""} | keys)
    dimse = sorted(str(match[unique].value) for match in found)
    in_uri = [keys[key] for key in KEYS_OF_THE_URI[level]]
    others = {key: value.replace("\\", ",") for key, value in keys.items() if key not in KEYS_OF_THE_URI[level]}
    web = sorted(match[unique] for match in filled.qido(PATHS[level].format(*in_uri), **others))
    assert dimse == web
    assert len(web) == count


@pytest.mark.parametrize("site", TWO, indirect=True)
def test_patients_are_those_of_the_studies(filled: Doors) -> None:
    """C-FIND in Patient Root; QIDO-RS has no patients, but each study says whose it is."""
    patients = filled.c_find(PATIENT_ROOT, QueryRetrieveLevel="PATIENT", PatientID="", PatientName="")
    assert sorted(one.PatientID for one in patients) == sorted(one["PatientID"] for one in filled.qido("/studies"))
    (beta,) = filled.c_find(PATIENT_ROOT, QueryRetrieveLevel="PATIENT", PatientID="ID-beta", PatientName="")
    assert beta.PatientName == "Müller^Jörg"
    (study,) = filled.c_find(PATIENT_ROOT, QueryRetrieveLevel="STUDY", PatientID="ID-beta", StudyInstanceUID="")
    assert study.StudyInstanceUID == BETA


@pytest.mark.parametrize("site", TWO, indirect=True)
def test_both_tell_the_same_of_a_study(filled: Doors) -> None:
    """Values and counts of a match, not its UID alone."""
    keywords = ("PatientName", "PatientID", "StudyDate", "StudyTime", "AccessionNumber", "StudyDescription", "StudyID")
    counts = ("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "ModalitiesInStudy")
    asked = {"QueryRetrieveLevel": "STUDY", **dict.fromkeys((*keywords, *counts), "")}
    for name in ("alpha", "beta", "epsilon"):
        study = uid("study", name)
        (match,) = filled.c_find(STUDY_ROOT, **asked, StudyInstanceUID=study)
        (other,) = filled.qido("/studies", StudyInstanceUID=study)
        for keyword in keywords:
            assert str(match.get(keyword) or "") == str(other.get(keyword) or ""), (name, keyword)
        for keyword in counts[:2]:
            assert int(match[keyword].value) == other[keyword]
        listed = match.ModalitiesInStudy
        assert sorted([listed] if isinstance(listed, str) else listed) == sorted(
            [other["ModalitiesInStudy"]] if isinstance(other["ModalitiesInStudy"], str) else other["ModalitiesInStudy"]
        )
