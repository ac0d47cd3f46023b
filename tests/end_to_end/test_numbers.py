"""Frame N of a 1,000-frame object is one ranged read, of the frame's own length: counted where the bytes are kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from storage.objects import ObjectStore
from tests.end_to_end.doors import Doors, resource
from tests.gateway.dicomweb.service import Service, parts_of, serve
from tests.parts.datasets import encapsulated, multi_frame, part10_bytes
from tests.parts.fix_gateway import BackendEnvironment, StartGateway
from tests.parts.waiting import until
from tests.storage.objects.proxy import Proxy

FRAMES = 1000
NUMBERS = (1, 2, 500, 999, 1000)
CODESTREAMS = [bytes([number % 251]) * (100 + 2 * (number % 77)) for number in range(1, FRAMES + 1)]
"""Frames of different lengths; nobody decodes them."""

NATIVE = multi_frame("numbers", frames=FRAMES, rows=8, columns=12)
OBJECTS: dict[str, tuple[Dataset, str, list[bytes]]] = {
    "native": (
        NATIVE,
        ExplicitVRLittleEndian,
        [NATIVE.PixelData[start : start + 192] for start in range(0, FRAMES * 192, 192)],
    ),
    **{
        f"{table} offset table": (
            encapsulated(multi_frame("numbers", number=number, frames=1), CODESTREAMS, table=table),
            JPEG2000Lossless,
            CODESTREAMS,
        )
        for number, table in enumerate(("basic", "extended", "empty"), 2)
    },
}


class Counting:
    """An object store that writes down what is read of it: key, start and length of each ranged read."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.worth_a_read = store.worth_a_read
        self.reads: list[tuple[int, int | None]] = []

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """See ObjectStore."""
        self.reads.append((start, length))
        return self.store.read(key, start, length)

    def stream(
        self, key: str, start: int = 0, length: int | None = None
    ) -> AbstractContextManager[Iterator[memoryview | bytes]]:
        """See ObjectStore."""
        self.reads.append((start, length))
        return self.store.stream(key, start, length)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Counting]]:
    """The web wing on a folder, with all objects stored; and what counts the reads of that folder."""
    with serve(tmp_path_factory.mktemp("counted")) as service:
        counting = Counting(service.archive.objects)
        service.archive.objects = cast(ObjectStore, counting)
        for ds, syntax, _ in OBJECTS.values():
            assert service.store(part10_bytes(ds, syntax)).status_code == 200
        yield service, counting


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("number", NUMBERS)
def test_a_frame_is_one_ranged_read_of_a_folder(counted: tuple[Service, Counting], kind: str, number: int) -> None:
    service, counting = counted
    ds, syntax, frames = OBJECTS[kind]
    counting.reads.clear()
    path = f"{resource(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)}/frames/{number}"
    accept = f'multipart/related; type="application/octet-stream"; transfer-syntax={syntax}'
    ((_, got),) = parts_of(service.get(path, accept))
    assert got == frames[number - 1]
    assert [length for _, length in counting.reads] == [len(got)]


def test_several_frames_are_a_read_each(counted: tuple[Service, Counting]) -> None:
    service, counting = counted
    ds, _, frames = OBJECTS["native"]
    counting.reads.clear()
    path = f"{resource(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)}/frames/7,993"
    got = [body for _, body in parts_of(service.get(path))]
    assert got == [frames[6], frames[992]]
    assert [length for _, length in counting.reads] == [192, 192]


