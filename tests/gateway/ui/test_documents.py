"""PDF documents in the viewer, in the browser's own viewer of them."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.gateway.ui.conftest import Visit, Visitors, stow
from tests.gateway.ui.phantom import ct_torso, letter
from tests.parts.datasets import pdf
from tests.parts.gateway import GatewayProcess

LETTER = letter("Dear colleague,", "thank you for sending this phantom.")


@pytest.fixture(scope="module")
def archive(module_gateway: GatewayProcess) -> GatewayProcess:
    """A gateway with a study of pictures and documents, some of which are not what they say."""
    stow(
        module_gateway,
        [
            *ct_torso("papers", slices=2, size=64),
            pdf("papers", 2, 1, document=LETTER, SeriesDescription="Letters"),
            pdf("papers", 2, 2, document=letter("The second page."), SeriesDescription="Letters"),
            pdf("papers", 3, document=b"<script>alert(1)</script>", MIMETypeOfEncapsulatedDocument="text/html"),
        ],
    )
    return module_gateway


@pytest.fixture
def papers(archive: GatewayProcess, visit: Visitors) -> Visit:
    """The study, opened."""
    here = visit(archive)
    here.open()
    here.open_study("papers")
    return here


def wait_for_the_browsers_viewer(visit: Visit) -> None:
    """Until the browser has opened its own viewer of PDF documents inside the frame."""
    for _ in range(200):
        if any(frame.url.startswith("chrome-extension:") for frame in visit.page.frames):
            return
        visit.page.wait_for_timeout(100)
    raise AssertionError("the document is not shown")


def test_a_pdf_document_is_shown_in_place(papers: Visit) -> None:
    papers.page.locator(".card", has_text="Letters").click()
    papers.wait_for_picture(1)
    frame = papers.page.locator("iframe.document.pdf")
    expect(frame).to_have_attribute("title", "PDF document")
    wait_for_the_browsers_viewer(papers)
    url = frame.get_attribute("src")
    expect(papers.page.get_by_role("radio").first).to_be_hidden()  # no tools for pictures
    papers.page.keyboard.press("ArrowDown")
    papers.wait_for_picture(2)
    expect(frame).to_have_count(1)
    assert frame.get_attribute("src") != url
    papers.page.locator(".card", has_text="2 images").click()
    papers.wait_for_picture(1)
    expect(frame).to_have_count(0)
    expect(papers.page.get_by_role("radio").first).to_be_attached()
    assert papers.brightness() > 1


def test_a_document_that_is_no_pdf_is_not_opened(papers: Visit) -> None:
    """S-20, S-60: what a file says of itself does not make a page of it."""
    papers.expected = {406}
    papers.page.locator(".card", has_text="Series 3").click()
    expect(papers.page.locator(".instead .title")).to_have_text("PDF document")
    expect(papers.page.locator("iframe")).to_have_count(0)
