"""Storing files from the page: chosen or dropped, with progress, and a word about each that was refused."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from playwright.sync_api import expect

from tests.gateway.ui.conftest import Visit, Visitors
from tests.gateway.ui.phantom import ct_torso
from tests.parts.datasets import ct_slice, part10_bytes, write_all
from tests.parts.gateway import GatewayProcess

DROP = """(files) => {
  const data = new DataTransfer();
  for (const { name, content } of files) {
    data.items.add(new File([Uint8Array.from(atob(content), (char) => char.charCodeAt(0))], name));
  }
  const event = (type) => dispatchEvent(new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
  event("dragenter");
  const shown = !document.querySelector(".veil").hidden;
  event("drop");
  return shown;
}"""


def choose(visit: Visit, paths: list[Path]) -> None:
    with visit.page.expect_file_chooser() as chooser:
        visit.page.get_by_role("button", name="Upload DICOM files").click()
    chooser.value.set_files([str(path) for path in paths])


def test_chosen_files_are_stored_and_shown(page_gateway: GatewayProcess, visit: Visitors, tmp_path: Path) -> None:
    paths = write_all(tmp_path, ct_torso("upload", slices=12, size=64, PatientName="Phantom^Upload"))
    here = visit(page_gateway)
    here.open()
    choose(here, paths)
    panel = here.page.get_by_role("region", name="Upload")
    expect(panel).to_contain_text("12 files stored")
    here.page.get_by_label("Patient name").fill("Upload")
    row = here.page.locator(".row", has_text="Phantom, Upload")
    expect(row).to_contain_text("12 images")
    panel.get_by_role("link", name="Open the study").click()
    here.wait_for_picture(1)
    expect(here.page.locator(".corner.where")).to_contain_text("Image 1 of 12")
    expect(panel).to_have_count(0)


def test_refused_files_are_named_with_the_reason(page_gateway: GatewayProcess, visit: Visitors, tmp_path: Path) -> None:
    """STOW-13, STOW-14: another object under the same UID and a text file are refused, the rest is stored."""
    good, other, text = tmp_path / "good.dcm", tmp_path / "other.dcm", tmp_path / "notes.txt"
    good.write_bytes(part10_bytes(ct_slice("twice")))
    other.write_bytes(part10_bytes(ct_slice("twice", SeriesDescription="Another")))
    text.write_text("no DICOM at all")
    here = visit(page_gateway)
    here.expected = {400, 409}
    here.open()
    choose(here, [good])
    panel = here.page.get_by_role("region", name="Upload")
    expect(panel).to_contain_text("1 file stored")
    choose(here, [other, text, good])
    expect(panel).to_contain_text("2 files stored, 2 refused")
    expect(panel.get_by_role("listitem")).to_have_count(2)
    expect(panel).to_contain_text("notes.txt is no readable DICOM file")
    expect(panel).to_contain_text("other.dcm differs from an object that is stored under the same UID")
    panel.get_by_role("button", name="Close").click()
    expect(panel).to_have_count(0)


def test_dropped_files_are_stored(page_gateway: GatewayProcess, visit: Visitors) -> None:
    files = [
        {"name": f"IM{number}", "content": b64encode(part10_bytes(ct_slice("drop", 1, number))).decode()}
        for number in (1, 2, 3)
    ]
    skipped = [{"name": ".DS_Store", "content": ""}, {"name": "DICOMDIR", "content": ""}]
    here = visit(page_gateway)
    here.open()
    assert here.page.evaluate(DROP, files + skipped)
    expect(here.page.get_by_role("region", name="Upload")).to_contain_text("3 files stored")
    here.page.get_by_label("Patient name").fill("drop")
    expect(here.page.locator(".row", has_text="Test, drop")).to_contain_text("3 images")
    expect(here.page.locator(".veil")).to_be_hidden()


def test_progress_is_shown_and_an_upload_can_be_stopped(
    page_gateway: GatewayProcess, visit: Visitors, tmp_path: Path
) -> None:
    paths = write_all(tmp_path, [ct_slice("slow", 1, number) for number in range(1, 21)])
    here = visit(page_gateway)
    here.open()
    session = here.page.context.new_cdp_session(here.page)
    session.send("Network.enable")
    slow = {"offline": False, "latency": 400, "downloadThroughput": -1, "uploadThroughput": 20_000}
    session.send("Network.emulateNetworkConditions", slow)
    choose(here, paths)
    panel = here.page.get_by_role("region", name="Upload")
    expect(panel.get_by_role("progressbar")).to_be_visible()
    expect(panel).to_contain_text("of 20 files")
    here.page.wait_for_function("() => document.querySelector('.panel progress').value > 0")
    panel.get_by_role("button", name="Stop the upload").click()
    expect(panel).to_have_count(0)
    session.send("Network.emulateNetworkConditions", {**slow, "latency": 0, "uploadThroughput": -1})
    sent = len([one for one in here.requests if one.method == "POST"])
    here.page.wait_for_timeout(300)
    assert len([one for one in here.requests if one.method == "POST"]) == sent < 20
