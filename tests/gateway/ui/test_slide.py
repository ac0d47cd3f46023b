"""Whole-slide images in a real browser: which tiles are fetched, that they are put together right, and what it costs.

`GANTRY_TEST_SLIDE=100000x80000` makes the large slide of that size; without, it is smaller.
"""

from __future__ import annotations

import os
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from gateway.render.profiles import well_known
from tests.gateway.ui.conftest import Visit, Visitors, stow
from tests.gateway.ui.slides import GREEN, JPEG, MARK, concatenation, fluorescence, layered, slide
from tests.parts import once
from tests.parts.datasets import uid
from tests.parts.gateway import GatewayProcess

LARGE = tuple(int(side) for side in os.environ.get("GANTRY_TEST_SLIDE", "16000x12800").split("x"))
MIB = 1 << 20
TIMES = "\N{MULTIPLICATION SIGN}"

COLOUR = """([x, y]) => new Promise((resolve) => requestAnimationFrame(() => {
  const shown = document.querySelector(".openseadragon-canvas canvas");
  const copy = new OffscreenCanvas(1, 1).getContext("2d");
  copy.drawImage(shown, Math.round(x * shown.width), Math.round(y * shown.height), 1, 1, 0, 0, 1, 1);
  resolve([...copy.getImageData(0, 0, 1, 1).data].slice(0, 3));
}))"""


@pytest.fixture(scope="module")
def archive(page_gateway: GatewayProcess) -> GatewayProcess:
    """A gateway with a TILED_FULL and a TILED_SPARSE slide, both with levels whose last tiles are padded."""
    stow(page_gateway, slide("full", 2000, 1600, tile=256, PatientName="Phantom^Full"), syntax=JPEG)
    # Only the left half of the glass was scanned.
    sparse = slide(
        "sparse", 2000, 1600, tile=256, factor=4, sparse=lambda column, row: column < 4, PatientName="Phantom^Sparse"
    )
    stow(page_gateway, sparse, syntax=JPEG)
    return page_gateway


def open_slide(visit: Visit, study: str) -> None:
    visit.open(f"#/studies/{uid('study', study)}")
    expect(visit.page.locator(".slide .screen[data-shown]")).to_be_visible()


def frames(visit: Visit, study: str, number: int = 1) -> list[int]:
    """The frames that were asked for of one instance so far."""
    part = f"{uid('instance', study, 1, number, '1.2.840.10008.5.1.4.1.1.77.1.6')}/frames/"
    return [int(re.split(r"/frames/", url)[1].split("/")[0]) for url in visit.asked(part)]


def colour(visit: Visit, x: float, y: float) -> tuple[int, int, int]:
    """What is drawn at a place of the screen, in parts of its width and height."""
    red, green, blue = visit.page.evaluate(COLOUR, [x, y])
    return red, green, blue


def near(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) < 40


def wait_for_colour(visit: Visit, x: float, y: float, wanted: tuple[int, int, int]) -> None:
    """Until that is drawn there, tiles having arrived and the picture being at rest."""
    found = (0, 0, 0)
    for _ in range(100):
        found = colour(visit, x, y)
        if near(found, wanted):
            return
        visit.page.wait_for_timeout(100)
    raise AssertionError(f"at {x}, {y} there is {found}, not {wanted}")


def mark(visit: Visit, columns: int, rows: int) -> tuple[float, float]:
    """Where on the screen the mark is while the whole slide is shown, in parts of its width and height."""
    box = visit.page.locator(".slide .screen").bounding_box()
    assert box is not None
    scale = min(box["width"] / columns, box["height"] / rows)
    x = (box["width"] - columns * scale) / 2 + MARK[0] * columns * scale
    y = (box["height"] - rows * scale) / 2 + MARK[1] * rows * scale
    return x / box["width"], y / box["height"]


