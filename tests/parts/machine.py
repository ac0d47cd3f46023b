"""What tests ask of the machine: programs, free ports, the memory of a process."""

from __future__ import annotations

import os
import random
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import pytest

from tests.parts.debian import PACKAGES, find


def must_run_all() -> bool:
    """Whether a test that cannot run is a failure: under `make test` and in CI, nothing is skipped."""
    return os.environ.get("CI", "").lower() in {"1", "true"} or os.environ.get("GANTRY_TESTS") == "all"


def cannot_run(why: str) -> NoReturn:
    """Fail or skip the test, saying why: see `must_run_all`."""
    if must_run_all():
        pytest.fail(why, pytrace=False)
    pytest.skip(why)


def need(program: str, package: str | None = None) -> str:
    """Path of a program of a Debian package; where it is missing the test cannot run (see `cannot_run`)."""
    path = find(program)
    if path is None:
        name = package or PACKAGES.get(program, program)
        cannot_run(f"{program} is missing: install Debian's package {name}")
    return path


def free_ports(count: int) -> list[int]:
    """Different TCP ports that nobody listens on, below the range that outgoing connections are given."""
    ports: list[int] = []
    with ExitStack() as held:
        while len(ports) < count:
            port = random.SystemRandom().randrange(20000, 32000)
            taken = held.enter_context(socket.socket())
            try:
                taken.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
    return ports


def free_port() -> int:
    """A TCP port that nobody listens on. Ask a server for port 0 instead where it can tell which one it took."""
    return free_ports(1)[0]


def memory(pid: int, line: str = "VmRSS") -> int:
    """Bytes of memory of a process and all its children: `VmRSS` now, or `VmHWM` at their peaks."""
    total = 0
    for one in family(pid):
        try:
            status = Path(f"/proc/{one}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        total += sum(int(row.split()[1]) for row in status.splitlines() if row.startswith(f"{line}:")) * 1024
    return total


def family(pid: int) -> list[int]:
    """The process and all that it started, directly or not."""
    members = [pid]
    for member in members:
        for task in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                members += map(int, task.read_text().split())
            except (FileNotFoundError, ProcessLookupError):
                continue
    return members
