"""STOW-RS with metadata in JSON and XML, bulk data beside them, and pictures."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import httpx
import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from gateway.dicom.native_model import NAMESPACE
from tests.gateway.dicomweb.service import Service, parts_of
from tests.parts.datasets import color, ct_slice, multi_frame, part10_bytes, pdf, report, uid
from tests.parts.files import dataset_bytes

B = "models"
JSON, XML = "application/dicom+json", "application/dicom+xml"
Part = tuple[Mapping[str, str], bytes]


def post(service: Service, kind: str, *parts: Part, path: str = "/studies", **headers: str) -> httpx.Response:
    """Store a request of these parts, whose first has the media type `kind`."""
    body = b""
    for fields, data in parts:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        body += f"--{B}\r\n{lines}\r\n".encode() + data + b"\r\n"
    sent = {"Content-Type": f'multipart/related; type="{kind}"; boundary={B}', **headers}
    return service.client.post(path, content=body + f"--{B}--\r\n".encode(), headers=sent)


def metadata(*found: Mapping[str, object]) -> Part:
    return {"Content_Type": JSON}, json.dumps(list(found)).encode()


def bulk(location: str, data: bytes, media_type: str = "application/octet-stream") -> Part:
    return {"Content_Type": media_type, "Content_Location": location}, data


def described(name: object, **values: object) -> dict[str, object]:
    """Metadata of a secondary capture without any description of its pixels."""
    return {
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.7"]},
        "00080018": {"vr": "UI", "Value": [uid("sop", name)]},
        "0020000D": {"vr": "UI", "Value": [uid("study", name)]},
        "0020000E": {"vr": "UI", "Value": [uid("series", name)]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Äpfel^Jörg"}]},
        "7FE00010": {"vr": "OW", "BulkDataURI": "pixels"},
        **values,
    }


def fetched(service: Service, name: object) -> Dataset:
    found = service.get(
        f"/studies/{uid('study', name)}/series/{uid('series', name)}/instances/{uid('sop', name)}",
        "application/dicom; transfer-syntax=*",
    )
    assert found.status_code == 200, found.text
    return dcmread(BytesIO(found.content))


def reasons(answer: httpx.Response) -> list[int]:
    items = [one for key in ("00081198", "0008119A") for one in answer.json().get(key, {"Value": []})["Value"]]
    return [item["00081197"]["Value"][0] for item in items]


# ---------------------------------------------------------------- there and back


@pytest.mark.parametrize("kind", [JSON, XML])
@pytest.mark.parametrize(
    "ds",
    [ct_slice("back"), report("back"), pdf("back", document=b"%PDF-1.4 " * 400), multi_frame("back", frames=3)],
    ids=["ct", "report", "pdf", "frames"],
)
def test_what_one_gateway_gives_another_takes(
    service: Service, tmp_path_factory: pytest.TempPathFactory, ds: Dataset, kind: str
) -> None:
    """STOW-03, STOW-04, STOW-05, GEN-12, JSON-08: metadata and bulk data as retrieved make the same data set."""
    service.store(ds)
    path = f"/studies/{ds.StudyInstanceUID}"
    if kind == JSON:
        parts: list[Part] = [({"Content_Type": JSON}, service.get(path + "/metadata", JSON).content)]
    else:
        found = parts_of(service.get(path + "/metadata", f'multipart/related; type="{XML}"'))
        parts = [({"Content_Type": XML}, data) for _, data in found]
    taken = service.get(path + "/bulkdata", 'multipart/related; type="application/octet-stream"')
    if taken.status_code == 200:
        parts += [bulk(h["content-location"], data, h["content-type"]) for h, data in parts_of(taken)]
    assert service.client.delete(path).status_code == 204
    answer = post(service, kind, *parts)
    assert answer.status_code == 200, answer.text
    assert answer.json()["00081199"]["Value"][0]["00081155"]["Value"] == [ds.SOPInstanceUID]
    got = service.get(f"{path}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}", "application/dicom")
    again, sent = dcmread(BytesIO(got.content)), dcmread(BytesIO(part10_bytes(ds)))
    for one in (again, sent):
        one.pop("SpecificCharacterSet", None)
    assert again == sent
    assert service.spooled() == []


def test_compressed_frames_are_kept_bit_by_bit(service: Service) -> None:
    """STOW-05, STOW-06: one part a frame, encapsulated as they are."""
    ds = color("rle", frames=2)
    service.store(part10_bytes(ds, RLELossless))
    study = f"/studies/{ds.StudyInstanceUID}"
    instance = f"{study}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    (model,) = service.get(instance + "/metadata").json()
    uri = model["7FE00010"]["BulkDataURI"]
    frames = parts_of(service.get(instance + "/frames/1,2", 'multipart/related; type="image/dicom-rle"'))
    before = service.get(instance, "application/dicom; transfer-syntax=*").content
    service.client.delete(study)
    answer = post(service, JSON, metadata(model), *(bulk(uri, data, "image/dicom-rle") for _, data in frames))
    assert answer.status_code == 200, answer.text
    after = dcmread(BytesIO(service.get(instance, "application/dicom; transfer-syntax=*").content))
    assert after.file_meta.TransferSyntaxUID == RLELossless
    again = parts_of(service.get(instance + "/frames/1,2", 'multipart/related; type="image/dicom-rle"'))
    assert [data for _, data in again] == [data for _, data in frames]
    assert dcmread(BytesIO(before)).Rows == after.Rows


def test_a_jpeg_needs_no_description(service: Service) -> None:
    """STOW-06: derived from the codestream; the bits stay."""
    picture = BytesIO()
    Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(picture, "JPEG")
    answer = post(service, JSON, metadata(described("jpeg")), bulk("pixels", picture.getvalue(), "image/jpeg"))
    assert answer.status_code == 200, answer.text
    got = fetched(service, "jpeg")
    assert got.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert (got.Rows, got.Columns, got.SamplesPerPixel, got.BitsAllocated) == (8, 12, 3, 8)
    assert picture.getvalue() in got.PixelData
    assert got.PatientName == "Äpfel^Jörg"  # JSON-07


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colour", [False, True])
def test_a_png_becomes_native(service: Service, bits: int, colour: bool) -> None:
    """STOW-06: nothing is lost."""
    shape = (5, 7, 3) if colour else (5, 7)
    kind = np.uint8 if bits == 8 else np.uint16
    pixels = np.random.default_rng(bits).integers(0, 2**bits, shape).astype(kind)
    part = bulk("pixels", bytes(imagecodecs.png_encode(pixels)), "image/png")
    assert post(service, JSON, metadata(described("png")), part).status_code == 200
    got = fetched(service, "png")
    assert got.PhotometricInterpretation == ("RGB" if colour else "MONOCHROME2")
    assert (got.BitsAllocated, got.BitsStored, got.HighBit, got.PixelRepresentation) == (bits, bits, bits - 1, 0)
    assert np.array_equal(got.pixel_array, pixels)


def test_an_animated_gif_is_a_multi_frame_image(service: Service) -> None:
    """STOW-06."""
    frames = [Image.new("RGB", (6, 4), name) for name in ("red", "lime", "blue")]
    picture = BytesIO()
    frames[0].save(picture, "GIF", save_all=True, append_images=frames[1:])
    answer = post(service, JSON, metadata(described("gif")), bulk("pixels", picture.getvalue(), "image/gif"))
    assert answer.status_code == 200, answer.text
    got = fetched(service, "gif")
    assert got.NumberOfFrames == 3
    assert got.pixel_array[:, 0, 0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_metadata_alone_as_a_single_part(service: Service) -> None:
    """STOW-02, STOW-03: an instance without bulk data needs no multipart."""
    for kind, accept in ((JSON, JSON), (XML, f'multipart/related; type="{XML}"')):
        ds = report(kind[-4:])
        service.store(ds)
        answer = service.get(f"/studies/{ds.StudyInstanceUID}/metadata", accept)
        body = answer.content if kind == JSON else parts_of(answer)[0][1]
        service.client.delete(f"/studies/{ds.StudyInstanceUID}")
        assert service.client.post("/studies", content=body, headers={"Content-Type": kind}).status_code == 200


def test_group_0002_of_metadata_is_ignored(service: Service) -> None:
    """STOW-04: File Meta Information is made."""
    model = described("meta", **{"00020010": {"vr": "UI", "Value": ["1.2.3"]}})
    del model["7FE00010"]
    assert post(service, JSON, metadata(model)).status_code == 200
    assert fetched(service, "meta").file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_a_content_id_may_name_a_part(service: Service) -> None:
    """STOW-03, S-63: `cid:` is within the request."""
    model = described("cid", **{"00420011": {"vr": "OB", "BulkDataURI": "cid:one@here"}})
    del model["7FE00010"]
    answer = post(
        service,
        JSON,
        metadata(model),
        ({"Content_Type": "application/octet-stream", "Content_ID": "<one@here>"}, b"1234"),
    )
    assert answer.status_code == 200, answer.text
    assert fetched(service, "cid").EncapsulatedDocument == b"1234"


# ---------------------------------------------------------------- answers


def test_the_answer_in_xml(service: Service) -> None:
    """STOW-09, MT-06: application/dicom+xml when it is asked for."""
    answer = service.store(ct_slice("xml"), b"no DICOM", Accept=XML)
    assert (answer.status_code, answer.headers["content-type"]) == (202, XML)
    found = ElementTree.fromstring(answer.content)
    tags = {one.attrib["tag"] for one in found.iter(f"{{{NAMESPACE}}}DicomAttribute")}
    assert {"00081190", "00081199", "0008119A", "00081197"} <= tags


def test_values_that_break_their_vr_are_kept_and_told(service: Service) -> None:
    """STOW-08, STOW-09, SC-202: 202 with Warning Reason B007; the bytes stay, and /validation lists them for later."""
    ds = ct_slice("bad")
    ds.add_new(0x00100030, "LO", "19700230X")
    ds[0x00100030].VR = "DA"
    sent = part10_bytes(ds)
    answer = service.store(sent)
    assert answer.status_code == 202
    (item,) = answer.json()["00081199"]["Value"]
    assert item["00081196"] == {"vr": "US", "Value": [0xB007]}
    assert item["00741048"]["Value"][0]["00000902"]["Value"] == ["00100030 DA: a date YYYYMMDD"]
    path = f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    assert dataset_bytes(service.get(path, "application/dicom; transfer-syntax=*").content) == dataset_bytes(sent)
    told = service.get(path + "/validation").json()
    assert told == {
        "sop_uid": ds.SOPInstanceUID,
        "valid": False,
        "faults": [{"path": "00100030", "vr": "DA", "rule": "a date YYYYMMDD"}],
    }
    assert service.store(ct_slice("good")).status_code == 200


def test_each_instance_fails_by_itself(service: Service) -> None:
    """STOW-08, STOW-14: 202; a missing bulk part is A900, metadata that cannot be read C000."""
    broken = described("broken", **{"00280010": {"vr": "US", "Value": ["many"]}})
    lost = described("lost", **{"7FE00010": {"vr": "OW", "BulkDataURI": "elsewhere"}})
    good = described("good")
    del good["7FE00010"]
    answer = post(service, JSON, metadata(broken, lost, good))
    assert answer.status_code == 202
    assert sorted(reasons(answer)) == [0xA900, 0xC000]
    assert {one["00081155"]["Value"][0] for one in answer.json()["00081198"]["Value"]} == {
        uid("sop", "broken"),
        uid("sop", "lost"),
    }


def test_another_study_than_the_uri_names(service: Service) -> None:
    """STOW-01: refused, for metadata too."""
    model = described("study")
    del model["7FE00010"]
    answer = post(service, JSON, metadata(model), path="/studies/1.2.3")
    assert (answer.status_code, reasons(answer)) == (409, [0xA900])


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (JSON, b"{"),
        (JSON, b"[]"),
        (JSON, b"\xff\xfe"),
        (JSON, b"[" * 100_000),
        (JSON, b'[{"00080018": ' + b'{"vr":"SQ","Value":[{"00081140": ' * 5000),
        (JSON, b'"text"'),
        (XML, b"<NativeDicomModel>"),
        (XML, b""),
        (XML, b"<!DOCTYPE x SYSTEM 'http://127.0.0.1:1/x.dtd'><NativeDicomModel/>"),
        (XML, b"<a>" * 100_000),
    ],
)
def test_metadata_that_are_none(service: Service, kind: str, data: bytes) -> None:
    """STOW-08, S-64: refused quickly, nothing stored."""
    begun = time.perf_counter()
    answer = post(service, kind, ({"Content_Type": kind}, data))
    assert answer.status_code in (400, 409), answer.text
    assert time.perf_counter() - begun < 5
    assert service.get("/studies").status_code == 204


BOMB = (
    b"<?xml version='1.0'?><!DOCTYPE lolz [<!ENTITY a 'lol'>"
    + b"".join(b"<!ENTITY %c '%s'>" % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><NativeDicomModel><DicomAttribute tag='00100010' vr='PN'><Value number='1'>&j;</Value></DicomAttribute>"
    b"</NativeDicomModel>"
)
EXTERNAL = (
    b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM '%s'>]><NativeDicomModel><DicomAttribute tag='00100020' "
    b"vr='LO'><Value number='1'>&e;</Value></DicomAttribute></NativeDicomModel>"
)


class Listener:
    """Counts who connects."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.connections = 0
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()