def zoom_at(visit: Visit, x: float, y: float, notches: int) -> None:
    """Turn the wheel away from the user over a place of the screen."""
    box = visit.page.locator(".slide .screen").bounding_box()
    assert box is not None
    visit.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    for _ in range(notches):
        visit.page.mouse.wheel(0, -100)
        visit.page.wait_for_timeout(60)


def test_a_slide_opens_whole_and_zooms_to_its_pixels(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive)
    open_slide(here, "full")
    how = here.page.locator(".slide .corner.how")
    expect(how).to_contain_text("Level")
    x, y = mark(here, 2000, 1600)
    wait_for_colour(here, x, y, GREEN)
    assert not near(colour(here, x + 0.04, y), GREEN)
    before = len(frames(here, "full", 1))
    zoom_at(here, x, y, 12)
    expect(how).to_contain_text(f"Level 3 of 3, 2,000 {TIMES} 1,600")
    wait_for_colour(here, x, y, GREEN)  # the same place, from tiles of another level
    fetched = frames(here, "full", 1)
    assert len(fetched) > before
    # The frame that holds the mark in TILED_FULL: rows of 8 tiles, from 1.
    assert int(MARK[1] * 1600) // 256 * 8 + int(MARK[0] * 2000) // 256 + 1 in fetched
    assert len(set(fetched)) == len(fetched)
    # Baseline JPEG is shown as it is stored; nothing is decoded and encoded again for it.
    assert here.asked("/rendered?") == []
    assert all(not url.endswith("/rendered") for url in here.asked("/frames/"))


def test_the_tiles_of_a_sparse_slide_are_found_by_their_positions(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive)
    open_slide(here, "sparse")
    # All of the smallest level was kept by then: it has few columns. Zoomed in, what was scanned is sharp.
    here.page.get_by_label("Magnification").select_option(label=f"40{TIMES}")
    expect(here.page.locator(".slide .corner.how")).to_contain_text("Level 3 of 3")
    for _ in range(3):
        here.page.keyboard.press("ArrowLeft")
    here.page.wait_for_function(
        """(part) => performance.getEntriesByType("resource").filter(({ name }) => name.includes(part)).length > 3""",
        arg=uid("instance", "sparse", 1, 1, "1.2.840.10008.5.1.4.1.1.77.1.6"),
    )
    asked = frames(here, "sparse", 1)
    # Four of eight columns in seven rows, stored backwards.
    assert asked
    assert max(asked) <= 28
    answers = [once.get(url).status_code for url in here.asked("/frames/")]
    assert set(answers) == {200}


RED, BLUE, ORANGE, TEAL = (200, 40, 40), (40, 60, 200), (230, 150, 40), (30, 150, 150)
CHANNELS = ((RED, ORANGE), (BLUE, TEAL))


@pytest.mark.parametrize("sparse", [False, True])
def test_channels_and_focal_planes_are_chosen_from_a_list(
    archive: GatewayProcess, visit: Visitors, sparse: bool
) -> None:
    """IMG-18, PS3.3 C.7.6.17.3: frames by optical path, then by focal plane; a place stays where it was."""
    study = "depths" if sparse else "layers"
    stow(archive, [layered(study, 1, CHANNELS, sparse=sparse)], syntax=JPEG)
    here = visit(archive)
    open_slide(here, study)
    choice = here.page.get_by_label("Channel or focal plane")
    names = [f"Stain {path}, Focal plane {plane}" for path in "AB" for plane in (1, 2)]
    # Of TILED_SPARSE the planes come in the order of their depths, the channels in that of their definition.
    expect(choice.locator("option")).to_have_text(names)
    for name, wanted in zip(names, (RED, ORANGE, BLUE, TEAL), strict=True):
        choice.select_option(label=name)
        wait_for_colour(here, 0.5, 0.5, wanted)
    here.page.get_by_label("Magnification").select_option(label=f"40{TIMES}")
    how = here.page.locator(".slide .corner.how")
    expect(how).to_contain_text(f"40{TIMES}   0.25 µm / pixel")
    choice.select_option(label=names[0])
    wait_for_colour(here, 0.5, 0.5, RED)
    expect(how).to_contain_text(f"40{TIMES}   0.25 µm / pixel")
    answers = {once.get(url).status_code for url in here.asked("/frames/")}
    assert answers == {200}


