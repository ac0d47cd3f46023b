"""Every Accept header that viewers were seen to send (viewers.md 3) is answered, on the resource that it suits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import MPEG4HP41, HTJ2KLosslessRPCL, JPEGLSLossless

from tests.gateway.dicomweb.service import Service, serve
from tests.parts.datasets import color, ct_slice, encapsulated, multi_frame, part10_bytes, pdf, report

ROOT = "1.2.840.10008.1.2."
CT, COLOR, DOCUMENT, REPORT = ct_slice("ct"), color("color"), pdf("pdf"), report("report")
FILM = encapsulated(multi_frame("film", frames=2), [b"\0\0\0\x18ftypmp42" + b"x" * 5000])


def path(ds: Dataset) -> str:
    return f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serve(tmp_path_factory.mktemp("viewers"), cors_origins=("https://viewer.example",)) as service:
        assert service.store(CT, COLOR, DOCUMENT, REPORT, part10_bytes(FILM, MPEG4HP41)).status_code == 200
        service.client.headers["Origin"] = "https://viewer.example"
        yield service


JSON = [
    "application/dicom+json",
    "application/json",
    "application/dicom+json, application/json",
    "application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*",
    "application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*; transfer-syntax=*",
    "*/*",
    None,
]


@pytest.mark.parametrize("accept", JSON)
@pytest.mark.parametrize("resource", ["/studies", "/series", "/instances", f"{path(CT)}/metadata"])
def test_json(filled: Service, accept: str | None, resource: str) -> None:
    """MT-02, MT-06, NEG-01, NEG-03, NEG-14: one list, whatever else stands beside it."""
    lines = [f"GET /dicomweb{resource} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"Accept: {accept}"] if accept else []
    answer = filled.raw("\r\n".join((*lines, "\r\n")).encode())
    assert answer.startswith(b"HTTP/1.1 200 ")
    wanted = b"application/json" if accept == "application/json" else b"application/dicom+json"
    assert b"content-type: " + wanted + b"\r\n" in answer
    assert answer.partition(b"\r\n\r\n")[2].startswith(b"[{")


@pytest.mark.parametrize(
    ("accept", "part"),
    [
        ("multipart/related; type=application/octet-stream; transfer-syntax=*", "application/octet-stream 1"),
        ('multipart/related; type="application/octet-stream"; transfer-syntax="*"', "application/octet-stream 1"),
        (
            f'multipart/related;type="application/octet-stream";transfer-syntax={ROOT}1',
            "application/octet-stream 1",
        ),
        (
            f'multipart/related; type="image/jls"; transfer-syntax="{JPEGLSLossless}"; transfer-syntax="*"',
            "image/jls 4.80",
        ),
        (f'multipart/related; type="image/jpeg; transfer-syntax={ROOT}4.50"', "image/jpeg 4.50"),
        (f'multipart/related; type="image/jphc"; transfer-syntax={HTJ2KLosslessRPCL}', "image/jphc 4.202"),
        (f'multipart/related; type="image/jphc"; transfer-syntax={ROOT}4.201', "image/jphc 4.201"),
        (f'multipart/related; type="image/jphc"; transfer-syntax={ROOT}4.203', "image/jphc 4.203"),
        (f'multipart/related; type="image/jhc"; transfer-syntax={HTJ2KLosslessRPCL}', "image/jphc 4.202"),
        ('multipart/related; type="image/x-jls"; transfer-syntax=*', "image/jls 4.80"),
        ('multipart/related; type="image/dicom+jpeg"; transfer-syntax=*', "image/jpeg 4.70"),
        ('multipart/related; type="image/dicom-rle"; transfer-syntax=*', "image/dicom-rle 5"),
        ('multipart/related; type="image/x-dicom-rle"', "image/dicom-rle 5"),
        ('multipart/related; type="image/jpx"; transfer-syntax=*', "image/jpx 4.90"),
        ('multipart/related; type="image/jp2"; transfer-syntax=*', "image/jp2 4.90"),
        ("*/*", "application/octet-stream 1"),
    ],
)
def test_frames_in_parts(filled: Service, accept: str, part: str) -> None:
    """NEG-08, NEG-09, NEG-14, TS-01 to TS-07, GEN-10, GEN-11: the part says its transfer syntax, to the letter."""
    answer = filled.get(f"{path(COLOR)}/frames/1", accept)
    assert answer.status_code == 200
    media_type, _, end = part.partition(" ")
    assert answer.headers["content-type"].startswith(f'multipart/related; type="{media_type}"; boundary=')
    head = answer.content[:1000].partition(b"\r\n\r\n")[0].decode()
    assert f"\r\nContent-Type: {media_type}; transfer-syntax={ROOT}{end}" in head
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/octet-stream; transfer-syntax=*", f"application/octet-stream; transfer-syntax={ROOT}1"),
        ("image/jphc", f"image/jphc; transfer-syntax={ROOT}4.201"),
        ("image/jpeg", f"image/jpeg; transfer-syntax={ROOT}4.70"),
    ],
)
def test_one_frame_alone(filled: Service, accept: str, media_type: str) -> None:
    """NEG-12, MT-03."""
    answer = filled.get(f"{path(COLOR)}/frames/1", accept)
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    asked = filled.get(f"{path(COLOR)}/frames/1?accept={accept.partition(';')[0]}")
    assert asked.status_code == 200


@pytest.mark.parametrize(
    ("accept", "end"),
    [
        ('multipart/related; type="application/dicom"', "1"),
        ('multipart/related; type="application/dicom"; transfer-syntax=*', "1"),
        (
            f'multipart/related;type="application/dicom";transfer-syntax={ROOT}1;q=0.9,'
            f'multipart/related;type="application/dicom";transfer-syntax={ROOT}4.70',
            "4.70",
        ),
        ("application/dicom; transfer-syntax=*", "1"),
    ],
)
@pytest.mark.parametrize("resource", ["study", "series", "instance"])
def test_files(filled: Service, accept: str, end: str, resource: str) -> None:
    """MT-01, NEG-05, NEG-08, NEG-12: a type for one file is no answer for a study or series."""
    whole = path(COLOR)
    where = {"study": whole.split("/series")[0], "series": whole.split("/instances")[0], "instance": whole}[resource]
    answer = filled.get(where, accept)
    if accept.startswith("application/dicom") and resource != "instance":
        assert answer.status_code == 406
        assert answer.json()["offered"]
        return
    assert answer.status_code == 200
    assert f"application/dicom; transfer-syntax={ROOT}{end}" in (
        answer.headers["content-type"] + answer.content[:1000].decode("latin-1")
    )


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("image/jpeg", "image/jpeg"),
        ("image/png", "image/png"),
        ("image/gif", "image/gif"),
        ("image/jpeg, */*;q=0.1", "image/jpeg"),
        ("image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8", "image/jpeg"),
        ("*/*", "image/jpeg"),
    ],
)
@pytest.mark.parametrize("resource", ["/rendered", "/thumbnail", "/frames/1/rendered", "/frames/1/thumbnail"])
def test_pictures(filled: Service, accept: str, media_type: str, resource: str) -> None:
    """RT-01, MT-04, MT-05."""
    answer = filled.get(path(CT) + resource, accept)
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    assert filled.get(f"{path(CT)}{resource}?accept=image/jpeg").headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize("accept", ["video/mp4", "video/*", "*/*"])
@pytest.mark.parametrize("resource", ["/rendered", "/bulkdata/7FE00010"])
def test_films(filled: Service, accept: str, resource: str) -> None:
    """RT-03, TS-10, GEN-20: a browser's player asks for the first two bytes before all else."""
    answer = filled.get(path(FILM) + resource, accept, Range="bytes=0-1")
    assert answer.status_code == 206
    assert answer.headers["content-type"].startswith(("video/mp4", "multipart/related"))
    whole = filled.get(path(FILM) + resource, accept)
    assert answer.headers["content-range"] == f"bytes 0-1/{len(whole.content)}"
    if resource == "/rendered":
        name = f'inline; filename="{FILM.SOPInstanceUID}.mp4"'
        assert whole.headers["content-disposition"] == name


