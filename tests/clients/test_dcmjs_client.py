"""The dicomweb-client of dcmjs, which OHIF and Slim are built on, in Chromium on another origin than the gateway's."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import pytest
from playwright.sync_api import Page
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from tests.parts.datasets import color, ct_slice, multi_frame, part10_bytes, pdf, series_of, uid
from tests.parts.gateway import GatewayProcess

CALL = """
async ([url, method, options]) => {
    const client = new window.clients.DICOMwebClient({ url, verbose: false });
    if (options.datasets) {
        options.datasets = options.datasets.map((text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
    }
    const plain = (value) => {
        if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
            let text = '';
            for (const byte of new Uint8Array(value)) text += String.fromCharCode(byte);
            return { bytes: btoa(text) };
        }
        return Array.isArray(value) && value.every((one) => one instanceof ArrayBuffer || ArrayBuffer.isView(one))
            ? value.map(plain) : value;
    };
    try {
        return { answer: plain(await client[method](options)) };
    } catch (error) {
        return { failed: error.status ?? String(error) };
    }
}
"""

SLICES = series_of(3, "dcmjs")
FRAMES = multi_frame("dcmjs", 2, frames=4)
COLOUR = color("dcmjs", 3)
DOCUMENT = pdf("dcmjs", 4, document=b"%PDF-1.4\n" + b"%" * 9000 + b"\n%%EOF\n")


class Client:
    """The client of one gateway: a method of it by name, with its options."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    def call(self, method: str, **options: Any) -> Any:
        """What the method resolves to; array buffers as bytes."""
        found = self.page.evaluate(CALL, [self.url, method, options])
        assert "failed" not in found, found["failed"]
        return self._bytes(found["answer"])

    def fails(self, method: str, **options: Any) -> object:
        """The HTTP status with which the method is rejected."""
        return self.page.evaluate(CALL, [self.url, method, options])["failed"]

    def _bytes(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._bytes(one) for one in value]
        return base64.b64decode(value["bytes"]) if isinstance(value, dict) and "bytes" in value else value


def keys(ds: Any) -> dict[str, str]:
    """The UIDs of an instance as the client calls them."""
    return {
        "studyInstanceUID": ds.StudyInstanceUID,
        "seriesInstanceUID": ds.SeriesInstanceUID,
        "sopInstanceUID": ds.SOPInstanceUID,
    }


def text(file: bytes) -> str:
    """Bytes on their way into the page."""
    return base64.b64encode(file).decode()


@pytest.fixture(scope="module")
def client(clients: Page, gateway: GatewayProcess) -> Client:
    """The client; what it is asked for below is stored by it."""
    client = Client(clients, gateway.dicomweb_url)
    files = [part10_bytes(ds) for ds in (*SLICES, FRAMES, DOCUMENT)] + [part10_bytes(COLOUR, RLELossless)]
    client.call("storeInstances", datasets=[text(file) for file in files])
    return client


def test_it_stores_again_and_is_told_of_a_conflict(client: Client) -> None:
    """STOW-10: the same bytes once more are stored; others under the same UID are not, which is an error to it."""
    client.call("storeInstances", datasets=[text(part10_bytes(SLICES[0]))], studyInstanceUID=uid("study", "dcmjs"))
    other = part10_bytes(ct_slice("dcmjs", 1, 1, PatientName="Other"))
    assert client.fails("storeInstances", datasets=[text(other)]) == 409


def test_it_searches(client: Client) -> None:
    """QIDO-01 to QIDO-04."""
    study, series = uid("study", "dcmjs"), uid("series", "dcmjs", 1)
    keys = {"PatientName": "test^dcm*", "includefield": "00081030,StudyDescription", "limit": 5, "offset": 0}
    (found,) = client.call("searchForStudies", queryParams=keys)
    assert found["0020000D"]["Value"] == [study]
    assert len(client.call("searchForSeries")) == 4
    assert len(client.call("searchForSeries", studyInstanceUID=study)) == 4
    assert len(client.call("searchForInstances", studyInstanceUID=study)) == 6
    assert len(client.call("searchForInstances", studyInstanceUID=study, seriesInstanceUID=series)) == 3


def test_no_results_are_an_empty_list(client: Client) -> None:
    """SC-204."""
    assert client.call("searchForStudies", queryParams={"PatientID": "nobody"}) == []


def test_it_retrieves_metadata(client: Client) -> None:
    """WADO-02 at the three levels."""
    uids = keys(SLICES[1])
    (found,) = client.call("retrieveInstanceMetadata", **uids)
    assert found["00080018"]["Value"] == [SLICES[1].SOPInstanceUID]
    series = {name: uids[name] for name in ("studyInstanceUID", "seriesInstanceUID")}
    assert len(client.call("retrieveSeriesMetadata", **series)) == 3
    assert len(client.call("retrieveStudyMetadata", studyInstanceUID=uids["studyInstanceUID"])) == 6


def test_it_retrieves_files(client: Client) -> None:
    """WADO-01: they are read by pydicom."""
    uids = keys(SLICES[1])
    got = dcmread(BytesIO(client.call("retrieveInstance", **uids)))
    assert got == dcmread(BytesIO(part10_bytes(SLICES[1])))
    series = {name: uids[name] for name in ("studyInstanceUID", "seriesInstanceUID")}
    found = [dcmread(BytesIO(file)) for file in client.call("retrieveSeries", **series)]
    assert [ds.InstanceNumber for ds in found] == [1, 2, 3]
    assert len(client.call("retrieveStudy", studyInstanceUID=uids["studyInstanceUID"])) == 6


def test_it_retrieves_frames(client: Client) -> None:
    """WADO-03: several as parts; decoded when it asks for octet-stream, as they are stored for a compressed type.

    NEG-05: of all that it says it can read, as Slim does, it gets what is stored.
    """
    size = len(FRAMES.PixelData) // 4
    frames = [FRAMES.PixelData[start : start + size] for start in range(0, 4 * size, size)]
    assert client.call("retrieveInstanceFrames", **keys(FRAMES), frameNumbers=[2, 4]) == [frames[1], frames[3]]
    assert client.call("retrieveInstanceFrames", **keys(COLOUR), frameNumbers=[1]) == [COLOUR.PixelData]
    rle = {"mediaType": "image/x-dicom-rle", "transferSyntaxUID": RLELossless}
    native = {"mediaType": "application/octet-stream", "transferSyntaxUID": ExplicitVRLittleEndian}
    for types in ([rle], [rle, native], [{"mediaType": "image/*", "transferSyntaxUID": "*"}]):
        (stored,) = client.call("retrieveInstanceFrames", **keys(COLOUR), frameNumbers=[1], mediaTypes=types)
        assert len(stored) < len(COLOUR.PixelData)
        assert stored[:4] == b"\x03\0\0\0"  # three segments


def test_it_retrieves_bulk_data(client: Client) -> None:
    """WADO-05: whole, and a range of it."""
    (metadata,) = client.call("retrieveInstanceMetadata", **keys(DOCUMENT))
    uri = metadata["00420011"]["BulkDataURI"]
    assert client.call("retrieveBulkData", BulkDataURI=uri)[0].rstrip(b"\0") == DOCUMENT.EncapsulatedDocument.rstrip(
        b"\0"
    )


@pytest.mark.parametrize(("media_type", "head"), [("image/jpeg", b"\xff\xd8"), ("image/png", b"\x89PNG")])
def test_it_retrieves_pictures(client: Client, media_type: str, head: bytes) -> None:
    """RT-01: of instances, of frames, and small ones."""
    types = {"mediaTypes": [{"mediaType": media_type}]}
    asked = [
        ("retrieveInstanceRendered", SLICES[0], {}),
        ("retrieveInstanceFramesRendered", FRAMES, {"frameNumbers": [2]}),
        ("retrieveInstanceThumbnail", SLICES[0], {}),
        ("retrieveInstanceFramesThumbnail", FRAMES, {"frameNumbers": [2]}),
    ]
    for method, ds, more in asked:
        picture = client.call(method, **keys(ds), **more, **types)
        assert picture[0].startswith(head), method


def test_what_is_not_there_is_an_error(client: Client) -> None:
    assert client.fails("retrieveStudyMetadata", studyInstanceUID="1.2.3") == 404
