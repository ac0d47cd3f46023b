"""Real clients: Python dicomweb-client, curl, and what Cornerstone3D and OHIF do request by request."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from requests import HTTPError

from tests.gateway.dicomweb.service import Service, serve
from tests.parts.datasets import color, ct_slice, multi_frame, part10_bytes, series_of, uid

SLICES = series_of(4, "slices")
FRAMES = multi_frame("frames", frames=6)
RLE = color("rle", frames=2)


def uids(ds: Dataset) -> tuple[str, str, str]:
    return ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID


def readable(ds: Dataset) -> Dataset:
    """As a client holds it: read from a file."""
    return dcmread(BytesIO(part10_bytes(ds)))


@pytest.fixture(scope="module")
def client(shared: Service) -> Iterator[DICOMwebClient]:
    api = DICOMwebClient(shared.url)
    answer = api.store_instances([readable(one) for one in (*SLICES, FRAMES)])
    assert len(answer.ReferencedSOPSequence) == 5
    shared.store(part10_bytes(RLE, RLELossless))
    yield api


def test_the_python_client_searches(client: DICOMwebClient) -> None:
    """viewers.md 1: Slicer, MONAI Label, IDC."""
    assert len(client.search_for_studies()) == 3
    (study,) = client.search_for_studies(search_filters={"PatientID": "ID-slices"}, fields=["StudyDescription"])
    assert study["0020000D"]["Value"] == [SLICES[0].StudyInstanceUID]
    assert len(client.search_for_series(SLICES[0].StudyInstanceUID)) == 1
    assert len(client.search_for_instances(*uids(SLICES[0])[:2])) == 4
    assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []


def test_the_python_client_pages_to_the_end(client: DICOMwebClient) -> None:
    """Slicer loops for ever where `offset` is ignored."""
    assert len(client.search_for_instances(limit=2, get_remaining=True)) == 6


def test_the_python_client_retrieves(client: DICOMwebClient) -> None:
    got = client.retrieve_study(SLICES[0].StudyInstanceUID)
    assert [one.SOPInstanceUID for one in got] == [one.SOPInstanceUID for one in SLICES]
    assert [one.PixelData for one in client.iter_series(*uids(SLICES[0])[:2])] == [one.PixelData for one in SLICES]
    explicit = (("application/dicom", ExplicitVRLittleEndian),)
    assert client.retrieve_instance(*uids(RLE), media_types=explicit).PixelData == RLE.PixelData
    for media_types in ((("application/dicom", RLELossless),), None):
        stored = client.retrieve_instance(*uids(RLE), media_types=media_types)
        assert stored.file_meta.TransferSyntaxUID == RLELossless


def test_the_python_client_reads_metadata_and_bulk_data(client: DICOMwebClient) -> None:
    metadata = client.retrieve_instance_metadata(*uids(SLICES[0]))
    ds = Dataset.from_json(metadata, bulk_data_uri_handler=lambda uri: bytes(client.retrieve_bulkdata(uri)[0]))
    assert ds.PatientName == SLICES[0].PatientName
    assert ds.PixelData == SLICES[0].PixelData
    assert len(client.retrieve_study_metadata(SLICES[0].StudyInstanceUID)) == 4


def test_the_python_client_retrieves_frames(client: DICOMwebClient) -> None:
    stack = np.frombuffer(FRAMES.PixelData, "<u2").reshape(6, 16, 16)
    assert client.retrieve_instance_frames(*uids(FRAMES), [2, 5]) == [stack[1].tobytes(), stack[4].tobytes()]
    decoded = client.retrieve_instance_frames(*uids(RLE), [1, 2], media_types=("application/octet-stream",))
    assert b"".join(decoded) == RLE.PixelData
    streamed = client.iter_instance_frames(*uids(FRAMES), [1, 2, 3])
    assert [len(frame) for frame in streamed] == [512, 512, 512]


def test_the_python_client_gets_pictures(client: DICOMwebClient) -> None:
    assert client.retrieve_instance_rendered(*uids(SLICES[0]), media_types=("image/jpeg",))[:2] == b"\xff\xd8"
    assert client.retrieve_instance_frames_rendered(*uids(FRAMES), [2], media_types=("image/png",))[:4] == b"\x89PNG"


def test_the_python_client_is_told_of_a_conflict(client: DICOMwebClient) -> None:
    with pytest.raises(HTTPError, match="409"):
        client.store_instances([readable(ct_slice("slices", 1, 1, PatientName="Other"))])


def test_the_python_client_stores_more_than_it_holds_in_one_piece(tmp_path: Path) -> None:
    """Above 1 MB it sends chunks, without a length."""
    with serve(tmp_path) as service:
        api = DICOMwebClient(service.url)
        large = ct_slice(rows=1024, columns=1024)
        answer = api.store_instances([readable(large)])
        assert answer.RetrieveURL == f"{service.url}/studies/{large.StudyInstanceUID}"
        assert api.retrieve_instance(*uids(large)).PixelData == large.PixelData
        api.delete_instance(*uids(large))
        assert api.search_for_studies() == []


def test_curl_sends_a_file_and_gets_it_back(client: DICOMwebClient, shared: Service, tmp_path: Path) -> None:
    file = tmp_path / "one.dcm"
    ds = ct_slice("curl")
    file.write_bytes(part10_bytes(ds))
    command = ["curl", "-sS", "--fail", "-H", "Content-Type: application/dicom", "-H", "Expect: 100-continue"]
    command += ["--data-binary", f"@{file}", f"{shared.url}/studies"]
    answer = subprocess.run(command, capture_output=True, check=True, timeout=30)
    assert ds.SOPInstanceUID.encode() in answer.stdout
    study, series, sop = uids(ds)
    path = f"{shared.url}/studies/{study}/series/{series}/instances/{sop}"
    subprocess.run(["curl", "-sS", "--fail", "-o", tmp_path / "back", path], check=True, timeout=30)
    assert ds.PixelData in (tmp_path / "back").read_bytes()


def test_cornerstone_reads_the_head_of_a_frame(client: DICOMwebClient, shared: Service) -> None:
    """viewers.md 1: the first line is the boundary, `Content-Type:` and CRLF to the letter, within 1000 bytes."""
    study, series, sop = uids(RLE)
    answer = shared.get(
        f"/studies/{study}/series/{series}/instances/{sop}/frames/1",
        "multipart/related; type=application/octet-stream; transfer-syntax=*",
    )
    head, _, body = answer.content.partition(b"\r\n\r\n")
    assert len(head) < 1000
    lines = head.decode().split("\r\n")
    assert lines[0].startswith("--")
    assert f"Content-Type: application/octet-stream; transfer-syntax={RLELossless}" in lines
    assert body.index(b"\r\n" + lines[0].encode() + b"--") > 0


def test_cornerstone_range_requests_glue_to_the_whole(client: DICOMwebClient, shared: Service) -> None:
    """viewers.md 1: `bytes=0-65535`, then `bytes=N-`, over the multipart body."""
    study, series, sop = uids(SLICES[0])
    path = f"/studies/{study}/series/{series}/instances/{sop}/frames/1"
    accept = "multipart/related; type=application/octet-stream; transfer-syntax=*"
    first = shared.get(path, accept, Range="bytes=0-4095")
    size = int(first.headers["content-range"].partition("/")[2])
    rest = shared.get(path, accept, Range="bytes=4096-")
    assert len(first.content + rest.content) == size
    assert first.content + rest.content == shared.get(path, accept).content


def test_ohif_opens_a_study(client: DICOMwebClient, shared: Service) -> None:
    """viewers.md 1, request by request."""
    both = f"{uid('study', 'slices')}%5C{uid('study', 'frames')}"
    studies = shared.get(f"/studies?StudyInstanceUID={both}&limit=101&offset=0&fuzzymatching=false")
    assert {one["0020000D"]["Value"][0] for one in studies.json()} == {uid("study", "slices"), uid("study", "frames")}
    study = uid("study", "slices")
    (series,) = shared.get(f"/studies/{study}/series?includefield=0008103E,00080021").json()
    for tag in ("00200011", "00080060", "0008103E", "00201209"):
        assert series[tag]["Value"]
    accept = "application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*"
    metadata = shared.get(f"/studies/{study}/series/{series['0020000E']['Value'][0]}/metadata", accept)
    assert metadata.headers["content-type"] == "application/dicom+json"
    assert all(one["00200037"]["Value"] == [1, 0, 0, 0, 1, 0] for one in metadata.json())
