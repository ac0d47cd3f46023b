"""Several processes of one gateway on one folder and one SQLite index: one dies, or its disk fails it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.faults.conftest import Yard
from tests.faults.test_many_gateways import send
from tests.parts import ledger as books
from tests.parts import once
from tests.parts.gateway import GatewayProcess
from tests.parts.ledger import Ledger, make_piece
from tests.parts.machine import family
from tests.parts.torture import is_large, record, size

OUT_OF_RESOURCES = 0xA700


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("point", ["P3", "P5", "P7", "P8"] if is_large() else ["P7"])
def test_a_process_that_dies_takes_nothing_with_it(yard: Yard, ledger: Ledger, point: str) -> None:
    """F-01, F-08, L1 to L5: each is killed in the middle of a store, again and again; the gateway serves on."""
    gateway = yard.gateway(GANTRY_WORKERS="2", GANTRY_CRASHPOINT=f"{point}:25")
    done = threading.Event()
    senders = [threading.Thread(target=send, args=(ledger, gateway, name, done), daemon=True) for name in "cdst"]
    for sender in senders:
        sender.start()
    deaths = size(2, 60)
    end = time.monotonic() + 90 + 10 * deaths
    while sum(event["event"] == "worker_ended" for event in gateway.events()) < deaths:
        assert time.monotonic() < end
        time.sleep(0.2)
    done.set()
    for sender in senders:
        sender.join(60)
        assert not sender.is_alive()
    counts = ledger.counts()
    assert counts["ok"] > 40
    end = time.monotonic() + 60
    while set(receivers(gateway)) - set(family(gateway.pid)):  # goes with the next look at the dead
        assert time.monotonic() < end
        time.sleep(0.1)
    gateway.kill()
    gateway = yard.gateway()
    books.alive(ledger, gateway, "alone")
    books.resend(ledger, gateway)
    books.verify(ledger, gateway)
    books.quiet(gateway)
    assert gateway.stop() == 0
    with closing(yard.archive()) as archive:
        books.check_archive(ledger, archive)
    record(f"one of two processes killed at {point}", deaths=deaths, lost=0, **counts)


def receivers(gateway: GatewayProcess) -> Iterator[int]:
    """The processes that are receiving files, or have made names for them."""
    for path in (gateway.data / "objects" / ".arrivals").iterdir():
        with suppress(OSError):
            owner = os.getxattr(path, "user.gantry")
            if len(owner) == 4:
                yield int.from_bytes(owner, "big")


@pytest.fixture
def gateway(yard: Yard, shim_library: Path) -> Iterator[GatewayProcess]:
    """Two processes under the shim; the 30th sync of either fails."""
    assert yard.deed("store_some", yard.place(), "before", 2)[0] == 0
    shim = {"LD_PRELOAD": str(shim_library), "SHIM_ROOT": str(yard.folder / "data"), "SHIM_FAULT": "sync:30:EIO:1"}
    yield yard.gateway(GANTRY_WORKERS="2", **shim)


def test_a_disk_that_failed_one_process_is_trusted_by_none(yard: Yard, ledger: Ledger, gateway: GatewayProcess) -> None:
    """F-13: whichever of them saw it; all refuse from then on, also one that is started anew, until all are."""
    statuses = []
    for number in range(80):  # a new connection each, so that both processes come in
        piece = make_piece("failing", number)
        books.by_c_store(ledger, (gateway.host, gateway.dimse_port), [piece])
        statuses.append(ledger.answers[piece.sop_uid])
    assert OUT_OF_RESOURCES in statuses
    refused = statuses.index(OUT_OF_RESOURCES)
    assert statuses == [0] * refused + [OUT_OF_RESOURCES] * (80 - refused)
    for _ in range(6):
        assert once.get(f"{gateway.http_url}/readyz", timeout=20).status_code == 503
    books.verify(ledger, gateway)
    gateway.stop()
    gateway = yard.gateway(GANTRY_WORKERS="2")
    books.alive(ledger, gateway, "mended")
    assert books.resend(ledger, gateway) == 80 - refused
    books.verify(ledger, gateway)
