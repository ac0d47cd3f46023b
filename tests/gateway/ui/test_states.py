"""The page in every state, at a desk, in a bright room and on a phone.

In each axe-core finds no fault that is serious or critical, and a picture of it is left with the artefacts for people
to look at; `docs/images` holds copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from pydicom.dataset import Dataset

from tests.gateway.ui.conftest import Visit, Visitors, stow
from tests.gateway.ui.phantom import ct_torso, dx_chest, letter, mr_head, us_heart
from tests.gateway.ui.slides import JPEG, slide
from tests.gateway.ui.test_documents import film_object, finding, wait_for_the_browsers_viewer, waveform
from tests.gateway.ui.test_signin import TOKEN, sign_in
from tests.gateway.ui.test_upload import choose
from tests.gateway.ui.test_viewer import implant
from tests.parts import axe
from tests.parts.datasets import change, ct_slice, part10_bytes, pdf, report, uid
from tests.parts.fix_browser import artifact
from tests.parts.gateway import GatewayProcess
from tests.parts.machine import cannot_run

FAULTS = """async (rules) => (await axe.run(document, { iframes: false, resultTypes: ["violations"], ...rules }))
  .violations.filter(({ impact }) => impact === "serious" || impact === "critical")
  .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`)"""
THUMBNAILS = """() => [...document.querySelectorAll(".thumb:empty")].every((thumb) => {
  const { top, left, height } = thumb.getBoundingClientRect();
  return height === 0 || top > innerHeight || left > innerWidth;
})"""
COLOURS = {"runOnly": ["color-contrast"]}
"""What may differ where only the colours do."""

LETTER = letter(
    "Dear colleague,",
    "",
    "thank you for seeing this phantom, who complains of nothing.",
    "CT of chest and abdomen, portal venous phase, is asked for.",
    "",
    "With kind regards",
)


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


TORSO = ("Phantom^Torso", 1, "1120", "CT chest and abdomen")


def written(study: str, series: int, **values: Any) -> Dataset:
    """A report of some findings."""
    findings = (
        "Lungs and airways: no consolidation, no nodule. Vessels as expected.",
        "Liver: enlarged to 19 cm, homogeneous. Spleen and kidneys unremarkable.",
        "Bones: ribs and spine as they were drawn. No fracture.",
    )
    return report(study, series, ContentSequence=[finding(words) for words in findings], **values)


@pytest.fixture(scope="module")
def script() -> str:
    """axe-core, to be run in the page."""
    try:
        return axe.fetch().read_text("utf-8")
    except axe.NotFetched as error:
        cannot_run(str(error))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that wants a token and hands out links."""
    environment = {"GANTRY_TOKEN": TOKEN, "GANTRY_API_KEYS": "true"}
    with GatewayProcess(tmp_path_factory.mktemp("states") / "data", environment=environment) as started:
        yield started


@pytest.fixture(scope="module")
def clinic(empty: GatewayProcess) -> GatewayProcess:
    """The same with studies of phantoms that look like something."""
    heart = ("Phantom^Heart", 3, "1102", "Echocardiography")
    stow(
        empty,
        [
            *ct_torso("torso", slices=12, size=320, **described(*TORSO, "Portal venous 5 mm")),
            *ct_torso("torso", series=2, slices=3, size=128, **described(*TORSO, "Low dose localiser")),
            written("torso", 8, **described(*TORSO, "Report")),
            pdf("torso", 9, document=LETTER, **described(*TORSO, "Referral letter")),
            change(implant("torso", 10), described(*TORSO, "Implant")),
            *mr_head("head", slices=6, **described("Phantom^Head", 2, "1118", "MR head", "T1 axial", "F")),
            us_heart("heart", frames=12, **described(*heart, "Loop")),
            change(waveform("heart", 2), described(*heart, "Twelve leads")),
            dx_chest("chest", **described("Phantom^Chest", 4, "1021", "Chest radiograph", "PA")),
            report("note", **described("Phantom^Note", 6, "0911", "Reading without images", "Report")),
        ],
        TOKEN,
    )
    stow(empty, [change(film_object("heart", 3), described(*heart, "Film"))], TOKEN, "1.2.840.10008.1.2.4.102")
    tissue = described("Phantom^Tissue", 5, "0930", "Biopsy", "H and E")
    stow(empty, slide("slide", 10_000, 8_000, **tissue), TOKEN, JPEG)
    return empty


@dataclass
class Look:
    """Looks at a window in one state after the other: a picture named after form and state, and a search for faults."""

    visit: Visit
    form: str
    script: str
    found: dict[str, list[str]] = field(default_factory=dict)

    def __call__(self, state: str, *, searched: bool = True) -> None:
        page = self.visit.page
        page.wait_for_function(THUMBNAILS)
        prefix = "" if self.form == "dark" else f"{self.form}-"
        page.screenshot(path=artifact(f"page-{prefix}{state}.png"), animations="disabled")
        if not searched:
            return
        if not page.evaluate("'axe' in window"):
            page.evaluate(self.script)
        if faults := page.evaluate(FAULTS, COLOURS if self.form == "light" else {}):
            self.found[state] = faults


def wait_for_paper(visit: Visit) -> None:
    """Until the browser's own viewer, which tells nobody, has drawn a page."""
    for _ in range(100):
        with Image.open(BytesIO(visit.screen.screenshot())) as shown:
            if np.asarray(shown.convert("L")).mean() > 80:
                return
        visit.page.wait_for_timeout(100)
    raise AssertionError("the document is not drawn")


def at(visit: Visit, study: str, series: int = 0) -> None:
    below = f"/series/{uid('series', study, series)}" if series else ""
    visit.open(f"#/studies/{uid('study', study)}{below}")


def test_before_anything_is_stored_and_after_the_first_upload(
    empty: GatewayProcess, visit: Visitors, script: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here = visit(empty)
    here.expected = {400, 401, 409}
    look = Look(here, "dark", script)
    here.open()
    expect(here.page.get_by_role("dialog", name="Sign in to Gantry")).to_be_visible()
    look("sign-in")
    sign_in(here, TOKEN)
    expect(here.page.get_by_role("heading", name="No studies yet")).to_be_visible()
    look("no-studies")
    here.page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    faults = here.page.evaluate(FAULTS, {})
    assert [fault.partition(":")[0] for fault in faults] == ["button-name"]  # it would be found
    here.page.reload()
    folder = tmp_path_factory.mktemp("files")
    image, text = folder / "IM0001.dcm", folder / "notes.txt"
    image.write_bytes(part10_bytes(ct_slice("picture", **described("Phantom^New", 7, "0122", "Just sent", "Axial"))))
    text.write_text("no DICOM")
    choose(here, [image, text])
    expect(here.page.get_by_role("region", name="Upload")).to_contain_text("1 file stored, 1 refused")
    expect(here.page.locator(".row")).to_have_count(1)
    look("uploaded")
    assert look.found == {}


@pytest.mark.parametrize("form", ["dark", "light", "phone"])
def test_every_state_of_the_page(clinic: GatewayProcess, visit: Visitors, script: str, form: str) -> None:
    phone, whole = form == "phone", form == "dark"
    here = visit(clinic, phone=phone, light=form == "light", whole=whole)
    here.expected = {401}
    page = here.page
    look = Look(here, form, script)
    here.open()
    sign_in(here, TOKEN)
    expect(page.locator(".row", has_text="Torso")).to_have_count(1)
    look("studies")
    page.get_by_label("Patient name").fill("nobody")
    expect(page.get_by_role("heading", name="No study matches")).to_be_visible()
    look("nothing-found")

    at(here, "torso")
    here.wait_for_picture(1)
    page.get_by_role("slider", name="Image").fill("7")
    here.wait_for_picture(7)
    expect(page.locator(".edge.left")).to_have_text("R")
    expect(page.locator(".scale")).to_be_visible()
    look("viewer")
    page.keyboard.press("m")
    here.drag(-85, -25)
    page.keyboard.press("t")
    look("measured")
    page.keyboard.press("r")
    if phone:
        page.get_by_role("button", name="More tools").click()
        look("tools")
        page.get_by_role("button", name="More tools").click()
    page.get_by_role("button", name="Download and more").click()
    look("menu")
    page.get_by_role("menuitem", name="Delete the study").click()
    look("delete")
    page.get_by_role("button", name="Keep it").click()
    page.get_by_role("button", name="Share the study").click()
    box = page.get_by_role("dialog", name="Share this study")
    box.get_by_label("For whom").fill("Dr Jones, City Hospital")
    look("share-form")
    box.get_by_role("button", name="Make the link").click()
    ready = page.get_by_role("dialog", name="The link is ready")
    code = ready.get_by_role("img", name="QR code of the link")
    expect(code).to_be_visible()
    code.evaluate("(image) => image.decode()")
    look("share")
    ready.get_by_role("button", name="Done").click()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys and gestures")).to_be_visible()
    look("keys")
    page.keyboard.press("Escape")

    at(here, "torso", 8)
    expect(page.frame_locator("iframe.report").locator("h1")).to_be_visible()
    look("report")
    if phone:
        at(here, "torso", 9)
        expect(page.locator(".pages canvas[data-drawn]")).to_have_count(1)
        look("letter")
    elif whole:  # only that has a viewer of its own, which looks the same in the light
        at(here, "torso", 9)
        wait_for_the_browsers_viewer(here)
        wait_for_paper(here)
        look("letter")
    here.expected = {401, 404, 406}
    at(here, "torso", 10)
    expect(page.locator(".instead .title")).to_have_text("3D model")
    look("no-picture")
    at(here, "heart", 2)
    here.wait_for_picture(1)
    look("waveform")
    at(here, "heart", 3)
    page.wait_for_function("() => (document.querySelector('video.film')?.readyState ?? 0) >= 4")
    if form == "dark":
        page.wait_for_timeout(800)  # its sign for loading goes when it likes
    look("film")
    at(here, "nobody")
    expect(page.get_by_text("This study is not in the archive")).to_be_visible()
    look("no-such-study")

    at(here, "slide")
    expect(page.locator(".slide .screen[data-shown]")).to_be_visible()
    look("slide")
    page.get_by_label("Magnification").select_option(index=4)
    for key in ("ArrowLeft",) * 5 + ("ArrowDown",) * 4:
        page.keyboard.press(key)
    page.get_by_role("button", name="Label and overview").click()
    expect(page.get_by_role("img", name="Overview of the slide")).to_be_visible()
    expect(page.locator(".slide .corner.how")).to_contain_text("10")
    look("slide-close")
    assert look.found == {}


def test_pictures_of_windows_and_radiographs(clinic: GatewayProcess, visit: Visitors) -> None:
    """For the documents: nothing but other images in states that were searched already."""
    here = visit(clinic)
    here.expected = {401}
    look = Look(here, "dark", "")
    at(here, "torso")
    sign_in(here, TOKEN)
    here.wait_for_picture(1)
    here.page.locator("#window-preset").select_option(label="Lung (L -600, W 1500)")
    here.page.get_by_role("slider", name="Image").fill("5")
    here.wait_for_picture(5)
    here.page.mouse.move(*here.middle())
    here.page.keyboard.down("Control")
    here.page.mouse.wheel(0, -250)
    here.page.keyboard.up("Control")
    expect(here.page.locator(".corner.how")).to_contain_text("187 %")
    assert here.picture()
    look("lung-window", searched=False)
    at(here, "chest")
    here.wait_for_picture(1)
    expect(here.page.locator(".corner.how")).to_contain_text("W 3800")
    look("radiograph", searched=False)
