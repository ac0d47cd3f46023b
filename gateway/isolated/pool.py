"""The children of this process: lent out one call at a time, stopped when they go too far, and replaced."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gateway import metrics
from gateway.errors import NotRenderable, Unavailable
from gateway.isolated.wire import Broken, Facts, receive, send
from gateway.logs import get_logger

log = get_logger(__name__)

Work = Callable[[memoryview, Facts], tuple[Facts, Any]]

START_SECONDS = 120.0
"""Time that a child may take to start; on a machine that does nothing else it takes a third of a second."""

HELD = 256
HELD_SECONDS = 600.0
"""So many inputs that stopped a child are remembered, for so long: they are refused without another try."""

_BUFFER = 4 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """`processes` children at most (None: one for each processor, and at least two).

    Each call may take `memory` bytes beyond what an idle child has, `seconds` of CPU time, and `clock` seconds in all
    (None: three times `seconds`). Who waits longer than `patience` seconds for a child that is free is sent away.
    """

    processes: int | None = None
    memory: int = 1 << 30
    seconds: int = 20
    clock: float | None = None
    patience: float = 60.0

    @property
    def count(self) -> int:
        """How many children."""
        return self.processes or max(2, os.cpu_count() or 1)


class Pool:
    """Children that are started at need, up to the limit. Shared by all threads."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._changed = threading.Condition()
        self._idle: list[_Child] = []
        self._count = 0
        self._closed = False
        self._starting: set[threading.Thread] = set()
        self._warmed: tuple[Work, ...] = ()
        self._held: OrderedDict[bytes, float] = OrderedDict()

    def call(self, work: Work, data: bytes | memoryview, facts: Facts, most: int) -> tuple[Facts, memoryview]:
        """As `gateway.isolated.call`."""
        self._refuse_held(work, data)
        child = self._take()
        try:
            answer, result = child.call(work, data, facts, most, self._limits)
        except _Stopped as stopped:
            self._replace(child, work, data, stopped.reason)
            raise NotRenderable(stopped.said) from None
        except BaseException:
            self._drop(child)
            raise
        if answer.get("memory"):
            self._replace(child, work, data, "oom")  # a process that ran out of memory may be in any state
            raise NotRenderable("decoding it takes more memory than is allowed")
        self._give_back(child)
        if "error" in answer:
            raise NotRenderable(str(answer["error"])[:300])
        found = answer.get("facts")
        return (found if isinstance(found, dict) else {}), result

    def warm(self, works: Sequence[Work]) -> None:
        """Start children up to the limit, in the background."""
        self._warmed = tuple(works)
        for _ in range(self._limits.count):
            self._start_later()

    def close(self) -> None:
        """End all children that are idle; those at work end with their call."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
            starting = list(self._starting)
        for child in idle:
            child.end()
        for thread in starting:
            thread.join()

    def abandon(self) -> None:
        """Close our copies of the sockets, in a process that was forked from the children's parent."""
        for child in self._idle:
            child.link.close()
            child.process.returncode = 0  # it is not this process's child: nothing to wait for

    # ------------------------------------------------------------ children

    def _take(self) -> _Child:
        until = time.monotonic() + self._limits.patience
        with self._changed:
            while True:
                while self._idle:
                    child = self._idle.pop()
                    if child.alive:
                        return child
                    child.end()  # the system took it while it had nothing to do
                    self._count -= 1
                if self._count < self._limits.count:
                    break
                if not self._changed.wait(max(0.0, until - time.monotonic())):
                    raise Unavailable("all decoders are busy")
            self._count += 1
        return self._start()

    def _start(self) -> _Child:
        """A new child, which was counted already."""
        try:
            child = _Child()
            try:
                child.greet()
                for work in self._warmed:
                    child.warm(work, self._limits)
            except BaseException:
                child.end()
                raise
            return child
        except BaseException as error:
            with self._changed:
                self._count -= 1
                self._changed.notify()
            if isinstance(error, OSError | _Stopped | Broken):
                log.error("decoder_not_started", error=type(error).__name__)
                raise Unavailable("no decoder could be started") from error
            raise

    def _start_later(self) -> None:
        with self._changed:
            if self._closed or self._count >= self._limits.count:
                return
            self._count += 1

        def start() -> None:
            with suppress(Unavailable):  # it is in the log, and the next call tries again
                self._give_back(self._start())
            with self._changed:
                self._starting.discard(thread)

        thread = threading.Thread(target=start, name="decoder-start", daemon=True)
        with self._changed:
            self._starting.add(thread)
        thread.start()

    def _give_back(self, child: _Child) -> None:
        with self._changed:
            if not self._closed:
                self._idle.append(child)
                self._changed.notify()
                return
        child.end()

    def _drop(self, child: _Child) -> None:
        child.end()
        with self._changed:
            self._count -= 1
            self._changed.notify()

    def _replace(self, child: _Child, work: Work, data: bytes | memoryview, reason: str) -> None:
        metrics.DECODERS_KILLED.labels(reason=reason).inc()
        log.warning("decoder_stopped", reason=reason, work=work.__name__, size=len(data))
        with self._changed:
            self._held[_name(work, data)] = time.monotonic() + HELD_SECONDS
            while len(self._held) > HELD:
                self._held.popitem(last=False)
        self._drop(child)
        self._start_later()

    def _refuse_held(self, work: Work, data: bytes | memoryview) -> None:
        """Raises NotRenderable for what stopped a child not long ago (S-44)."""
        if not self._held:
            return
        name = _name(work, data)
        with self._changed:
            until = self._held.get(name)
            if until is None:
                return
            if until > time.monotonic():
                raise NotRenderable("a decoder had to be stopped at it a short while ago")
            del self._held[name]


