"""STOW-RS over real sockets."""

from __future__ import annotations

import resource
import socket
import time
from pathlib import Path

import httpx
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from tests.gateway.dicomweb.service import BOUNDARY, STOW_TYPE, Service, serve, stow_body
from tests.parts.datasets import ct_slice, part10_bytes, report, series_of, uid
from tests.parts.files import dataset_bytes

STUDY = uid("study", "study")


def post_head(length: object) -> bytes:
    """The head of a Store request that announces so many bytes."""
    lines = ("POST /dicomweb/studies HTTP/1.1", "Host: x", f"Content-Type: {STOW_TYPE}", f"Content-Length: {length}")
    return "\r\n".join((*lines, "\r\n")).encode()


def reasons(response: httpx.Response, sequence: str = "00081198") -> list[int]:
    return [item["00081197"]["Value"][0] for item in response.json()[sequence]["Value"]]


def stored(service: Service) -> int:
    """Instances that a search finds."""
    return int(service.get("/instances").headers["x-total-count"])


def test_a_study_is_stored_and_every_instance_named_in_the_answer(service: Service) -> None:
    """STOW-01, STOW-03, STOW-08, STOW-09, STOW-10, STOW-11."""
    slices = series_of(3)
    answer = service.store(*slices)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    module = answer.json()
    assert isinstance(module, dict)
    assert list(module) == ["00081190", "00081199"]
    assert module["00081190"] == {"vr": "UR", "Value": [f"{service.url}/studies/{STUDY}"]}
    assert answer.headers["location"] == f"{service.url}/studies/{STUDY}"
    first = module["00081199"]["Value"][0]
    assert first["00081150"] == {"vr": "UI", "Value": [CTImageStorage]}
    assert first["00081155"] == {"vr": "UI", "Value": [slices[0].SOPInstanceUID]}
    url = first["00081190"]["Value"][0]
    assert service.client.get(url).status_code == 200
    assert service.spooled() == []


def test_the_data_set_is_kept_byte_for_byte(service: Service) -> None:
    sent = part10_bytes(ct_slice())
    service.store(sent)
    got = service.get(
        f"/studies/{STUDY}/series/{uid('series', 'study', 1)}/instances/{ct_slice().SOPInstanceUID}",
        "application/dicom; transfer-syntax=*",
    )
    assert dataset_bytes(got.content) == dataset_bytes(sent)
    assert got.content[:128] == bytes(128)  # S-20: nothing of the sender's preamble


def test_a_program_in_the_preamble_is_not_kept(service: Service) -> None:
    """S-20."""
    sent = b"MZ" + b"\x90" * 126 + part10_bytes(ct_slice())[128:]
    assert service.store(sent).status_code == 200
    got = service.get(f"/studies/{STUDY}", 'multipart/related; type="application/dicom"')
    assert b"MZ\x90" not in got.content


def test_one_bare_instance_is_taken(service: Service) -> None:
    """STOW-02."""
    answer = service.client.post(
        "/studies", content=part10_bytes(ct_slice()), headers={"Content-Type": "application/dicom"}
    )
    assert answer.status_code == 200
    assert stored(service) == 1


@pytest.mark.parametrize(
    "content_type",
    [
        f"multipart/related; type=application/dicom; boundary={BOUNDARY}",
        f"multipart/related; boundary={BOUNDARY}",
        f'Multipart/Related;Boundary="{BOUNDARY}";Type="application/dicom"; charset=utf-8',
    ],
)
def test_content_types_as_clients_write_them(service: Service, content_type: str) -> None:
    """STOW-02, GEN-11."""
    body = b"\r\n" + stow_body([ct_slice()]).removesuffix(b"\r\n")  # as the Python client has it
    answer = service.client.post("/studies", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 200, answer.text


def test_a_chunked_body_is_taken(service: Service) -> None:
    body = stow_body(series_of(2))
    pieces = (body[start : start + 1000] for start in range(0, len(body), 1000))
    answer = service.client.post("/studies", content=pieces, headers={"Content-Type": STOW_TYPE})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "application/xml",
        "text/plain",
        "application/x-www-form-urlencoded",
        f'multipart/related; type="application/pdf"; boundary={BOUNDARY}',
        f"multipart/form-data; boundary={BOUNDARY}",
        "",
    ],
)
def test_other_bodies_are_refused_with_what_is_taken(service: Service, content_type: str) -> None:
    """STOW-02, STOW-08, SC-415, S-62: 415."""
    answer = service.client.post("/studies", content=stow_body([]), headers={"Content-Type": content_type})
    assert answer.status_code == 415
    assert 'multipart/related; type="application/dicom"' in answer.json()["accepted"]


def test_a_compressed_body_is_refused(service: Service) -> None:
    """S-53."""
    assert service.store(ct_slice(), **{"Content-Encoding": "gzip"}).status_code == 415