def test_channels_in_instances_of_their_own_are_shown_each_in_one_range(
    archive: GatewayProcess, visit: Visitors
) -> None:
    """IMG-18: greys without a window are those of all their bits, or each tile would have another brightness."""
    levels = (40_000, 40_000, 10_000, 60_000)
    channels = [fluorescence("glow", 1, "DAPI", levels), fluorescence("glow", 2, "FITC", levels[::-1])]
    stow(archive, channels)
    here = visit(archive)
    open_slide(here, "glow")
    choice = here.page.get_by_label("Channel or focal plane")
    expect(choice.locator("option")).to_have_text(["DAPI", "FITC"])
    box = here.page.locator(".slide .screen").bounding_box()
    assert box is not None
    off = box["height"] / box["width"] / 4  # the slide is a square in the middle
    corners = [(0.5 - off, 0.25), (0.5 + off, 0.25), (0.5 - off, 0.75), (0.5 + off, 0.75)]
    for name, wanted in (("DAPI", levels), ("FITC", levels[::-1])):
        choice.select_option(label=name)
        for place, level in zip(corners, wanted, strict=True):
            grey = round(level / 65_535 * 255)
            wait_for_colour(here, *place, (grey, grey, grey))
    assert all(
        "window=32768%2C65536%2Clinear" in url or "window=32768,65536,linear" in url for url in here.asked("/frames/")
    )