def test_xml_bombs_and_external_entities(service: Service) -> None:
    """S-64: refused by their document type declaration; nothing is expanded, opened or connected to."""
    listener = Listener()
    for text in (BOMB, EXTERNAL % f"http://{listener.address}/x".encode(), EXTERNAL % b"file:///etc/passwd"):
        begun = time.perf_counter()
        answer = post(service, XML, ({"Content_Type": XML}, text))
        assert answer.status_code in (400, 409)
        assert "root:" not in answer.text
        assert time.perf_counter() - begun < 5
    listener.socket.close()
    assert listener.connections == 0


@pytest.mark.parametrize(
    "uri",
    ["http://{}/x", "file:///etc/passwd", "gopher://{}/x", "//{}/x", "../../etc/passwd", "http://169.254.169.254/"],
)
@pytest.mark.parametrize("kind", [JSON, XML])
def test_bulk_data_are_never_fetched(service: Service, uri: str, kind: str) -> None:
    """S-63: a BulkDataURI names a part of the request, or the instance is refused with A900."""
    listener = Listener()
    uri = uri.format(listener.address)
    model = described("fetch", **{"7FE00010": {"vr": "OW", "BulkDataURI": uri}})
    if kind == JSON:
        answer = post(service, JSON, metadata(model))
    else:
        elements = "".join(
            f"<DicomAttribute tag='{tag}' vr='UI'><Value number='1'>{one['Value'][0]}</Value></DicomAttribute>"
            for tag, one in model.items()
            if isinstance(one, dict) and one.get("vr") == "UI"
        )
        pixels = f"<DicomAttribute tag='7FE00010' vr='OW'><BulkData uri='{uri}'/></DicomAttribute>"
        text = f"<NativeDicomModel xmlns='{NAMESPACE}'>{elements}{pixels}</NativeDicomModel>"
        answer = post(service, XML, ({"Content_Type": XML}, text.encode()))
    assert (answer.status_code, reasons(answer)) == (409, [0xA900])
    time.sleep(0.05)
    listener.socket.close()
    assert listener.connections == 0