def test_documents(filled: Service) -> None:
    """RT-04, GEN-20: shown in the page under a name of its own."""
    answer = filled.get(f"{path(DOCUMENT)}/rendered", "application/pdf", Range="bytes=0-3")
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (206, "application/pdf", b"%PDF")
    assert answer.headers["content-disposition"] == f'inline; filename="{DOCUMENT.SOPInstanceUID}.pdf"'
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("query", ["accept=application/dicom%2Bjson", "accept=application/dicom+json"])
def test_the_accept_parameter_alone(filled: Service, query: str) -> None:
    """GEN-06."""
    assert filled.get(f"{path(CT)}/metadata?{query}").headers["content-type"] == "application/dicom+json"


@pytest.mark.parametrize(
    ("resource", "accept", "status"),
    [
        ("/studies/1.2/metadata", "*/*", 404),
        (f"{path(CT)}/frames/9", "*/*", 404),
        (f"{path(CT)}/frames/0", "*/*", 400),
        (f"{path(CT)}/frames/1", "image/x-none", 406),
        (f"{path(FILM)}/frames/1", "*/*", 406),
        ("/nowhere", "*/*", 404),
    ],
)
def test_errors_can_be_read_by_the_page(filled: Service, resource: str, accept: str, status: int) -> None:
    """GEN-18, GEN-21, SC-406."""
    answer = filled.get(resource, accept)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["access-control-allow-origin"] == "https://viewer.example"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert "Origin" in answer.headers["vary"]
    problem = answer.json()
    assert {"type", "title", "status", "detail", "request_id"} <= problem.keys()
    if status == 406 and "none" in accept:
        assert problem["offered"] and problem["stored"] == f"{ROOT}1"
