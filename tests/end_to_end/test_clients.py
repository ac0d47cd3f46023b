"""Clients that people use, against the gateway as they would run them: dcmtk, pynetdicom, dicomweb-client, curl."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from pynetdicom import AE, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from tests.end_to_end.conftest import Site
from tests.end_to_end.doors import PATIENT_ROOT, STUDY_ROOT
from tests.gateway.dicomweb.service import STOW_TYPE, stow_body
from tests.parts.datasets import color, ct_slice, multi_frame, part10_bytes, pdf, series_of, uid, write_all
from tests.parts.files import readable_files
from tests.parts.gateway import GatewayProcess
from tests.parts.machine import need

BOTH = pytest.mark.parametrize("site", ["folder+sqlite", "seaweedfs+postgres"], indirect=True)


def run(program: str, *arguments: object, gateway: GatewayProcess, seconds: float = 60) -> str:
    """Run a client of dcmtk's; what it prints. It must end with status 0 and say no error."""
    command = [need(program, "dcmtk"), "-v", "-aec", gateway.aet, gateway.host, str(gateway.dimse_port)]
    command += [str(argument) for argument in arguments]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    assert "E: " not in printed, printed
    return printed


# ---------------------------------------------------------------- dcmtk


@BOTH
def test_echoscu_is_answered(site: Site) -> None:
    assert "Received Echo Response (Success)" in run("echoscu", gateway=site.gateway)


@BOTH
def test_storescu_sends_a_folder(site: Site, tmp_path: Path) -> None:
    write_all(tmp_path, series_of(12, "storescu"))
    run("storescu", "+sd", tmp_path, gateway=site.gateway)
    (study,) = site.doors.qido("/studies", StudyInstanceUID=uid("study", "storescu"))
    assert study["NumberOfStudyRelatedInstances"] == 12


@BOTH
def test_dcmsend_sends_a_folder_of_many_kinds(site: Site, tmp_path: Path) -> None:
    kinds = [ct_slice("dcmsend"), color("dcmsend", 2), pdf("dcmsend", 3), multi_frame("dcmsend", 4)]
    write_all(tmp_path, kinds)
    (tmp_path / "rle.dcm").write_bytes(part10_bytes(ct_slice("dcmsend", 5), RLELossless))
    run("dcmsend", "+sd", tmp_path, gateway=site.gateway)
    instances = site.doors.qido(f"/studies/{uid('study', 'dcmsend')}/instances")
    assert sorted(one["SOPClassUID"] for one in instances) == sorted(
        [ds.SOPClassUID for ds in kinds] + [kinds[0].SOPClassUID]
    )


SYNTAX_OPTIONS = {
    "-xi": "1.2.840.10008.1.2",
    "-xb": "1.2.840.10008.1.2.2",
    "-xd": "1.2.840.10008.1.2.1.99",
    "-xy": "1.2.840.10008.1.2.4.50",
    "-xx": "1.2.840.10008.1.2.4.51",
    "-xs": "1.2.840.10008.1.2.4.70",
    "-xt": "1.2.840.10008.1.2.4.80",
    "-xv": "1.2.840.10008.1.2.4.90",
    "-xw": "1.2.840.10008.1.2.4.91",
    "-xr": "1.2.840.10008.1.2.5",
}


@pytest.mark.parametrize("option", SYNTAX_OPTIONS)
def test_storescu_sends_a_file_in_its_own_transfer_syntax(site: Site, option: str, tmp_path: Path) -> None:
    """The syntax that it prefers is the one that is kept, and no pixel of it was encoded anew."""
    syntax = SYNTAX_OPTIONS[option]
    file = next(f for f in readable_files() if f.transfer_syntax_uid == syntax and f.path.stat().st_size < 2_000_000)
    site.doors.delete(file.study_uid)
    run("storescu", option, file.path, gateway=site.gateway)
    (found,) = site.doors.qido("/instances", SOPInstanceUID=file.sop_uid, includefield="AvailableTransferSyntaxUID")
    assert found["AvailableTransferSyntaxUID"] == syntax
    (kept,) = site.doors.retrieve(file.study_uid, file.series_uid, file.sop_uid)
    before, after = dcmread(file.path), dcmread(BytesIO(kept))
    if before["PixelData"].is_undefined_length:
        assert list(generate_frames(after.PixelData, number_of_frames=int(before.get("NumberOfFrames", 1)))) == list(
            generate_frames(before.PixelData, number_of_frames=int(before.get("NumberOfFrames", 1)))
        )
    else:
        assert np.array_equal(before.pixel_array, after.pixel_array)