def test_the_same_again_is_success_and_other_bytes_are_refused(service: Service) -> None:
    """STOW-13."""
    assert service.store(ct_slice()).status_code == 200
    assert service.store(ct_slice()).status_code == 200
    answer = service.store(ct_slice(PatientName="Other^Person"))
    assert answer.status_code == 409
    assert reasons(answer) == [0x0111]
    assert stored(service) == 1


def test_one_bad_part_does_not_harm_the_others(service: Service) -> None:
    """STOW-14, STOW-08, STOW-09, SC-202: 202, and the part without an identity among the other failures."""
    good = series_of(3)
    parts: list[Dataset | bytes] = [good[0], b"no DICOM at all", good[1], b"", part10_bytes(good[2])[:-40]]
    answer = service.store(*parts)
    assert answer.status_code == 202
    module = answer.json()
    assert len(module["00081199"]["Value"]) == 2
    assert "00081198" not in module
    assert reasons(answer, "0008119A") == [0xC000, 0xC000, 0xC000]
    assert stored(service) == 2
    assert service.spooled() == []


def test_nothing_stored_is_a_conflict(service: Service) -> None:
    """STOW-08, SC-409: 409; S-21."""
    own = ct_slice().SOPInstanceUID.encode()
    hostile = part10_bytes(ct_slice()).replace(own, b"../../etc/passwd".ljust(len(own), b"\0"))
    answer = service.store(b"no DICOM", ct_slice(StudyInstanceUID=None), hostile)
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/dicom+json"
    assert stored(service) == 0


def test_instances_of_another_study_than_the_uri_names_are_refused(service: Service) -> None:
    """STOW-01: A900 for each of them."""
    stranger = ct_slice("other")
    answer = service.store(ct_slice(), stranger, path=f"/studies/{STUDY}")
    assert answer.status_code == 202
    failed = answer.json()["00081198"]["Value"]
    assert [item["00081155"]["Value"][0] for item in failed] == [stranger.SOPInstanceUID]
    assert reasons(answer) == [0xA900]
    assert failed[0]["00081150"]["Value"] == [CTImageStorage]


def test_instances_of_several_studies_have_no_common_retrieve_url(service: Service) -> None:
    """STOW-12."""
    assert service.store(ct_slice("a"), ct_slice("b")).json()["00081190"] == {"vr": "UR"}


@pytest.mark.parametrize("uid_", ["1.2.", "1..2", "01.2", "x", "1.2.3%2F..", "9" * 65, "1.2%00", "%D9%A1.2"])
def test_a_malformed_study_in_the_uri_is_refused(service: Service, uid_: str) -> None:
    """GEN-05, S-21, S-65."""
    answer = service.store(ct_slice(), path=f"/studies/{uid_}")
    assert answer.status_code in (400, 404)
    assert answer.headers["content-type"] == "application/problem+json"
    assert stored(service) == 0


@pytest.mark.parametrize("cut", [10, 100, 40_000])
def test_a_body_without_its_closing_boundary_stores_nothing(service: Service, cut: int) -> None:
    """STOW-14: 400, which tells the byte."""
    body = stow_body(series_of(5))[:-cut]
    answer = service.client.post("/studies", content=body, headers={"Content-Type": STOW_TYPE})
    assert answer.status_code == 400
    assert f"byte {len(body)} without its closing boundary" in answer.json()["detail"]
    assert stored(service) == 0
    assert service.spooled() == []


def test_a_missing_boundary_parameter_is_named(service: Service) -> None:
    """S-51."""
    headers = {"Content-Type": 'multipart/related; type="application/dicom"'}
    answer = service.client.post("/studies", content=stow_body([ct_slice()]), headers=headers)
    assert answer.status_code == 400
    assert answer.json()["parameter"] == "boundary"


def test_many_instances_in_one_request(service: Service) -> None:
    """Each is stored and answered for, in the order of the request; none keeps a file open while it waits."""
    slices = [ct_slice(number=number, rows=1, columns=2) for number in range(1, 251)]
    body = stow_body(slices)
    service.store(ct_slice("warm-up"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 120, hard))
    try:
        answer = service.client.post("/studies", content=body, headers={"Content-Type": STOW_TYPE})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert answer.status_code == 200
    named = [item["00081155"]["Value"][0] for item in answer.json()["00081199"]["Value"]]
    assert named == [one.SOPInstanceUID for one in slices]


def test_documents_without_pixels_are_stored(service: Service) -> None:
    assert service.store(report()).status_code == 200


def test_the_answer_can_be_plain_json(service: Service) -> None:
    answer = service.store(ct_slice(), Accept="application/json")
    assert answer.headers["content-type"] == "application/json"


def test_an_answer_that_cannot_be_given_is_refused_before_anything_is_stored(service: Service) -> None:
    """SC-406."""
    assert service.store(ct_slice(), Accept="image/jpeg").status_code == 406
    assert stored(service) == 0


