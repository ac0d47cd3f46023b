"""A TCP proxy that does harm: between a client and a real server it cuts, drops and changes what passes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit

Harm = Callable[[bytes], bytes | None]
"""What passes instead of these bytes; None: nothing, and the connection ends."""


class Proxy:
    """Forwards to the server at `endpoint` (an http URL), on a port of its own, while its context lasts.

    `upload` and `download` may be set at any time. They are given what arrives, in pieces of at most 64 KiB; the head
    of a request begins a piece. `connections` counts those that were accepted.
    """

    def __init__(self, endpoint: str) -> None:
        there = urlsplit(endpoint)
        self._target = (there.hostname or "", there.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.upload: Harm = lambda data: data
        self.download: Harm = lambda data: data
        self.connections = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Proxy:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(self._listener)
        for one in self._open:
            self._end(one)
        for thread in self._threads:
            thread.join(5)

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(self._target)
                self._open += [client, server]
                self._start(self._pump, client, server, "upload")
                self._start(self._pump, server, client, "download")

    def _pump(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                harmed: bytes | None = getattr(self, way)(data)
                if harmed is None:
                    break
                sink.sendall(harmed)
        self._end(source)
        self._end(sink)

    @staticmethod
    def _end(one: socket.socket) -> None:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