def _name(work: Work, data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data, key=work.__name__.encode()[:64], digest_size=16).digest()


class _Stopped(Exception):
    """The child is gone, or had to be stopped. `reason` is a word for the metric, `said` what the caller hears."""

    def __init__(self, reason: str, said: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.said = said


class _Child:
    def __init__(self) -> None:
        self._loaded: set[Work] = set()
        self.link, theirs = socket.socketpair()
        with theirs:
            for end in (self.link, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "gateway.isolated.child", str(theirs.fileno())],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=_environment(),
                )
            except BaseException:
                self.link.close()
                raise

    def greet(self) -> None:
        """Wait until it is there. Raises _Stopped, Broken."""
        try:
            receive(self.link, 0, time.monotonic() + START_SECONDS)
        except TimeoutError:
            raise _Stopped("timeout", "a decoder takes too long to start") from None

    def call(
        self, work: Work, data: bytes | memoryview, facts: Facts, most: int, limits: Limits
    ) -> tuple[Facts, memoryview]:
        """Raises _Stopped, after which there is nothing to do but `end`."""
        self.warm(work, limits)
        return self._ask(work, data, {"facts": facts}, most, limits, limits.clock or 3.0 * limits.seconds)

    def warm(self, work: Work, limits: Limits) -> None:
        """Let it load what `work` needs, if it has not: the time for that is not the work's."""
        if work not in self._loaded:
            self._ask(work, b"", {"warm": True}, 0, limits, START_SECONDS)
            self._loaded.add(work)

    @property
    def alive(self) -> bool:
        """Does its process run?"""
        return self.process.poll() is None

    def end(self) -> None:
        """Stop it, whatever it does."""
        self.link.close()
        self.process.kill()
        self.process.wait()

    def _ask(
        self, work: Work, data: bytes | memoryview, asked: Facts, most: int, limits: Limits, seconds: float
    ) -> tuple[Facts, memoryview]:
        until = time.monotonic() + seconds
        message = asked | {
            "module": work.__module__,
            "function": work.__name__,
            "memory": limits.memory,
            "seconds": limits.seconds,
        }
        try:
            self.link.settimeout(seconds)
            send(self.link, message, data)
            return receive(self.link, most, until)
        except TimeoutError:
            raise _Stopped("timeout", "decoding it takes longer than is allowed") from None
        except (Broken, OSError):
            raise self._obituary() from None

    def _obituary(self) -> _Stopped:
        """Why it is gone."""
        try:
            code = self.process.wait(1.0)
        except subprocess.TimeoutExpired:  # it lives, and talks nonsense
            return _Stopped("crash", "its decoder failed")
        if code == -signal.SIGXCPU:
            return _Stopped("cpu", "decoding it takes more computing time than is allowed")
        if code == -signal.SIGKILL:
            return _Stopped("oom", "its decoder was stopped by the system")
        return _Stopped("crash", "its decoder crashed")


def _environment() -> dict[str, str]:
    """What a child needs to find its modules, and nothing that is secret."""
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH") if name in os.environ
    }
    return kept | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MALLOC_ARENA_MAX": "1",  # an arena for each thread reserves 64 MiB, which counts as used
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
