"""A picture of the page in every state, left with the artefacts for people to look at; `docs/images` holds copies."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect
from pydicom.dataset import Dataset

from tests.gateway.ui.conftest import Visit, Visitors, stow
from tests.gateway.ui.phantom import ct_torso, dx_chest, letter, mr_head, us_heart
from tests.gateway.ui.slides import JPEG, slide
from tests.gateway.ui.test_documents import finding, wait_for_the_browsers_viewer, waveform
from tests.gateway.ui.test_upload import choose
from tests.parts.datasets import ct_slice, part10_bytes, pdf, report
from tests.parts.fix_browser import artifact
from tests.parts.gateway import GatewayProcess


def described(name: str, number: int, day: str, description: str, series: str, sex: str = "O") -> dict[str, Any]:
    """What the page tells of a study and its series."""
    return {
        "PatientName": name,
        "PatientID": f"PH-{number:04}",
        "AccessionNumber": f"A-26-{1000 - 7 * number}",
        "PatientSex": sex,
        "StudyDate": f"2026{day}",
        "StudyDescription": description,
        "SeriesDescription": series,
    }


LETTER = letter(
    "Dear colleague,",
    "",
    "thank you for seeing this phantom, who complains of nothing.",
    "CT of chest and abdomen, portal venous phase, is asked for.",
    "",
    "With kind regards",
)


def written(study: str, series: int, **values: Any) -> Dataset:
    """A report of some findings."""
    findings = (
        "Lungs and airways: no consolidation, no nodule. Vessels as expected.",
        "Liver: enlarged to 19 cm, homogeneous. Spleen and kidneys unremarkable.",
        "Bones: ribs and spine as they were drawn. No fracture.",
    )
    return report(study, series, ContentSequence=[finding(words) for words in findings], **values)


@pytest.fixture(scope="module")
def clinic(module_gateway: GatewayProcess) -> GatewayProcess:
    """A gateway with six studies of phantoms that look like something."""
    torso = ("Phantom^Torso", 1, "1120", "CT chest and abdomen")
    head = ("Phantom^Head", 2, "1118", "MR head")
    stow(module_gateway, ct_torso("torso", slices=30, size=320, **described(*torso, "Portal venous 5 mm")))
    stow(module_gateway, ct_torso("torso", series=2, slices=6, size=128, **described(*torso, "Low dose localiser")))
    stow(module_gateway, [written("torso", 8, **described(*torso, "Report"))])
    stow(module_gateway, [pdf("torso", 9, document=LETTER, **described(*torso, "Referral letter"))])
    stow(module_gateway, mr_head("head", slices=12, **described(*head, "T1 axial", "F")))
    stow(module_gateway, [us_heart("heart", **described("Phantom^Heart", 3, "1102", "Echocardiography", "Loop"))])
    stow(module_gateway, [dx_chest("chest", **described("Phantom^Chest", 4, "1021", "Chest radiograph", "PA"))])
    biopsy = described("Phantom^Tissue", 5, "0930", "Biopsy", "H and E")
    stow(module_gateway, slide("slide", 20_000, 16_000, **biopsy), syntax=JPEG)
    leads = waveform("heart", 2)
    for keyword, value in described("Phantom^Heart", 3, "1102", "Echocardiography", "Twelve leads").items():
        setattr(leads, keyword, value)
    stow(module_gateway, [leads])
    stow(module_gateway, [report("note", **described("Phantom^Note", 6, "0911", "Reading without images", "Report"))])
    return module_gateway


def keep(visit: Visit, name: str) -> None:
    """Leave a picture of the window, thumbnails and all."""
    expect(visit.page.locator(".thumb:visible:empty")).to_have_count(0)
    visit.page.screenshot(path=artifact(f"page-{name}.png"))


def test_the_page_at_a_desk(clinic: GatewayProcess, visit: Visitors) -> None:
    here = visit(clinic)
    here.open()
    expect(here.page.locator(".row")).to_have_count(6)
    keep(here, "studies")
    here.page.get_by_label("Patient name").fill("nobody")
    expect(here.page.get_by_role("heading", name="No study matches")).to_be_visible()
    keep(here, "nothing-found")
    here.page.get_by_label("Patient name").fill("")
    here.open_study("Torso")
    here.page.get_by_role("slider", name="Image").fill("17")
    here.wait_for_picture(17)
    expect(here.page.locator(".edge.left")).to_have_text("R")
    keep(here, "viewer")
    here.page.locator("#window-preset").select_option(label="Lung (L -600, W 1500)")
    here.page.get_by_role("slider", name="Image").fill("11")
    here.wait_for_picture(11)
    here.page.mouse.move(*here.middle())
    here.page.keyboard.down("Control")
    here.page.mouse.wheel(0, -250)
    here.page.keyboard.up("Control")
    expect(here.page.locator(".corner.how")).to_contain_text("187 %")
    assert here.picture()
    keep(here, "lung-window")
    here.page.get_by_role("button", name="Reset the view").click()
    here.page.get_by_role("slider", name="Image").fill("17")
    here.wait_for_picture(17)
    here.page.keyboard.press("m")
    here.drag(-85, -25)
    here.page.mouse.move(*here.middle())
    here.page.keyboard.press("t")
    keep(here, "measured")
    here.page.keyboard.press("r")
    here.page.get_by_role("button", name="Download and more").click()
    keep(here, "menu")
    here.page.get_by_role("menuitem", name="Delete the study").click()
    keep(here, "delete")
    here.page.get_by_role("button", name="Keep it").click()
    here.page.get_by_role("button", name="Keys and gestures").click()
    keep(here, "keys")
    here.page.keyboard.press("Escape")
    here.page.locator(".card", has_text="Report").click()
    expect(here.page.frame_locator("iframe.report").locator("h1")).to_be_visible()
    keep(here, "report")
    here.page.locator(".card", has_text="Referral letter").click()
    wait_for_the_browsers_viewer(here)
    here.page.wait_for_timeout(1500)  # the browser's own viewer tells nobody when it has drawn
    keep(here, "letter")
    here.open()
    here.open_study("Heart")
    here.page.locator(".card", has_text="Twelve leads").click()
    expect(here.page.locator(".corner.where")).to_contain_text("Image 1 of 1")
    here.wait_for_picture(1)
    keep(here, "waveform")


def test_a_slide_at_a_desk(clinic: GatewayProcess, visit: Visitors) -> None:
    here = visit(clinic)
    here.open()
    here.page.locator(".row", has_text="Tissue").click()
    expect(here.page.locator(".slide .screen[data-shown]")).to_be_visible()
    keep(here, "slide")
    here.page.get_by_label("Magnification").select_option(index=4)
    for key in ("ArrowLeft",) * 5 + ("ArrowDown",) * 4:
        here.page.keyboard.press(key)
    here.page.get_by_role("button", name="Label and overview").click()
    expect(here.page.get_by_role("img", name="Overview of the slide")).to_be_visible()
    expect(here.page.locator(".slide .corner.how")).to_contain_text("10")
    here.page.wait_for_load_state("networkidle")
    here.page.wait_for_timeout(600)  # for the tiles to fade in
    keep(here, "slide-close")


def test_the_page_in_a_bright_room(clinic: GatewayProcess, visit: Visitors) -> None:
    here = visit(clinic, light=True)
    here.open()
    expect(here.page.locator(".row")).to_have_count(6)
    keep(here, "light-studies")
    here.open_study("Chest radiograph")
    expect(here.page.locator(".corner.how")).to_contain_text("W 3800")
    keep(here, "light-viewer")


def test_the_page_on_a_phone(clinic: GatewayProcess, visit: Visitors) -> None:
    here = visit(clinic, phone=True)
    here.open()
    expect(here.page.locator(".row")).to_have_count(6)
    keep(here, "phone-studies")
    here.open_study("Head")
    here.page.get_by_role("slider", name="Image").fill("6")
    here.wait_for_picture(6)
    keep(here, "phone-viewer")
    here.page.get_by_role("button", name="More tools").tap()
    keep(here, "phone-tools")
    here.open()
    here.page.locator(".row", has_text="Tissue").tap()
    expect(here.page.locator(".slide .screen[data-shown]")).to_be_visible()
    keep(here, "phone-slide")


def test_the_page_without_studies_and_after_an_upload(
    gateway_process: GatewayProcess, visit: Visitors, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here = visit(gateway_process)
    here.expected = {400, 409}
    here.open()
    expect(here.page.get_by_role("heading", name="No studies yet")).to_be_visible()
    keep(here, "no-studies")
    folder = tmp_path_factory.mktemp("files")
    image, text = folder / "IM0001.dcm", folder / "notes.txt"
    image.write_bytes(part10_bytes(ct_slice("picture", **described("Phantom^New", 7, "1122", "Just sent", "Axial"))))
    text.write_text("no DICOM")
    choose(here, [image, text])
    expect(here.page.get_by_role("region", name="Upload")).to_contain_text("1 file stored, 1 refused")
    expect(here.page.locator(".row")).to_have_count(1)
    keep(here, "uploaded")


def test_the_page_in_front_of_a_locked_gateway(tmp_path_factory: pytest.TempPathFactory, visit: Visitors) -> None:
    environment = {"GANTRY_TOKEN": "a-token-for-the-pictures"}
    with GatewayProcess(tmp_path_factory.mktemp("locked") / "data", environment=environment) as gateway:
        here = visit(gateway)
        here.expected = {401}
        here.open()
        expect(here.page.get_by_role("dialog", name="Sign in to Gantry")).to_be_visible()
        keep(here, "sign-in")