def test_a_bulk_part_without_a_name_is_refused(service: Service) -> None:
    """STOW-03, STOW-08: 400 names the header."""
    answer = post(service, JSON, metadata(described("x")), ({"Content_Type": "application/octet-stream"}, b"x"))
    assert (answer.status_code, answer.json()["parameter"]) == (400, "Content-Location")


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"\0" * 60, b"\xff\xd8\xff"])
@pytest.mark.parametrize("media_type", ["image/gif", "image/png", "image/jpeg", "image/jls", "video/mp4", "text/html"])
def test_pictures_that_are_none(service: Service, media_type: str, data: bytes) -> None:
    """STOW-05, STOW-06, STOW-14: the instance is refused, the gateway goes on."""
    answer = post(service, JSON, metadata(described("none")), bulk("pixels", data, media_type))
    assert answer.status_code == 409, answer.text
    assert service.spooled() == []


def test_large_bulk_data_wait_on_disk_and_are_removed(service: Service) -> None:
    """S-51: what a request leaves is nothing, stored or not."""
    pixels = b"\x01\x02" * 512 * 512
    description = {
        tag: {"vr": "US", "Value": [value]}
        for tag, value in {
            **{"00280002": 1, "00280010": 512, "00280011": 512, "00280100": 16},
            **{"00280101": 16, "00280102": 15, "00280103": 0},
        }.items()
    }
    model = described("large", **description, **{"00280004": {"vr": "CS", "Value": ["MONOCHROME2"]}})
    assert post(service, JSON, metadata(model), bulk("pixels", pixels)).status_code == 200
    assert fetched(service, "large").PixelData == pixels
    assert post(service, JSON, ({"Content_Type": JSON}, b"["), bulk("pixels", pixels)).status_code == 400
    assert service.spooled() == []


def test_a_truncated_request_stores_nothing(service: Service) -> None:
    """STOW-14."""
    model = described("cut")
    del model["7FE00010"]
    _, data = metadata(model)
    body = f"--{B}\r\nContent-Type: {JSON}\r\n\r\n".encode() + data
    kind = f'multipart/related; type="{JSON}"; boundary={B}'
    assert service.client.post("/studies", content=body, headers={"Content-Type": kind}).status_code == 400
    assert service.get("/studies").status_code == 204
    assert Path(service.folder).exists() and service.spooled() == []


def test_jpeg_ls_in_the_default_of_its_type(service: Service) -> None:
    """STOW-06, TS-04."""
    pixels = np.arange(35, dtype=np.uint8).reshape(5, 7)
    part = bulk("pixels", bytes(imagecodecs.jpegls_encode(pixels)), "image/jls")
    assert post(service, JSON, metadata(described("jls")), part).status_code == 200
    assert fetched(service, "jls").file_meta.TransferSyntaxUID == JPEGLSLossless