@pytest.fixture(scope="module")
def studies(site: Site) -> Site:
    """Two studies to be found."""
    files = [part10_bytes(ds) for name in ("one", "two") for ds in (*series_of(3, name), color(name, 2))]
    assert site.doors.stow(*files).status == 200
    return site


ONE, SERIES_ONE = uid("study", "one"), uid("series", "one", 1)

FINDS = [
    # model, level, keys, unique key, its values
    ("-P", "PATIENT", ["PatientID=ID-o*"], "PatientID", {"ID-one"}),
    ("-P", "STUDY", ["PatientID=ID-one"], "StudyInstanceUID", {ONE}),
    (
        "-P",
        "SERIES",
        ["PatientID=ID-one", f"StudyInstanceUID={ONE}"],
        "SeriesInstanceUID",
        {SERIES_ONE, uid("series", "one", 2)},
    ),
    (
        "-P",
        "IMAGE",
        ["PatientID=ID-one", f"StudyInstanceUID={ONE}", f"SeriesInstanceUID={SERIES_ONE}"],
        "SOPInstanceUID",
        {ds.SOPInstanceUID for ds in series_of(3, "one")},
    ),
    ("-S", "STUDY", ["PatientName=test^one"], "StudyInstanceUID", {ONE}),
    ("-S", "STUDY", ["ModalitiesInStudy=OT", "StudyDescription=Study two"], "StudyInstanceUID", {uid("study", "two")}),
    ("-S", "SERIES", [f"StudyInstanceUID={ONE}", "Modality=CT"], "SeriesInstanceUID", {SERIES_ONE}),
    (
        "-S",
        "IMAGE",
        [f"StudyInstanceUID={ONE}", f"SeriesInstanceUID={SERIES_ONE}", "InstanceNumber=2"],
        "SOPInstanceUID",
        {ct_slice("one", 1, 2).SOPInstanceUID},
    ),
    ("-S", "STUDY", ["PatientName=Nobody^*"], "StudyInstanceUID", set()),
]


@BOTH
@pytest.mark.parametrize(("model", "level", "keys", "unique", "values"), FINDS)
def test_findscu_finds_at_every_level(
    studies: Site, model: str, level: str, keys: Sequence[str], unique: str, values: set[str], tmp_path: Path
) -> None:
    """FIND-01, FIND-02: both models; its responses are extracted as files and read."""
    asked = [f"QueryRetrieveLevel={level}", *([] if any(unique in key for key in keys) else [unique]), *keys]
    arguments = [word for key in asked for word in ("-k", key)]
    run("findscu", model, *arguments, "-X", "-od", tmp_path, gateway=studies.gateway)
    found = {str(dcmread(path)[unique].value) for path in tmp_path.glob("rsp*.dcm")}
    assert found == values


# ---------------------------------------------------------------- pynetdicom


@BOTH
def test_pynetdicom_echoes_stores_and_finds_on_one_association(site: Site) -> None:
    datasets = [readable(part10_bytes(ds)) for ds in (*series_of(3, "pynetdicom"), color("pynetdicom", 2))]
    contexts = [build_context(Verification), build_context(STUDY_ROOT), build_context(PATIENT_ROOT)]
    contexts += [build_context(sop_class) for sop_class in {ds.SOPClassUID for ds in datasets}]
    ae = AE("PYNETDICOM")
    address = (site.gateway.host, site.gateway.dimse_port)
    association = ae.associate(*address, contexts=contexts, ae_title=site.gateway.aet)
    assert association.is_established
    try:
        assert association.send_c_echo().Status == 0
        assert [association.send_c_store(ds).Status for ds in datasets] == [0] * 4
        asked = Dataset()
        asked.QueryRetrieveLevel = "STUDY"
        asked.PatientName = "Test^pynet*"
        asked.StudyInstanceUID = asked.NumberOfStudyRelatedInstances = ""
        matches = [match for _, match in association.send_c_find(asked, STUDY_ROOT) if match is not None]
    finally:
        association.release()
    assert [(match.StudyInstanceUID, match.NumberOfStudyRelatedInstances) for match in matches] == [
        (uid("study", "pynetdicom"), 4)
    ]


