"""An object of 2 GB by both doors: it is never whole in memory, and its frames are there."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.doors import Doors, resource
from tests.gateway.dicomweb.service import BOUNDARY, STOW_TYPE, parts_of
from tests.parts.datasets import large_file, uid
from tests.parts.files import dataset_bytes
from tests.parts.fix_gateway import StartGateway
from tests.parts.gateway import GatewayProcess, Launch, program
from tests.parts.machine import cannot_run, need
from tests.parts.received import received

RISE = 256 << 20
"""Bytes by which peak resident memory may rise."""

FRAME_SIZE = 2 << 20
NUMBER = 123
CHUNK = 1 << 20

Put = Callable[[GatewayProcess, Path], None]


@pytest.fixture(scope="module")
def launch() -> Launch:
    """As programs: memory is what is looked at."""
    return program


@dataclass(frozen=True, slots=True)
class Large:
    """A file of frames of 2 MiB; `digest` is that of its data set."""

    path: Path
    digest: str

    def frame(self, number: int) -> bytes:
        """A frame, 1-based."""
        with self.path.open("rb") as file:
            file.seek(-(self.path.stat().st_size // FRAME_SIZE - number + 1) * FRAME_SIZE, os.SEEK_END)
            return file.read(FRAME_SIZE)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Large]:
    """One of as many bytes of Pixel Data as the parameter says, while a test needs it."""
    folder, size = tmp_path_factory.mktemp("large"), request.param
    if shutil.disk_usage(folder).free < 3 * size:
        cannot_run(f"less than {3 * size >> 30} GiB of disk are free")
    path = folder / "large.dcm"
    large_file(path, size, study="large")
    with path.open("rb") as file:
        head = file.read(4096)
        file.seek(len(head) - len(dataset_bytes(head)))
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    yield Large(path, digest)
    path.unlink()


def by_c_store(gateway: GatewayProcess, path: Path) -> None:
    """dcmtk's storescu."""
    command = [need("storescu", "dcmtk"), "-aec", gateway.aet, "--max-send-pdu", "131072", "-xe", "-R"]
    command += [gateway.host, str(gateway.dimse_port), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def by_stow(gateway: GatewayProcess, path: Path) -> None:
    """One part of a multipart request, streamed from the disk."""

    def body() -> Iterator[bytes]:
        yield f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    with Doors(gateway, seconds=100) as doors:
        response = doors.web.post("/studies", content=body(), headers={"Content-Type": STOW_TYPE})
        assert response.status_code == 200, response.text


@pytest.mark.timeout(300)
@pytest.mark.parametrize("put", [by_c_store, by_stow])
@pytest.mark.parametrize("large", [2 << 30], indirect=True)
def test_two_gigabytes_pass_through_little_memory(
    put: Put, large: Large, start_gateway: StartGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """F-72, on a folder."""
    rises = measured(start_gateway("folder+sqlite"), put, large)
    with capsys.disabled():
        print(f"\n{put.__name__}, folder: {rises}")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("large", [320 << 20], indirect=True)
def test_a_large_object_passes_through_to_s3_in_little_memory(
    large: Large, start_gateway: StartGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """F-72, on S3 and PostgreSQL: more than the bound is enough to see."""
    rises = measured(start_gateway("seaweedfs+postgres"), by_stow, large)
    with capsys.disabled():
        print(f"\nby_stow, S3: {rises}")


def measured(gateway: GatewayProcess, put: Put, large: Large) -> str:
    """Peak memory rises by less than 256 MB, in and out, and what comes out is what went in; tells what it took."""
    try:
        gateway.forget_peak()
        before, started = gateway.rss(), time.monotonic()
        put(gateway, large.path)
        stored, seconds = gateway.peak_rss() - before, time.monotonic() - started
        assert stored < RISE
        assert received(gateway.data / "spool") == []

        with Doors(gateway) as doors:
            (found,) = doors.qido(f"/studies/{uid('study', 'large')}/instances")
            path = resource(uid("study", "large"), found["SeriesInstanceUID"], found["SOPInstanceUID"])
            ((_, frame),) = parts_of(doors.get(f"{path}/frames/{NUMBER}"))
            assert frame == large.frame(NUMBER)
            if put is by_stow:  # once is enough: what is read does not know how it came
                assert digest_of_data_set(doors, path) == large.digest
        served = gateway.peak_rss() - before
        assert served < RISE
        return (
            f"stored in {seconds:.1f} s, memory +{stored >> 20} MiB, at most +{served >> 20} MiB after sending it back"
        )
    finally:
        gateway.kill()
        shutil.rmtree(gateway.data)


def digest_of_data_set(doors: Doors, path: str) -> str:
    """SHA-256 of the data set of an instance, as it is downloaded."""
    digest = hashlib.sha256()
    accept = {"Accept": "application/dicom; transfer-syntax=*"}
    with doors.web.stream("GET", path, headers=accept) as response:
        assert response.status_code == 200
        chunks = response.iter_raw(CHUNK)
        digest.update(dataset_bytes(next(chunks)))  # the head is in the first
        for chunk in chunks:
            digest.update(chunk)
    return digest.hexdigest()
