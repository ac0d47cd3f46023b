"""A server in the background: its log in a file, waited for until it is ready, stopped politely and then not."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.parts.torture import patience


class NotReady(Exception):
    """A server ended, or did not become ready in time; the message has the end of its log."""


@contextmanager
def background(
    command: Sequence[str],
    log: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    patience: float = 10.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """The process while the context lasts; then SIGTERM, and SIGKILL after `patience` seconds."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process, patience)


def stop(process: subprocess.Popen[bytes], patience: float = 10.0) -> int:
    """End the process and wait for it; its exit status (negative: the signal that ended it)."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait()


def wait_until(
    ready: Callable[[], object], what: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 60.0
) -> None:
    """Return once `ready()` is true. Raises NotReady when the process ends first, or after `seconds`."""
    end = time.monotonic() + seconds * patience()
    while not ready():
        if process.poll() is not None or time.monotonic() > end:
            why = "did not answer" if process.poll() is None else f"ended with status {process.returncode}"
            raise NotReady(f"{what} {why}:\n{tail(log)}")
        time.sleep(0.05)


def tail(log: Path, size: int = 3000) -> str:
    """The end of a log."""
    return log.read_text(errors="replace")[-size:] if log.exists() else ""
