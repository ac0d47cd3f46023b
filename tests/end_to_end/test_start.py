"""The program itself: how it starts, and how it ends with uploads in flight."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.end_to_end.doors import FRAGMENT, Doors, Instance
from tests.gateway.dicomweb.service import STOW_TYPE, stow_body
from tests.gateway.dimse.wire import P_DATA, Wire, pdv, store_command
from tests.parts import once
from tests.parts.command import gantry
from tests.parts.datasets import ct_slice, part10_bytes, series_of, uid
from tests.parts.files import dataset_bytes
from tests.parts.fix_gateway import StartGateway
from tests.parts.gateway import GatewayProcess, Launch, program
from tests.parts.received import received
from tests.parts.waiting import until


@pytest.fixture(scope="module")
def launch() -> Launch:
    """As programs: starts and ends are what is looked at."""
    return program


def test_start_to_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With as many processes as it decides itself. How long it takes is told, not judged: 3 s are wanted on a machine
    that does nothing else.
    """
    with GatewayProcess(tmp_path / "data", launch=program, workers=None) as gateway, Doors(gateway) as doors:
        assert doors.qido("/studies") == []
        assert gateway.stop() == 0
    with capsys.disabled():
        print(f"\nstart to ready: {gateway.ready_seconds:.2f} s")


def test_sigterm_lets_an_upload_by_stow_end(start_gateway: StartGateway) -> None:
    """F-07: what is in flight is finished, then the exit status is 0."""
    gateway = start_gateway()
    body = stow_body([part10_bytes(ds) for ds in series_of(3, "flight", rows=1024, columns=1024)])
    told = threading.Event()

    def slowly() -> Any:
        yield body[: len(body) // 2]
        until(lambda: received(gateway.data / "spool"))
        gateway.signal(signal.SIGTERM)
        told.set()
        time.sleep(0.5)
        yield body[len(body) // 2 :]

    response = once.post(
        f"{gateway.dicomweb_url}/studies", content=slowly(), headers={"Content-Type": STOW_TYPE}, timeout=30
    )
    assert told.is_set()
    assert response.status_code == 200
    assert gateway.wait() == 0
    with Doors(start_gateway(data=gateway.data)) as doors:
        assert len(doors.retrieve(uid("study", "flight"))) == 3


def test_sigterm_lets_an_upload_by_c_store_end(start_gateway: StartGateway) -> None:
    """F-07."""
    gateway = start_gateway()
    one = Instance.of(part10_bytes(ct_slice("flight", rows=512, columns=512)))
    half = len(one.data) // 2
    with Wire((gateway.host, gateway.dimse_port), 30) as wire:
        wire.associate([(1, CTImageStorage, (ExplicitVRLittleEndian,))])
        wire.send(P_DATA, pdv(1, 3, store_command(one.sop_uid, one.sop_class_uid)))
        for start in range(0, half, FRAGMENT):
            wire.send(P_DATA, pdv(1, 0, one.data[start : min(start + FRAGMENT, half)]))
        until(lambda: received(gateway.data / "spool"))
        gateway.signal(signal.SIGTERM)
        time.sleep(0.5)
        for start in range(half, len(one.data), FRAGMENT):
            last = 2 if start + FRAGMENT >= len(one.data) else 0
            wire.send(P_DATA, pdv(1, last, one.data[start : start + FRAGMENT]))
        assert wire.status() == 0
    assert gateway.wait() == 0
    with Doors(start_gateway(data=gateway.data)) as doors:
        assert dataset_bytes(doors.retrieve(uid("study", "flight"))[0]) == one.data


def test_the_version_is_told(launch: Launch) -> None:
    done = gantry("--version", launch=launch)
    assert done.returncode == 0
    assert done.stdout.startswith("gantry ")
