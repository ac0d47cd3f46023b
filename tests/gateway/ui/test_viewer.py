"""The viewer in a real browser: series, scrolling, windows, zoom, loops, and objects without pictures."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect
from pydicom.dataset import Dataset

from tests.gateway.ui.conftest import Visit, Visitors, stow
from tests.gateway.ui.phantom import ct_torso, mr_head
from tests.parts.datasets import color, ct_slice, instance, multi_frame, report, uid
from tests.parts.fix_gateway import StartGateway
from tests.parts.gateway import GatewayProcess

SLICES = 12


@pytest.fixture(scope="module")
def archive(page_gateway: GatewayProcess) -> GatewayProcess:
    """A gateway with a study of several series, and a multi-frame one."""
    stow(
        page_gateway,
        [
            *ct_torso("viewer", slices=SLICES, size=96, PatientName="Phantom^Torso"),
            *mr_head("viewer", series=2, slices=3, size=64, PatientName="Phantom^Torso"),
            color("viewer", 3, PatientName="Phantom^Torso"),
            report("viewer", 8, PatientName="Phantom^Torso"),
            implant("viewer", 9),
            multi_frame("viewer-loop", frames=10),
            ct_slice("viewer-large", rows=2304, columns=512),
            ct_slice("viewer-plain", WindowCenter=None, WindowWidth=None),
        ],
    )
    return page_gateway


def implant(study: str, series: int) -> Dataset:
    """An object of a kind that is never a picture: a 3D model as a mesh (Encapsulated STL)."""
    ds = instance("1.2.840.10008.5.1.4.1.1.104.3", "M3D", study, series, PatientName="Phantom^Torso")
    ds.MIMETypeOfEncapsulatedDocument = "model/stl"
    ds.EncapsulatedDocument = bytes(84)
    return ds


@pytest.fixture
def torso(archive: GatewayProcess, visit: Visitors) -> Visit:
    """The study of several series, opened: the first slice of its CT series is on the screen."""
    here = visit(archive)
    here.open_series("viewer")
    return here


def windows_asked(visit: Visit) -> list[str]:
    return [parse_qs(urlsplit(url).query)["window"][0] for url in visit.asked("/rendered?window=")]


def open_series(visit: Visit, text: str) -> None:
    visit.page.locator(".card", has_text=text).click()


def test_a_study_shows_its_series_and_opens_the_first(torso: Visit) -> None:
    cards = torso.page.locator(".card")
    expect(cards).to_have_count(5)
    expect(cards.nth(0)).to_contain_text("12 images")
    expect(cards.nth(0)).to_have_attribute("aria-current", "true")
    expect(cards.nth(3)).to_contain_text("1 object")
    expect(cards.locator(".thumb img")).to_have_count(3)
    expect(cards.locator(".thumb.neutral")).to_have_count(2)
    expect(torso.page.locator(".corner.where")).to_contain_text("Image 1 of 12")
    expect(torso.page.get_by_role("heading", level=1)).to_contain_text("Phantom, Torso")


def test_wheel_keys_and_slider_go_through_the_slices(torso: Visit) -> None:
    first = torso.picture()
    torso.wheel(2)
    torso.wait_for_picture(3)
    third = torso.picture()
    assert third != first
    torso.page.keyboard.press("ArrowUp")
    torso.wait_for_picture(2)
    torso.page.keyboard.press("End")
    torso.wait_for_picture(SLICES)
    expect(torso.page.locator(".corner.where")).to_contain_text(f"Image {SLICES} of {SLICES}")
    torso.page.keyboard.press("Home")
    torso.wait_for_picture(1)
    assert torso.picture() == first
    torso.page.get_by_role("slider", name="Image").fill("3")
    torso.wait_for_picture(3)
    assert torso.picture() == third
    torso.page.keyboard.press("PageDown")
    torso.wait_for_picture(SLICES)


def wait_for_all(visit: Visit) -> None:
    """Until all slices have been fetched."""
    visit.page.wait_for_function(
        """(count) => performance.getEntriesByType("resource")
             .filter(({ name }) => name.includes("/rendered")).length >= count""",
        arg=SLICES,
    )


def test_neighbours_are_there_before_they_are_asked_for(torso: Visit) -> None:
    wait_for_all(torso)
    before = len(torso.asked("/rendered"))
    torso.wheel(SLICES - 1)
    torso.wait_for_picture(SLICES)
    assert len(torso.asked("/rendered")) == before == SLICES


def test_a_drag_changes_the_window(torso: Visit) -> None:
    before, dark = torso.picture(), torso.brightness()
    torso.drag(0, -90)  # upwards lowers the centre: brighter
    expect(torso.page.locator(".corner.how")).to_contain_text(re.compile(r"L -80 +W 400"))
    assert torso.picture() != before
    assert torso.brightness() > dark + 3
    assert windows_asked(torso)[-1] == "-80,400,linear"
    expect(torso.page.locator("#window-preset")).to_have_value("own")
    torso.drag(75, 0)  # to the right widens
    expect(torso.page.locator(".corner.how")).to_contain_text(re.compile(r"L -80 +W 500"))
    torso.page.get_by_role("button", name="Reset the view").click()
    expect(torso.page.locator(".corner.how")).to_contain_text(re.compile(r"L 40 +W 400"))
    assert torso.picture() == before


def test_presets_are_the_image_s_own_and_those_of_custom(torso: Visit) -> None:
    choice = torso.page.locator("#window-preset")
    expect(choice.locator("option")).to_contain_text(
        ["Window as stored", "Soft tissue (L 40, W 400)", "Lung (L -600, W 1500)", "Bone", "Brain"]
    )
    before = torso.picture()
    choice.select_option(label="Lung (L -600, W 1500)")
    expect(torso.page.locator(".corner.how")).to_contain_text("L -600")
    assert torso.picture() != before
    torso.screen.focus()
    torso.page.keyboard.press("3")
    expect(torso.page.locator(".corner.how")).to_contain_text("W 2500")
    torso.page.keyboard.press("0")
    assert torso.picture() == before
    # The window stays while one scrolls.
    torso.page.keyboard.press("2")
    torso.page.keyboard.press("ArrowDown")
    torso.wait_for_picture(2)
    expect(torso.page.locator(".corner.how")).to_contain_text("L -600")
    assert "-600,1500,linear" in windows_asked(torso)


def test_a_window_is_found_by_dragging_where_the_image_has_none(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive)
    here.open_series("viewer-plain")
    expect(here.page.locator(".edge.left")).to_have_text("R")  # its attributes are there
    # What it is shown in, as the gateway says: from its lowest to its highest value.
    expect(here.page.locator(".corner.how")).to_have_text(re.compile(r"^L [\d.-]+ +W [\d.]+ +full range *100 %$"))
    before = here.picture()
    here.drag(30, 60)
    assert here.picture() != before
    assert len(windows_asked(here)) >= 1


def test_zoom_pan_and_invert_need_no_new_picture(torso: Visit) -> None:
    wait_for_all(torso)
    fetched, fitted = len(torso.asked("/rendered")), torso.picture()
    torso.page.keyboard.down("Control")
    torso.wheel(-3)
    torso.page.keyboard.up("Control")
    expect(torso.page.locator(".corner.how")).not_to_contain_text("100 %")
    zoomed = torso.picture()
    assert zoomed != fitted
    torso.page.get_by_label("Pan", exact=True).check(force=True)
    torso.drag(80, 40)
    panned = torso.picture()
    assert panned not in {fitted, zoomed}
    torso.page.keyboard.press("i")
    assert torso.picture() != panned
    torso.page.get_by_role("button", name="Reset the view").click()
    assert torso.picture() == fitted
    torso.drag(0, -60, button="right")
    assert torso.picture() != fitted
    torso.page.keyboard.press("f")
    assert torso.picture() == fitted
    assert len(torso.asked("/rendered")) == fetched


def test_a_large_picture_comes_in_full_once_one_looks_closely(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive)
    here.open_series("viewer-large")
    assert len(here.asked("/rendered?viewport=2048%2C2048")) == 1
    assert here.asked("/rendered") == here.asked("/rendered?viewport")
    before = here.picture()
    with here.page.expect_response(lambda answer: answer.url.endswith("/rendered")) as full:
        here.page.keyboard.down("Control")
        here.wheel(-12)
        here.page.keyboard.up("Control")
    assert full.value.status == 200
    assert here.picture() != before


def test_a_gateway_that_went_away_is_reported_and_tried_again(
    start_gateway: StartGateway, tmp_path: Path, visit: Visitors
) -> None:
    gateway = start_gateway(data=tmp_path / "away")
    stow(gateway, ct_torso("away", slices=2, size=64))
    here = visit(gateway)
    here.open_series("away")
    expect(here.page.locator("#window-preset option").nth(2)).to_contain_text("Lung")
    gateway.kill()
    here.expected = {0}
    here.page.locator("#window-preset").select_option(index=2)
    expect(here.page.locator(".instead")).to_contain_text("The gateway does not answer.")
    port = str(urlsplit(gateway.http_url).port)
    start_gateway(data=tmp_path / "away", arguments=["--http", f"127.0.0.1:{port}"])
    here.page.get_by_role("button", name="Try again").click()
    expect(here.page.locator(".instead")).to_be_hidden()
    here.wait_for_picture(1)


def test_series_are_changed_by_keys_and_by_their_cards(torso: Visit) -> None:
    ct = torso.picture()
    torso.page.keyboard.press("]")
    expect(torso.page.locator(".corner.where")).to_contain_text("of 3")
    assert torso.picture() != ct
    open_series(torso, "12 images")
    expect(torso.page.locator(".corner.where")).to_contain_text(f"Image 1 of {SLICES}")
    assert torso.picture() == ct
    torso.page.keyboard.press("Escape")
    expect(torso.page.locator(".row").first).to_be_visible()


def test_directions_in_the_patient_are_named_at_the_edges(torso: Visit) -> None:
    for side, letter in {"left": "R", "right": "L", "top": "A", "bottom": "P"}.items():
        expect(torso.page.locator(f".edge.{side}")).to_have_text(letter)


def test_colour_has_no_window(torso: Visit) -> None:
    open_series(torso, "Series 3")
    torso.wait_for_picture(1)
    expect(torso.page.locator("#window-preset")).to_be_disabled()
    torso.drag(50, 50)
    assert torso.picture()
    assert windows_asked(torso) == []


def test_what_has_no_picture_says_what_it_is_and_can_be_downloaded(torso: Visit) -> None:
    torso.expected = {404, 406}
    open_series(torso, "Series 9")
    expect(torso.page.locator(".instead .title")).to_have_text("3D model")
    expect(torso.page.locator(".instead")).to_contain_text("This object has no picture.")
    with torso.page.expect_download() as download:
        torso.page.get_by_role("button", name="Download it").click()
    assert download.value.suggested_filename.endswith(".dcm")
    assert download.value.path().read_bytes()[128:132] == b"DICM"


def test_a_multi_frame_object_plays(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive)
    here.open_series("viewer-loop")
    expect(here.page.locator(".corner.where")).to_contain_text("frame 1 of 10")
    expect(here.page.get_by_label("Speed")).to_have_value("25")  # from the Frame Time of 40 ms
    here.page.get_by_role("button", name="Play").click()
    here.page.wait_for_function(
        """() => {
             const seen = (window.seen ??= new Set());
             seen.add(document.querySelector(".screen").dataset.shown);
             return seen.size === 10;
           }""",
        polling="raf",
    )
    here.page.get_by_role("button", name="Stop").click()
    assert len(set(here.asked("/frames/"))) == 10
    place = here.page.locator(".corner.where").text_content()
    here.page.wait_for_timeout(200)
    assert here.page.locator(".corner.where").text_content() == place


def test_a_finger_scrolls_and_two_zoom_on_a_phone(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive, phone=True)
    here.open_series("viewer")
    assert here.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    touch = here.page.context.new_cdp_session(here.page)
    x, y = here.middle()

    def send(kind: str, *points: tuple[float, float]) -> None:
        fingers = [{"x": at[0], "y": at[1], "id": number} for number, at in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    send("touchStart", (x, y))
    for moved in range(10, 61, 10):
        send("touchMove", (x, y + moved))
    send("touchEnd")
    here.wait_for_picture(5)
    before = here.picture()
    send("touchStart", (x - 20, y), (x + 20, y))
    for moved in range(25, 80, 10):
        send("touchMove", (x - moved, y), (x + moved, y))
    send("touchEnd")
    expect(here.page.locator(".corner.how")).not_to_contain_text("100 %")
    assert here.picture() != before
    here.wait_for_picture(5)


def test_an_address_leads_straight_to_a_series(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive)
    here.open(f"#/studies/{uid('study', 'viewer')}/series/{uid('series', 'viewer', 2)}")
    here.wait_for_picture(1)
    expect(here.page.locator(".corner.where")).to_contain_text("Image 1 of 3")
    here.open(f"#/studies/{uid('study', 'nobody')}")
    expect(here.page.get_by_text("This study is not in the archive")).to_be_visible()


def test_the_keys_are_told(torso: Visit) -> None:
    torso.page.get_by_role("button", name="Keys and gestures").click()
    box = torso.page.get_by_role("dialog", name="Keys and gestures")
    expect(box).to_contain_text("next and previous image")
    torso.page.keyboard.press("ArrowDown")  # belongs to the box while it is open
    torso.page.keyboard.press("Escape")
    expect(box).to_have_count(0)
    expect(torso.screen).to_have_attribute("data-shown", "1")
