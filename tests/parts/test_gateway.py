"""The gateway process of the tests: what it says when it is ready, and how it ends, on every backend."""

from __future__ import annotations

import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.parts.fix_gateway import StartGateway
from tests.parts.gateway import BACKENDS, GatewayProcess, program
from tests.parts.machine import family, need
from tests.parts.processes import NotReady


def echo(gateway: GatewayProcess) -> int:
    """C-ECHO by dcmtk; its exit status."""
    command = [need("echoscu", "dcmtk"), "-aec", gateway.aet, gateway.host, str(gateway.dimse_port)]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode


@pytest.mark.parametrize("gateway_process", BACKENDS, indirect=True)
def test_both_doors_are_open_when_it_says_ready_and_sigterm_ends_it_cleanly(gateway_process: GatewayProcess) -> None:
    with urlopen(f"{gateway_process.http_url}/readyz", timeout=10) as response:
        assert response.status == 200
    assert echo(gateway_process) == 0
    assert gateway_process.stop() == 0
    assert len(gateway_process.output().splitlines()) == 1


def test_every_line_of_its_log_is_a_json_object(gateway_process: GatewayProcess) -> None:
    urlopen(f"{gateway_process.http_url}/healthz", timeout=10).close()
    assert echo(gateway_process) == 0
    gateway_process.stop()
    assert gateway_process.events()


def test_it_is_a_program_when_it_is_told_so(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "data", launch=program) as gateway:
        assert echo(gateway) == 0
        assert "gateway\0serve" in Path(f"/proc/{gateway.pid}/cmdline").read_text()
        assert gateway.stop() == 0


def test_two_run_side_by_side_each_with_its_own_title(start_gateway: StartGateway) -> None:
    one, two = start_gateway(aet="ONE"), start_gateway(aet="TWO")
    assert {one.aet, two.aet} == {"ONE", "TWO"}
    assert one.http_url != two.http_url
    assert echo(one) == echo(two) == 0


def test_a_killed_one_starts_again_on_its_data(start_gateway: StartGateway) -> None:
    first = start_gateway()
    first.kill()
    assert first.process.returncode == -9
    again = start_gateway(data=first.data)
    assert echo(again) == 0


def test_its_memory_is_measured(gateway_process: GatewayProcess) -> None:
    assert 20_000_000 < gateway_process.rss() <= gateway_process.peak_rss() < 1_000_000_000
    gateway_process.forget_peak()
    assert gateway_process.peak_rss() > 20_000_000
    assert gateway_process.pid in family(gateway_process.pid)


def test_one_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="status 2"):
        GatewayProcess(tmp_path / "data", arguments=["--workers", "0"])


def test_the_module_gateway_runs(module_gateway: GatewayProcess) -> None:
    assert echo(module_gateway) == 0