def test_the_parts_of_a_concatenation_are_one_level(archive: GatewayProcess, visit: Visitors) -> None:
    """IMG-18, PS3.3 C.7.6.16.2.2.4: each frame lies where its offset in the whole says."""
    stow(archive, concatenation("parts", 1), syntax=JPEG)
    here = visit(archive)
    open_slide(here, "parts")
    expect(here.page.get_by_label("Channel or focal plane")).to_be_hidden()
    expect(here.page.locator(".slide .corner.how")).to_contain_text(f"Level 1 of 1, 1,024 {TIMES} 512")
    box = here.page.locator(".slide .screen").bounding_box()
    assert box is not None
    high = box["width"] / 2 / box["height"]  # it fills the width, unless the screen is lower than it
    wide = 1.0
    if high > 1:
        wide, high = 1 / high, 1.0
    for at in range(8):
        x = 0.5 + wide * ((at % 4 + 0.5) / 4 - 0.5)
        y = 0.5 + high * ((at // 4 + 0.5) / 2 - 0.5)
        wait_for_colour(here, x, y, (40 + 25 * at, 200 - 20 * at, 90))
    assert len({url.rpartition("/instances/")[2].partition("/")[0] for url in here.asked("/frames/")}) == 2


def test_each_optical_path_has_a_picture_in_its_own_profile(archive: GatewayProcess) -> None:
    """IMG-19, RP-06: a frame is given with the profile of its optical path."""
    adobe, romm = (well_known(name) for name in ("adobergb", "rommrgb"))
    ds = layered("profiles", 1, ((RED,), (BLUE,)), profiles=(adobe, romm))
    stow(archive, [ds], syntax=JPEG)
    instance = f"{archive.dicomweb_url}/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances"
    for frame, profile, colour in ((1, adobe, RED), (4, adobe, RED), (5, romm, BLUE), (8, romm, BLUE)):
        answer = once.get(
            f"{instance}/{ds.SOPInstanceUID}/frames/{frame}/rendered?iccprofile=yes", headers={"Accept": "image/png"}
        )
        assert answer.status_code == 200, answer.text
        with Image.open(BytesIO(answer.content)) as picture:
            assert picture.info["icc_profile"] == profile
            red, green, blue = np.asarray(picture.convert("RGB"))[100, 100].tolist()
        assert near((red, green, blue), colour)


def test_magnification_scale_and_turns(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive)
    open_slide(here, "full")
    how, bar = here.page.locator(".slide .corner.how"), here.page.locator(".slide .scale")
    expect(bar).to_contain_text("µm")
    here.page.get_by_label("Magnification").select_option(label=f"20{TIMES}")
    expect(how).to_contain_text(f"20{TIMES}   0.5 µm / pixel")
    expect(bar).to_have_text("100 µm")
    box = here.page.locator(".slide .scale-length").bounding_box()
    assert box is not None
    assert box["width"] * 0.5 == pytest.approx(100, abs=1.5)
    here.page.keyboard.press("-")
    expect(how).to_contain_text(f"13{TIMES}")
    here.page.keyboard.press("f")
    x, y = mark(here, 2000, 1600)
    wait_for_colour(here, x, y, GREEN)
    here.page.keyboard.press("h")
    wait_for_colour(here, 1 - x, y, GREEN)
    here.page.keyboard.press("t")
    here.page.keyboard.press("t")
    wait_for_colour(here, x, 1 - y, GREEN)
    here.page.get_by_role("button", name="The whole slide").click()
    wait_for_colour(here, x, y, GREEN)


def test_label_and_overview_are_beside_the_slide(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive)
    open_slide(here, "full")
    expect(here.page.get_by_role("img", name="Label of the slide")).to_have_count(0)
    here.page.get_by_role("button", name="Label and overview").click()
    for name in ("Label", "Overview"):
        expect(here.page.get_by_role("img", name=f"{name} of the slide")).to_be_visible()
    here.page.keyboard.press("l")
    expect(here.page.get_by_role("img", name="Label of the slide")).to_be_hidden()
    here.page.keyboard.press("Escape")
    expect(here.page.locator(".row").first).to_be_visible()


def test_two_fingers_zoom_a_slide_on_a_phone(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive, phone=True)
    open_slide(here, "full")
    assert here.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    how = here.page.locator(".slide .corner.how")
    before = how.text_content() or ""
    touch = here.page.context.new_cdp_session(here.page)
    for kind, apart in (("touchStart", 20), *(("touchMove", apart) for apart in range(30, 150, 10)), ("touchEnd", 0)):
        fingers = [{"x": 195 + side * apart, "y": 500, "id": side} for side in (-1, 1)] if apart else []
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})
    expect(how).not_to_have_text(before)


def test_a_large_slide_opens_and_pans_with_the_gateway_s_memory_flat(
    gateway_process: GatewayProcess, visit: Visitors
) -> None:
    columns, rows = LARGE
    for level in slide("large", columns, rows, PatientName="Phantom^Large"):
        stow(gateway_process, [level], syntax=JPEG)
    here = visit(gateway_process)
    open_slide(here, "large")
    x, y = mark(here, columns, rows)
    wait_for_colour(here, x, y, GREEN)
    gateway_process.forget_peak()
    before = gateway_process.rss()
    here.page.get_by_label("Magnification").select_option(label=f"40{TIMES}")
    expect(here.page.locator(".slide .corner.how")).to_contain_text(f"40{TIMES}")
    asked = len(here.asked("/frames/"))
    for at in range(24):
        here.page.keyboard.press(("ArrowRight", "ArrowDown", "ArrowRight", "ArrowUp")[at // 6])
        here.page.wait_for_timeout(60)
    here.page.wait_for_function(
        """(count) => performance.getEntriesByType("resource")
             .filter(({ name }) => name.includes("/frames/")).length >= count""",
        arg=asked + 10,
    )
    grown = (gateway_process.peak_rss() - before) / MIB
    print(f"{columns} x {rows}: {len(here.asked('/frames/')) - asked} tiles, {grown:.1f} MiB more memory")
    assert grown < 96  # decoders among it; the slide itself has gigabytes
