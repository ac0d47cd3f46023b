"""Cornerstone3D's own image loader in Chromium, on another origin than the gateway: it fetches, and decodes, frames.

The gateway's metadata tell it what the pixels are. Each loaded image has to hold the pixels that were stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, Response
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.clients.conftest import store
from tests.gateway.dicomweb.service import parts_of
from tests.parts import once
from tests.parts.datasets import ct_slice, encapsulated, instance, part10_bytes, phantom, pixels, uid
from tests.parts.gateway import GatewayProcess

ROWS, COLUMNS = 128, 160
LOSSLESS = {
    "native": (ExplicitVRLittleEndian, "application/octet-stream"),
    "rle": (RLELossless, "image/dicom-rle"),
    "jpeg-lossless": (JPEGLosslessSV1, "image/jpeg"),
    "jpeg-ls": (JPEGLSLossless, "image/jls"),
    "jpeg-2000": (JPEG2000Lossless, "image/jp2"),
    "htj2k": (HTJ2KLossless, "image/jphc"),
    "htj2k-rpcl": (HTJ2KLosslessRPCL, "image/jphc"),
}

LOAD = """
async ([instance, frame, steps]) => {
    const { loader } = window.clients;
    const imageId = `wadors:${instance}/frames/${frame}`;
    const answer = await fetch(`${instance}/metadata`, { headers: { Accept: 'application/dicom+json' } });
    loader.wadors.metaDataManager.add(imageId, (await answer.json())[0]);
    const options = {};
    const images = [];
    for (const retrieveOptions of steps) {
        Object.assign(options, { preScale: { enabled: false }, retrieveOptions });
        const image = await loader.wadors.loadImage(imageId, options).promise;
        images.push({
            rows: image.rows,
            columns: image.columns,
            syntax: image.transferSyntaxUID,
            quality: image.imageQualityStatus,
            pixels: Array.from(image.getPixelData()),
        });
    }
    return images;
}
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored image, and the pixels that the loader has to come to."""

    url: str
    pixels: NDArray[Any]


def picture() -> NDArray[np.int16]:
    """Grey levels below and above 0, with noise, so that it stays large when compressed."""
    noise = np.random.default_rng(3).integers(0, 40, (ROWS, COLUMNS))
    return (phantom(ROWS, COLUMNS).astype(np.int16) - 600 + noise).astype(np.int16)


def url_of(gateway: GatewayProcess, ds: Dataset) -> str:
    """The URL of an instance."""
    series = f"{gateway.dicomweb_url}/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}"
    return f"{series}/instances/{ds.SOPInstanceUID}"


def compressed(gateway: GatewayProcess, url: str, syntax: str, media_type: str) -> bytes:
    """Frame 1 in another transfer syntax, as the gateway makes it."""
    accept = f'multipart/related; type="{media_type}"; transfer-syntax={syntax}'
    answer = once.get(f"{url}/frames/1", headers={"Accept": accept}, timeout=60)
    assert answer.status_code == 200, answer.text
    ((_, frame),) = parts_of(answer)
    return frame


@pytest.fixture(scope="module")
def stored(gateway: GatewayProcess) -> dict[str, Stored]:
    """One image per transfer syntax, by its name above; and `jpeg`, lossy and of 8 bits."""
    frame = picture()
    found: dict[str, Stored] = {}
    native = pixels(ct_slice("native"), frame)
    store(gateway, part10_bytes(native))
    for number, (name, (syntax, media_type)) in enumerate(LOSSLESS.items(), 1):
        ds = native if name == "native" else pixels(ct_slice("cornerstone", 1, number), frame)
        if name != "native":
            data = compressed(gateway, url_of(gateway, native), syntax, media_type)
            store(gateway, part10_bytes(encapsulated(ds, [data]), syntax))
        found[name] = Stored(url_of(gateway, ds), frame)
    grey = (frame.astype(np.int32) + 600 >> 3).clip(0, 255).astype(np.uint8)
    plain = pixels(instance("1.2.840.10008.5.1.4.1.1.7", "OT", "grey"), grey)
    store(gateway, part10_bytes(plain))
    data = compressed(gateway, url_of(gateway, plain), JPEGBaseline8Bit, "image/jpeg")
    lossy = pixels(instance("1.2.840.10008.5.1.4.1.1.7", "OT", "jpeg"), grey)
    lossy.LossyImageCompression = "01"
    store(gateway, part10_bytes(encapsulated(lossy, [data]), JPEGBaseline8Bit))
    found["jpeg"] = Stored(url_of(gateway, lossy), grey)
    return found


@pytest.fixture
def answers(clients: Page, gateway: GatewayProcess) -> Iterator[list[Response]]:
    """What the page gets of frames while the test runs."""
    seen: list[Response] = []

    def answered(response: Response) -> None:
        if "/frames/" in response.url and response.request.method == "GET":
            seen.append(response)

    clients.on("response", answered)
    yield seen
    clients.remove_listener("response", answered)


def load(page: Page, image: Stored, *steps: dict[str, Any]) -> list[dict[str, Any]]:
    """Load frame 1, once for each step with its retrieve options; what the loader made of it."""
    found = page.evaluate(LOAD, [image.url, 1, list(steps or [{}])])
    assert isinstance(found, list)
    return found


def as_array(image: dict[str, Any]) -> NDArray[Any]:
    """The pixels of a loaded image."""
    return np.asarray(image["pixels"]).reshape(image["rows"], image["columns"])


@pytest.mark.parametrize("name", LOSSLESS)
def test_the_loader_decodes_frames_as_they_are_stored(
    clients: Page, stored: dict[str, Stored], answers: list[Response], name: str
) -> None:
    """NEG-04, TS-01 to TS-08, MP-02: `transfer-syntax=*` unquoted; it learns the syntax from the part's header."""
    (image,) = load(clients, stored[name])
    assert image["syntax"] == LOSSLESS[name][0]
    assert np.array_equal(as_array(image), stored[name].pixels)
    (answer,) = answers
    accept = answer.request.header_value("accept")
    assert accept == "multipart/related; type=application/octet-stream; transfer-syntax=*"
    assert "content-encoding" not in answer.headers