def test_metadata_are_one_read_that_ends_before_the_pixels(counted: tuple[Service, Counting]) -> None:
    service, counting = counted
    ds, _, _ = OBJECTS["native"]
    counting.reads.clear()
    path = resource(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    assert service.get(f"{path}/metadata").json()[0]["00280008"]["Value"] == [FRAMES]
    ((start, length),) = counting.reads
    assert start == 0
    assert length is not None
    assert length < len(part10_bytes(ds)) - len(ds.PixelData) + 16


def test_frames_beside_each_other_are_read_at_once_where_a_read_has_its_price(tmp_path: Path) -> None:
    """As in an S3-compatible store; what lies far away is a read of its own."""
    with serve(tmp_path) as service:
        counting = Counting(service.archive.objects)
        service.archive.objects = cast(ObjectStore, counting)
        ds, syntax, frames = OBJECTS["native"]
        service.store(part10_bytes(ds, syntax))
        counting.worth_a_read = 1000
        counting.reads.clear()
        path = f"{resource(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)}/frames/7,8,10,993,10,9"
        got = [body for _, body in parts_of(service.get(path))]
        assert got == [frames[number - 1] for number in (7, 8, 10, 993, 10, 9)]
        assert [length for _, length in counting.reads] == [4 * 192, 192, 192, 192]


RANGE = re.compile(rb"^range: bytes=(\d+)-(\d+)\r?$", re.MULTILINE | re.IGNORECASE)
LENGTH = re.compile(rb"^content-length: (\d+)\r?$", re.MULTILINE | re.IGNORECASE)


class Listening:
    """Writes down the requests that pass a proxy to an S3 server, and the lengths of the answers."""

    def __init__(self, proxy: Proxy) -> None:
        self.requests: list[bytes] = []
        self.answers: list[bytes] = []
        proxy.upload = self.upload
        proxy.download = self.download

    def upload(self, data: bytes) -> bytes:
        """A request's head begins a piece."""
        if re.match(rb"(GET|HEAD|PUT|POST|DELETE) ", data):
            self.requests.append(data)
        return data

    def download(self, data: bytes) -> bytes:
        """So does an answer's."""
        if data.startswith(b"HTTP/1.1 "):
            self.answers.append(data)
        return data


@pytest.mark.parametrize("backend", ["seaweedfs+sqlite", "rgw+sqlite"])
def test_a_frame_is_one_ranged_request_to_s3(
    backend: str, backend_environment: BackendEnvironment, start_gateway: StartGateway, tmp_path: Path
) -> None:
    """A gateway process, with what it says to the S3 server overheard."""
    environment = backend_environment(backend)
    with Proxy(environment["GANTRY_S3_ENDPOINT"]) as proxy:
        environment["GANTRY_S3_ENDPOINT"] = proxy.endpoint
        gateway = start_gateway(environment=environment)
        until(lambda: "bucket is not public" in gateway.log())  # which takes some requests
        heard = Listening(proxy)
        with Doors(gateway) as doors:
            files = [part10_bytes(ds, syntax) for ds, syntax, _ in OBJECTS.values()]
            assert doors.stow(*files).status == 200
            for ds, syntax, frames in OBJECTS.values():
                path = resource(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
                accept = f'multipart/related; type="application/octet-stream"; transfer-syntax={syntax}'
                for number in NUMBERS:
                    heard.requests.clear()
                    heard.answers.clear()
                    ((_, got),) = parts_of(doors.get(f"{path}/frames/{number}", accept))
                    assert got == frames[number - 1]
                    (request,), (answer,) = heard.requests, heard.answers
                    asked, sent = RANGE.search(request), LENGTH.search(answer)
                    assert request.startswith(b"GET ")
                    assert asked is not None
                    assert sent is not None
                    assert int(asked[2]) - int(asked[1]) + 1 == int(sent[1]) == len(got)
        assert gateway.stop() == 0


def test_rle_frames_are_found_as_well(counted: tuple[Service, Counting]) -> None:
    """Encoded by pydicom, decoded by the gateway: the same pixels, and still one read for the frame's bytes."""
    service, counting = counted
    ds = multi_frame("numbers", number=9, frames=20)
    assert service.store(part10_bytes(ds, RLELossless)).status_code == 200
    counting.reads.clear()
    path = f"{resource(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)}/frames/11"
    accept = f'multipart/related; type="application/octet-stream"; transfer-syntax={ExplicitVRLittleEndian}'
    ((_, got),) = parts_of(service.get(path, accept))
    assert got == ds.PixelData[10 * 512 : 11 * 512]
    before_pixels = len(part10_bytes(ds)) - len(ds.PixelData)
    assert len([start for start, _ in counting.reads if start > before_pixels]) == 1
