"""QIDO-RS over real sockets: the six forms, names and values of keys, what is returned, paging and warnings."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.dicomweb import qido_query
from storage.attributes import Level
from storage.index.sql import SqlIndex
from tests.gateway.dicomweb.service import Service, serve
from tests.parts.datasets import ct_slice, mr_slice, sequence_item, uid

REQUEST = [sequence_item(ScheduledProcedureStepID="SPS1", RequestedProcedureID="RP1")]
STUDIES = ("anna", "berta", "carla")
ANNA, BERTA, CARLA = (uid("study", name) for name in STUDIES)
ANNA_CT, ANNA_MR = uid("series", "anna", 1), uid("series", "anna", 2)


@pytest.fixture(scope="module")
def filled(shared: Service) -> Iterator[Service]:
    small: dict[str, Any] = {"rows": 4, "columns": 4}
    sets = [
        *(ct_slice("anna", 1, number, **small, RequestAttributesSequence=REQUEST) for number in (1, 2, 3)),
        mr_slice("anna", 2, 1, **small),
        ct_slice("berta", 1, 1, **small, PatientName="Müller^Bärbel", StudyDate="20260305", StudyTime="080000"),
        ct_slice("carla", 1, 1, **small, StudyDate="20260306", StudyTime="230000", PatientSex=None, StudyID=None),
    ]
    answer = shared.store(*sets)
    assert answer.status_code == 200, answer.text
    yield shared


def found(answer: httpx.Response, tag: str = "0020000D") -> list[Any]:
    assert answer.status_code in (200, 204), answer.text
    if answer.status_code == 204:
        assert answer.content == b""
        return []
    return [one[tag].get("Value", [None])[0] for one in answer.json()]


@pytest.mark.parametrize(
    ("path", "count", "url"),
    [
        ("/studies", 3, "/studies/{0020000D}"),
        ("/series", 4, "/studies/{0020000D}/series/{0020000E}"),
        ("/instances", 6, "/studies/{0020000D}/series/{0020000E}/instances/{00080018}"),
        (f"/studies/{ANNA}/series", 2, "/studies/{0020000D}/series/{0020000E}"),
        (f"/studies/{ANNA}/instances", 4, "/studies/{0020000D}/series/{0020000E}/instances/{00080018}"),
        (
            f"/studies/{ANNA}/series/{ANNA_CT}/instances",
            3,
            "/studies/{0020000D}/series/{0020000E}/instances/{00080018}",
        ),
    ],
)
def test_the_six_forms(filled: Service, path: str, count: int, url: str) -> None:
    """QIDO-01, QIDO-02, QIDO-03, QIDO-04, QIDO-27, MT-06, JSON-01."""
    answer = filled.get(path)
    assert answer.headers["content-type"] == "application/dicom+json"
    assert answer.headers["x-total-count"] == str(count)
    results = answer.json()
    assert len(results) == count
    for one in results:
        assert list(one) == sorted(one)
        assert one["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
        assert one["00080056"] == {"vr": "CS", "Value": ["ONLINE"]}
        own = "".join(one[piece]["Value"][0] if piece.isalnum() else piece for piece in re.split(r"[{}]", url))
        assert one["00081190"] == {"vr": "UR", "Value": [filled.url + own]}


def test_what_a_study_returns(filled: Service) -> None:
    """QIDO-05, JSON-03, JSON-05, QIDO-26."""
    (one,) = filled.get("/studies?PatientID=ID-anna").json()
    expected = "00080005 00080020 00080030 00080050 00080056 00080061 00080090 00081030 00081190 00100010 00100020 "
    expected += "00100030 00100040 0020000D 00200010 00201206 00201208"
    assert list(one) == expected.split()
    assert one["00080061"] == {"vr": "CS", "Value": ["CT", "MR"]}
    assert one["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Test^anna"}]}
    assert one["00201206"] == {"vr": "IS", "Value": [2]}
    assert one["00201208"] == {"vr": "IS", "Value": [4]}
    (unknown,) = filled.get("/studies?PatientID=ID-carla").json()
    assert unknown["00100040"] == {"vr": "CS"}
    assert unknown["00200010"] == {"vr": "SH"}


def test_what_a_series_returns(filled: Service) -> None:
    """QIDO-06, QIDO-09."""
    (one,) = filled.get(f"/studies/{ANNA}/series?SeriesInstanceUID={ANNA_CT}").json()
    for tag in ("00080060", "0008103E", "00081190", "0020000E", "00200011", "00201209", "0020000D"):
        assert tag in one
    assert one["00400275"]["Value"] == [
        {"00400009": {"vr": "SH", "Value": ["SPS1"]}, "00401001": {"vr": "SH", "Value": ["RP1"]}}
    ]
    assert "00100010" not in one
    (relational,) = filled.get(f"/series?SeriesInstanceUID={ANNA_CT}").json()
    assert relational["00100010"]["Value"] == [{"Alphabetic": "Test^anna"}]


def test_what_an_instance_returns(filled: Service) -> None:
    """QIDO-07, QIDO-09."""
    one = filled.get(f"/studies/{ANNA}/series/{ANNA_CT}/instances").json()[0]
    for tag in ("00080016", "00080018", "00081190", "00200013", "00280010", "00280011", "00280100", "00083002"):
        assert tag in one
    assert one["00280010"] == {"vr": "US", "Value": [4]}
    assert one["00083002"] == {"vr": "UI", "Value": ["1.2.840.10008.1.2.1"]}
    assert "00080060" not in one and "00100010" not in one
    assert "00080060" in filled.get(f"/studies/{ANNA}/instances").json()[0]
    assert "00100010" in filled.get("/instances").json()[0]


@pytest.mark.parametrize(
    ("query", "studies"),
    [
        ("PatientID=ID-anna", {ANNA}),
        ("00100020=ID-anna", {ANNA}),
        ("patientid=ID-anna", {ANNA}),
        ("PatientName=test*", {ANNA, CARLA}),
        ("PatientName=muller*", {BERTA}),
        ("00100010=M%C3%BCller%5EB%C3%A4rbel", {BERTA}),
        ("PatientName=", {ANNA, BERTA, CARLA}),
        ("PatientName", {ANNA, BERTA, CARLA}),
        (f"StudyInstanceUID={ANNA}", {ANNA}),
        (f"StudyInstanceUID={ANNA},{BERTA}", {ANNA, BERTA}),
        (f"StudyInstanceUID={ANNA}%5C{CARLA}", {ANNA, CARLA}),
        (f"StudyInstanceUID={ANNA}&0020000d={BERTA}", {ANNA, BERTA}),
        (f"StudyInstanceUID={ANNA},", {ANNA}),
        ("ModalitiesInStudy=MR", {ANNA}),
        ("ModalitiesInStudy=CT,MR", {ANNA, BERTA, CARLA}),
        ("ModalitiesInStudy=XA", set()),
        ("StudyDate=20260305", {BERTA}),
        ("StudyDate=20260305-", {BERTA, CARLA}),
        ("StudyDate=-20260305", {ANNA, BERTA}),
        ("StudyDate=20260304-20260305", {ANNA, BERTA}),
        ("StudyDate=20260304-20260306&StudyTime=090000-220000", {ANNA, BERTA}),  # one interval
        ("StudyTime=0800", {BERTA}),
        ("AccessionNumber=ACC-?erta", {BERTA}),
        ("StudyDescription=*carla*", {CARLA}),
    ],
)
def test_matching(filled: Service, query: str, studies: set[str]) -> None:
    """QIDO-08, QIDO-12, QIDO-15, QIDO-23, QIDO-26, GEN-04.

    MATCH-01, MATCH-02, MATCH-03, MATCH-04, MATCH-05, MATCH-08.
    """
    assert set(found(filled.get(f"/studies?{query}"))) == studies


@pytest.mark.parametrize(
    "query",
    [
        "RequestAttributesSequence.ScheduledProcedureStepID=SPS1",
        "00400275.00400009=SPS1",
        "RequestAttributesSequence.00400009=SPS1&00400275.RequestedProcedureID=RP1",
    ],
)
def test_matching_in_a_sequence(filled: Service, query: str) -> None:
    """QIDO-13."""
    assert found(filled.get(f"/series?{query}"), "0020000E") == [ANNA_CT]


def test_what_ohif_asks_for(filled: Service) -> None:
    """viewers.md 1: keywords and tags mixed, a field list, wild cards around."""
    query = (
        "limit=101&offset=0&fuzzymatching=true&includefield=00081030%2C00080060%2C00080090%2C00100030"
        "&00100010=*anna*&StudyDate=20200101-20301231&ModalitiesInStudy=CT,MR"
    )
    answer = filled.get(f"/studies?{query}", "application/dicom+json, application/json")
    assert found(answer) == [ANNA]
    # Modality is one of a series: ModalitiesInStudy says the same of a study
    warning = f"299 {filled.url}: The following attributes are not available in results: 00080060"
    assert answer.headers["warning"] == warning


@pytest.mark.parametrize("parameter", ["fuzzymatching", "emptyvaluematching", "multiplevaluematching"])
def test_a_switch_is_true_or_false(filled: Service, parameter: str) -> None:
    """QIDO-22."""
    for value in ("true", "false"):
        answer = filled.get(f"/studies?{parameter}={value}")
        assert len(found(answer)) == 3
        assert "warning" not in answer.headers
    for query in (f"{parameter}=yes", f"{parameter}=", f"{parameter}=TRUE", f"{parameter}=true&{parameter}=false"):
        answer = filled.get(f"/studies?{query}")
        assert (answer.status_code, answer.json()["parameter"]) == (400, parameter)


def test_an_attribute_that_cannot_be_matched_is_named(filled: Service) -> None:
    """GEN-02, MATCH-09, QIDO-08, QIDO-28: never silently wider."""
    answer = filled.get("/studies?FlipAngle=90&Nonsense=1&Modality=CT&00191001=x&RetrieveURL=x&PriorRecordKey=1")
    assert len(found(answer)) == 3
    names = "FlipAngle, Nonsense, Modality, RetrieveURL, PriorRecordKey, 00191001"
    expected = f"299 {filled.url}: The following attributes were not used for matching: {names}"
    assert answer.headers["warning"] == expected


def test_names_from_the_request_are_harmless_in_a_header(filled: Service) -> None:
    """S-58."""
    answer = filled.get("/studies?Evil%0D%0ASet-Cookie:%20a=1&" + "x" * 500 + "=1&%C3%A4=2")
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert "Evil??Set-Cookie:?a" in answer.headers["warning"]


@pytest.mark.parametrize(
    "query",
    [
        "includefield=all",
        "includefield=all,PatientID",
        "includefield=StudyComments&includefield=ALL",
        "includefield=SOPClassesInStudy,00080062",
        "includefield=PatientID&includefield=sopclassesinstudy",
        "SOPClassesInStudy=",
    ],
)
def test_fields_that_are_asked_for(filled: Service, query: str) -> None:
    """QIDO-10, QIDO-11."""
    (one,) = filled.get(f"/studies?PatientID=ID-anna&{query}").json()
    assert len(one["00080062"]["Value"]) == 2


@pytest.mark.parametrize("query", ["SpecificCharacterSet=ISO_IR%20100", "00080005=", "charset=utf-8"])
def test_a_character_set_is_no_key(filled: Service, query: str) -> None:
    """MATCH-07: a query is in UTF-8, and so is what comes back."""
    answer = filled.get(f"/studies?{query}")
    assert len(found(answer)) == 3
    assert "warning" not in answer.headers
    assert all(one["00080005"]["Value"] == ["ISO_IR 192"] for one in answer.json())


def test_what_is_there_of_the_patient_is_counted_when_asked_for(filled: Service) -> None:
    """QIDO-10."""
    fields = "includefield=NumberOfPatientRelatedStudies,NumberOfPatientRelatedInstances"
    for path in ("/studies", "/series", "/instances"):
        one = filled.get(f"{path}?PatientID=ID-anna&{fields}").json()[0]
        assert (one["00201200"]["Value"], one["00201204"]["Value"]) == ([1], [4])
        assert "00201202" not in one


def test_fields_below_the_level_are_never_returned(filled: Service) -> None:
    """QIDO-10."""
    answer = filled.get("/studies?includefield=SeriesInstanceUID&includefield=NoSuchField&includefield=RetrieveURL")
    assert all("0020000E" not in one for one in answer.json())
    assert "SeriesInstanceUID, NoSuchField" in answer.headers["warning"]
    series = filled.get(f"/studies/{ANNA}/series?includefield=Manufacturer,PatientName,00400275").json()
    assert all("00080070" in one and "00100010" in one for one in series)


def test_paging(filled: Service) -> None:
    """QIDO-16 to QIDO-18."""
    pages: list[str] = []
    for offset, left in ((0, 4), (2, 2), (4, 0)):
        answer = filled.get(f"/instances?limit=2&offset={offset}")
        pages += found(answer, "00080018")
        warning = f"299 {filled.url}: There are {left} additional results that can be requested"
        assert answer.headers.get("warning") == (warning if left else None)
        assert answer.headers["x-total-count"] == "6"
    assert pages == found(filled.get("/instances"), "00080018")
    assert len(set(pages)) == 6


@pytest.mark.parametrize("query", ["limit=0", "offset=6", "offset=999999999999", "PatientID=nobody"])
def test_no_results_are_204(filled: Service, query: str) -> None:
    """QIDO-16, SC-204."""
    answer = filled.get(f"/instances?{query}")
    assert (answer.status_code, answer.content) == (204, b"")


def test_no_results_are_an_empty_list_by_setting(tmp_path: Path) -> None:
    with serve(tmp_path, empty_search=200) as service:
        answer = service.get("/studies")
        assert (answer.status_code, answer.content) == (200, b"[]")
        assert answer.headers["content-type"] == "application/dicom+json"


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("limit=1&limit=2", "limit"),
        ("offset=-1", "offset"),
        ("offset=1.5", "offset"),
        ("PatientID=a&00100020=b", "00100020"),
        ("StudyDate=2026-03-04", "StudyDate"),
        ("StudyDate=today", "StudyDate"),
        ("StudyInstanceUID=1.2*", "StudyInstanceUID"),
        ("PatientID=%FF", "query"),
        ("PatientID=a%00b", "query"),
        ("&".join(f"a{number}=1" for number in range(5000)), "query"),
        ("PatientName=" + "*a" * 500, "PatientName"),
        ("NumberOfStudyRelatedInstances=4", "NumberOfStudyRelatedInstances"),
        ("TimezoneOffsetFromUTC=0100", "TimezoneOffsetFromUTC"),
        ("TimezoneOffsetFromUTC=%2B0100&00080201=%2B0200", "00080201"),
        ("StudyDate=20260304&00080020=20260304", "00080020"),
        ("fuzzymatching=true&PatientName=" + "%20".join("abcdefghijklmnopq"), "PatientName"),
        ("PatientWeight=heavy", "PatientWeight"),
        ("ProcedureCodeSequence=x", "ProcedureCodeSequence"),
    ],
)
def test_what_is_malformed_is_refused_by_name(filled: Service, query: str, parameter: str) -> None:
    """GEN-03, QIDO-11, QIDO-12, QIDO-13, QIDO-16, MATCH-02, MATCH-03, S-11, S-56."""
    begun = time.perf_counter()
    answer = filled.get(f"/studies?{query}")
    assert time.perf_counter() - begun < 1
    assert (answer.status_code, answer.json()["parameter"]) == (400, parameter)


def test_an_endless_limit_is_capped(filled: Service) -> None:
    """S-56."""
    assert len(found(filled.get("/instances?limit=1000000000"), "00080018")) == 6
    for limit, taken in (("9999", 9999), ("10001", 10_000), ("1000000000", 10_000)):
        assert qido_query.read([("limit", limit)], Level.STUDY, {}, [Level.STUDY]).query.limit == taken


def test_a_search_that_takes_too_long_is_503(service: Service) -> None:
    """S-56, SC-503: it says what would help, and other searches go on."""
    for number in range(40):
        service.store(ct_slice(study=number))
    assert isinstance(service.archive.index, SqlIndex)
    service.archive.index.search_seconds = -1.0
    answer = service.get("/studies?PatientName=*x*&StudyDescription=*y*")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:gantry:problem:too_slow")
    assert "Narrow it" in answer.json()["detail"]
    service.archive.index.search_seconds = 5.0
    assert service.get("/studies?PatientName=*test*").status_code == 200


@pytest.mark.parametrize("value", ["' OR 1=1 --", "%", "_", "\\", "a%' ESCAPE '%"])
def test_values_are_never_part_of_a_statement(filled: Service, value: str) -> None:
    """S-57."""
    answer = filled.client.get("/studies", params={"PatientID": value})
    assert answer.status_code == 204


def test_keys_of_the_path_and_of_the_query_both_hold(filled: Service) -> None:
    """QIDO-08: never a wider answer."""
    assert found(filled.get(f"/studies/{ANNA}/series?StudyInstanceUID={BERTA}"), "0020000E") == []
    assert found(filled.get(f"/studies/{ANNA}/series?PatientID=ID-anna&Modality=MR"), "0020000E") == [ANNA_MR]


def test_slashes_at_the_end_and_doubled(filled: Service) -> None:
    """MONAI Label sends //studies."""
    for path in ("/studies/", "//studies", "/studies//"):
        request = f"GET /dicomweb{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert filled.raw(request.encode()).startswith(b"HTTP/1.1 200")


def test_a_search_can_be_revalidated(filled: Service) -> None:
    first = filled.get("/studies")
    assert filled.get("/studies", If_None_Match=first.headers["etag"]).status_code == 304
    assert filled.client.head("/studies").headers["etag"] == first.headers["etag"]
