"""A gateway of our own: `gantry serve` in a process of its own, as an operator would run it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.parts import forge
from tests.parts.machine import family, memory
from tests.parts.processes import NotReady, tail
from tests.parts.torture import patience

READY = re.compile(
    r"^gantry (?P<version>\S+) ready: (?P<http>https?://\S+) dimse (?P<aet>.+?)@(?P<host>\S+):(?P<port>\d+)"
    r"(?: dimse-tls .+@\S+:(?P<tls_port>\d+))?$"
)

BACKENDS = ("folder+sqlite", "seaweedfs+postgres", "rgw+postgres")
"""The combinations of object store and index that the tests run on."""


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without anything that would change a gateway, and with `more`."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("GANTRY_", "AWS_"))}
    return ours | dict(more or {})


class Launched(Protocol):
    """A process, as `subprocess.Popen` shows it."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int, /) -> None: ...


Launch = Callable[[Sequence[str], Mapping[str, str], Path, Path, Path], Launched]
"""Starts a command: its environment, folder, and the files for its output and its messages."""


def program(
    command: Sequence[str], environment: Mapping[str, str], cwd: Path, stdout: Path, stderr: Path
) -> subprocess.Popen[bytes]:
    """Start a command as the program that it is."""
    with stdout.open("wb") as out, stderr.open("wb") as err:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd, env=dict(environment)
        )


class GatewayProcess:
    """A running `gantry serve` on free ports of loopback. Use as a context; leaving it kills what still runs.

    `data` is its data folder, `http_url` its web root without a slash at the end, `dicomweb_url` the DICOMweb root;
    `host`, `dimse_port` and `aet` where its DIMSE listener is. `ready_seconds` is the time from start to ready.
    `workers` processes serve; None: as many as it decides itself.
    `network` is what brings a command into another network: see `tests.parts.namespace`.
    `launch` starts the command another way than by a fork (`tests.parts.forge`), as a program for instance; with a
    network it is one.
    """

    def __init__(
        self,
        data: Path,
        *,
        aet: str = "GANTRY",
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        network: Sequence[str] = (),
        seconds: float = 60.0,
        launch: Launch | None = None,
        workers: int | None = 1,
    ) -> None:
        self.data = data
        data.mkdir(parents=True, exist_ok=True)
        logs = data.parent / f"{data.name}.logs"
        logs.mkdir(exist_ok=True)
        count = len(list(logs.iterdir()))
        self._stdout, self._stderr = logs / f"{count}.out", logs / f"{count}.err"
        for file in (self._stdout, self._stderr):
            file.touch()
        self.command = [
            *network,
            *(sys.executable, "-m", "gateway", "serve", "--data", str(data)),
            *("--http", "127.0.0.1:0", "--dimse", "127.0.0.1:0", "--aet", aet),
            *(() if workers is None else ("--workers", str(workers))),
            *arguments,
        ]
        started = time.monotonic()
        start = launch or (program if network else forge.shared().launch)
        self.process = start(self.command, clean_environment(environment), logs, self._stdout, self._stderr)
        try:
            match = self._wait_ready(started + seconds * patience())
        except BaseException:
            self.kill()
            raise
        self.ready_seconds = time.monotonic() - started
        self.version = match["version"]
        self.http_url = match["http"]
        self.dicomweb_url = f"{self.http_url}/dicomweb"
        self.aet = match["aet"]
        self.host = match["host"].strip("[]")
        self.dimse_port = int(match["port"])
        self.dimse_tls_port = int(match["tls_port"] or 0)

    def _wait_ready(self, end: float) -> re.Match[str]:
        while True:
            ended = self.process.poll()
            line, complete, _ = self.output().partition("\n")
            if complete:
                if match := READY.match(line):
                    return match
                raise NotReady(f"the gateway's first line is not the one it promises: {line!r}")
            if ended is not None:
                raise NotReady(f"the gateway ended with status {ended}:\n{tail(self._stderr)}")
            if time.monotonic() > end:
                raise NotReady(f"the gateway is not ready in time:\n{tail(self._stderr)}")
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        """Process id of the command itself; it may have started workers."""
        return self.process.pid

    def output(self) -> str:
        """What it has printed: the line that says it is ready, and nothing else."""
        return self._stdout.read_text(errors="replace")

    def log(self) -> str:
        """All that it has logged."""
        return self._stderr.read_text(errors="replace")

    def events(self) -> list[dict[str, object]]:
        """Its log, line by line. Raises ValueError for a line that is no JSON object."""
        events = [json.loads(line) for line in self.log().splitlines()]
        if not all(isinstance(event, dict) for event in events):
            raise ValueError("a log line is no JSON object")
        return events

    def rss(self) -> int:
        """Resident memory now, in bytes, its workers included."""
        return memory(self.pid)

    def peak_rss(self) -> int:
        """The most resident memory since the start or `forget_peak`, in bytes: the sum of each process's own peak."""
        return memory(self.pid, "VmHWM")

    def settle(self, seconds: float = 60.0) -> None:
        """Wait until its decoders are there, which start a little after it: they are no cost of what comes later."""
        end, before = time.monotonic() + seconds * patience(), 0
        while True:
            now = self.rss() if len(family(self.pid)) > 1 else 0
            if before and abs(now - before) < 1 << 20:
                return
            assert time.monotonic() < end, "its memory does not come to rest"
            before = now
            time.sleep(0.5)

    def forget_peak(self) -> None:
        """Let `peak_rss` start anew."""
        for pid in family(self.pid):
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command."""
        self.process.send_signal(number)

    def wait(self, seconds: float = 40.0) -> int:
        """Wait until it has ended by itself; its exit status. Raises subprocess.TimeoutExpired."""
        return self.process.wait(seconds)

    def stop(self, seconds: float = 40.0) -> int:
        """SIGTERM, then wait; its exit status: 0 for a clean stop."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self) -> None:
        """SIGKILL for it and its workers, as a crash would."""
        for pid in reversed(family(self.pid)) if self.process.poll() is None else ():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()

    def __enter__(self) -> GatewayProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
