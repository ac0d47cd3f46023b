"""Sharing one study at the page: a link with a QR code for whoever may share, and what a guest who follows it sees."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.gateway.ui.conftest import Visit, Visitors, stow
from tests.gateway.ui.phantom import ct_torso
from tests.gateway.ui.test_signin import TOKEN, sign_in
from tests.gateway.ui.test_upload import DROP
from tests.parts import once
from tests.parts.datasets import uid
from tests.parts.fix_browser import artifact
from tests.parts.gateway import GatewayProcess

STUDY = uid("study", "shared")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with two studies, where links and keys are handed out."""
    environment = {"GANTRY_TOKEN": TOKEN, "GANTRY_API_KEYS": "true"}
    with GatewayProcess(tmp_path_factory.mktemp("shared") / "data", environment=environment) as started:
        stow(started, [*ct_torso("shared", slices=3, size=64), *ct_torso("private", slices=1, size=64)], TOKEN)
        yield started


def opened(visit: Visit, token: str) -> Visit:
    visit.expected = {401}
    visit.open(f"#/studies/{STUDY}")
    sign_in(visit, token)
    visit.wait_for_picture(1)
    visit.expected = set()
    return visit


def shared(visit: Visit) -> str:
    """Share the study that is open, and the address of the link."""
    visit.page.get_by_role("button", name="Share the study").click()
    box = visit.page.get_by_role("dialog", name="Share this study")
    expect(box).to_contain_text("Test, shared")
    expect(box.get_by_label("Lasts for").locator("option")).to_have_text(["1 hour", "1 day", "1 week"])
    box.get_by_label("For whom").fill("Dr Outside")
    box.get_by_label("Lasts for").select_option("1 hour")
    box.get_by_role("button", name="Make the link").click()
    ready = visit.page.get_by_role("dialog", name="The link is ready")
    expect(ready.get_by_role("img", name="QR code of the link")).to_be_visible()
    assert ready.locator("img").evaluate("(image) => image.decode().then(() => image.naturalWidth > 50)")
    expect(ready).to_contain_text("For Dr Outside, until")
    return ready.get_by_label("Link", exact=True).input_value()


def test_a_link_opens_its_study_and_nothing_else_until_it_is_withdrawn(
    gateway: GatewayProcess, visit: Visitors
) -> None:
    owner = opened(visit(gateway), TOKEN)
    owner.page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=gateway.http_url)
    link = shared(owner)
    owner.page.get_by_role("button", name="Copy the link").click()
    expect(owner.page.get_by_text("Copied")).to_be_visible()
    assert owner.page.evaluate("navigator.clipboard.readText()") == link
    secret = link.partition("#token=")[2].partition("&")[0]
    assert secret.startswith("gantry_")

    guest = visit(gateway)
    guest.page.goto(link)
    guest.wait_for_picture(1)
    expect(guest.page.locator("#bar-title h1")).to_contain_text("Test, shared")
    assert guest.page.evaluate("location.href") == f"{gateway.http_url}/#/studies/{STUDY}"
    assert guest.page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert not [request.url for request in guest.requests if secret in request.url.partition("#")[0]]
    for name in ("Upload DICOM files", "Share the study"):
        expect(guest.page.get_by_role("button", name=name)).to_be_hidden()
    expect(guest.page.get_by_role("link", name="All studies", exact=True)).to_be_hidden()
    guest.page.get_by_role("button", name="Download and more").click()
    expect(guest.page.get_by_role("menuitem", name="Download the study")).to_be_visible()
    expect(guest.page.get_by_role("menuitem", name="Delete")).to_have_count(0)
    guest.page.keyboard.press("Escape")
    guest.page.screenshot(path=artifact("page-guest.png"))
    for elsewhere in ("#/", f"#/studies/{uid('study', 'private')}"):
        guest.page.evaluate("(hash) => { location.hash = hash; }", elsewhere)
        expect(guest.page.locator("#bar-title h1")).to_contain_text("Test, shared")
        assert guest.page.evaluate("location.hash") == f"#/studies/{STUDY}"
    guest.page.reload()
    guest.wait_for_picture(1)

    guest.expected = {401}  # what it still fetches
    owner.page.get_by_role("button", name="Withdraw it").click()
    expect(owner.page.get_by_role("dialog")).to_have_count(0)
    late = visit(gateway)
    late.expected = {401}
    late.page.goto(link)
    expect(late.page.get_by_text("This link is not valid, or not any more.")).to_be_visible()
    expect(late.page.get_by_role("dialog")).to_have_count(0)


def test_a_link_takes_the_place_of_who_was_at_the_page_before(gateway: GatewayProcess, visit: Visitors) -> None:
    here = opened(visit(gateway), TOKEN)
    link = shared(here)
    here.page.get_by_role("button", name="Done").click()
    here.page.evaluate("(link) => { location.href = link; }", link)
    expect(here.page.locator("body.guest")).to_be_attached()
    here.wait_for_picture(1)
    expect(here.page.get_by_role("button", name="Share the study")).to_be_hidden()
    here.expected = {401}
    here.page.get_by_role("button", name="Sign out").click()
    expect(here.page.get_by_role("dialog", name="Sign in to Gantry")).to_be_visible()


def test_sharing_deleting_and_storing_are_offered_to_whom_they_are_permitted(
    gateway: GatewayProcess, visit: Visitors
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    made = once.post(f"{gateway.http_url}/tokens", json={"name": "looks", "may": ["search", "read"]}, headers=headers)
    here = opened(visit(gateway), made.json()["secret"])
    with here.page.expect_response("**/session"):
        here.page.reload()
    here.wait_for_picture(1)
    expect(here.page.get_by_role("button", name="Share the study")).to_be_hidden()
    here.page.get_by_role("button", name="Download and more").click()
    expect(here.page.get_by_role("menuitem", name="Delete")).to_have_count(0)
    here.page.keyboard.press("Escape")
    here.open()
    expect(here.page.locator(".row")).to_have_count(2)
    upload = here.page.get_by_role("button", name="Upload DICOM files")
    expect(upload).to_be_hidden()
    # Nor are dropped files taken, or opened in place of the page.
    assert not here.page.evaluate(DROP, [{"name": "one.dcm", "content": ""}])
    expect(here.page.get_by_role("region", name="Upload")).to_have_count(0)
    assert [request.method for request in here.requests if request.method == "POST"] == []
    here.expected = {401}  # the page asks again at once, and may be heard of before the click is over
    here.page.get_by_role("button", name="Sign out").click()
    sign_in(here, TOKEN)
    expect(here.page.locator(".row")).to_have_count(2)
    expect(upload).to_be_visible()


def test_a_long_name_and_a_missing_one_are_not_taken(gateway: GatewayProcess, visit: Visitors) -> None:
    here = opened(visit(gateway), TOKEN)
    here.page.get_by_role("button", name="Share the study").click()
    box = here.page.get_by_role("dialog", name="Share this study")
    box.get_by_role("button", name="Make the link").click()
    expect(box.get_by_label("For whom")).to_be_focused()
    here.expected = {400}
    box.get_by_label("For whom").fill("   ")
    box.get_by_role("button", name="Make the link").click()
    expect(box.get_by_role("alert")).to_contain_text("name says whose it is")
    assert here.asked("/links") == [f"{gateway.http_url}/links"]
