"""Fixtures: a person at the page in a real browser, and ways to fill the archive that the page shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Error, Locator, Page, Request, expect
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from tests.parts import once
from tests.parts.datasets import part10_bytes, uid
from tests.parts.fix_browser import WHOLE, Chromium
from tests.parts.fix_gateway import BackendEnvironment, starter
from tests.parts.gateway import GatewayProcess

# The canvas is copied first: Chromium draws a canvas another way once it has been read from.
PIXELS = """() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(async () => {
  const shown = document.querySelector(".screen canvas");
  const copy = new OffscreenCanvas(shown.width, shown.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(shown, 0, 0);
  const { data } = copy.getImageData(0, 0, shown.width, shown.height);
  let sum = 0;
  let digest = 0;
  for (let at = 0; at < data.length; at += 4) {
    sum += data[at];
    digest = (Math.imul(digest, 31) + data[at] + 256 * data[at + 1] + 65536 * data[at + 2]) | 0;
  }
  resolve([`${shown.width}x${shown.height} ${digest}`, sum / (data.length / 4)]);
})))"""


OWN = frozenset({"blob", "data", "chrome", "chrome-extension"})
"""Schemes of what a browser gets from itself; it shows PDF documents by an extension that it brings along."""


def stow(
    gateway: GatewayProcess, datasets: Iterable[Dataset], token: str = "", syntax: str = ExplicitVRLittleEndian
) -> None:
    """Store data sets by STOW-RS in one request; all of them must be taken. `syntax` is that of their pixels."""
    files = [part10_bytes(ds, syntax) for ds in datasets]
    parts = [b"--part\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files]
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=part'}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = b"".join(parts) + b"--part--\r\n"
    answer = once.post(f"{gateway.dicomweb_url}/studies", content=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text


class Visit:
    """One person's browser window at a gateway's page, and everything that went wrong or out while it was open."""

    def __init__(self, context: BrowserContext, gateway: GatewayProcess) -> None:
        self.gateway = gateway
        self.page: Page = context.new_page()
        self.requests: list[Request] = []
        self.problems: list[str] = []
        self.expected: set[int] = set()
        page = self.page
        page.on("request", self._asked)
        page.on("console", self._heard)
        page.on("pageerror", self._broke)
        page.on("dialog", self._interrupted)
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (found) => console.error('CSP', found.violatedDirective))"
        )
        page.set_default_timeout(20_000)

    def _asked(self, request: Request) -> None:
        self.requests.append(request)

    def _broke(self, error: Error) -> None:
        self.problems.append(f"exception: {error}")

    def _interrupted(self, dialog: Dialog) -> None:
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _heard(self, message: ConsoleMessage) -> None:
        # A browser reports each answer of 400 and more as an error; a test names those that it provokes.
        # 0 stands for no answer at all.
        marks = ["net::ERR_" if status == 0 else f"status of {status} " for status in self.expected]
        provoked = any(mark in message.text for mark in marks)
        if message.type in {"error", "warning"} and not provoked:
            self.problems.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def open(self, where: str = "") -> None:
        """Go to the page, or to a place in it such as `#/studies/1.2.3`."""
        self.page.goto(f"{self.gateway.http_url}/{where}")

    def open_study(self, text: str) -> None:
        """Choose a study in the list by some of its text, and wait for its first picture."""
        self.page.locator(".row", has_text=text).click()
        self.wait_for_picture(1)

    def open_series(self, study: object, series: int = 0) -> None:
        """Go to a study of `tests.parts.datasets` by its name, or to one of its series; wait for its first picture."""
        below = f"/series/{uid('series', study, series)}" if series else ""
        self.open(f"#/studies/{uid('study', study)}{below}")
        self.wait_for_picture(1)

    @property
    def screen(self) -> Locator:
        """The part of the viewer where the picture is."""
        return self.page.locator(".screen")

    def wait_for_picture(self, number: int) -> None:
        """Until picture `number`, 1-based, is on the screen and nothing newer is wanted."""
        expect(self.page.locator(f".screen[data-shown='{number}']:not(.late)")).to_be_visible()

    def grey(self) -> tuple[str, float]:
        """What is on the screen once it has come to rest: a digest of the pixels, and their mean from 0 to 255."""
        expect(self.page.locator(".screen:not(.late)")).to_be_visible()
        digest, mean = self.page.evaluate(PIXELS)
        return digest, mean

    def picture(self) -> str:
        """A digest of the pixels that are on the screen once it has come to rest."""
        return self.grey()[0]

    def brightness(self) -> float:
        """Mean grey level, 0 to 255, of what is on the screen once it has come to rest."""
        return self.grey()[1]

    def middle(self) -> tuple[float, float]:
        """The middle of the screen in pixels of the page."""
        box = self.screen.bounding_box()
        assert box is not None
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def wheel(self, notches: int) -> None:
        """Turn the wheel over the picture; positive is towards the user."""
        self.page.mouse.move(*self.middle())
        for _ in range(abs(notches)):
            self.page.mouse.wheel(0, 100 if notches > 0 else -100)

    def drag(self, right: float, down: float, button: str = "left") -> None:
        """Drag from the middle of the picture."""
        x, y = self.middle()
        self.page.mouse.move(x, y)
        self.page.mouse.down(button="right" if button == "right" else "left")
        self.page.mouse.move(x + right, y + down, steps=8)
        self.page.mouse.up(button="right" if button == "right" else "left")

    def asked(self, part: str) -> list[str]:
        """The addresses asked for so far that hold `part`."""
        return [request.url for request in self.requests if part in request.url]

    def check(self) -> None:
        """Nothing went wrong in the browser, and it spoke to nobody else but parts of itself."""
        assert self.problems == []
        home = urlsplit(self.gateway.http_url).netloc
        elsewhere = [
            request.url
            for request in self.requests
            if urlsplit(request.url).scheme not in OWN and urlsplit(request.url).netloc != home
        ]
        assert elsewhere == []


class Visitors:
    """Opens windows; each is checked when the test ends."""

    def __init__(self, browser: Browser, chromium: Chromium) -> None:
        self._browser = browser
        self._chromium = chromium
        self._visits: list[tuple[BrowserContext, Visit]] = []

    def __call__(
        self,
        gateway: GatewayProcess,
        *,
        phone: bool = False,
        locale: str = "en-GB",
        light: bool = False,
        whole: bool = False,
    ) -> Visit:
        """A window of 1280 x 720, or a phone held upright; with nothing remembered from others. `light`: who is there
        likes bright screens. `whole`: it is the whole browser that is needed, for PDF documents.
        """
        size = {"width": 390, "height": 844} if phone else {"width": 1280, "height": 720}
        browser = self._chromium.get(WHOLE) if whole else self._browser
        context = browser.new_context(
            viewport={"width": size["width"], "height": size["height"]},
            has_touch=phone,
            is_mobile=phone,
            device_scale_factor=2 if phone else 1,
            locale=locale,
            color_scheme="light" if light else "dark",
        )
        if phone:  # their browsers open PDF documents elsewhere
            context.add_init_script("Object.defineProperty(Navigator.prototype, 'pdfViewerEnabled', { value: false })")
        visit = Visit(context, gateway)
        self._visits.append((context, visit))
        return visit

    def leave(self) -> None:
        """Close every window."""
        for context, _ in self._visits:
            context.close()

    def check(self) -> None:
        """See `Visit.check`, for every window."""
        for _, visit in self._visits:
            visit.check()


@pytest.fixture(scope="session")
def page_gateway(
    tmp_path_factory: pytest.TempPathFactory, backend_environment: BackendEnvironment
) -> Iterator[GatewayProcess]:
    """A gateway that asks for no token, for all tests that have studies of their own and ask for these by name."""
    with ExitStack() as running:
        yield starter(running, tmp_path_factory.mktemp("page"), backend_environment)()


@pytest.fixture
def visit(browser: Browser, chromium: Chromium) -> Iterator[Visitors]:
    """Open the page: `visit(gateway)`. The test fails when the browser reports any error, or asks another host."""
    visitors = Visitors(browser, chromium)
    try:
        yield visitors
        visitors.check()
    finally:
        visitors.leave()