def readable(file: bytes) -> Dataset:
    """The data set of a file."""
    return dcmread(BytesIO(file))


# ---------------------------------------------------------------- dicomweb-client


@pytest.fixture
def client(site: Site) -> Iterator[DICOMwebClient]:
    """The Python client, at the DICOMweb root."""
    with requests.Session() as session:
        yield DICOMwebClient(url=site.gateway.dicomweb_url, session=session)


@BOTH
def test_dicomweb_client_stores_searches_retrieves_and_deletes(client: DICOMwebClient, site: Site) -> None:
    """STOW-RS, QIDO-RS, WADO-RS and DELETE as that client writes and reads them."""
    datasets = [readable(part10_bytes(ds)) for ds in (*series_of(3, "client"), color("client", 2))]
    study, series = uid("study", "client"), uid("series", "client", 1)
    stored = client.store_instances(datasets)
    assert {item.ReferencedSOPInstanceUID for item in stored.ReferencedSOPSequence} == {
        ds.SOPInstanceUID for ds in datasets
    }

    (match,) = client.search_for_studies(search_filters={"PatientID": "ID-client"}, fields=["StudyDescription"])
    assert Dataset.from_json(match).StudyInstanceUID == study
    assert len(client.search_for_series(study)) == 2
    assert len(client.search_for_instances(study, series)) == 3
    assert len(client.search_for_instances(study, limit=2, offset=1)) == 2
    assert client.search_for_studies(search_filters={"PatientID": "ID-nobody"}) == []

    assert {ds.SOPInstanceUID for ds in client.retrieve_study(study)} == {ds.SOPInstanceUID for ds in datasets}
    assert [ds.InstanceNumber for ds in client.retrieve_series(study, series)] == [1, 2, 3]
    one = client.retrieve_instance(study, series, datasets[1].SOPInstanceUID)
    assert one == datasets[1]
    as_stored = client.retrieve_instance(
        study, series, datasets[1].SOPInstanceUID, media_types=(("application/dicom", "*"),)
    )
    assert as_stored == datasets[1]

    model = client.retrieve_instance_metadata(study, series, datasets[1].SOPInstanceUID)
    metadata = Dataset.from_json(model, lambda _: b"")
    assert metadata.PatientName == datasets[1].PatientName
    assert len(client.retrieve_study_metadata(study)) == 4
    assert len(client.retrieve_series_metadata(study, series)) == 3

    client.delete_instance(study, series, datasets[0].SOPInstanceUID)
    assert len(client.search_for_instances(study, series)) == 2
    client.delete_series(study, series)
    assert len(client.search_for_series(study)) == 1
    client.delete_study(study)
    assert client.search_for_studies(search_filters={"StudyInstanceUID": study}) == []


@BOTH
def test_dicomweb_client_retrieves_frames_bulk_data_and_pictures(client: DICOMwebClient, site: Site) -> None:
    """Frames 1-based; the bulk data that the metadata name; pictures that Pillow reads."""
    ds = multi_frame("pixels", frames=5, rows=32, columns=48)
    study, series, instance = ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID
    client.store_instances([readable(part10_bytes(ds))])
    size = 32 * 48 * 2
    frames = [ds.PixelData[start : start + size] for start in range(0, 5 * size, size)]
    assert client.retrieve_instance_frames(study, series, instance, [2, 5]) == [frames[1], frames[4]]

    metadata = client.retrieve_instance_metadata(study, series, instance)
    assert b"".join(client.retrieve_bulkdata(metadata["7FE00010"]["BulkDataURI"])) == ds.PixelData

    for picture in (
        client.retrieve_instance_frames_rendered(study, series, instance, [3], media_types=("image/png",)),
        client.retrieve_instance_rendered(study, series, instance, media_types=("image/jpeg",)),
    ):
        with Image.open(BytesIO(picture)) as image:
            assert image.size == (48, 32)
            assert np.asarray(image.convert("L")).max() > 100