def test_the_loader_decodes_lossy_jpeg(clients: Page, stored: dict[str, Stored]) -> None:
    (image,) = load(clients, stored["jpeg"])
    assert image["syntax"] == JPEGBaseline8Bit
    assert np.abs(as_array(image).astype(int) - stored["jpeg"].pixels).mean() < 6


@pytest.mark.parametrize("name", ["htj2k-rpcl", "native"])
def test_its_range_requests_glue_to_the_whole_frame(
    clients: Page, stored: dict[str, Stored], answers: list[Response], name: str
) -> None:
    """A first part of the multipart body, then the rest of it, in two requests: the bytes fit together.

    Of HTJ2K in RPCL order it shows the first part already, at less than full quality.
    """
    first = {"rangeIndex": 0, "initialChunkSize": 8192, "decodeLevel": 2}
    rest = {"rangeIndex": -1, "initialChunkSize": 8192}
    steps = [first, rest] if name == "htj2k-rpcl" else [rest]
    images = load(clients, stored[name], *steps)
    assert np.array_equal(as_array(images[-1]), stored[name].pixels)
    ranges = [answer.request.header_value("range") for answer in answers]
    totals = {answer.header_value("content-range") for answer in answers}
    assert {answer.status for answer in answers} == {206}
    if name == "native":
        assert ranges == ["bytes=0-"]
        return
    assert ranges == ["bytes=0-8191", "bytes=8192-"]
    assert len(totals) == 2
    assert len({str(total).partition("/")[2] for total in totals}) == 1
    assert images[0]["quality"] < images[1]["quality"]
    assert images[0]["rows"] <= ROWS


@pytest.mark.parametrize("name", ["htj2k-rpcl", "jpeg-2000", "native"])
def test_its_stream_requests_end_with_the_whole_frame(
    clients: Page, stored: dict[str, Stored], answers: list[Response], name: str
) -> None:
    """It compares what has come with Content-Length, so that must be told, and true."""
    (image,) = load(clients, stored[name], {"streaming": True, "chunkSize": 2048, "initialChunkSize": 2048})
    assert np.array_equal(as_array(image), stored[name].pixels)
    (answer,) = answers
    assert answer.status == 200
    assert int(answer.headers["content-length"]) == len(answer.body())


def test_it_loads_an_instance_by_wado_uri(clients: Page, stored: dict[str, Stored], gateway: GatewayProcess) -> None:
    """URI-01: the whole file, parsed by dicom-parser."""
    assert stored
    keys = {
        "requestType": "WADO",
        "studyUID": uid("study", "native"),
        "seriesUID": uid("series", "native", 1),
        "objectUID": ct_slice("native").SOPInstanceUID,
        "contentType": "application/dicom",
    }
    url = str(httpx.URL(f"{gateway.http_url}/wado", params=keys))
    found = clients.evaluate(
        """async (url) => {
            const { core } = window.clients;
            const image = await core.imageLoader.loadImage(`wadouri:${url}`, { preScale: { enabled: false } });
            return { rows: image.rows, columns: image.columns, pixels: Array.from(image.getPixelData()) };
        }""",
        url,
    )
    assert np.array_equal(as_array(found), picture())


def test_a_missing_frame_is_an_error_that_the_page_may_read(clients: Page, stored: dict[str, Stored]) -> None:
    """Without CORS on errors the viewer would see a network error."""
    status = clients.evaluate(
        "async (url) => { const answer = await fetch(url); return [answer.status, (await answer.json()).detail]; }",
        f"{stored['native'].url}/frames/2",
    )
    assert status[0] == 404
    assert status[1]
