"""The gateway that runs on a data folder, as commands find it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gateway import queueing, running
from gateway.errors import Unavailable
from gateway.settings import Settings
from tests.parts.machine import free_port


class _Handler(BaseHTTPRequestHandler):
    """A gateway that shows its queue, and then has no time for more."""

    def do_GET(self) -> None:
        self._answer(200, {"counts": [], "tasks": []})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(503, {"detail": "not now"})

    def _answer(self, status: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def busy() -> Iterator[str]:
    """The address of one that is busy."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_address_that_a_crash_left_is_nobody_s(tmp_path: Path) -> None:
    assert running.reached(tmp_path, "/queue") is None
    running.announce(tmp_path, f"http://127.0.0.1:{free_port()}", "secret")
    assert running.address(tmp_path) is not None
    assert running.reached(tmp_path, "/queue") is None
    with queueing.opened(Settings(data=tmp_path)) as queue:
        assert queue.tasks() == []


def test_a_gateway_that_cannot_do_it_says_so_and_is_not_gone_behind(tmp_path: Path, busy: str) -> None:
    """What it refuses is not done in its index, which it has open."""
    running.announce(tmp_path, busy, "secret")
    with pytest.raises(Unavailable, match="not now"), queueing.opened(Settings(data=tmp_path)) as queue:
        assert queue.tasks() == []
        queue.retry(None)
    assert [path.name for path in tmp_path.iterdir()] == [running.FILE]