def test_too_large_an_instance_fails_by_itself(tmp_path: Path) -> None:
    """STOW-08: FailureReason A700, the others are stored."""
    with serve(tmp_path, max_object_bytes=20_000) as service:
        small, large = ct_slice(number=1, rows=8, columns=8), ct_slice(number=2, rows=256, columns=256)
        answer = service.store(large, small)
        assert answer.status_code == 202
        assert reasons(answer, "0008119A") == [0xA700]
        assert stored(service) == 1
        assert service.spooled() == []


def test_too_large_a_request_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """S-50, SC-413: 413 on the announced length alone, and while reading when it was not announced."""
    with serve(tmp_path, max_request_bytes=100_000) as service:
        for announced in (100_001, 10**15, 10**30):
            answer = service.raw(post_head(announced))
            assert b" 413 " in answer.split(b"\r\n")[0] or b" 400 " in answer.split(b"\r\n")[0]
        body = stow_body([ct_slice(rows=400, columns=400)])
        pieces = (body[start : start + 50_000] for start in range(0, len(body), 50_000))
        chunked = service.client.post("/studies", content=pieces, headers={"Content-Type": STOW_TYPE})
        assert chunked.status_code == 413
        assert chunked.json()["limit"] == 100_000
        assert service.spooled() == []


def test_a_part_that_is_announced_and_never_sent_is_given_up(tmp_path: Path) -> None:
    """F-59, S-52: 408 after the deadline, nothing stored, nothing left in the spool."""
    with serve(tmp_path, body_timeout=0.5) as service:
        begun = time.monotonic()
        answer = service.raw(post_head(10 * 2**30) + stow_body([ct_slice(), ct_slice(number=2)])[:-1000])
        assert b" 408 " in answer.split(b"\r\n")[0]
        assert b"connection: close" in answer.lower()
        assert 0.4 < time.monotonic() - begun < 5
        assert service.spooled() == []
        assert stored(service) == 0


def test_a_sender_that_trickles_is_given_up(tmp_path: Path) -> None:
    """F-59."""
    with serve(tmp_path, body_timeout=0.5) as service, socket.create_connection(service.address, 5) as connection:
        connection.sendall(post_head(9999))
        connection.settimeout(0.1)
        answer = b""
        deadline = time.monotonic() + 5
        while not answer and time.monotonic() < deadline:
            connection.sendall(b"x")
            try:
                answer = connection.recv(4096)
            except TimeoutError:
                continue
        assert b" 408 " in answer.split(b"\r\n")[0]


def test_a_client_that_goes_away_leaves_nothing(service: Service) -> None:
    """F-55 for the web."""
    with socket.create_connection(service.address, 5) as connection:
        connection.sendall(post_head(9_999_999) + stow_body(series_of(200))[:-1000])
        time.sleep(0.3)
    deadline = time.monotonic() + 5
    while service.spooled() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert service.spooled() == []
    assert stored(service) == 0


@pytest.mark.parametrize("announced", ["-1", "1e3", "0x10", "5, 6"])
def test_a_malformed_content_length_is_refused(service: Service, announced: str) -> None:
    """S-50."""
    assert service.raw(post_head(announced)).startswith(b"HTTP/1.1 400")


COERCE = [{"missing": {"IssuerOfPatientID": "HOSP"}, "replace": {"InstitutionName": "Here"}}]


def test_what_the_settings_coerce_is_told_with_warning_b000(tmp_path: Path) -> None:
    """STOW-07, STOW-08: 202, Warning Reason B000; Original Attributes are in the metadata; again it is a duplicate."""
    with serve(tmp_path, coerce=COERCE) as service:
        ds = ct_slice(InstitutionName="There", IssuerOfPatientID=None)
        answer = service.store(ds)
        assert answer.status_code == 202
        (item,) = answer.json()["00081199"]["Value"]
        assert item["00081196"] == {"vr": "US", "Value": [0xB000]}
        assert [one["00000902"]["Value"] for one in item["00741048"]["Value"]] == [
            ["00080080: coerced"],
            ["00100021: coerced"],
        ]
        (metadata,) = service.get(f"/studies/{STUDY}/metadata").json()
        assert metadata["00080080"]["Value"] == ["Here"]
        (original,) = metadata["04000561"]["Value"]
        assert original["04000565"]["Value"] == ["COERCE"]
        (before,) = original["04000550"]["Value"]
        assert before == {"00080080": {"vr": "LO", "Value": ["There"]}, "00100021": {"vr": "LO"}}
        assert service.get("/studies?IssuerOfPatientID=HOSP").status_code == 200
        again = service.store(ds)
        assert again.status_code == 200
        assert "00081196" not in again.json()["00081199"]["Value"][0]
        assert service.spooled() == []


def test_the_study_that_the_uri_names_is_never_written_into_a_data_set(tmp_path: Path) -> None:
    """STOW-07: Study Instance UID is not coerced; an instance of another study is refused."""
    with serve(tmp_path, coerce=COERCE) as service:
        answer = service.store(ct_slice(), path=f"/studies/{uid('another')}")
        assert answer.status_code == 409
        assert reasons(answer) == [0xA900]
        assert stored(service) == 0
