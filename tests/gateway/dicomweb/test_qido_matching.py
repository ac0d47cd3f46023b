"""QIDO-RS beyond single values of the index: fuzzy names, empty and multiple values, time zones, any attribute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.dicomweb.service import Service, serve
from tests.parts.datasets import ct_slice, sequence_item, uid

SMALL: dict[str, Any] = {"rows": 4, "columns": 4}
ANNA, BERTA, CARLA = (uid("study", name) for name in ("anna", "berta", "carla"))
CT = "1.2.840.10008.5.1.4.1.1.2"
ANNA_CT, BERTA_CT = uid("series", "anna", 1), uid("series", "berta", 1)
CREATOR, OTHER = "ACME LAB", "OTHER LAB"


def instance(study: str, number: int) -> str:
    return uid("instance", study, 1, number, CT)


def code(value: str, meaning: str) -> Any:
    return sequence_item(CodeValue=value, CodingSchemeDesignator="99X", CodeMeaning=meaning)


REQUESTS = [
    sequence_item(
        RequestedProcedureID="RP1",
        RequestedProcedureDescription="Head",
        RequestedProcedureCodeSequence=[code("H", "head")],
    ),
    sequence_item(
        RequestedProcedureID="RP2",
        RequestedProcedureDescription="Neck",
        RequestedProcedureCodeSequence=[code("N", "neck"), code("S", "spine")],
    ),
]


def sets() -> Iterator[Any]:
    """Three studies: that of anna has two slices, more in its sequences, and a private block at 0010."""
    for number in (1, 2):
        anna = ct_slice(
            "anna",
            1,
            number,
            **SMALL,
            PatientName="Müller^Anna",
            PatientWeight="61.5",
            PatientAge="040Y",
            TimezoneOffsetFromUTC="+0100",
            StudyDate="20260305",
            StudyTime="233000",
            ProtocolName="Head native",
            SeriesDescription=None,
            ImageType=["ORIGINAL", "PRIMARY", f"N{number}"],
            AcquisitionDateTime=f"202603052330{number:02d}+0100",
            SliceLocation=str(number / 2),
            RequestAttributesSequence=REQUESTS,
            ProcedureCodeSequence=[code("CTH", "CT of the head")],
            OtherPatientNames=["Maier^Anna", "Maïer^Änne"],
        )
        block = anna.private_block(0x0019, CREATOR, create=True)
        block.add_new(0x01, "LO", "warm")
        block.add_new(0x02, "US", 7 + number)
        yield anna
    berta = ct_slice(
        "berta",
        1,
        1,
        **SMALL,
        PatientName="Smith^Berta",
        PatientWeight="80",
        StudyDate="20260306",
        StudyTime="003000",
        ProtocolName="Thorax",
        SeriesDescription="axial",
        ImageType=["DERIVED", "PRIMARY"],
    )
    other = berta.private_block(0x0019, OTHER, create=True)
    other.add_new(0x01, "LO", "warm")
    acme = berta.private_block(0x0019, CREATOR, create=True)  # block 11 in this one
    acme.add_new(0x01, "LO", "cold")
    yield berta
    yield ct_slice("carla", 1, 1, **SMALL, PatientName=None, StudyDate=None, StudyTime=None, AccessionNumber=None)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve(tmp_path_factory.mktemp("matching"), search_scan_limit=10) as service:
        answer = service.store(*sets())
        assert answer.status_code == 200, answer.text
        yield service


def found(answer: httpx.Response, tag: str = "0020000D") -> list[Any]:
    assert answer.status_code in (200, 204), answer.text
    return [] if answer.status_code == 204 else [one[tag].get("Value", [None])[0] for one in answer.json()]


@pytest.mark.parametrize(
    ("query", "studies"),
    [
        ("PatientName=anna%20mueller&fuzzymatching=true", {ANNA}),
        ("PatientName=ann&fuzzymatching=true", {ANNA}),
        ("PatientName=*smyth*&fuzzymatching=true", {BERTA}),
        ("PatientName=*smyth*&fuzzymatching=false", set()),
        ("PatientName=anna%20mueller", set()),
        ("PatientName=%22%22&emptyvaluematching=true", {CARLA}),
        ("AccessionNumber=%22%22&emptyvaluematching=true", {CARLA}),
        ("StudyDate=%22%22&emptyvaluematching=true", {CARLA}),
        ("AccessionNumber=%22%22", set()),
        ("ModalitiesInStudy=CT%5CCT&multiplevaluematching=true", {ANNA, BERTA, CARLA}),
        ("ModalitiesInStudy=CT%5CMR&multiplevaluematching=true", set()),
        ("ModalitiesInStudy=CT%5CMR", {ANNA, BERTA, CARLA}),
        ("StudyDate=20260305", {ANNA}),
        ("StudyDate=20260305&TimezoneOffsetFromUTC=%2B0100", {ANNA}),
        ("StudyDate=20260306&TimezoneOffsetFromUTC=%2B0200", {ANNA, BERTA}),
        ("StudyDate=20260305&00080201=-0500", {ANNA}),
        ("StudyTime=0030&TimezoneOffsetFromUTC=%2B0200", {ANNA, BERTA}),
        ("StudyDate=20260305-20260305&StudyTime=2230-2230&TimezoneOffsetFromUTC=%2B0000", {ANNA}),
    ],
)
def test_what_can_be_switched_on(filled: Service, query: str, studies: set[str]) -> None:
    """QIDO-19, QIDO-20, QIDO-21, QIDO-23, QIDO-24."""
    answer = filled.get(f"/studies?{query}")
    assert set(found(answer)) == studies
    assert "warning" not in answer.headers


def test_a_time_zone_in_the_query_is_returned(filled: Service) -> None:
    """QIDO-24: it says how to read the dates and times of a result."""
    one, two, three = filled.get("/studies?TimezoneOffsetFromUTC=%2B0200").json()
    assert two["00080201"] == {"vr": "SH", "Value": ["+0100"]}
    assert one["00080201"] == three["00080201"] == {"vr": "SH"}


def test_dates_that_no_time_zone_can_be_applied_to_are_named(filled: Service) -> None:
    """QIDO-24, MATCH-09."""
    answer = filled.get("/instances?TimezoneOffsetFromUTC=%2B0200&AcquisitionDate=20260304-&PatientBirthDate=1900-")
    assert answer.status_code == 400  # 1900- is no date
    answer = filled.get("/instances?TimezoneOffsetFromUTC=%2B0200&AcquisitionDate=20260304-")
    warning = "Dates and times of the following attributes have been matched as they are stored: AcquisitionDate"
    assert answer.headers["warning"] == f"299 {filled.url}: {warning}"


def test_unstated_times_are_in_the_zone_of_the_setting(tmp_path: Path) -> None:
    """QIDO-24."""
    with serve(tmp_path, timezone="+0100") as service:
        service.store(ct_slice("anna", 1, 1, **SMALL, StudyDate="20260305", StudyTime="233000"))
        assert found(service.get("/studies?StudyDate=20260306&TimezoneOffsetFromUTC=%2B0200")) == [ANNA]
        assert found(service.get("/studies?StudyDate=20260305")) == [ANNA]


def test_a_required_key_can_match_what_is_unknown(filled: Service, tmp_path: Path) -> None:
    """MATCH-06: by setting; otherwise an unknown value matches no key."""
    assert found(filled.get("/studies?PatientName=Nobody")) == []
    with serve(tmp_path, match_unknown=True) as service:
        service.store(*sets())
        assert found(service.get("/studies?PatientName=Nobody")) == [CARLA]
        assert set(found(service.get("/studies?StudyDate=20260301-20260305&StudyTime=00-2359"))) == {ANNA, CARLA}
        assert found(service.get("/studies?PatientName=Nobody&StudyDescription=x")) == []  # that one is not required


# ---------------------------------------------------------------- any attribute


@pytest.mark.parametrize(
    ("path", "query", "tag", "results"),
    [
        ("/studies", "PatientWeight=61.5", "0020000D", {ANNA}),
        ("/studies", "00101030=615e-1", "0020000D", {ANNA}),
        ("/studies", "patientage=040Y", "0020000D", {ANNA}),
        ("/studies", "OtherPatientNames=maier^anne", "0020000D", {ANNA}),
        ("/studies", "OtherPatientNames=mayer%20anne&fuzzymatching=true", "0020000D", {ANNA}),
        ("/studies", "PatientAge=%22%22&emptyvaluematching=true", "0020000D", {BERTA, CARLA}),
        ("/studies", "ProcedureCodeSequence.CodeMeaning=*head", "0020000D", {ANNA}),
        ("/studies", "00081032.00080100=CTH&00081032.CodingSchemeDesignator=99X", "0020000D", {ANNA}),
        ("/studies", "00081032.00080100=CTH&00081032.CodingSchemeDesignator=DCM", "0020000D", set()),
        ("/series", "ProtocolName=Head*", "0020000E", {ANNA_CT}),
        ("/series", "ProtocolName=head*", "0020000E", set()),
        ("/series", "ProtocolName=Head*&PatientName=Smith*", "0020000E", set()),
        (f"/studies/{BERTA}/series", "ProtocolName=*", "0020000E", {BERTA_CT}),
        ("/instances", "ImageType=N2", "00080018", {instance("anna", 2)}),
        ("/instances", "ImageType=PRIMARY%5CORIGINAL&multiplevaluematching=true&SliceLocation=.5", "00080018", None),
        ("/instances", "AcquisitionDateTime=20260305223001%2B0000", "00080018", {instance("anna", 1)}),
        ("/instances", "AcquisitionDateTime=20260305223001-20260305223002&00080201=%2B0000", "00080018", None),
    ],
)
def test_any_attribute_can_be_matched(
    filled: Service, path: str, query: str, tag: str, results: set[str] | None
) -> None:
    """MATCH-01, MATCH-02, MATCH-03, MATCH-08, QIDO-13, QIDO-19 to QIDO-21."""
    answer = filled.get(f"{path}?{query}")
    if results is None:
        assert len(found(answer, tag)) in (1, 2) and all("anna" in one["00100020"]["Value"][0] for one in answer.json())
    else:
        assert set(found(answer, tag)) == results
    assert "warning" not in answer.headers
    assert answer.headers["x-total-count"] == str(len(found(answer, tag)))


def test_what_was_matched_or_asked_for_is_returned(filled: Service) -> None:
    """QIDO-10, QIDO-11, MATCH-05."""
    fields = "includefield=PatientWeight,ProcedureCodeSequence.CodeValue&includefield=00104000&PatientAge="
    first, second, third = filled.get(f"/studies?{fields}&StudyInstanceUID={ANNA},{BERTA},{CARLA}").json()
    assert second["00101030"] == {"vr": "DS", "Value": [61.5]}
    assert second["00101010"] == {"vr": "AS", "Value": ["040Y"]}
    assert second["00081032"] == {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["CTH"]}}]}
    assert first["00101030"] == {"vr": "DS", "Value": [80]}
    assert first["00081032"] == {"vr": "SQ"}
    for one in (first, second, third):
        assert one["00104000"] == {"vr": "LT"}  # Patient Comments, which none has
        assert list(one) == sorted(one)


def test_a_key_of_instances_is_named_in_a_search_for_studies(filled: Service) -> None:
    """QIDO-08, QIDO-10: it may differ from instance to instance, so a study has no such value."""
    answer = filled.get("/studies?ImageType=DERIVED&includefield=SliceLocation,ProtocolName")
    assert len(found(answer)) == 3
    assert answer.headers["warning"] == (
        f"299 {filled.url}: The following attributes were not used for matching: ImageType, "
        f"299 {filled.url}: The following attributes are not available in results: SliceLocation, ProtocolName"
    )
    assert all("00201041" not in one and "00181030" not in one for one in answer.json())


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("RequestAttributesSequence.RequestedProcedureDescription=Neck", ["RP2"]),
        ("00400275.00321060=Neck&RequestAttributesSequence.RequestedProcedureID=RP2", ["RP2"]),
        ("00400275.00321060=Neck&RequestAttributesSequence.RequestedProcedureID=RP1", []),
        ("00400275.RequestedProcedureID=RP1", ["RP1"]),
        ("00400275.RequestedProcedureDescription=*e*", ["RP1", "RP2"]),
        ("00400275.RequestedProcedureCodeSequence.CodeValue=S", ["RP2"]),
        ("00400275.00321064.00080100=S&00400275.00321064.CodeMeaning=spine", ["RP2"]),
        ("00400275.00321064.00080100=S&00400275.00321064.CodeMeaning=neck", []),
        ("00400275.00321064.00080100=S&00400275.00321060=Head", []),
    ],
)
def test_one_item_has_to_match_and_the_items_that_match_are_returned(
    filled: Service, query: str, ids: list[str]
) -> None:
    """QIDO-13: at any depth, whether the index holds the attribute or not."""
    answer = filled.get(f"/series?{query}")
    assert found(answer, "0020000E") == ([ANNA_CT] if ids else [])
    if ids:
        items = answer.json()[0]["00400275"]["Value"]
        assert [item["00401001"]["Value"][0] for item in items] == ids


def test_of_an_inner_sequence_the_items_that_match_are_returned(filled: Service) -> None:
    """QIDO-13."""
    (one,) = filled.get("/series?RequestAttributesSequence.RequestedProcedureCodeSequence.CodeValue=S").json()
    assert one["00400275"]["Value"] == [
        {
            "00321064": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["S"]}}]},
            "00400009": {"vr": "SH"},
            "00401001": {"vr": "SH", "Value": ["RP2"]},
        }
    ]


@pytest.mark.parametrize(
    ("query", "studies"),
    [
        ("00191001=warm&00190010=ACME%20LAB", [ANNA]),
        ("00191001=cold&00190010=ACME%20LAB", [BERTA]),  # in block 11, whatever block the query names
        ("00194201=cold&00190042=ACME%20LAB", [BERTA]),
        ("00191001=warm&00190010=OTHER%20LAB", [BERTA]),
        ("00191001=w*&00190010=ACME%20LAB", [ANNA]),
        ("00191002=8&00190010=ACME%20LAB", [ANNA]),
        ("00191002=9&00190010=ACME%20LAB", []),  # that of the second instance
        ("00191001=warm&00190010=NOBODY", []),
    ],
)
def test_private_attributes_are_matched_with_their_creator(filled: Service, query: str, studies: list[str]) -> None:
    """QIDO-14."""
    answer = filled.get(f"/studies?{query}")
    assert found(answer) == studies
    assert "warning" not in answer.headers


def test_private_attributes_come_back_with_their_creator(filled: Service) -> None:
    """QIDO-14."""
    (one,) = filled.get("/studies?00191001=cold&00190010=ACME%20LAB").json()
    assert one["00190011"] == {"vr": "LO", "Value": [CREATOR]}
    assert one["00191101"] == {"vr": "LO", "Value": ["cold"]}
    assert "00190010" not in one and "00191001" not in one
    (one,) = filled.get(f"/studies?StudyInstanceUID={ANNA}&includefield=00191002&00190010=ACME%20LAB").json()
    assert (one["00190010"]["Value"], one["00191002"]) == ([CREATOR], {"vr": "US", "Value": [8]})


@pytest.mark.parametrize("query", ["00191001=warm", "00190010=ACME%20LAB", "00191001=warm&00290010=ACME%20LAB"])
def test_a_private_attribute_without_its_creator_is_named(filled: Service, query: str) -> None:
    """QIDO-14, MATCH-09."""
    answer = filled.get(f"/studies?{query}")
    assert len(found(answer)) == 3
    names = ", ".join(pair.partition("=")[0] for pair in query.split("&"))
    warning = answer.headers["warning"]
    assert warning.startswith(f"299 {filled.url}: The following attributes were not used for matching: ")
    assert all(name in warning for name in names.split(", "))


def test_pages_of_a_search_that_reads_data_sets(filled: Service) -> None:
    """QIDO-16, QIDO-17, QIDO-18."""
    pages = [filled.get(f"/instances?ImageType=PRIMARY&limit=1&offset={offset}") for offset in range(4)]
    whole = filled.get("/instances?ImageType=PRIMARY")
    assert [found(page, "00080018")[0] for page in pages] == found(whole, "00080018")
    assert [page.headers["x-total-count"] for page in pages] == ["4"] * 4
    remaining = f"299 {filled.url}: There are 3 additional results that can be requested"
    assert pages[0].headers["warning"] == remaining
    assert filled.get("/instances?ImageType=PRIMARY&offset=4").status_code == 204


def test_a_search_that_has_to_read_too_much_is_refused_and_says_how_to_narrow_it(tmp_path: Path) -> None:
    """QIDO-25."""
    with serve(tmp_path, search_scan_limit=2) as service:
        service.store(*sets())
        answer = service.get("/instances?ImageType=PRIMARY")
        assert (answer.status_code, answer.json()["type"]) == (413, "urn:gantry:problem:too_broad")
        detail = answer.json()["detail"]
        assert detail.startswith("4 candidates are left by the other keys, and ImageType can only be matched")
        assert "Study Date" in detail
        assert len(found(service.get(f"/instances?ImageType=PRIMARY&StudyInstanceUID={ANNA}"))) == 2
        # to return what has to be read, a page is cut short, and says so
        answer = service.get("/instances?includefield=ImageType")
        assert len(found(answer)) == 2
        assert "There are 2 additional results" in answer.headers["warning"]


def test_what_cannot_be_read_is_counted_not_passed_over(tmp_path: Path) -> None:
    """F-17: one damaged object is no reason to refuse a search, nor to keep still about it."""
    with serve(tmp_path) as service:
        service.store(*sets())
        located = service.archive.find(instance("berta", 1))
        assert located is not None
        service.archive.objects.delete(located.key)
        answer = service.get("/studies?PatientWeight=61.5")
        assert found(answer) == [ANNA]
        warning = f"299 {service.url}: 1 stored instances could not be read, and were not searched"
        assert answer.headers["warning"] == warning
        assert len(found(service.get("/studies?includefield=PatientWeight"))) == 3


def test_a_maximum_number_of_records_is_a_limit(filled: Service) -> None:
    """QIDO-28"""
    answer = filled.get("/instances?MaximumNumberOfRecords=2&limit=3")
    assert len(found(answer)) == 2
    assert answer.headers["warning"] == f"299 {filled.url}: There are 2 additional results that can be requested"
    assert len(found(filled.get("/instances?00080429=1"))) == 1


def test_binary_values_are_links_that_work(filled: Service) -> None:
    """JSON-02: what a search returns of a binary attribute."""
    service = filled
    overlay = ct_slice("overlay", 1, 1, **SMALL)
    overlay.add_new(0x60003000, "OW", bytes(4000))
    assert service.store(overlay).status_code == 200
    (one,) = service.get(f"/studies/{uid('study', 'overlay')}/instances?includefield=60003000").json()
    link = one["60003000"]["BulkDataURI"]
    assert link.startswith(service.url)
    assert len(service.client.get(link, headers={"Accept": "application/octet-stream"}).content) == 4000
    answer = service.get("/instances?60003000=x")
    assert (answer.status_code, answer.json()["parameter"]) == (400, "OverlayData")
    service.archive.delete(uid("study", "overlay"))
