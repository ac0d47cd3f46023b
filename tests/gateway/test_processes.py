"""`gantry serve --workers N`: several processes on the same sockets, over one folder and one SQLite index."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gateway.processes import MOST_UNASKED, cores
from tests.end_to_end.doors import Doors
from tests.gateway.dimse.wire import ASSOCIATE_RJ, ASSOCIATE_RQ, IMPLICIT, VERIFICATION, Wire, associate_request
from tests.parts import once
from tests.parts.datasets import ct_slice, part10_bytes, series_of
from tests.parts.fix_gateway import BackendEnvironment, StartGateway, starter
from tests.parts.gateway import GatewayProcess, Launch, program
from tests.parts.waiting import until

WORKERS = 2
ECHO = [(1, VERIFICATION, (IMPLICIT,))]


@pytest.fixture(scope="module")
def launch() -> Launch:
    """As programs: processes are what is looked at."""
    return program


def workers(gateway: GatewayProcess) -> list[int]:
    """The processes that serve."""
    return [int(pid) for pid in Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()]


def connections(pid: int) -> int:
    """Established TCP connections of a process."""
    table = (Path(f"/proc/{pid}/net") / name for name in ("tcp", "tcp6"))
    rows = [row.split() for one in table for row in one.read_text().splitlines()[1:]]
    established = {f"socket:[{row[9]}]" for row in rows if row[3] == "01"}
    count = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += str(descriptor.readlink()) in established
        except FileNotFoundError:
            continue
    return count


def metric(gateway: GatewayProcess, name: str) -> float:
    """The sum of all samples of a name."""
    text = once.get(f"{gateway.http_url}/metrics").text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, backend_environment: BackendEnvironment
) -> Iterator[GatewayProcess]:
    """One of several processes, with places for as many associations as there are processes, and two more. The last
    test stops it.
    """
    with ExitStack() as running:
        start = starter(running, tmp_path_factory.mktemp("gateway"), backend_environment)
        settings = {"GANTRY_MAX_ASSOCIATIONS": str(WORKERS + 2)}
        yield start(arguments=["--workers", str(WORKERS)], environment=settings)


def test_all_of_them_serve_and_know_the_same(gateway: GatewayProcess) -> None:
    """F-46: what came by one is found by all; the same instance by several at once is stored once; counters add up."""
    series = series_of(12, "shared", rows=16, columns=16)
    with ExitStack() as held:
        doors = [held.enter_context(Doors(gateway)) for _ in range(4)]
        outcomes: list[int] = []

        def store(door: Doors) -> None:
            for ds in series:
                outcomes.append(door.stow(part10_bytes(ds)).status)

        threads = [threading.Thread(target=store, args=(door,)) for door in doors]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes == [200] * 48
        for door in doors:
            found = door.qido(f"/studies/{series[0].StudyInstanceUID}/instances")
            assert {one["SOPInstanceUID"] for one in found} == {ds.SOPInstanceUID for ds in series}
    assert metric(gateway, "gantry_stores_total") == 48
    assert len(workers(gateway)) == WORKERS
    assert gateway.output().count("\n") == 1


def test_associations_are_spread_and_counted_together(gateway: GatewayProcess) -> None:
    """NET-02, F-60: one more than the places of all is rejected, whoever accepted it; a free place is anybody's."""
    with ExitStack() as held:
        wires = [held.enter_context(Wire((gateway.host, gateway.dimse_port))) for _ in range(WORKERS + 2)]
        for wire in wires:
            wire.associate(ECHO)
        for _ in range(2 * WORKERS):
            with Wire((gateway.host, gateway.dimse_port)) as late:
                late.send(ASSOCIATE_RQ, associate_request(ECHO))
                kind, body = late.receive()
                assert (kind, tuple(body[1:])) == (ASSOCIATE_RJ, (2, 3, 2))
        assert metric(gateway, "gantry_open_associations") == WORKERS + 2
        wires[0].release()
        until(lambda: metric(gateway, "gantry_open_associations") == WORKERS + 1)
        one = held.enter_context(Wire((gateway.host, gateway.dimse_port)))
        one.associate(ECHO)
        assert one.echo() == 0


def test_one_that_is_killed_is_started_anew(gateway: GatewayProcess) -> None:
    """F-01: what was acknowledged stays, the others go on, and its places are free again."""
    ds = ct_slice("kept")
    with Doors(gateway) as door:
        assert door.stow(part10_bytes(ds)).status == 200
    before = workers(gateway)
    with ExitStack() as held:
        wires = [held.enter_context(Wire((gateway.host, gateway.dimse_port))) for _ in range(WORKERS + 2)]
        for wire in wires:
            wire.associate(ECHO)
        busiest = max(before, key=connections)
        lost = connections(busiest)
        os.kill(busiest, signal.SIGKILL)
        until(lambda: len(set(workers(gateway)) - set(before)) == 1)
        until(lambda: metric(gateway, "gantry_open_associations") == WORKERS + 2 - lost)
        again = [held.enter_context(Wire((gateway.host, gateway.dimse_port))) for _ in range(lost)]
        for wire in again:
            wire.associate(ECHO)
            assert wire.echo() == 0
    with Doors(gateway) as door:
        assert door.stow(part10_bytes(ds)).status == 200
        (kept,) = door.retrieve(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
        assert kept
    assert any(event.get("event") == "worker_ended" for event in gateway.events())
    assert [event for event in gateway.events() if event["event"] == "library"] == []


@pytest.mark.skipif(cores() == 1, reason="there is one process on one core")
def test_there_is_one_for_each_core_and_all_end_with_the_first(start_gateway: StartGateway, tmp_path: Path) -> None:
    """F-40: when it is killed the others end as well; only then may another gateway have the folder."""
    first = GatewayProcess(tmp_path / "data", launch=program, workers=None)
    processes = workers(first)
    assert len(processes) == min(cores(), MOST_UNASKED)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))
    after = start_gateway(data=first.data)
    assert once.get(f"{after.http_url}/readyz").status_code == 200


def test_a_signal_to_the_first_process_stops_all(gateway: GatewayProcess) -> None:
    """F-07: associations that do nothing are aborted, and the end is a clean one."""
    with Wire((gateway.host, gateway.dimse_port)) as wire:
        wire.associate(ECHO)
        processes = workers(gateway)
        assert gateway.stop() == 0
        assert wire.ended()
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)
