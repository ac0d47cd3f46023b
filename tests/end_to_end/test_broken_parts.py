"""What the gateway stands on breaks: the S3 server does not answer or is gone, the disk is full; and then it is mended.

Reads go on, a sender is told that it may try again, and nothing half-stored is left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Site
from tests.end_to_end.doors import Doors
from tests.parts import once, seaweedfs
from tests.parts.datasets import ct_slice, part10_bytes, uid
from tests.parts.files import dataset_bytes
from tests.parts.fix_gateway import StartGateway
from tests.parts.gateway import GatewayProcess

OUT_OF_RESOURCES = 0xA700


def stored(doors: Doors) -> set[str]:
    """The UIDs of the instances that can be found."""
    return {one["SOPInstanceUID"] for one in doors.qido("/instances", limit=1000)}


FINE = dict.fromkeys(("objects", "index", "stopping", "audit", "spool", "history"), "ok")
"""The checks of `/readyz` when nothing is wrong."""


def readiness(gateway: GatewayProcess) -> tuple[int, dict[str, str]]:
    """The status of `/readyz`, and how each dependency is."""
    response = once.get(f"{gateway.http_url}/readyz", timeout=60)
    return response.status_code, {name: check["status"] for name, check in response.json()["checks"].items()}


def quiet(gateway: GatewayProcess) -> None:
    """Nothing lies in the spool, and the log has lines of JSON and no traceback."""
    assert list((gateway.data / "spool").iterdir()) == []
    assert "Traceback" not in gateway.log()
    assert gateway.events()


# ---------------------------------------------------------------- S3


@pytest.fixture
def own_s3() -> Iterator[Any]:
    """An S3 server that nobody else uses: it may be stopped."""
    with tempfile.TemporaryDirectory(prefix="gantry-own-s3-") as folder, seaweedfs.run(Path(folder)) as server:
        yield server
        try:
            os.kill(server.pid, signal.SIGCONT)
        except ProcessLookupError:
            return


@pytest.mark.timeout(240)
def test_an_s3_server_that_is_down_stops_stores_and_nothing_else(own_s3: Any, start_gateway: StartGateway) -> None:
    """F-21, F-22: first it hangs, and comes back; then it is gone."""
    environment = own_s3.environ() | {
        "GANTRY_OBJECTS": f"s3://{own_s3.bucket()}/gantry",
        "GANTRY_S3_ENDPOINT": own_s3.endpoint,
    }
    gateway = start_gateway(environment=environment)
    with Doors(gateway, seconds=90) as doors:
        files = {name: part10_bytes(ct_slice(name)) for name in ("before", "dimse", "web", "after", "gone 1", "gone 2")}
        assert doors.c_store([files["before"]]) == [0]
        before = stored(doors)

        os.kill(own_s3.pid, signal.SIGSTOP)
        started = time.monotonic()
        with ThreadPoolExecutor(3) as senders:
            by_dimse = senders.submit(doors.c_store, [files["dimse"]])
            by_web = senders.submit(doors.stow, files["web"])
            ready = senders.submit(readiness, gateway)
            while not by_web.done():
                asked = time.monotonic()
                assert stored(doors) == before  # a search does not wait for objects
                assert time.monotonic() - asked < 5
                time.sleep(0.5)
        assert time.monotonic() - started < 60  # before a sender gives up
        assert by_dimse.result() == [OUT_OF_RESOURCES]
        refused(by_web.result())
        assert ready.result() == (503, {**FINE, "objects": "failing"})
        os.kill(own_s3.pid, signal.SIGCONT)

        recovered(gateway)
        assert doors.c_store([files["after"], files["dimse"]]) == [0, 0]
        assert doors.stow(files["web"]).status == 200
        assert len(stored(doors)) == 4
        quiet(gateway)

        os.kill(own_s3.pid, signal.SIGKILL)
        started = time.monotonic()
        assert doors.c_store([files["gone 1"]]) == [OUT_OF_RESOURCES]
        refused(doors.stow(files["gone 2"]))
        assert time.monotonic() - started < 30
        assert len(stored(doors)) == 4
        missing = doors.get(f"/studies/{uid('study', 'before')}")
        assert (missing.status_code, missing.headers["content-type"]) == (503, "application/problem+json")
        assert "retry-after" in missing.headers
        assert readiness(gateway)[1]["objects"] == "failing"
        quiet(gateway)
        assert gateway.stop() == 0


def refused(answer: Any) -> None:
    """STOW-RS while the store is down: try again later, and why."""
    assert answer.status == 503
    assert "retry-after" in answer.headers
    assert list(answer.failed.values()) == [OUT_OF_RESOURCES]


def recovered(gateway: GatewayProcess, seconds: float = 20) -> None:
    """Becomes ready again in time."""
    end = time.monotonic() + seconds
    while readiness(gateway)[0] != 200:
        assert time.monotonic() < end, "it is not ready again in time"
        time.sleep(0.1)


# ---------------------------------------------------------------- disks


@contextmanager
def small_disk(folder: Path, megabytes: int, inodes: int = 0, *, exist_ok: bool = False) -> Iterator[Path]:
    """A file system of its own, in memory. Only root may make one: nobody else can run these tests."""
    folder.mkdir(exist_ok=exist_ok)
    options = f"size={megabytes}m,mode=700" + (f",nr_inodes={inodes}" if inodes else "")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"a file system cannot be mounted here: {made.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Use up a disk but for `leave` bytes, by a file that is returned."""
    ballast = folder / "ballast"
    facts = os.statvfs(folder)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, facts.f_bavail * facts.f_frsize - leave)
    return ballast


