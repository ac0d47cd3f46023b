"""Several processes that serve on the same sockets, over one archive: `gantry serve --workers N`.

The first process, the keeper, holds the archive and the sockets and serves nothing. It starts the others, starts one
anew that ends unasked, and stops them all. They learn from the end of their standard input that it is gone itself.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from gateway import metrics
from gateway.app import Gateway, Sockets, listen, new_secret, open_from, prepared
from gateway.app import serve as serve_alone
from gateway.dimse import places
from gateway.dimse.places import Seat
from gateway.logs import configure, get_logger
from gateway.settings import BadSettings, Settings
from storage.errors import StorageError

log = get_logger(__name__)

COMMAND = "worker"
COUNTED = "metrics"
"""Folder below the data folder in which the processes count together."""
MOST_UNASKED = 4
"""Processes where the settings do not say how many: each takes 130 MiB and more."""
_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG."""
LOOK_EVERY = 0.2
READY_SECONDS = 60.0
SHORT_LIFE = 5.0
"""Seconds; a process that ends sooner is not started anew at once, but after as long."""
STOP_SECONDS = 15.0
"""Seconds that processes are given to end, besides the grace of the settings."""


def serve(settings: Settings) -> None:
    """As `app.serve`, with `settings.workers` processes; without that, with as many as there are cores for us, four at
    most, or one where there can only be one. Raises BadSettings, StorageError.
    """
    in_memory, wanted = settings.objects_url.startswith("memory:"), settings.workers
    if wanted is not None and in_memory:
        raise BadSettings("workers: objects in memory are those of one process")
    many = wanted or (1 if in_memory else min(cores(), MOST_UNASKED))
    if many == 1 or not _serve(settings.model_copy(update={"workers": many}), asked=wanted is not None):
        serve_alone(settings.model_copy(update={"workers": 1}))


def _serve(settings: Settings, *, asked: bool) -> bool:
    """False where the index is for one process only, and nobody asked for more."""
    with ExitStack() as held, prepared(settings) as archive:
        try:
            shared = archive.index.share()
        except StorageError as error:
            if not asked:
                log.warning("one_process", reason=str(error))
                return False
            raise BadSettings(f"workers: {error}") from error
        counted = settings.data.resolve() / COUNTED
        shutil.rmtree(counted, ignore_errors=True)  # of one that was killed
        counted.mkdir(mode=0o700)
        held.callback(shutil.rmtree, counted, ignore_errors=True)
        Keeper(settings, listen(settings), shared, str(counted), archive.spool.clean).run()
    return True


def cores() -> int:
    """The cores that this process may use: those of its affinity, and no more than its control group has time for."""
    many = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):  # `max`, or no control group
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        many = min(many, max(1, round(int(quota) / int(period))))
    return many


class Keeper:
    """Keeps the processes. `shared` are descriptors that they hold, `counted` is the folder of their metrics, `clean`
    removes what one of them was receiving when it ended.
    """

    def __init__(
        self,
        settings: Settings,
        sockets: Sockets,
        shared: tuple[int, ...],
        counted: str,
        clean: Callable[[int], int],
    ) -> None:
        self._settings = settings
        self._sockets = sockets
        self._shared = shared
        self._many = settings.processes
        self._counted = counted
        self._clean = clean
        self._local = new_secret()
        self._places = os.memfd_create("places")
        os.ftruncate(self._places, places.size(self._many))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._started: list[float] = []
        self._stop = threading.Event()

    def run(self) -> None:
        """Until a signal says stop. Prints the line of the first process once all are ready."""
        signal.signal(signal.SIGTERM, lambda _signal, _frame: self._stop.set())
        signal.signal(signal.SIGINT, lambda _signal, _frame: self._stop.set())
        signal.signal(signal.SIGHUP, lambda _signal, _frame: self._send(signal.SIGHUP))
        try:
            for number in range(self._many):
                self._processes.append(self._start(number))
                self._started.append(time.monotonic())
            lines = [self._ready(process) for process in self._processes]
            if all(lines):
                print(lines[0], flush=True)
                log.info("workers_ready", workers=len(lines))
                while not self._stop.wait(LOOK_EVERY):
                    self._look()
            elif not self._stop.is_set():
                raise StorageError("a process did not become ready")
        finally:
            self._end()

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        sockets = (self._sockets.http, self._sockets.dimse, self._sockets.dimse_tls)
        descriptors = [-1 if one is None else one.fileno() for one in sockets]
        told = {
            "settings": self._settings.model_dump(mode="json"),
            "sockets": descriptors,
            "seat": [number, self._many, self._places],
            "local": self._local,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway", COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[one for one in (*descriptors, self._places, *self._shared) if one >= 0],
            env={**os.environ, metrics.SHARED: self._counted},
            start_new_session=True,  # Ctrl-C is ours; they are told by us
        )
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(told).encode() + b"\n")
            process.stdin.flush()
        return process

    def _ready(self, process: subprocess.Popen[bytes]) -> str:
        """The line that a process says when it is ready; empty when it does not come to that, or we are to stop."""
        assert process.stdout is not None
        end = time.monotonic() + READY_SECONDS
        while not self._stop.is_set() and time.monotonic() < end:
            if select.select([process.stdout], [], [], LOOK_EVERY)[0]:
                return process.stdout.readline().decode().rstrip("\n")
        return ""

    def _look(self) -> None:
        """Start processes anew that have ended."""
        for number, process in enumerate(self._processes):
            if process.poll() is None or time.monotonic() < self._started[number] + SHORT_LIFE:
                continue
            log.error("worker_ended", worker=number, status=process.returncode)
            self._forget(number, process)
            self._processes[number], self._started[number] = self._start(number), time.monotonic()

    def _forget(self, number: int, process: subprocess.Popen[bytes]) -> None:
        places.vacate(Seat(number, self._many, self._places))
        metrics.ended(process.pid, self._counted)
        with suppress(OSError):
            self._clean(process.pid)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def _send(self, number: signal.Signals) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.send_signal(number)

    def _end(self) -> None:
        self._send(signal.SIGTERM)
        end = time.monotonic() + self._settings.grace + STOP_SECONDS
        for number, process in enumerate(self._processes):
            try:
                process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.error("worker_killed", worker=number)
                process.kill()
                process.wait()
            self._forget(number, process)
        for one in (self._sockets.http, self._sockets.dimse, self._sockets.dimse_tls):
            if one is not None:
                one.close()
        os.close(self._places)


def work() -> None:
    """Be one of the processes: standard input says which, and ends when the keeper does. Raises StorageError."""
    # A keeper that is killed takes us along at once: whoever starts it anew needs folder and sockets. Should it be gone
    # by now, standard input ends, which tells the same.
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    told = json.loads(sys.stdin.buffer.readline())
    settings, seat = Settings(**told["settings"]), Seat(*told["seat"])
    configure(settings.log_level)
    http, dimse, secure = (None if one < 0 else socket.socket(fileno=one) for one in told["sockets"])
    assert http is not None
    assert dimse is not None
    threading.Thread(target=_stop_with_the_keeper, name="keeper", daemon=True).start()
    archive = open_from(settings, beside=True)
    try:
        Gateway(archive, settings, Sockets(http, dimse, secure), seat, told["local"]).run()
    finally:
        archive.close()


def _stop_with_the_keeper() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
