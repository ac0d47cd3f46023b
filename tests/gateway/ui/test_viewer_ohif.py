"""OHIF at `/viewer/`: installed while the gateway runs, opened from the page, with the token where one is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from gateway import ohif as installer
from tests.gateway.ui.conftest import Visitors, stow
from tests.gateway.ui.phantom import ct_torso
from tests.gateway.ui.test_signin import TOKEN, sign_in
from tests.parts import ohif, once
from tests.parts.datasets import uid
from tests.parts.fix_browser import artifact
from tests.parts.gateway import GatewayProcess
from tests.parts.machine import cannot_run


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that wants a token, with a CT study and with OHIF."""
    try:
        built = ohif.fetch()
    except ohif.NotFetched as error:
        cannot_run(str(error))
    data = tmp_path_factory.mktemp("viewer") / "data"
    with GatewayProcess(data, environment={"GANTRY_TOKEN": TOKEN}) as gateway:
        stow(gateway, ct_torso("ct", slices=8, size=128, PatientName="Phantom^Torso"), TOKEN)
        answer = once.get(f"{gateway.http_url}/viewer/")
        assert (answer.status_code, answer.json()["type"]) == (404, "urn:gantry:problem:no_viewer")
        installer.install(built, data)
        yield gateway


NO_TOUR = "localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))"
"""Without the tour that OHIF gives a newcomer, for which it dims everything else."""


def wait_for_contrast(page: Page) -> None:
    """Until a picture with dark and bright parts is in the viewport."""
    canvas = page.locator("canvas.cornerstone-canvas").first
    canvas.wait_for(timeout=60_000)
    for _ in range(120):
        grey = np.asarray(Image.open(BytesIO(canvas.screenshot())).convert("L"))
        height, width = grey.shape
        low, high = np.percentile(grey[height // 5 : -height // 5, width // 5 : -width // 5], (5, 95))
        if high - low > 80:
            return
        page.wait_for_timeout(500)
    raise AssertionError("there is no picture")


def test_ohif_is_opened_from_the_page_and_shows_the_study(gateway: GatewayProcess, visit: Visitors) -> None:
    here = visit(gateway)
    here.expected = {401}
    here.page.context.add_init_script(NO_TOUR)
    here.open()
    sign_in(here, TOKEN)
    here.open_study("Torso")
    here.page.get_by_role("button", name="Download and more").click()
    with here.page.context.expect_page() as opening:
        here.page.get_by_role("menuitem", name="Open in OHIF").click()
    viewer = opening.value
    statuses: list[tuple[int, str]] = []
    elsewhere: list[str] = []
    viewer.on("response", lambda answer: statuses.append((answer.status, answer.url)))
    viewer.on("request", lambda asked: None if asked.url.startswith(gateway.http_url) else elsewhere.append(asked.url))
    assert viewer.url == f"{gateway.http_url}/viewer/viewer?StudyInstanceUIDs={uid('study', 'ct')}"
    wait_for_contrast(viewer)
    viewer.screenshot(path=artifact("page-ohif.png"))
    assert [found for found in statuses if found[0] >= 400] == []
    assert [url for url in elsewhere if not url.startswith(("blob:", "data:"))] == []
    assert [url for _, url in statuses if "/frames/" in url]
    viewer.close()


def test_its_files_are_cached_and_come_with_a_policy(gateway: GatewayProcess) -> None:
    """S-60: nothing from other hosts, and the page's own policy is none the wider for it."""
    home = f"{gateway.http_url}/viewer/"
    deep = once.get(f"{home}viewer?StudyInstanceUIDs=1.2.3")
    assert (deep.status_code, deep.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = deep.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "'sha256-" in policy
    assert "http" not in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    assert "unsafe" not in once.get(gateway.http_url).headers["content-security-policy"]
    (bundle,) = Path(gateway.data / "viewer").glob("app.bundle.*.js")
    first = once.get(home + bundle.name)
    assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert once.get(home + bundle.name, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert once.head(home + "app-config.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert once.get(home + "none.js").status_code == 404
    assert once.get(home.rstrip("/"), follow_redirects=True).url == home


def test_without_ohif_the_menu_does_not_offer_it(gateway_process: GatewayProcess, visit: Visitors) -> None:
    stow(gateway_process, ct_torso("ct", slices=2, size=64))
    here = visit(gateway_process)
    here.open(f"#/studies/{uid('study', 'ct')}")
    here.wait_for_picture(1)
    here.page.get_by_role("button", name="Download and more").click()
    expect(here.page.get_by_role("menuitem").first).to_be_visible()
    expect(here.page.get_by_role("menuitem", name="Open in OHIF")).to_have_count(0)
