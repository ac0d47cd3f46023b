"""deploy/haproxy.cfg, in front of two real gateways that share SeaweedFS and PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.parts.datasets import part10_bytes, report, uid
from tests.parts.fix_gateway import BackendEnvironment
from tests.parts.gateway import GatewayProcess
from tests.parts.machine import free_ports, need
from tests.parts.processes import background, wait_until
from tests.parts.s3 import answers

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy" / "haproxy.cfg"


@dataclass(frozen=True, slots=True)
class Cluster:
    """Two gateways, and the one address in front of them."""

    gateways: tuple[GatewayProcess, GatewayProcess]
    web: str
    dimse_port: int


@pytest.fixture
def cluster(tmp_path: Path, backend_environment: BackendEnvironment) -> Iterator[Cluster]:
    """The cluster of compose.yaml, without its containers."""
    haproxy = need("haproxy")
    environment = backend_environment("seaweedfs+postgres")
    web, dimse = free_ports(2)
    log = tmp_path / "haproxy.log"
    with ExitStack() as running:
        one, two = (
            running.enter_context(GatewayProcess(tmp_path / name, environment=environment)) for name in ("one", "two")
        )
        addresses = {"WEB_ADDRESS": f"127.0.0.1:{web}", "DIMSE_ADDRESS": f"127.0.0.1:{dimse}"}
        for name, gateway in (("GATEWAY1", one), ("GATEWAY2", two)):
            host_and_port = gateway.http_url.removeprefix("http://")
            addresses[f"{name}_WEB"] = host_and_port
            addresses[f"{name}_DIMSE"] = f"{gateway.host}:{gateway.dimse_port}"
            addresses[f"{name}_CHECK_PORT"] = host_and_port.rpartition(":")[2]
        command = [haproxy, "-db", "-f", str(CONFIGURATION)]
        process = running.enter_context(background(command, log, env={**os.environ, **addresses}, patience=3.0))
        wait_until(lambda: answers(f"http://127.0.0.1:{web}/readyz"), "HAProxy", process, log)
        yield Cluster((one, two), f"http://127.0.0.1:{web}", dimse)


def found(web: str, study_uid: str) -> bool:
    """Whether QIDO-RS finds the study."""
    with urlopen(f"{web}/dicomweb/studies?StudyInstanceUID={study_uid}", timeout=10) as response:
        return response.status == 200 and study_uid.encode() in response.read()


def test_one_address_serves_both_and_goes_on_when_one_dies(cluster: Cluster, tmp_path: Path) -> None:
    """In by DIMSE through the balancer, found on both gateways; then one is killed and the address still answers."""
    file = tmp_path / "report.dcm"
    file.write_bytes(part10_bytes(report("balanced")))
    command = [need("storescu", "dcmtk"), "-aec", "GANTRY", "127.0.0.1", str(cluster.dimse_port), str(file)]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    study_uid = uid("study", "balanced")
    assert all(found(gateway.http_url, study_uid) for gateway in cluster.gateways)

    cluster.gateways[0].kill()
    assert found(cluster.web, study_uid)  # a refused connection goes to the other one
    end = time.monotonic() + 15  # by then the health check has seen it, for DIMSE too
    echo = [need("echoscu", "dcmtk"), "-aec", "GANTRY", "127.0.0.1", str(cluster.dimse_port)]
    while any(subprocess.run(echo, capture_output=True, timeout=30, check=False).returncode for _ in range(4)):
        assert time.monotonic() < end
    assert all(found(cluster.web, study_uid) for _ in range(4))


def test_a_status_of_a_gateway_passes_through(cluster: Cluster) -> None:
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(f"{cluster.web}/dicomweb/studies/{uid('nobody')}", method="DELETE"), timeout=10)
    assert refused.value.code == 404
    refused.value.close()
