"""Compressed pixels that nobody vouches for, in a gateway as it runs: one picture fails, all else goes on."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import time
from pathlib import Path

import httpx
import imagecodecs
import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless

from gateway.render.kept import key_of
from gateway.thumbnails import SIZES
from tests.gateway.dicomweb.service import STOW_TYPE, stow_body
from tests.parts import once
from tests.parts.datasets import ct_slice, encapsulated, part10_bytes
from tests.parts.fix_gateway import StartGateway
from tests.parts.gateway import BACKENDS, GatewayProcess
from tests.parts.machine import family
from tests.parts.sealed import sealed

PIXELS = (np.add.outer(np.arange(64), np.arange(64)) * 8).astype(np.uint16)


def compressed(name: str, shift: int = 0) -> Dataset:
    """A slice in JPEG 2000; each `shift` gives another codestream."""
    frame = imagecodecs.jpeg2k_encode(PIXELS + shift, level=0, reversible=True, codecformat="j2k", bitspersample=12)
    return encapsulated(ct_slice(name), [bytes(frame)])


def store(gateway: GatewayProcess, *datasets: Dataset) -> None:
    files = [
        part10_bytes(ds, JPEG2000Lossless if ds["PixelData"].is_undefined_length else "1.2.840.10008.1.2.1")
        for ds in datasets
    ]
    answer = once.post(
        f"{gateway.dicomweb_url}/studies", content=stow_body(files), headers={"Content-Type": STOW_TYPE}, timeout=60
    )
    assert answer.status_code == 200, answer.text


def rendered(gateway: GatewayProcess, ds: Dataset) -> httpx.Response:
    where = f"studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    return once.get(f"{gateway.dicomweb_url}/{where}/rendered", timeout=60)


def decoders(gateway: GatewayProcess) -> list[int]:
    """The processes of its decoders."""
    return [
        pid for pid in family(gateway.pid) if b"gateway.isolated.child" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def killed(gateway: GatewayProcess) -> dict[str, float]:
    """What /metrics counts, by reason."""
    text = once.get(f"{gateway.http_url}/metrics").text
    found = re.findall(r'^gantry_decoder_killed_total\{reason="(\w+)"\} ([0-9.]+)$', text, re.MULTILINE)
    return {reason: float(count) for reason, count in found}


def test_a_decoder_that_may_not_take_the_memory_it_needs(start_gateway: StartGateway) -> None:
    """F-08, S-32: 406 for that picture, counted; native pixels need no decoder and are shown."""
    gateway = start_gateway(BACKENDS[0], environment={"GANTRY_DECODER_MEMORY": str(1 << 20), "GANTRY_DECODERS": "1"})
    large = ct_slice("large", rows=16, columns=16)
    frame = imagecodecs.jpeg2k_encode(
        np.resize(PIXELS, (1024, 1024)), level=0, reversible=True, codecformat="j2k", bitspersample=12
    )
    large.Rows = large.Columns = 1024
    encapsulated(large, [bytes(frame)])
    native = ct_slice("native")
    store(gateway, large, native)
    answer = rendered(gateway, large)
    assert answer.status_code == 406
    assert answer.json()["type"] == "urn:gantry:problem:not_renderable"
    assert rendered(gateway, native).status_code == 200
    assert once.get(f"{gateway.http_url}/healthz").status_code == 200


def test_a_decoder_that_hangs_and_one_that_is_killed(start_gateway: StartGateway) -> None:
    """F-08, S-44: 406 in bounded time, counted; the next picture is made by another decoder."""
    gateway = start_gateway(BACKENDS[0], environment={"GANTRY_DECODER_SECONDS": "1", "GANTRY_DECODERS": "1"})
    first, hung, after = (compressed(name, number) for number, name in enumerate(("first", "hung", "after")))
    store(gateway, first, hung, after)
    assert rendered(gateway, first).status_code == 200
    (pid,) = decoders(gateway)
    os.kill(pid, signal.SIGSTOP)
    answer = rendered(gateway, hung)
    assert answer.status_code == 406
    assert "longer than is allowed" in answer.json()["detail"]
    assert killed(gateway) == {"timeout": 1}
    assert "a short while ago" in rendered(gateway, hung).json()["detail"]
    assert rendered(gateway, after).status_code == 200
    (other,) = decoders(gateway)
    assert other != pid
    os.kill(other, signal.SIGKILL)
    until = time.monotonic() + 30
    while other in decoders(gateway) and time.monotonic() < until:
        time.sleep(0.02)
    assert rendered(gateway, after).status_code == 200
    assert gateway.stop() == 0


def test_thumbnails_of_a_quiet_series_are_made_before_anyone_asks(start_gateway: StartGateway) -> None:
    """The page's thumbnail is there when it is asked for the first time."""
    gateway = start_gateway(BACKENDS[0], environment={"GANTRY_STUDY_QUIET": "0"})
    ds = ct_slice("quiet")
    store(gateway, ds)

    stored = once.get(
        f"{gateway.dicomweb_url}/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}",
        headers={"Accept": "application/dicom; transfer-syntax=*"},
    )
    digest = sealed(stored.content)
    for size in SIZES:
        name = hashlib.sha256(key_of(digest, f"thumbnail 1 {size!r}", "image/jpeg").encode()).hexdigest()
        until = time.monotonic() + 60
        while not list((gateway.data / "derived").glob(f"*/{name[:2]}/{name}")):
            assert time.monotonic() < until, f"no thumbnail of {size}"
            time.sleep(0.1)
        (file,) = (gateway.data / "derived").glob(f"*/{name[:2]}/{name}")
        query = "" if size == SIZES[0] else "?viewport={},{}".format(*size)
        answer = once.get(f"{gateway.dicomweb_url}/studies/{ds.StudyInstanceUID}/thumbnail{query}", timeout=60)
        assert file.read_bytes().endswith(answer.content) and answer.headers["content-type"] == "image/jpeg"