def test_a_full_disk_stops_large_stores_and_nothing_else(start_gateway: StartGateway, tmp_path: Path) -> None:
    """F-10: A700, and 507 or Failure Reason A700; smaller parts of the same request find room; then it goes on."""
    with small_disk(tmp_path / "disk", 24) as disk:
        gateway = start_gateway(data=disk / "data", environment={"GANTRY_SPOOL_RESERVE": "0"})
        with Doors(gateway) as doors:
            large = [part10_bytes(ct_slice(f"large {number}", rows=1024, columns=1024)) for number in range(3)]
            small = [part10_bytes(ct_slice(f"small {number}")) for number in range(3)]
            assert doors.stow(small[0]).status == 200
            before = stored(doors)
            ballast = fill(disk, leave=1_500_000)

            assert doors.c_store([large[0]]) == [OUT_OF_RESOURCES]
            alone = doors.stow(large[1])
            assert (alone.status, [*alone.failed.values(), *alone.others]) == (507, [OUT_OF_RESOURCES])
            assert stored(doors) == before
            assert list((gateway.data / "spool").iterdir()) == []
            among = doors.stow(small[1], large[2], small[2])
            assert (among.status, [*among.failed.values(), *among.others]) == (202, [OUT_OF_RESOURCES])
            assert len(among.stored) == 2
            assert len(stored(doors)) == 3
            assert dataset_bytes(doors.retrieve(uid("study", "small 0"))[0]) == dataset_bytes(small[0])
            quiet(gateway)

            ballast.unlink()
            assert doors.c_store([large[0]]) == [0]
            assert doors.stow(*large[1:]).status == 200
            assert len(stored(doors)) == 6
            quiet(gateway)
        assert gateway.stop() == 0


def test_a_reserve_is_left_free(start_gateway: StartGateway, tmp_path: Path) -> None:
    """F-10: nothing is received where less than GANTRY_SPOOL_RESERVE is free, so that the index can go on."""
    with small_disk(tmp_path / "disk", 24) as disk:
        gateway = start_gateway(data=disk / "data", environment={"GANTRY_SPOOL_RESERVE": str(4 << 20)})
        with Doors(gateway) as doors:
            first, second = part10_bytes(ct_slice("first")), part10_bytes(ct_slice("second"))
            assert doors.c_store([first]) == [0]
            ballast = fill(disk, leave=3 << 20)
            assert doors.c_store([second]) == [OUT_OF_RESOURCES]
            assert doors.stow(second).status == 507
            assert len(stored(doors)) == 1
            assert doors.delete(uid("study", "first")) in (200, 204)
            ballast.unlink()
            assert doors.stow(second).status == 200
            quiet(gateway)
        assert gateway.stop() == 0


def test_an_index_without_room_keeps_no_half_of_an_instance(start_gateway: StartGateway, tmp_path: Path) -> None:
    """F-11: the index has a disk of its own, and that one is full."""
    with small_disk(tmp_path / "disk", 8) as disk:
        environment = {"GANTRY_INDEX": f"sqlite:///{disk / 'index.db'}"}
        gateway = start_gateway(environment=environment)
        with Doors(gateway) as doors:
            files = [part10_bytes(ct_slice("index", number=number)) for number in range(1, 61)]
            assert doors.c_store(files[:3]) == [0, 0, 0]
            ballast = fill(disk, leave=0)
            statuses = doors.c_store(files[3:40])
            assert set(statuses) <= {0, OUT_OF_RESOURCES}
            assert statuses[-1] == OUT_OF_RESOURCES  # what room its log had is used up
            assert doors.stow(files[40]).status == 507
            acknowledged = 3 + statuses.count(0)
            assert len(stored(doors)) == acknowledged
            quiet(gateway)

            ballast.unlink()
            assert doors.c_store(files) == [0] * len(files)
            assert len(stored(doors)) == len(files)
            quiet(gateway)
        assert gateway.stop() == 0
        with Doors(start_gateway(data=gateway.data, environment=environment)) as doors:
            assert len(stored(doors)) == len(files)


def test_a_spool_folder_that_was_swept_away_is_made_again(folder_site: Site) -> None:
    """F-69."""
    spool = folder_site.gateway.data / "spool"
    spool.rmdir()
    assert folder_site.doors.c_store([part10_bytes(ct_slice("swept"))]) == [0]
    assert spool.is_dir()


def test_without_room_above_the_reserve_nothing_is_stored_and_everything_is_read(start_gateway: StartGateway) -> None:
    """F-10: the gateway is degraded, and stays in service."""
    gateway = start_gateway(environment={"GANTRY_SPOOL_RESERVE": str(1 << 60)})
    assert readiness(gateway) == (200, {**FINE, "spool": "failing"})
    with Doors(gateway) as doors:
        assert doors.c_store([part10_bytes(ct_slice("no room"))]) == [OUT_OF_RESOURCES]
        assert doors.stow(part10_bytes(ct_slice("no room"))).status == 507
        assert doors.qido("/studies") == []
