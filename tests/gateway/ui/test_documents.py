"""What is no picture in the viewer: PDF documents, reports, films; and what is drawn as one: waveforms."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from tests.gateway.ui.conftest import Visit, Visitors, stow
from tests.gateway.ui.phantom import ct_torso, letter
from tests.parts.datasets import color, encapsulated, instance, pdf, report, sequence_item
from tests.parts.films import FRAMES, film
from tests.parts.gateway import GatewayProcess

HOSTILE = "No fracture. <script>alert(1)</script><img src=x onerror=alert(2)><style>body{display:none}</style>"
LETTER = letter("Dear colleague,", "thank you for sending this phantom.")


@pytest.fixture(scope="module")
def archive(page_gateway: GatewayProcess) -> GatewayProcess:
    """A gateway with a study of pictures and documents, some of which are not what they say."""
    stow(
        page_gateway,
        [
            *ct_torso("papers", slices=2, size=64),
            pdf("papers", 2, 1, document=LETTER, SeriesDescription="Letters"),
            pdf("papers", 2, 2, document=letter("The second page."), SeriesDescription="Letters"),
            pdf("papers", 7, document=letter("Of itself.", script="app.alert\\(1\\); this.print\\(\\)")),
            report("papers", 4, TextValue=None, ContentSequence=[finding(HOSTILE)], SeriesDescription="Findings"),
            waveform("papers", 5),
            pdf("papers", 3, document=b"<script>alert(1)</script>", MIMETypeOfEncapsulatedDocument="text/html"),
        ],
    )
    stow(page_gateway, [film_object("papers", 6)], syntax="1.2.840.10008.1.2.4.102")
    return page_gateway


def finding(words: str) -> Dataset:
    """A text item of a report."""
    concept = sequence_item(CodeValue="121071", CodingSchemeDesignator="DCM", CodeMeaning="Finding")
    return sequence_item(
        RelationshipType="CONTAINS", ValueType="TEXT", ConceptNameCodeSequence=[concept], TextValue=words
    )


def waveform(study: str, series: int) -> Dataset:
    """The 12-lead ECG of pydicom's, in a study of ours."""
    ds = dcmread(str(get_testdata_file("waveform_ecg.dcm")))
    ours = instance(ds.SOPClassUID, "ECG", study, series)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "PatientName", "PatientID", "StudyDate"):
        ds[keyword] = ours[keyword]
    ds.StudyDescription, ds.SeriesNumber, ds.SeriesDescription = ours.StudyDescription, series, "Twelve leads"
    return ds


def film_object(study: str, series: int) -> Dataset:
    """A film in H.264, of a few frames."""
    data = film("libx264", "mp4")
    ds = encapsulated(color(study, series, frames=2, FrameTime="100"), [data + b"\0" * (len(data) % 2)])
    ds.SeriesDescription, ds.PhotometricInterpretation, ds.NumberOfFrames = "Scope", "YBR_PARTIAL_420", FRAMES
    return ds


@pytest.fixture
def papers(archive: GatewayProcess, visit: Visitors) -> Visit:
    """The study, opened."""
    here = visit(archive)
    here.open_series("papers")
    return here


def wait_for_the_browsers_viewer(visit: Visit) -> None:
    """Until the browser has opened its own viewer of PDF documents inside the frame."""
    for _ in range(200):
        if any(frame.url.startswith("chrome-extension:") for frame in visit.page.frames):
            return
        visit.page.wait_for_timeout(100)
    raise AssertionError("the document is not shown")


def test_a_pdf_document_is_shown_in_place(archive: GatewayProcess, visit: Visitors) -> None:
    papers = visit(archive, whole=True)
    papers.open_series("papers")
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


INK = """(canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height / 4);
  let dark = 0;
  for (let at = 0; at < data.length; at += 4) dark += data[at] < 100;
  return dark;
}"""


def test_a_pdf_document_is_drawn_by_the_page_where_the_browser_shows_none(
    archive: GatewayProcess, visit: Visitors
) -> None:
    """On a phone: in place, its words told to who cannot see them, with nothing from another host; keys scroll it."""
    here = visit(archive, phone=True)
    here.open_series("papers", 2)
    assert not here.page.evaluate("navigator.pdfViewerEnabled")
    sheet = here.page.locator(".pages canvas[data-drawn]")
    expect(sheet).to_have_count(1)
    expect(sheet).to_have_attribute("aria-label", re.compile("^Page 1 of 1: Dear colleague, ?thank you for sending"))
    assert sheet.evaluate(INK) > 200
    assert here.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    here.page.get_by_role("slider", name="Image").fill("2")
    here.wait_for_picture(2)
    expect(sheet).to_have_attribute("aria-label", re.compile("The second page"))
    here.page.locator(".pages").press("Escape")
    expect(here.page.locator("#list-page")).to_be_visible()
    here.open_series("papers", 7)  # its script does not run: it would open a dialog
    expect(sheet).to_have_attribute("aria-label", re.compile("Of itself"))


def test_a_document_that_is_no_pdf_is_not_opened(papers: Visit) -> None:
    """S-20, S-60: what a file says of itself does not make a page of it."""
    papers.expected = {406}
    papers.page.locator(".card", has_text="Series 3").click()
    expect(papers.page.locator(".instead .title")).to_have_text("PDF document")
    expect(papers.page.locator("iframe")).to_have_count(0)


def test_a_report_is_shown_as_text_in_a_frame_where_nothing_runs(papers: Visit) -> None:
    """S-60: the words of a report are words, whatever they say."""
    papers.page.locator(".card", has_text="Findings").click()
    papers.wait_for_picture(1)
    expect(papers.page.locator("iframe.document.report")).to_have_attribute("sandbox", "allow-same-origin")
    inside = papers.page.frame_locator("iframe.document.report")
    expect(inside.get_by_role("heading", level=1)).to_have_text("Radiology Study observation")
    expect(inside.locator("body")).to_contain_text(HOSTILE)
    assert inside.locator("script, img, style").count() == 0
    # In this page's own style, since its policy lets no inline one in.
    assert inside.locator("body").evaluate("(body) => getComputedStyle(body).maxWidth") == "736px"


def test_a_waveform_is_a_picture(papers: Visit) -> None:
    card = papers.page.locator(".card", has_text="Twelve leads")
    expect(card.locator(".thumb img")).to_be_visible()
    card.click()
    expect(card).to_have_attribute("aria-current", "true")
    papers.wait_for_picture(1)
    assert papers.brightness() > 60  # paper
    expect(papers.page.locator("#window-preset")).to_be_disabled()
    before = papers.picture()
    papers.page.keyboard.press("+")
    assert papers.picture() != before


def test_a_film_plays(papers: Visit) -> None:
    papers.page.locator(".card", has_text="Scope").click()
    papers.wait_for_picture(1)
    player = papers.page.locator("video.film")
    papers.page.wait_for_function("() => (document.querySelector('video.film')?.readyState ?? 0) >= 2")
    assert player.evaluate("(video) => video.videoWidth") > 0
    player.evaluate("(video) => video.play()")
    papers.page.wait_for_function("() => document.querySelector('video.film').currentTime > 0.05")
    papers.page.keyboard.press("[")
    expect(player).to_have_count(0)