@BOTH
def test_dicomweb_client_retrieves_compressed_frames_as_they_are(client: DICOMwebClient, site: Site) -> None:
    file = next(file for file in readable_files() if file.name == "US1_J2KR.dcm")
    assert site.doors.stow(file.path.read_bytes()).status == 200
    uids = (file.study_uid, file.series_uid, file.sop_uid)
    (got,) = client.retrieve_instance_frames(*uids, [1], media_types=(("image/jp2", JPEG2000Lossless),))
    assert got.rstrip(b"\0") == next(generate_frames(dcmread(file.path).PixelData, number_of_frames=1)).rstrip(b"\0")
    (native,) = client.retrieve_instance_frames(*uids, [1], media_types=("application/octet-stream",))
    assert native == dcmread(file.path).pixel_array.tobytes()


# ---------------------------------------------------------------- curl


def curl(*arguments: object) -> bytes:
    """Run curl, which must not fail; what it prints."""
    command = [need("curl"), "-sS", "--fail-with-body", "--max-time", "30", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@BOTH
def test_curl_posts_and_gets(site: Site, tmp_path: Path) -> None:
    """A multipart body from a file, the instance back, and a picture for people."""
    ds = ct_slice("curl", rows=96, columns=128)
    file = part10_bytes(ds)
    (tmp_path / "body").write_bytes(stow_body([file]))
    root = site.gateway.dicomweb_url
    answer = curl("-X", "POST", "-H", f"Content-Type: {STOW_TYPE}", "-T", tmp_path / "body", f"{root}/studies")
    assert ds.SOPInstanceUID.encode() in answer
    study, series, instance = ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID
    url = f"{root}/studies/{study}/series/{series}/instances/{instance}"

    got = dcmread(BytesIO(curl("-H", "Accept: application/dicom", url)))
    assert got.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert got == readable(file)
    assert b"Test^curl" in curl(f"{root}/studies?PatientName=test^curl")
    for path, accept, kind, size in (
        ("/rendered", "image/png", "PNG", (128, 96)),
        ("/rendered", "image/jpeg", "JPEG", (128, 96)),
        ("/rendered?viewport=64,64", "*/*", "JPEG", (64, 48)),
        ("/frames/1/rendered?window=40,400,linear", "image/png", "PNG", (128, 96)),
        ("/thumbnail?viewport=32,32", "image/jpeg", "JPEG", (32, 24)),
    ):
        with Image.open(BytesIO(curl("-H", f"Accept: {accept}", url + path))) as image:
            assert (image.format, image.size) == (kind, size)
            low, high = image.convert("L").getextrema()
            # air, and 131 Hounsfield units in the window 40, 400; JPEG is not exact
            assert (low, high) == ((0, 186) if kind == "PNG" else (low, pytest.approx(186, abs=15)))
    curl("-X", "DELETE", url)
    assert site.doors.qido("/studies", StudyInstanceUID=study) == []


@BOTH
def test_curl_posts_a_single_part(site: Site, tmp_path: Path) -> None:
    """STOW-02: a bare application/dicom body, sent in chunks of unknown total length."""
    path = tmp_path / "one.dcm"
    path.write_bytes(part10_bytes(ct_slice("single part")))
    headers = ("-H", "Content-Type: application/dicom", "-H", "Transfer-Encoding: chunked")
    curl("-X", "POST", *headers, "-T", path, f"{site.gateway.dicomweb_url}/studies")
    assert len(site.doors.qido("/studies", StudyInstanceUID=uid("study", "single part"))) == 1


@BOTH
def test_nothing_went_wrong_in_the_gateway(site: Site) -> None:
    """After all of the above: every log line is JSON, none is an error, and no patient's name is in it."""
    assert {event["level"] for event in site.gateway.events()} <= {"debug", "info", "warning"}
    assert "Traceback" not in site.gateway.log()
    assert "test^" not in site.gateway.log().lower()
    assert site.spooled() == []
