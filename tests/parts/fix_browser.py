"""Fixtures: a browser, and the OHIF viewer on an origin of its own.

`browser`: Debian's Chromium without a window (Playwright), one for all tests, whose pages cost a fraction of the whole
browser's; `chromium.get(WHOLE)` is that, for what it does itself, as showing a PDF document. `page` is a fresh one.
`serve_ohif(gateway)` serves OHIF, pointed at the gateway, and returns its URL; `origin` of the gateway must allow it
(GANTRY_CORS_ORIGINS). `artifact("name.png")` is where to leave a screenshot: ./artifacts, ignored by git.
"""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tests.parts import ohif
from tests.parts.debian import LIBRARIES, loads
from tests.parts.machine import cannot_run, free_port, need

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts"

BARE, WHOLE = "chromium-headless-shell", "chromium"

# No sandbox, since tests may run as root; WebGL in software, since there may be no graphics card.
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-gpu-compositing",
    "--disable-gpu-rasterization",
    "--disable-accelerated-2d-canvas",
)


def artifact(name: str) -> Path:
    """Where to leave a file for people to look at."""
    ARTIFACTS.mkdir(exist_ok=True)
    return ARTIFACTS / name


class Chromium:
    """Debian's Chromium, each of its programs started at the first need, and again should it have ended."""

    def __init__(self, playwright: Playwright) -> None:
        self._playwright = playwright
        self._running: dict[str, Browser] = {}

    def get(self, program: str) -> Browser:
        """The one that runs."""
        running = self._running.get(program)
        if running is None or not running.is_connected():
            for library, package in LIBRARIES.items():
                if not loads(library):
                    cannot_run(f"{library} is missing: install Debian's package {package}")
            path = need(program)
            running = self._playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_OPTIONS))
            self._running[program] = running
        return running

    def close(self) -> None:
        """End them."""
        for running in self._running.values():
            running.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """One browser for all tests.

    Playwright keeps an event loop in the thread until after the last: `tests.parts.asynchronous` runs coroutines.
    """
    with sync_playwright() as playwright:
        running = Chromium(playwright)
        yield running
        running.close()


@pytest.fixture(scope="module")
def browser(chromium: Chromium) -> Browser:
    """Without a window: pages alone."""
    return chromium.get(BARE)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own, 1280 x 800, with nothing remembered from other tests."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    yield context.new_page()
    context.close()


class _Viewer(http.server.SimpleHTTPRequestHandler):
    """OHIF's files; our configuration; and index.html for every path of the viewer's own."""

    def __init__(self, *arguments: object, configuration: bytes, **named: object) -> None:
        self.configuration = configuration
        super().__init__(*arguments, **named)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/app-config.js":
            self.send_response(200)
            self.send_header("Content-Type", "text/javascript")
            self.send_header("Content-Length", str(len(self.configuration)))
            self.end_headers()
            self.wfile.write(self.configuration)
            return
        if not Path(self.translate_path(path)).is_file():
            self.path = "/index.html"
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


@pytest.fixture
def serve_ohif() -> Iterator[Callable[[str, int], str]]:
    """A function: serve OHIF for the gateway of this DICOMweb root on a port; the viewer's URL."""
    try:
        folder = ohif.fetch()
    except ohif.NotFetched as error:
        cannot_run(str(error))
    with ExitStack() as running:

        def serve(dicomweb_url: str, port: int) -> str:
            configuration = ohif.configuration(dicomweb_url).encode()
            handler = partial(_Viewer, directory=str(folder), configuration=configuration)
            server = running.enter_context(_Server(("127.0.0.1", port), handler))
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            running.callback(thread.join)
            running.callback(server.shutdown)
            return f"http://127.0.0.1:{port}"

        yield serve


@pytest.fixture
def viewer_port() -> int:
    """A port for `serve_ohif`, known before the gateway starts: its origin goes into GANTRY_CORS_ORIGINS."""
    return free_port()
