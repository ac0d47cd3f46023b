"""A process that has everything imported, and forks a gateway or a function at once whenever it is told to.

Tests that kill hundreds of gateways would else spend their time on imports. What is forked is a process like any other:
it has its own memory, descriptors and signals, and SIGKILL ends it and nothing else.

    python -m tests.parts.forge      one JSON request a line on standard input, one answer a line on standard output
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.parts.torture import patience

PR_SET_PDEATHSIG = 1
ROOT = Path(__file__).resolve().parents[2]
PRELOADED = (
    *("gateway.cli", "gateway.app", "gateway.importer", "gateway.rebuild", "gateway.queueing"),
    *("storage.objects.filesystem", "storage.objects.s3", "storage.index.sqlite", "storage.index.postgres"),
    *("uvicorn.protocols.http.httptools_impl", "uvicorn.loops.uvloop", "tests.faults.deeds"),
)


class Child:
    """A process that the forge made; its methods are those of `subprocess.Popen`."""

    def __init__(self, forge: Forge, pid: int, command: Sequence[str]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._forge = forge
        self._command = command

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        if self.returncode is None:
            self.returncode = self._forge.ask({"poll": self.pid})["status"]
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; its exit status. Raises subprocess.TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout * patience()
        while (status := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(self._command, timeout or 0.0)
            time.sleep(0.005)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Forge:
    """The forge, while its context lasts; what it made ends with it. `preload` is a library, for all of them."""

    def __init__(self, preload: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.parts.forge"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith(("GANTRY_", "AWS_"))},
                **({"LD_PRELOAD": str(preload)} if preload else {}),
            },
        )

    def launch(
        self, command: Sequence[str], environment: Mapping[str, str], cwd: Path, stdout: Path, stderr: Path
    ) -> Child:
        """Run a command of `gantry` (whose name, and the interpreter's, may stand before the arguments)."""
        arguments = list(command[command.index("gateway") + 1 :]) if "gateway" in command else list(command)
        return self._start({"gantry": arguments}, environment, cwd, stdout, stderr)

    def call(
        self, function: str, *arguments: object, environment: Mapping[str, str], cwd: Path, seconds: float = 60.0
    ) -> tuple[int, str]:
        """Run `module:function` with arguments that JSON can hold; its exit status, and what it printed."""
        stdout, stderr = cwd / "call.out", cwd / "call.err"
        child = self._start({"call": function, "arguments": arguments}, environment, cwd, stdout, stderr)
        status = child.wait(seconds)
        if status == 1:
            raise AssertionError(f"{function} failed:\n{stderr.read_text(errors='replace')[-3000:]}")
        return status, stdout.read_text()

    def begin(self, function: str, *arguments: object, environment: Mapping[str, str], cwd: Path) -> Child:
        """As `call`, without waiting."""
        name = f"{time.monotonic_ns()}"
        request = {"call": function, "arguments": arguments}
        return self._start(request, environment, cwd, cwd / f"{name}.out", cwd / f"{name}.err")

    def _start(
        self, request: Mapping[str, Any], environment: Mapping[str, str], cwd: Path, stdout: Path, stderr: Path
    ) -> Child:
        files = {"cwd": str(cwd), "stdout": str(stdout), "stderr": str(stderr)}
        answer = self.ask({**request, "environment": dict(environment), **files})
        return Child(self, answer["pid"], [str(word) for word in request.values()])

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One request, one answer."""
        with self._lock:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
            return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


@functools.cache
def shared() -> Forge:
    """The one of this process, made at the first need; it ends with the process."""
    made = Forge()
    atexit.register(made.__exit__)
    return made


def _child(request: dict[str, Any]) -> None:
    """Become what was asked for; never returns."""
    status = 1
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # however the forge ends
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(file, descriptor)
            os.close(file)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environment"])
        from storage import crashpoints
        from tests.parts import shim

        crashpoints.arm(os.environ.get(crashpoints.VARIABLE))
        if os.environ.get("SHIM_ROOT"):
            shim.begin()
        try:
            if "gantry" in request:
                from gateway.cli import app

                app(request["gantry"])
            else:
                module, _, name = request["call"].partition(":")
                getattr(importlib.import_module(module), name)(*request["arguments"])
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        with contextlib.suppress(Exception):
            os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


def serve() -> None:
    """Answer until standard input ends; then kill what still runs."""
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # none of them need look through all of this for garbage
    own_input, own_output = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    for descriptor in (own_input.fileno(), own_output.fileno()):
        os.set_inheritable(descriptor, False)
    running: set[int] = set()
    for line in own_input:
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            running.discard(pid)
            answer: dict[str, object] = {"status": os.waitstatus_to_exitcode(status) if pid else None}
        else:
            pid = os.fork()
            if not pid:
                own_input.close()
                own_output.close()
                _child(request)
            running.add(pid)
            answer = {"pid": pid}
        own_output.write(json.dumps(answer) + "\n")
        own_output.flush()
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve()
