"""OHIF on an origin of its own: it lists what was stored, opens CT and MR series, and pixels appear (viewers.md 1, 4).

Every answer that the viewer gets counts: none may be an error, none may be kept from it by the browser (CORS).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import ConsoleMessage, Page, Request, Response, expect

from tests.gateway.ui.conftest import stow
from tests.gateway.ui.phantom import ct_torso, mr_head
from tests.parts.datasets import report, uid
from tests.parts.fix_browser import artifact
from tests.parts.fix_gateway import StartGateway
from tests.parts.gateway import GatewayProcess

Grey = NDArray[np.uint8]


class Viewer:
    """OHIF in a browser window, and what it got from the gateway."""

    def __init__(self, page: Page, url: str, gateway: GatewayProcess) -> None:
        self.page = page
        self.url = url
        self.gateway = gateway
        self.answers: list[Response] = []
        self.lost: list[str] = []
        page.set_default_timeout(60_000)
        # Without the tour that OHIF gives a newcomer, for which it dims everything else.
        page.add_init_script("localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))")
        page.on("response", self._answered)
        page.on("requestfailed", self._failed)
        page.on("console", self._heard)

    def _answered(self, response: Response) -> None:
        if response.url.startswith(self.gateway.http_url):
            self.answers.append(response)

    def _failed(self, request: Request) -> None:
        # What the viewer itself gives up, such as slices passed over, is no failure.
        if request.url.startswith(self.gateway.http_url) and request.failure != "net::ERR_ABORTED":
            self.lost.append(f"{request.method} {request.url}: {request.failure}")

    def _heard(self, message: ConsoleMessage) -> None:
        if "CORS" in message.text or "Cross-Origin" in message.text:
            self.lost.append(message.text)

    def open(self, study: str) -> None:
        """Open a study in the basic viewer."""
        self.page.goto(f"{self.url}/viewer?StudyInstanceUIDs={uid('study', study)}")

    def seen(self) -> Grey:
        """The grey levels of the viewport, overlays cut off."""
        canvas = self.page.locator("canvas.cornerstone-canvas").first
        grey = np.asarray(Image.open(BytesIO(canvas.screenshot())).convert("L"))
        height, width = grey.shape
        return grey[height // 5 : -height // 5, width // 5 : -width // 5]

    def wait_until(self, there: Callable[[Grey], bool], seconds: float = 60.0) -> Grey:
        """The viewport once `there` holds of it; as it is at the end when it never does."""
        self.page.locator("canvas.cornerstone-canvas").first.wait_for()
        for _ in range(int(seconds / 0.5)):
            if there(seen := self.seen()):
                return seen
            self.page.wait_for_timeout(500)
        return self.seen()

    def check(self) -> None:
        """Nothing that the viewer asked for was refused, failed, or kept from it."""
        assert self.lost == []
        assert [(answer.status, answer.url) for answer in self.answers if answer.status >= 400] == []


def has_contrast(grey: Grey) -> bool:
    """Whether there are dark and bright parts, each of them more than a few pixels."""
    low, high = np.percentile(grey, (5, 95))
    return bool(high - low > 80)


@pytest.fixture
def viewer(
    page: Page, serve_ohif: Callable[[str, int], str], viewer_port: int, start_gateway: StartGateway
) -> Iterator[Viewer]:
    """OHIF before a gateway with a CT and an MR study, on different origins."""
    gateway = start_gateway(environment={"GANTRY_CORS_ORIGINS": f"http://127.0.0.1:{viewer_port}"})
    stow(gateway, [*ct_torso("ct", slices=12, size=192, PatientName="Phantom^Torso"), report("ct", 9)])
    stow(gateway, mr_head("mr", slices=6, size=192, PatientName="Phantom^Head"))
    viewer = Viewer(page, serve_ohif(gateway.dicomweb_url, viewer_port), gateway)
    yield viewer
    viewer.check()


def test_the_study_list_shows_the_studies(viewer: Viewer) -> None:
    viewer.page.goto(viewer.url)
    for text in ("ID-ct", "ID-mr", "Phantom, Torso", "Phantom, Head", "ACC-ct", "Study mr"):
        expect(viewer.page.get_by_text(text).first).to_be_visible()
    # Unfolded, a study shows its series with their number of instances.
    viewer.page.get_by_text("ID-ct").first.click()
    expect(viewer.page.get_by_text("Series 1").first).to_be_visible()
    viewer.page.screenshot(path=artifact("ohif-studies.png"))
    # From another origin: the answers say that it may read them.
    assert viewer.answers[0].header_value("access-control-allow-origin") == viewer.url


def test_a_ct_series_is_opened_seen_and_scrolled(viewer: Viewer) -> None:
    viewer.open("ct")
    first = viewer.wait_until(has_contrast)
    viewer.page.screenshot(path=artifact("ohif-torso.png"))
    assert has_contrast(first)
    # The window of the data set: lungs and air black, bone white, soft tissue between.
    assert first.min() < 10
    assert first.max() > 245
    assert 0.1 < np.mean((first > 60) & (first < 200)) < 0.9

    canvas = viewer.page.locator("canvas.cornerstone-canvas").first
    canvas.hover()
    for _ in range(6):
        viewer.page.mouse.wheel(0, 100)
        viewer.page.wait_for_timeout(100)

    def another(grey: Grey) -> bool:
        return float(np.mean(np.abs(grey.astype(int) - first.astype(int)) > 40)) > 0.05

    assert another(viewer.wait_until(another))
    viewer.page.screenshot(path=artifact("ohif-torso-scrolled.png"))
    assert [answer for answer in viewer.answers if "/frames/1" in answer.url and answer.request.method == "GET"]
    assert [answer for answer in viewer.answers if answer.url.endswith("/metadata")]


def test_an_mr_series_is_opened_and_seen(viewer: Viewer) -> None:
    viewer.open("mr")
    seen = viewer.wait_until(has_contrast)
    viewer.page.screenshot(path=artifact("ohif-head.png"))
    assert has_contrast(seen)
