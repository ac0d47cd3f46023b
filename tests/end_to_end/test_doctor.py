"""`gantry doctor`: everything is in place, or what is not and what to do; nothing is left behind."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.doors import Doors
from tests.parts.command import gantry
from tests.parts.datasets import ct_slice, part10_bytes
from tests.parts.fix_gateway import BackendEnvironment, StartGateway
from tests.parts.machine import free_port

FREE = ("--http", "127.0.0.1:0", "--dimse", "127.0.0.1:0")


def doctor(*arguments: Any, **more: Any) -> tuple[int, dict[str, set[str]], str]:
    """Exit code, the checks by state, and all that was said."""
    done = gantry("doctor", *arguments, **more)
    assert "Traceback" not in done.stderr
    states: dict[str, set[str]] = {"ok": set(), "warning": set(), "failure": set()}
    for line in (done.stdout + done.stderr).splitlines():
        state, check = line.split()[:2]
        if state in states:
            states[state].add(check)
    return done.returncode, states, done.stdout + done.stderr


@pytest.mark.parametrize("backend", ["folder+sqlite", "seaweedfs+postgres"])
def test_a_gateway_that_is_well_is_said_to_be(
    backend: str, start_gateway: StartGateway, backend_environment: BackendEnvironment
) -> None:
    """Beside a running gateway, and when it has stopped; what was tried out is gone."""
    environment = backend_environment(backend)
    gateway = start_gateway(environment=environment)
    with Doors(gateway) as doors:
        assert doors.stow(part10_bytes(ct_slice("well"))).status == 200
    code, states, said = doctor("--data", gateway.data, *FREE, environment=environment)
    assert (code, states["failure"]) == (0, set()), said
    assert {"settings", "data", "room", "objects", "index", "codecs", "doors"} <= states["ok"]
    assert gateway.stop() == 0
    if backend == "folder+sqlite":
        code, states, said = doctor("--data", gateway.data, *FREE)
        assert (code, states["failure"]) == (0, set()), said
        assert "1 instances in 1 series of 1 studies" in said
        assert "digests beside objects" in said
        assert [path for path in gateway.data.rglob("*doctor*") if path.is_file()] == []
    else:
        assert "conditional put" in said
        assert "clock differs" in said


def test_what_is_wrong_is_named_with_what_to_do(tmp_path: Path) -> None:
    """S-70, F-22, F-42: exposure, an S3 server that is down, a damaged index, an address in use; each is a failure."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "index.db").write_bytes(b"no database" * 1000)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        code, states, said = doctor(
            *("--data", data, "--http", "0.0.0.0:0", "--dimse", f"127.0.0.1:{taken.getsockname()[1]}"),
            *("--objects", "s3://nowhere/gantry"),
            environment={
                "GANTRY_S3_ENDPOINT": f"http://127.0.0.1:{free_port()}",
                "AWS_ACCESS_KEY_ID": "none",
                "AWS_SECRET_ACCESS_KEY": "secret-of-nobody",
            },
        )
    assert code == 1
    assert {"settings", "objects", "index", "doors"} <= states["failure"], said
    assert "GANTRY_TOKEN" in said or "token" in said
    assert "secret-of-nobody" not in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """F-14."""
    data = tmp_path / "data"
    data.mkdir(mode=0o500)
    code, states, _ = doctor("--data", data, *FREE)
    assert (code, "data" in states["failure"]) == (1, True)


def test_a_damaged_index_is_no_traceback(tmp_path: Path) -> None:
    """F-42: the start is refused with exit code 3 and what to do; after that a rebuild from the objects works."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "index.db").write_bytes(b"no database" * 1000)
    refused = gantry("serve", "--data", data, *FREE)
    assert refused.returncode == 3
    assert "gantry index rebuild" in refused.stderr
    assert "Traceback" not in refused.stderr
    for file in data.glob("index.db*"):
        file.unlink()
    assert gantry("index", "rebuild", "--data", data).returncode == 0
