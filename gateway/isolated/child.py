"""The child process: does one piece of work after the other until its parent is gone.

Started as `python -m gateway.isolated.child FD`, where FD is its end of a socket pair.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from gateway.errors import NotRenderable
from gateway.isolated.wire import Broken, Facts, receive, send

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MAX_DATA = 1 << 40
_FILES = 64


def main(descriptor: int) -> None:
    """Serve until the other end of the socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end is ours
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    with suppress(OSError), Path("/proc/self/oom_score_adj").open("w") as file:
        file.write("1000")  # where memory runs out, this process is the one to go, not its parent
    with socket.socket(fileno=descriptor) as link:
        worker = _Worker()
        send(link, {})
        while True:
            try:
                facts, data = receive(link, _MAX_DATA)
            except Broken:
                return
            answer, result = worker.answer(facts, data)
            send(link, answer, result)


class _Worker:
    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Callable[..., tuple[Facts, Any]]] = {}
        self._base = 0

    def answer(self, facts: Facts, data: memoryview) -> tuple[Facts, memoryview | bytes]:
        """What a call gave; {"error": ...} where it failed, {"memory": true} where it met the limit of memory."""
        try:
            work = self._find(facts["module"], facts["function"])
            self._limit(int(facts["memory"]), int(facts["seconds"]))
            if facts.get("warm"):
                return {}, b""
            result, buffer = work(data, facts["facts"])
            return {"facts": result}, memoryview(buffer).cast("B")
        except NotRenderable as error:
            return {"error": str(error)}, b""
        except MemoryError:
            return {"memory": True}, b""
        except Exception as error:
            # A fault in the work must not look like a crash of the process. What is said of it is its kind alone.
            return {"error": f"the work failed: {type(error).__name__}"}, b""

    def _find(self, module: str, function: str) -> Callable[..., tuple[Facts, Any]]:
        found = self._known.get((module, function))
        if found is None:
            for limit in (resource.RLIMIT_AS, resource.RLIMIT_CPU):  # those of the call before
                resource.setrlimit(limit, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            found = self._known[module, function] = getattr(import_module(module), function)
            self._base = int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE
        return found

    def _limit(self, memory: int, seconds: int) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (self._base + memory, resource.RLIM_INFINITY))
        used = resource.getrusage(resource.RUSAGE_SELF)
        spent = int(used.ru_utime + used.ru_stime)
        # A whole second more: the kernel counts whole seconds.
        resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds + 1, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(int(sys.argv[1]))
