"""What the study's menu does: archives and objects are saved, series and studies deleted after a second word."""

from __future__ import annotations

import zipfile
from io import BytesIO

import pytest
from playwright.sync_api import Download, expect
from pydicom import dcmread

from tests.gateway.ui.conftest import Visit, Visitors, stow
from tests.gateway.ui.phantom import ct_torso, mr_head
from tests.gateway.ui.test_signin import TOKEN, sign_in
from tests.parts import once
from tests.parts.datasets import uid
from tests.parts.fix_gateway import StartGateway
from tests.parts.gateway import GatewayProcess


def fill(gateway: GatewayProcess, study: str, token: str = "") -> None:
    """A study of two series, three and two images."""
    stow(gateway, [*ct_torso(study, slices=3, size=64), *mr_head(study, series=2, slices=2, size=64)], token)


def choose(visit: Visit, name: str) -> None:
    visit.page.get_by_role("button", name="Download and more").click()
    visit.page.get_by_role("menuitem", name=name).click()


def saved(visit: Visit, name: str) -> Download:
    with visit.page.expect_download() as download:
        choose(visit, name)
    return download.value


def instances(download: Download) -> set[tuple[str, str]]:
    """Modality and SOP Instance UID of each file of an archive."""
    with zipfile.ZipFile(download.path()) as archive:
        files = [dcmread(BytesIO(archive.read(name))) for name in archive.namelist()]
    return {(ds.Modality, ds.SOPInstanceUID) for ds in files}


@pytest.mark.parametrize("token", ["", TOKEN])
def test_studies_and_series_are_saved_as_archives(
    start_gateway: StartGateway, page_gateway: GatewayProcess, visit: Visitors, token: str
) -> None:
    """MT-07, with and without a token that the browser's own download could not carry."""
    gateway = start_gateway(environment={"GANTRY_TOKEN": token}) if token else page_gateway
    fill(gateway, "saved", token)
    here = visit(gateway)
    here.expected = {401}
    here.open(f"#/studies/{uid('study', 'saved')}")
    if token:
        sign_in(here, token)
    here.wait_for_picture(1)
    study = saved(here, "Download the study (zip)")
    assert study.suggested_filename == f"{uid('study', 'saved')}.zip"
    assert sorted(modality for modality, _ in instances(study)) == ["CT", "CT", "CT", "MR", "MR"]
    series = saved(here, "Download this series (zip)")
    assert [modality for modality, _ in instances(series)] == ["CT", "CT", "CT"]
    one = saved(here, "Download this object")
    assert dcmread(one.path()).InstanceNumber == 1
    assert TOKEN not in "".join(request.url for request in here.requests)


def test_a_series_and_then_the_study_are_deleted_after_asking(page_gateway: GatewayProcess, visit: Visitors) -> None:
    fill(page_gateway, "gone")
    here = visit(page_gateway)
    here.open_series("gone")
    choose(here, "Delete this series")
    box = here.page.get_by_role("dialog", name="Delete this series?")
    expect(box).to_contain_text("Test, gone")
    expect(box).to_contain_text("3 objects")
    expect(box.get_by_role("button", name="Keep it")).to_be_focused()
    here.page.keyboard.press("Enter")
    expect(box).to_have_count(0)
    expect(here.page.locator(".card")).to_have_count(2)
    choose(here, "Delete this series")
    box.get_by_role("button", name="Delete the series").click()
    expect(here.page.locator(".card")).to_have_count(1)
    here.wait_for_picture(1)
    # One series is left: it goes with the study.
    here.page.get_by_role("button", name="Download and more").click()
    expect(here.page.get_by_role("menuitem", name="Delete this series")).to_have_count(0)
    here.page.keyboard.press("Escape")
    choose(here, "Delete the study")
    here.page.get_by_role("button", name="Delete the study").click()
    expect(here.page.get_by_text("Test, gone")).to_have_count(0)
    expect(here.page.locator("#list-page")).to_be_visible()
    answer = once.get(f"{page_gateway.dicomweb_url}/studies/{uid('study', 'gone')}/metadata")
    assert answer.status_code == 410


def test_the_menu_is_used_by_keys_alone(page_gateway: GatewayProcess, visit: Visitors) -> None:
    fill(page_gateway, "keys")
    here = visit(page_gateway)
    here.open_series("keys")
    button = here.page.get_by_role("button", name="Download and more")
    button.focus()
    here.page.keyboard.press("Enter")
    items = here.page.get_by_role("menuitem")
    expect(items.first).to_be_focused()
    here.page.keyboard.press("ArrowUp")
    expect(items.last).to_be_focused()
    here.page.keyboard.press("ArrowDown")
    expect(items.first).to_be_focused()
    here.page.keyboard.press("Escape")
    expect(items.first).to_be_hidden()
    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(here.screen).to_be_visible()  # Escape closed the menu, not the study
