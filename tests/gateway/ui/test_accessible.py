"""axe-core on every state of the page, in both schemes and on a phone: no fault that is serious or critical."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.gateway.ui.conftest import Visit, Visitors, stow
from tests.gateway.ui.phantom import ct_torso, letter
from tests.gateway.ui.slides import JPEG, slide
from tests.gateway.ui.test_upload import choose
from tests.parts import axe
from tests.parts.datasets import ct_slice, part10_bytes, pdf, report, uid
from tests.parts.gateway import GatewayProcess
from tests.parts.machine import cannot_run


@pytest.fixture(scope="module")
def script() -> str:
    """What is run in the page."""
    try:
        return axe.fetch().read_text("utf-8")
    except axe.NotFetched as error:
        cannot_run(str(error))


@pytest.fixture(scope="module")
def archive(module_gateway: GatewayProcess) -> GatewayProcess:
    """A gateway with a study of each sort that the page shows in a way of its own."""
    stow(
        module_gateway,
        [
            *ct_torso("torso", slices=4, size=64, PatientName="Phantom^Torso"),
            report("torso", 8),
            pdf("torso", 9, document=letter("A letter.")),
        ],
    )
    stow(module_gateway, slide("slide", 600, 480, tile=256, PatientName="Phantom^Slide"), syntax=JPEG)
    return module_gateway


def faults(visit: Visit, script: str) -> list[str]:
    """The serious and critical ones, with the elements they are in."""
    visit.page.evaluate(script)
    found = visit.page.evaluate(
        """async () => (await axe.run(document, { iframes: false, resultTypes: ["violations"] })).violations
             .filter(({ impact }) => impact === "serious" || impact === "critical")
             .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`)"""
    )
    return [str(fault) for fault in found]


@pytest.mark.parametrize("form", ["dark", "light", "phone"])
def test_no_state_of_the_page_has_a_serious_fault(
    archive: GatewayProcess, visit: Visitors, script: str, tmp_path: Path, form: str
) -> None:
    here = visit(archive, phone=form == "phone", light=form == "light")
    here.expected = {400, 409}
    seen: dict[str, list[str]] = {}

    def look(state: str) -> None:
        if found := faults(here, script):
            seen[state] = found

    here.open()
    expect(here.page.locator(".row")).to_have_count(2)
    look("studies")
    here.page.get_by_label("Patient name").fill("nobody")
    expect(here.page.get_by_role("heading", name="No study matches")).to_be_visible()
    look("nothing found")
    (tmp_path / "notes.txt").write_text("no DICOM")
    (tmp_path / "image.dcm").write_bytes(part10_bytes(ct_slice("torso", 1, 1, rows=8)))
    choose(here, [tmp_path / "notes.txt", tmp_path / "image.dcm"])
    expect(here.page.get_by_role("region", name="Upload")).to_contain_text("2 refused")
    look("upload")
    here.page.get_by_role("region", name="Upload").get_by_role("button", name="Close").click()

    here.open(f"#/studies/{uid('study', 'torso')}")
    here.wait_for_picture(1)
    expect(here.page.locator(".scale")).to_be_visible()
    here.page.keyboard.press("m")
    here.drag(60, 40)
    look("viewer")
    here.page.get_by_role("button", name="Download and more").click()
    look("menu")
    here.page.get_by_role("menuitem", name="Delete the study").click()
    look("deleting")
    here.page.get_by_role("button", name="Keep it").click()
    if form == "phone":
        here.page.get_by_role("button", name="More tools").click()
        look("more tools")
    here.page.get_by_role("button", name="Keys and gestures").click()
    look("keys")
    here.page.get_by_role("button", name="Close").click()
    here.page.locator(".card", has_text="Series 8").click()
    expect(here.page.locator("iframe.report")).to_be_visible()
    look("report")
    if form != "phone":  # no PDF viewer inside a page there
        here.page.locator(".card", has_text="Series 9").click()
        expect(here.page.locator("iframe.pdf")).to_be_visible()
        look("document")

    here.open(f"#/studies/{uid('study', 'slide')}")
    expect(here.page.locator(".slide .screen[data-shown]")).to_be_visible()
    here.page.get_by_role("button", name="Label and overview").click()
    expect(here.page.get_by_role("img", name="Overview of the slide")).to_be_visible()
    look("slide")
    here.open(f"#/studies/{uid('study', 'nobody')}")
    expect(here.page.get_by_text("This study is not in the archive")).to_be_visible()
    look("no such study")
    assert seen == {}


def test_an_empty_page_and_the_box_for_the_token_have_none_either(
    gateway_process: GatewayProcess, tmp_path_factory: pytest.TempPathFactory, visit: Visitors, script: str
) -> None:
    here = visit(gateway_process)
    here.open()
    expect(here.page.get_by_role("heading", name="No studies yet")).to_be_visible()
    assert faults(here, script) == []
    here.page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    assert [fault.partition(":")[0] for fault in faults(here, script)] == ["button-name"]  # it would be found
    environment = {"GANTRY_TOKEN": "a-token-for-the-checks"}
    with GatewayProcess(tmp_path_factory.mktemp("locked") / "data", environment=environment) as gateway:
        locked = visit(gateway)
        locked.expected = {401}
        locked.open()
        expect(locked.page.get_by_role("dialog", name="Sign in to Gantry")).to_be_visible()
        assert faults(locked, script) == []
