"""OHIF in a real browser: a stored CT series is listed, opened and seen, from another origin than the gateway's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from tests.parts.datasets import series_of, uid, write_all
from tests.parts.fix_browser import artifact
from tests.parts.fix_gateway import StartGateway
from tests.parts.machine import need


def test_ohif_lists_opens_and_shows_a_ct_series(
    page: Page, serve_ohif: Callable[[str, int], str], viewer_port: int, start_gateway: StartGateway, tmp_path: Path
) -> None:
    gateway = start_gateway(environment={"GANTRY_CORS_ORIGINS": f"http://127.0.0.1:{viewer_port}"})
    paths = write_all(tmp_path, series_of(5, "ohif", rows=128, columns=128))
    store = [need("storescu", "dcmtk"), "-aec", gateway.aet, gateway.host, str(gateway.dimse_port), *map(str, paths)]
    subprocess.run(store, check=True, timeout=60, capture_output=True)
    viewer = serve_ohif(gateway.dicomweb_url, viewer_port)

    page.goto(viewer)
    expect(page.get_by_text("ID-ohif").first).to_be_visible(timeout=60_000)
    page.screenshot(path=artifact("ohif-study-list.png"))

    # Without the tour that OHIF shows to a newcomer, and dims the picture for.
    page.add_init_script("localStorage.setItem('shownTours', JSON.stringify(['basicViewerTour']))")
    page.goto(f"{viewer}/viewer?StudyInstanceUIDs={uid('study', 'ohif')}")
    canvas = page.locator("canvas.cornerstone-canvas").first
    canvas.wait_for(timeout=60_000)
    for _ in range(60):
        grey = np.asarray(Image.open(BytesIO(canvas.screenshot())).convert("L"), dtype=int)
        height, width = grey.shape
        disc, air = grey[height // 2, width // 2], grey[height // 2, width // 10]
        if disc > air + 50:
            break
        page.wait_for_timeout(500)
    page.screenshot(path=artifact("ohif-ct.png"))
    # The middle of the disc is soft tissue, which the window shows grey; beside it is air, which it shows black.
    assert disc > air + 50
