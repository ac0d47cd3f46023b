"""The page in front of a gateway that wants a token: it asks, keeps it for the tab, and carries it everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.gateway.ui.conftest import Visit, Visitors, stow
from tests.gateway.ui.phantom import ct_torso
from tests.parts.datasets import ct_slice, write_all
from tests.parts.gateway import GatewayProcess

TOKEN = "a-token-for-the-page-tests"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that wants a token, with one study."""
    with GatewayProcess(tmp_path_factory.mktemp("locked") / "data", environment={"GANTRY_TOKEN": TOKEN}) as gateway:
        stow(gateway, ct_torso("locked", slices=3, size=64), TOKEN)
        yield gateway


def sign_in(visit: Visit, token: str) -> None:
    box = visit.page.get_by_role("dialog", name="Sign in to Gantry")
    expect(box).to_be_visible()
    visit.page.get_by_label("Access token").fill(token)
    box.get_by_role("button", name="Sign in").click()


def test_the_token_is_asked_for_and_carried_by_every_request(
    locked: GatewayProcess, visit: Visitors, tmp_path: Path
) -> None:
    here = visit(locked)
    here.expected = {401}
    here.open()
    sign_in(here, "not-this-one-but-another")
    expect(here.page.get_by_text("That token was not accepted.")).to_be_visible()
    sign_in(here, TOKEN)
    expect(here.page.locator(".row", has_text="locked")).to_have_count(1)
    before = len(here.requests)
    here.expected = set()
    here.open_study("locked")
    here.wheel(2)
    here.wait_for_picture(3)
    with here.page.expect_file_chooser() as chooser:
        here.page.get_by_role("button", name="Upload DICOM files").click()
    chooser.value.set_files([str(path) for path in write_all(tmp_path, [ct_slice("more")])])
    expect(here.page.get_by_role("region", name="Upload")).to_contain_text("1 file stored")
    asked = [request for request in here.requests[before:] if "/dicomweb/" in request.url]
    assert {request.method for request in asked} == {"GET", "OPTIONS", "POST"}
    assert [one.url for one in asked if one.header_value("authorization") != f"Bearer {TOKEN}"] == []
    # It is in no address, and gone with the tab: not in storage that lasts.
    assert TOKEN not in "".join(request.url for request in here.requests)
    assert here.page.evaluate("localStorage.length") == 0
    assert here.page.evaluate("document.cookie") == ""


def test_the_token_outlives_a_reload_but_not_signing_out(locked: GatewayProcess, visit: Visitors) -> None:
    here = visit(locked)
    here.expected = {401}
    here.open()
    sign_in(here, TOKEN)
    expect(here.page.locator(".row").first).to_be_visible()
    here.page.reload()
    expect(here.page.locator(".row").first).to_be_visible()
    here.page.get_by_role("button", name="Sign out").click()
    expect(here.page.get_by_role("dialog", name="Sign in to Gantry")).to_be_visible()
    expect(here.page.locator(".row")).to_have_count(0)


def test_who_closes_the_box_can_open_it_again(locked: GatewayProcess, visit: Visitors) -> None:
    here = visit(locked)
    here.expected = {401}
    here.open()
    expect(here.page.get_by_role("dialog", name="Sign in to Gantry")).to_be_visible()
    here.page.keyboard.press("Escape")
    expect(here.page.get_by_role("heading", name="Signed out")).to_be_visible()
    here.page.locator(".empty").get_by_role("button", name="Sign in").click()
    sign_in(here, TOKEN)
    expect(here.page.locator(".row").first).to_be_visible()
