"""S-60: markup, scripts and odd characters in every text that the page shows stay text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import FilePayload, expect
from pydicom.dataset import Dataset

from tests.gateway.render.states import boxed, state
from tests.gateway.ui.conftest import Visitors, stow
from tests.gateway.ui.slides import JPEG, layered
from tests.gateway.ui.test_documents import finding
from tests.parts import once
from tests.parts.datasets import ct_slice, report, sequence_item, uid
from tests.parts.gateway import GatewayProcess

PAYLOADS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<iframe src=javascript:alert(1)>",
    "<body onload=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)>",
    "<audio src=x onerror=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<select autofocus onfocus=alert(1)>",
    "<textarea autofocus onfocus=alert(1)>",
    "<marquee onstart=alert(1)>",
    "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<form action=javascript:alert(1)><button>x",
    "<math><mi xlink:href=javascript:alert(1)>",
    "<base href=//example.org/>",
    "<link rel=stylesheet href=//example.org/x.css>",
    "<meta http-equiv=refresh content=0;url=//example.org/>",
    "<style>@import'//example.org/x.css'</style>",
    "<template><script>alert(1)</script></template>",
    "<noscript><img src=x onerror=alert(1)>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</option></select><img src=x onerror=alert(1)>",
    "--><script>alert(1)</script><!--",
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    '" onmouseover=alert(1) x="',
    "' autofocus onfocus=alert(1) x='",
    "javascript:alert(1)",
    "${alert(1)} {{alert(1)}} <%= alert(1) %>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;img src=x onerror=alert(1)&#62;",
    "\u202e<script>alert(1)</script>\u2066",
    "\uff1cscript\uff1ealert(1)\uff1c/script\uff1e",
    "<ScRiPt/x>alert(1)</sCrIpT\t>",
)


def long(payload: str) -> str:
    """As an LO takes it: 64 characters without controls (PS3.5 6.2)."""
    return payload.replace("\t", " ")[:64].strip()


def texts(payload: str) -> dict[str, Any]:
    """The payload in all that the list and the viewer tell of an image; SH holds 16 characters, PN no `=`."""
    return {
        "PatientName": long(payload).replace("=", ""),
        "PatientID": long(payload),
        "AccessionNumber": payload[:16].strip(),
        "StudyDescription": long(payload),
        "SeriesDescription": long(payload),
        "WindowCenterWidthExplanation": long(payload),
    }


@pytest.fixture(scope="module")
def archive(module_gateway: GatewayProcess) -> GatewayProcess:
    """A gateway with a study for each payload, one with a series for each, and a report of all of them."""
    assert len(set(PAYLOADS)) == 40
    studies: list[Dataset] = []
    for number, payload in enumerate(PAYLOADS):
        studies.append(ct_slice(f"hostile-{number}", rows=8, columns=8, **texts(payload)))
        studies.append(ct_slice("all", number + 1, rows=8, columns=8, **every_vr(payload), **own(payload)))
    items = [item for payload in PAYLOADS for item in (finding(payload), *coded(payload))]
    studies.append(report("all", 99, ContentSequence=items, **own("Findings")))
    stow(module_gateway, studies)
    stain = layered("stains", 1, (((200, 40, 40),), ((40, 60, 200),)))
    for item, payload in zip(stain.OpticalPathSequence, PAYLOADS[:2], strict=True):
        item.OpticalPathDescription = payload
    stow(module_gateway, [stain], syntax=JPEG)
    return module_gateway


def coded(payload: str) -> list[Dataset]:
    """The payload in the other texts of a report: names of concepts, codes, persons, and units."""
    code = sequence_item(CodeValue="1", CodingSchemeDesignator="99TEST", CodeMeaning=long(payload))
    person = long(payload).replace("=", "").replace("^", "")
    return [
        sequence_item(
            RelationshipType="CONTAINS", ValueType="CODE", ConceptNameCodeSequence=[code], ConceptCodeSequence=[code]
        ),
        sequence_item(
            RelationshipType="CONTAINS", ValueType="PNAME", ConceptNameCodeSequence=[code], PersonName=person
        ),
        sequence_item(
            RelationshipType="CONTAINS",
            ValueType="NUM",
            ConceptNameCodeSequence=[code],
            MeasuredValueSequence=[sequence_item(NumericValue="1", MeasurementUnitsCodeSequence=[code])],
        ),
    ]


def every_vr(payload: str) -> dict[str, Any]:
    """The payload in texts of every VR that has any: SH, LO, ST, LT, UC, UT and PN; a CS takes no markup."""
    person = long(payload).replace("=", "")
    return {
        "StationName": payload[:16].strip(),
        "InstitutionName": long(payload),
        "ProtocolName": long(payload),
        "InstitutionAddress": payload,
        "ImageComments": payload,
        "PatientComments": payload,
        "LongCodeValue": payload.replace("\t", " "),
        "TextValue": payload,
        "OperatorsName": person,
        "PerformingPhysicianName": person,
        "BodyPartExamined": "SCRIPT",
    }


def own(payload: str) -> dict[str, Any]:
    """What may differ from series to series of one study."""
    return {"SeriesDescription": long(payload), "WindowCenterWidthExplanation": long(payload), "PatientName": NAME}


NAME = PAYLOADS[2].replace("=", "")
MADE = ", ".join(
    f"main {made}"
    for made in ("script", "img:not([alt=''])", "svg:not(.icon):not(.lines)", "iframe:not(.document)", "a[href^=java]")
)
"""What the page itself never makes."""


def test_forty_payloads_in_the_list_are_text(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive)
    here.open()
    expect(here.page.locator(".row")).to_have_count(42)
    names = here.page.locator(".row strong").all_text_contents()
    whats = here.page.locator(".row .what > span:first-child").all_text_contents()
    for payload in PAYLOADS:
        assert long(payload) in {what.strip() for what in whats}
    assert any(NAME in name for name in names)
    assert here.page.locator(MADE).count() == 0
    here.page.wait_for_load_state("networkidle")  # what an element made by a payload would have fetched


def test_forty_payloads_in_the_viewer_the_report_and_the_boxes_are_text(
    archive: GatewayProcess, visit: Visitors
) -> None:
    here = visit(archive)
    here.open(f"#/studies/{uid('study', 'all')}")
    here.wait_for_picture(1)
    shown = {text.strip() for text in here.page.locator(".card-name").all_text_contents()}
    for payload in PAYLOADS:
        assert long(payload) in shown
    for number in (0, 7, 27, 31, 37, 39):
        here.page.locator(".card").nth(number).click()
        here.wait_for_picture(1)
        expect(here.page.locator("#window-preset option").nth(1)).to_contain_text("(L ")
    expect(here.page.locator("#bar-title strong")).to_have_text(NAME)
    here.page.get_by_role("button", name="Download and more").click()
    here.page.get_by_role("menuitem", name="Delete the study").click()
    expect(here.page.get_by_role("dialog", name="Delete this study?")).to_contain_text(NAME)
    here.page.get_by_role("button", name="Keep it").click()
    here.page.locator(".card", has_text="Findings").click()
    inside = here.page.frame_locator("iframe.document.report")
    for payload in PAYLOADS:
        expect(inside.locator("p", has_text=payload.split("<")[0] or payload[:12]).first).to_be_attached()
    expect(inside.locator("script, img, iframe, object, embed, form, style, base, meta[http-equiv]")).to_have_count(0)
    assert here.page.locator(MADE).count() == 0
    assert "alert" not in here.page.title()


def test_names_of_stains_are_text(archive: GatewayProcess, visit: Visitors) -> None:
    here = visit(archive)
    here.open(f"#/studies/{uid('study', 'stains')}")
    expect(here.page.locator(".slide .screen[data-shown]")).to_be_visible()
    expect(here.page.get_by_label("Channel or focal plane").locator("option")).to_have_text(list(PAYLOADS[:2]))
    assert here.page.locator(MADE).count() == 0


@pytest.mark.parametrize("number", range(3))
def test_text_that_a_presentation_state_draws_is_drawn(archive: GatewayProcess, number: int) -> None:
    """As pixels: a picture is all that comes."""
    image = ct_slice(f"drawn-{number}", rows=64, columns=64)
    text = boxed(PAYLOADS[number], (2, 2, 60, 30))
    annotation = sequence_item(GraphicLayer="A", TextObjectSequence=[text])
    ds = state(image, study=f"drawn-{number}", GraphicAnnotationSequence=[annotation], ContentLabel="SCRIPT")
    stow(archive, [image, ds])
    where = f"{archive.dicomweb_url}/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances"
    answer = once.get(f"{where}/{ds.SOPInstanceUID}/rendered")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    assert answer.content[:3] == b"\xff\xd8\xff" and answer.headers["x-content-type-options"] == "nosniff"


def test_names_of_files_are_text(archive: GatewayProcess, visit: Visitors, tmp_path: Path) -> None:
    here = visit(archive)
    here.expected = {400, 409}
    here.open()
    names = [payload.replace("/", "\u2215") for payload in PAYLOADS[:6]]
    files: list[FilePayload] = [{"name": name, "mimeType": "", "buffer": b"no DICOM"} for name in names]
    with here.page.expect_file_chooser() as chooser:
        here.page.get_by_role("button", name="Upload DICOM files").click()
    chooser.value.set_files(files)
    panel = here.page.get_by_role("region", name="Upload")
    expect(panel).to_contain_text("6 refused")
    assert set(panel.locator("li strong").all_text_contents()) == set(names)
    expect(panel.locator("script, img, iframe")).to_have_count(0)
