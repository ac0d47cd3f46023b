"""Fixtures: a page on an origin of its own that holds the JavaScript clients, before a gateway that all tests share."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from tests.gateway.dicomweb.service import STOW_TYPE, stow_body
from tests.parts import once
from tests.parts.browser_clients import NotFetched, fetch
from tests.parts.fix_gateway import BackendEnvironment, starter
from tests.parts.gateway import GatewayProcess, Launch
from tests.parts.machine import cannot_run

PAGE = b'<!doctype html><title>Clients</title><script type="module" src="/clients.js"></script>'


class _Files(http.server.SimpleHTTPRequestHandler):
    """The bundle, and a page around it."""

    extensions_map = {".js": "text/javascript", "": "application/wasm"}  # noqa: RUF012 - as the library has it

    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


@pytest.fixture(scope="session")
def bundle() -> Path:
    """The folder of the JavaScript clients."""
    try:
        return fetch()
    except NotFetched as error:
        cannot_run(str(error))


@pytest.fixture(scope="module")
def origin(bundle: Path) -> Iterator[str]:
    """The URL of the page; it is not the gateway's."""
    with ExitStack() as running:
        server = running.enter_context(_Server(("127.0.0.1", 0), partial(_Files, directory=str(bundle))))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        running.callback(thread.join)
        running.callback(server.shutdown)
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, backend_environment: BackendEnvironment, launch: Launch, origin: str
) -> Iterator[GatewayProcess]:
    """One for all tests of a module, which lets the page read its answers."""
    with ExitStack() as running:
        start = starter(running, tmp_path_factory.mktemp("gateway"), backend_environment, launch)
        yield start(environment={"GANTRY_CORS_ORIGINS": origin})


@pytest.fixture(scope="module")
def clients(browser: Browser, origin: str) -> Iterator[Page]:
    """The page with `window.clients`. What the browser kept from it (CORS) fails the test."""
    context = browser.new_context()
    page = context.new_page()
    refused: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if "CORS" in message.text or "Cross-Origin" in message.text:
            refused.append(message.text)

    page.on("console", heard)
    page.goto(origin)
    page.wait_for_function("window.clients !== undefined")
    yield page
    context.close()
    assert refused == []


def store(gateway: GatewayProcess, *files: bytes) -> None:
    """Store files, all of which are taken."""
    answer = once.post(
        f"{gateway.dicomweb_url}/studies", content=stow_body(files), headers={"Content-Type": STOW_TYPE}, timeout=60
    )
    assert answer.status_code == 200, answer.text
