"""Servers that all workers of one test run share: each started once, by whoever needs it first, and surely stopped.

A keeper is a process of its own that starts one server, writes down where it is, and stops it when the test run (its
owner) says so or has ended, however that ended: by Ctrl-C, by a crash, by SIGKILL.

    python -m tests.parts.keeper NAME FOLDER OWNER_PID
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from tests.parts.processes import tail
from tests.parts.torture import patience

ROOT = Path(__file__).resolve().parents[2]


class StartFailed(Exception):
    """The server could not be started; the message says why."""


def shared(name: str, folder: Path, owner: int, seconds: float = 110.0) -> dict[str, object]:
    """The fields of the server `name` (a module beside this one with `run`), started now unless it runs already.

    `folder` is the test run's own; the server ends with the process `owner`. Raises StartFailed.
    """
    answer, log = folder / f"{name}.json", folder / f"{name}.log"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not answer.exists():
            with log.open("ab") as output:
                keeper = subprocess.Popen(
                    [sys.executable, "-m", "tests.parts.keeper", name, str(folder), str(owner)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=ROOT,
                    start_new_session=True,
                )
            end = time.monotonic() + seconds * patience()
            while not answer.exists():
                if keeper.poll() is not None or time.monotonic() > end:
                    keeper.terminate()
                    answer.write_text(json.dumps({"failed": f"{name} did not start:\n{tail(log)}"}))
                    break
                time.sleep(0.05)
            keeper.returncode = keeper.returncode or 0  # it outlives us by intent: no warning about that
    fields: dict[str, object] = json.loads(answer.read_text())
    if "failed" in fields:
        raise StartFailed(str(fields["failed"]))
    return fields


def stop_all(folder: Path, seconds: float = 15.0) -> None:
    """Tell every keeper of this test run to stop, and wait until all have."""
    waiting = []
    for file in folder.glob("*.pid"):
        pid = int(file.read_text())
        with contextlib.suppress(ProcessLookupError):
            waiting.append(os.pidfd_open(pid))
            os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + seconds
    for process in waiting:
        select.select([process], [], [], max(0.0, end - time.monotonic()))
        os.close(process)


def keep(name: str, folder: Path, owner: int) -> None:
    """Run the server until SIGTERM, or until the owner has ended."""

    def end(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    watched = os.pidfd_open(owner)
    (folder / f"{name}.pid").write_text(str(os.getpid()))
    # Not below pytest's own folder, which no other user may enter; short, since sockets lie here.
    work = Path(tempfile.mkdtemp(prefix=f"gantry-{name}-"))
    try:
        work.chmod(0o755)
        with importlib.import_module(f"tests.parts.{name}").run(work) as server:
            draft = folder / f"{name}.json.new"
            draft.write_text(json.dumps(asdict(server)))
            draft.rename(folder / f"{name}.json")
            select.select([watched], [], [])
            shutil.rmtree(folder, ignore_errors=True)  # the owner ended without a word
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    keep(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
