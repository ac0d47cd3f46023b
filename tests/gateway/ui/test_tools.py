"""The viewer's tools in a real browser: distances and scale, turning and flipping, keys for what is dragged."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.gateway.ui.conftest import Visit, Visitors, stow
from tests.gateway.ui.phantom import ct_torso, dx_chest, us_heart
from tests.parts.datasets import ct_slice, sequence_item
from tests.parts.gateway import GatewayProcess


@pytest.fixture(scope="module")
def archive(page_gateway: GatewayProcess) -> GatewayProcess:
    """A gateway with images whose pixels are spaced in the ways that there are."""
    region = sequence_item(
        RegionSpatialFormat=1,
        RegionDataType=1,
        RegionFlags=0,
        RegionLocationMinX0=0,
        RegionLocationMinY0=0,
        RegionLocationMaxX1=127,
        RegionLocationMaxY1=127,
        PhysicalUnitsXDirection=3,
        PhysicalUnitsYDirection=3,
        PhysicalDeltaX=0.1,
        PhysicalDeltaY=0.1,
    )
    stow(
        page_gateway,
        [
            *ct_torso("tools", slices=3, size=128),
            dx_chest("tools-chest", size=256, ImagerPixelSpacing=[1.5, 1.5], PixelSpacing=None),
            us_heart("tools-heart", frames=2, size=128, SequenceOfUltrasoundRegions=[region]),
            ct_slice("tools-bare", PixelSpacing=None),
        ],
    )
    return page_gateway


@pytest.fixture
def torso(archive: GatewayProcess, visit: Visitors) -> Visit:
    """A CT series, opened."""
    here = visit(archive)
    here.open_series("tools")
    return here


def lines(visit: Visit) -> Locator:
    return visit.page.locator(".lines text")


def edges(visit: Visit) -> str:
    """The letters at the left, top, right and bottom of the screen."""
    return "".join(visit.page.locator(f".edge.{side}").inner_text() for side in ("left", "top", "right", "bottom"))


def measure(visit: Visit, right: float, down: float) -> str:
    """Draw a line from the middle of the screen; what is written beside it."""
    before = lines(visit).count()
    visit.page.keyboard.press("m")
    visit.drag(right, down)
    expect(lines(visit)).to_have_count(before + 1)
    return lines(visit).last.text_content() or ""


def canvas_height(visit: Visit) -> float:
    box = visit.screen.bounding_box()
    assert box is not None
    return box["height"]


def test_a_distance_is_measured_in_the_patient_whatever_the_view(torso: Visit) -> None:
    expect(torso.page.locator(".scale")).to_be_visible()  # the spacing of the pixels is known now
    # 128 rows of 3.125 mm fill the height of the screen.
    expected = 400 * 150 / canvas_height(torso)
    text = measure(torso, 0, 150)
    assert float(text.removesuffix(" mm")) == pytest.approx(expected, abs=0.6)
    torso.page.keyboard.press("t")
    torso.page.keyboard.press("h")
    torso.page.keyboard.press("+")
    assert lines(torso).text_content() == text
    # It belongs to its slice.
    torso.page.keyboard.press("ArrowDown")
    torso.wait_for_picture(2)
    expect(lines(torso)).to_have_count(0)
    torso.page.keyboard.press("ArrowUp")
    torso.wait_for_picture(1)
    expect(lines(torso)).to_have_text(text)
    torso.page.get_by_role("button", name="Remove the measurements").click()
    expect(lines(torso)).to_have_count(0)
    expect(torso.page.get_by_role("button", name="Remove the measurements")).to_be_hidden()


def test_a_distance_is_measured_by_keys_alone(torso: Visit) -> None:
    """WCAG 2.1.1: Enter shows a point, arrows move it, Enter sets one end and the other; what came of it is told."""
    expect(torso.page.locator(".scale")).to_be_visible()
    told = torso.screen.get_by_role("status")
    caret = torso.page.locator(".lines .caret")
    torso.page.keyboard.press("Enter")
    expect(caret).to_have_count(0)  # of another tool
    torso.page.keyboard.press("m")
    torso.screen.focus()
    torso.page.keyboard.press("Enter")
    expect(caret).to_be_visible()
    expect(told).to_contain_text("Arrow keys move the point")
    for _ in range(3):
        torso.page.keyboard.press("ArrowUp")
    torso.page.keyboard.press("Enter")
    for key in ("ArrowDown",) * 15 + ("Shift+ArrowDown",) * 4:
        torso.page.keyboard.press(key)
    expect(lines(torso)).to_have_count(1)  # while it is drawn
    torso.page.keyboard.press("Enter")
    expect(told).to_have_text(re.compile(r"^Distance [\d.]+ mm$"))
    assert float((lines(torso).text_content() or "").removesuffix(" mm")) == pytest.approx(
        400 * 154 / canvas_height(torso), abs=0.6
    )
    torso.page.keyboard.press("Enter")
    torso.page.keyboard.press("ArrowRight")
    expect(lines(torso)).to_have_count(2)
    torso.page.keyboard.press("Escape")  # gives up the second line, and the point; the study stays
    expect(lines(torso)).to_have_count(1)
    expect(caret).to_have_count(0)
    torso.page.keyboard.press("ArrowDown")
    torso.wait_for_picture(2)
    torso.page.keyboard.press("?")
    expect(torso.page.get_by_role("dialog", name="Keys and gestures")).to_contain_text("while measuring")
    torso.page.keyboard.press("Escape")
    torso.page.keyboard.press("Escape")
    expect(torso.page.locator("#list-page")).to_be_visible()


def test_the_scale_bar_is_as_long_as_it_says(torso: Visit) -> None:
    name, bar = torso.page.locator(".scale span").nth(0), torso.page.locator(".scale-length")
    for press, says in (("f", "10 cm"), ("+", "10 cm"), ("+", "10 cm"), ("+", "5 cm")):
        torso.page.keyboard.press(press)
        expect(name).to_have_text(says)
    box = bar.bounding_box()
    assert box is not None
    millimetres_of_pixel = 400 / (canvas_height(torso) * 1.25**3)
    assert box["width"] * millimetres_of_pixel == pytest.approx(50, abs=1)


def test_turns_and_flips_move_the_letters_with_the_picture(torso: Visit) -> None:
    expect(torso.page.locator(".edge.left")).to_have_text("R")
    upright = torso.picture()
    seen = {}
    for keys in ("t", "tt", "ttt", "tttt", "h", "hh", "v", "hv", "th", "tv"):
        torso.page.keyboard.press("r")
        for key in keys:
            torso.page.keyboard.press(key)
        seen[keys] = (edges(torso), torso.picture())
    letters = {keys: found[0] for keys, found in seen.items()}
    # Left, top, right, bottom; turned to the right, what was at the left is on top.
    assert letters == {
        "t": "PRAL",
        "tt": "LPRA",
        "ttt": "ALPR",
        "tttt": "RALP",
        "h": "LARP",
        "hh": "RALP",
        "v": "RPLA",
        "hv": "LPRA",
        "th": "ARPL",
        "tv": "PLAR",
    }
    assert seen["tttt"][1] == seen["hh"][1] == upright
    assert len({picture for _, picture in seen.values()}) == 8  # hv is tt; tttt and hh are as it was
    torso.page.keyboard.press("r")
    torso.page.get_by_role("button", name="Turn to the right").click()
    assert edges(torso) == "PRAL"
    torso.page.get_by_role("button", name="Flip left and right").click()
    assert edges(torso) == "ARPL"
    torso.page.get_by_role("button", name="Reset the view").click()
    assert torso.picture() == upright


def test_keys_do_what_drags_do(torso: Visit) -> None:
    how = torso.page.locator(".corner.how")
    expect(how).to_contain_text("W 400")
    before = torso.picture()
    torso.page.keyboard.press("Shift+ArrowUp")
    torso.page.keyboard.press("Shift+ArrowRight")
    expect(how).to_contain_text(re.compile(r"L 27 +W 413"))
    torso.page.keyboard.press("0")
    assert torso.picture() == before
    torso.page.keyboard.press("Control+ArrowRight")
    assert torso.picture() != before
    torso.page.keyboard.press("f")
    assert torso.picture() == before
    for key, tool in {"s": "Scroll", "p": "Pan", "z": "Zoom", "m": "Measure", "w": "Window"}.items():
        torso.page.keyboard.press(key)
        expect(torso.page.get_by_label(tool, exact=True).first).to_be_checked()


@pytest.mark.parametrize(
    ("study", "pattern"),
    [
        ("tools-chest", r"[\d.]+ mm at the detector"),  # what is known is the size on the detector (PS3.3 10.7.1.3)
        ("tools-heart", r"[\d.]+ mm"),  # from the region's Physical Delta X and Y
        ("tools-bare", r"\d+ pixels"),
    ],
)
def test_a_distance_says_what_it_is_measured_in(
    archive: GatewayProcess, visit: Visitors, study: str, pattern: str
) -> None:
    here = visit(archive)
    here.open_series(study)
    here.page.wait_for_load_state("networkidle")
    assert measure(here, 0, 100)
    expect(lines(here)).to_have_text(re.compile(rf"^{pattern}$"))
    assert here.page.locator(".scale").is_visible() == (study != "tools-bare")


def test_on_a_phone_the_tools_fit_and_unfold(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive, phone=True)
    here.open_series("tools")
    turn = here.page.get_by_role("button", name="Turn to the right")
    expect(turn).to_be_hidden()
    here.page.get_by_role("button", name="More tools").tap()
    turn.tap()
    expect(here.page.locator(".edge.top")).to_have_text("R")
    assert here.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_bright_page_still_shows_pictures_on_black(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive, light=True)
    here.open_series("tools")
    background = "(element) => getComputedStyle(element).backgroundColor"
    assert here.page.locator("body").evaluate(background) == "rgb(242, 245, 247)"
    assert here.screen.evaluate(background) == "rgb(0, 0, 0)"
