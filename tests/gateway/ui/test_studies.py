"""The list of studies in a real browser: what it shows, how it is searched, and what it says when there is nothing."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from tests.gateway.ui.conftest import Visit, Visitors, stow
from tests.gateway.ui.phantom import ct_torso
from tests.parts.datasets import ct_slice, mr_slice, report
from tests.parts.gateway import GatewayProcess


@pytest.fixture(scope="module")
def archive(module_gateway: GatewayProcess) -> GatewayProcess:
    """A gateway with four studies."""
    stow(
        module_gateway,
        [
            *ct_torso("torso", slices=3, size=64, PatientName="Phantom^Torso", StudyDate="20260301"),
            ct_slice("torso", 2),
            mr_slice("head", PatientName="Phantom^Head", PatientID="HEAD-7", StudyDate="20260302"),
            report("letter", PatientName="Röntgen^Wilhelm", AccessionNumber="X-1895", StudyDate="20260303"),
            ct_slice("kanji", PatientName="Yamada^Tarou=山田^太郎", StudyDate="20260304"),
        ],
    )
    return module_gateway


def rows(visit: Visit) -> Locator:
    return visit.page.locator(".row")


def test_a_study_is_one_row_with_its_picture_newest_first(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive)
    here.open()
    expect(rows(here)).to_have_count(4)
    expect(rows(here).locator("strong")).to_have_text(
        ["Yamada, Tarou (山田, 太郎)", "Röntgen, Wilhelm", "Phantom, Head", "Phantom, Torso"]
    )
    torso = rows(here).nth(3)
    expect(torso).to_contain_text("ID-torso")
    expect(torso).to_contain_text("Study torso")
    expect(torso).to_contain_text("Accession ACC-torso")
    expect(torso).to_contain_text("1 Mar 2026")
    expect(torso).to_contain_text("10:11")
    expect(torso).to_contain_text("4 images")
    expect(torso).to_contain_text("2 series")
    expect(torso.locator(".badge")).to_have_text(["CT"])
    expect(here.page.get_by_role("status").first).to_have_text("4 studies")
    thumbnail = torso.locator(".thumb img")
    expect(thumbnail).to_be_visible()
    assert thumbnail.evaluate("(image) => image.naturalWidth > 32")


def test_a_study_without_pictures_has_a_neutral_icon(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive)
    here.open()
    letter = rows(here).filter(has_text="Röntgen")
    expect(letter.locator(".thumb.neutral .icon")).to_be_visible()
    expect(letter.locator(".thumb")).to_have_attribute("title", "Structured report")


@pytest.mark.parametrize(
    ("label", "typed", "found"),
    [
        ("Patient name", "phantom", 2),
        ("Patient name", "torso phan", 1),  # given name first, and only a part of the family name
        ("Patient name", "Röntgen, Wil", 1),
        ("Patient name", "Ph?ntom*", 2),
        ("Patient ID", "EAD", 1),
        ("Accession", "x-18", 0),  # SH is matched with regard to case (PS3.4 C.2.2.2.1)
        ("Accession", "X-18", 1),
        ("Study date from", "2026-03-03", 2),
        ("to", "2026-03-01", 1),
    ],
)
def test_each_field_narrows_the_list(
    archive: GatewayProcess, visit: Visitors, label: str, typed: str, found: int
) -> None:
    here = visit(archive)
    here.open()
    expect(rows(here)).to_have_count(4)
    here.page.get_by_label(label, exact=True).fill(typed)
    expect(rows(here)).to_have_count(found)


def test_the_modality_is_chosen_from_a_list_and_the_search_is_cleared(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive)
    here.open()
    here.page.get_by_label("Modality").select_option("MR")
    expect(rows(here)).to_have_count(1)
    here.page.get_by_label("Patient name").fill("nobody")
    expect(here.page.get_by_role("heading", name="No study matches")).to_be_visible()
    here.page.get_by_role("button", name="Clear the search").click()
    expect(rows(here)).to_have_count(4)
    expect(here.page.get_by_label("Modality")).to_have_value("")


def test_what_is_searched_for_never_gets_into_the_address(archive: GatewayProcess, visit: Visitors) -> None:
    """A browser's history outlives the visit; it must not name patients."""
    here = visit(archive)
    here.open()
    here.page.get_by_label("Patient name").fill("Phantom")
    expect(rows(here)).to_have_count(2)
    rows(here).first.click()
    here.wait_for_picture(1)
    assert "hantom" not in here.page.url
    assert "hantom" not in here.page.title()


def test_the_list_is_as_it_was_when_one_comes_back(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive)
    here.open()
    here.page.get_by_label("Patient name").fill("torso")
    expect(rows(here)).to_have_count(1)
    here.open_study("Torso")
    here.page.go_back()
    expect(rows(here)).to_have_count(1)
    expect(here.page.get_by_label("Patient name")).to_have_value("torso")


def test_a_phone_shows_the_list_without_scrolling_sideways(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive, phone=True)
    here.open()
    expect(rows(here)).to_have_count(4)
    assert here.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    here.page.get_by_text("More filters").tap()
    here.page.get_by_label("Patient ID").fill("HEAD")
    expect(rows(here)).to_have_count(1)


def test_an_empty_archive_says_how_to_send_the_first_image_and_more_come_as_one_scrolls(
    gateway_process: GatewayProcess, visit: Visitors
) -> None:
    here = visit(gateway_process)
    here.open()
    expect(here.page.get_by_role("heading", name="No studies yet")).to_be_visible()
    command = f"storescu -aec {gateway_process.aet} +sd +r 127.0.0.1 {gateway_process.dimse_port} path/to/images"
    expect(here.page.get_by_text(command)).to_be_visible()
    expect(here.page.get_by_role("button", name="Choose files")).to_be_visible()
    # A gateway that is open to all asks for nothing.
    expect(here.page.get_by_role("button", name="Sign out")).to_be_hidden()
    expect(here.page.get_by_role("dialog")).to_have_count(0)
    stow(gateway_process, [report(f"many-{number:03}") for number in range(120)])
    here.page.reload()
    expect(here.page.get_by_text("50 studies of 120")).to_be_visible()
    expect(rows(here)).to_have_count(50)
    for count in (100, 120):
        rows(here).last.scroll_into_view_if_needed()
        here.page.locator("#list-page").hover()
        here.page.mouse.wheel(0, 10_000)
        expect(rows(here)).to_have_count(count)
    names = rows(here).locator("strong").all_text_contents()
    assert len(set(names)) == 120
