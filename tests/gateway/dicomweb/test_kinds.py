"""Renderings of what is no plain image: reports, waveforms, doses, segmentations, moving pictures, mixed studies."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from xml.etree import ElementTree

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from tests.gateway.dicomweb.service import Service, parts_of
from tests.gateway.dicomweb.test_rendered import picture, url
from tests.parts.datasets import ct_slice, instance, multi_frame, pdf, pixels, report, segmentation, sequence_item
from tests.parts.fix_browser import artifact

EVIL = '</title><script>alert(1)</script><img src=x onerror="alert(2)">\x1b'


def coded(meaning: str) -> Dataset:
    return sequence_item(CodeValue="1", CodingSchemeDesignator="99TEST", CodeMeaning=meaning)


def content(kind: str, concept: str, **values: object) -> Dataset:
    return sequence_item(
        RelationshipType="CONTAINS", ValueType=kind, ConceptNameCodeSequence=[coded(concept)], **values
    )


def full_report() -> Dataset:
    ds = report("mixed", series=2, PatientName="Buc^Jérôme", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33")
    unit = sequence_item(CodeValue="mm", CodingSchemeDesignator="UCUM", CodeMeaning="millimeter")
    reference = sequence_item(
        ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID="1.2.3.4", ReferencedFrameNumber=7
    )
    ds.ContentSequence = [
        content("TEXT", "Finding", TextValue=EVIL + "größtenteils"),
        content("TEXT", "Long", TextValue="all of it " * 10_000),
        content("NUM", "Diameter", MeasuredValueSequence=[
            sequence_item(NumericValue="12.5", MeasurementUnitsCodeSequence=[unit])
        ]),
        content("CODE", "Side", ConceptCodeSequence=[coded("Left")]),
        content("PNAME", "Observer", PersonName="Doe^Jane"),
        content("DATE", "Day", Date="20260304"),
        content("TIME", "Hour", Time="101112"),
        content("DATETIME", "Moment", DateTime="20260304101112"),
        content("UIDREF", "Tracking", UID="1.2.3"),
        content("IMAGE", "Key image", ReferencedSOPSequence=[reference]),
        content("SCOORD", "Outline", GraphicType="POINT", GraphicData=[1.5, 2.5]),
        content("CONTAINER", "Impression", ContentSequence=[content("TEXT", "Inside", TextValue="nested")]),
    ]  # fmt: skip
    return ds


def dose() -> Dataset:
    ds = instance("1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE", "dose", DoseUnits="GY", DoseGridScaling="0.001")
    return pixels(ds, np.array([[[0, 1000], [2000, 4000]], [[0, 2000], [4000, 8000]]], np.uint16))


def label_map() -> Dataset:
    ds = instance("1.2.840.10008.5.1.4.1.1.66.7", "SEG", "labels", SegmentationType="LABELMAP")
    ds.SegmentSequence = [
        # L* 53.24, a* 80.09, b* 67.20: red of sRGB, but in D50
        sequence_item(SegmentNumber=1, SegmentLabel="a", RecommendedDisplayCIELabValue=[35583, 53485, 50870]),
        sequence_item(SegmentNumber=2, SegmentLabel="b"),
    ]
    return pixels(ds, np.array([[0, 1, 2], [0, 0, 9]], np.uint8))


def fractions() -> Dataset:
    ds = segmentation("fractions", frames=1, rows=1, columns=3)
    ds.SegmentationType, ds.MaximumFractionalValue = "FRACTIONAL", 200
    return pixels(ds, np.array([[[0, 100, 200]]], np.uint8))


IMAGE = ct_slice("mixed")
REPORT = full_report()
KEY_OBJECTS = report("mixed", 3, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.59", Modality="KO")
KEY_OBJECTS.ContentSequence = [
    sequence_item(
        RelationshipType="CONTAINS",
        ValueType="IMAGE",
        ReferencedSOPSequence=[
            sequence_item(ReferencedSOPClassUID=IMAGE.SOPClassUID, ReferencedSOPInstanceUID=IMAGE.SOPInstanceUID)
        ],
    )
]
LETTER = pdf("mixed", 4, document=b"%PDF-1.4 letter")
CDA = pdf(
    "documents",
    document=b"<ClinicalDocument/>",
    SOPClassUID="1.2.840.10008.5.1.4.1.1.104.2",
    MIMETypeOfEncapsulatedDocument="text/XML",
    DocumentTitle="Letter <script>",
)
MODEL = pdf(
    "documents",
    2,
    document=b"solid x\nendsolid x\n",
    SOPClassUID="1.2.840.10008.5.1.4.1.1.104.3",
    MIMETypeOfEncapsulatedDocument="model/stl",
)
ECG = dcmread(str(get_testdata_file("waveform_ecg.dcm")))
DOSE, LABELS, FRACTIONS = dose(), label_map(), fractions()
MASK = segmentation("mask", frames=2, rows=16, columns=16)
LOOP = multi_frame("loop", frames=4, rows=24, columns=32)


@pytest.fixture(scope="module")
def filled(shared: Service) -> Iterator[Service]:
    stored = (IMAGE, REPORT, KEY_OBJECTS, LETTER, CDA, MODEL, ECG, DOSE, LABELS, FRACTIONS, MASK, LOOP)
    answer = shared.store(*stored)
    assert answer.status_code == 200, answer.text
    yield shared


def text_of(answer: httpx.Response, media_type: str) -> str:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == f"{media_type}; charset=utf-8"
    # whatever stood in it could do nothing
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    return answer.content.decode("utf-8")


@pytest.mark.parametrize("accept", ["*/*", "text/html", "text/html,application/xhtml+xml,*/*;q=0.8", "text/*"])
def test_a_report_is_html_with_all_that_it_says(filled: Service, accept: str) -> None:
    """RT-04, IMG-21: html is the default; every value type is there, and nothing of it is markup."""
    text = text_of(filled.get(f"{url(REPORT)}/rendered", accept), "text/html")
    for words in (
        "Radiology Study observation", "Buc, Jérôme", "größtenteils", "12.5 millimeter", "Left", "Doe, Jane",
        "2026-03-04", "10:11:12", "2026-03-04 10:11:12", "1.2.3", "CT Image 1.2.3.4, frames 7", "POINT 1.5, 2.5",
        "Impression", "nested", "all of it " * 10_000,
    ):  # fmt: skip
        assert words.strip() in text
    assert "<script" not in text and "<img" not in text and "\x1b" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_report_is_plain_text_and_xml(filled: Service) -> None:
    """RT-04."""
    plain = text_of(filled.get(f"{url(REPORT)}/rendered", "text/plain"), "text/plain")
    assert "Diameter: 12.5 millimeter\n" in plain
    assert "Impression: \n  Inside: nested\n".replace(": \n", ":\n") in plain
    assert "\x1b" not in plain
    root = ElementTree.fromstring(text_of(filled.get(f"{url(REPORT)}/rendered", "text/xml"), "text/xml"))
    values = {item.get("concept"): item.findtext("value") for item in root.iter("item")}
    assert values["Diameter"] == "12.5 millimeter"
    assert (values["Finding"] or "").startswith("</title><script>alert(1)")


def test_a_key_object_selection_is_text_too(filled: Service) -> None:
    """RT-04, IMG-21."""
    text = text_of(filled.get(f"{url(KEY_OBJECTS)}/rendered"), "text/html")
    assert f"CT Image {IMAGE.SOPInstanceUID}" in text
    assert filled.get(f"{url(REPORT)}/rendered", "image/png").status_code == 406


def test_reports_are_revalidated(filled: Service) -> None:
    """GEN-19."""
    first = filled.get(f"{url(REPORT)}/rendered", "text/plain")
    again = filled.get(f"{url(REPORT)}/rendered", "text/plain", If_None_Match=first.headers["etag"])
    assert again.status_code == 304
    assert filled.get(f"{url(REPORT)}/rendered", "text/html").headers["etag"] != first.headers["etag"]


def test_a_document_with_active_content_is_described_not_shown(filled: Service) -> None:
    """IMG-21, S-39: the document itself is the default, to be saved; a browser gets a page that says what it is."""
    itself = filled.get(f"{url(CDA)}/rendered")
    assert (itself.headers["content-type"], itself.content) == ("text/xml", b"<ClinicalDocument/>")
    assert itself.headers["content-disposition"].startswith("attachment")
    page = text_of(filled.get(f"{url(CDA)}/rendered", "text/html,application/xhtml+xml,*/*;q=0.8"), "text/html")
    assert "Letter &lt;script&gt;" in page and "19 bytes" in page and "ClinicalDocument/" not in page
    plain = text_of(filled.get(f"{url(MODEL)}/rendered", "text/plain"), "text/plain")
    assert "Media type: model/stl" in plain
    assert filled.get(f"{url(MODEL)}/rendered").headers["content-type"] == "model/stl"
    assert filled.get(f"{url(LETTER)}/rendered", "text/html").status_code == 406


def test_each_part_of_a_mixed_study_has_a_type_of_its_own(filled: Service) -> None:
    """NEG-07, RP-09: pictures, text and documents side by side; what no range covers is left out, and counted."""
    every = 'multipart/related; type="image/jpeg", multipart/related; type="text/html", multipart/related; type="*/*"'
    parts = parts_of(filled.get(f"{url(IMAGE, 1)}/rendered", every))
    assert [headers["content-type"] for headers, _ in parts] == [
        "image/jpeg",
        "text/html; charset=utf-8",
        "text/html; charset=utf-8",
        "application/pdf",
    ]
    assert parts[3][1] == b"%PDF-1.4 letter"
    assert [headers["content-location"] for headers, _ in parts] == [
        f"{filled.url}{url(IMAGE)}/frames/1",
        *(f"{filled.url}{url(ds)}" for ds in (REPORT, KEY_OBJECTS, LETTER)),
    ]
    some = filled.get(f"{url(IMAGE, 1)}/rendered", 'multipart/related; type="image/png"')
    assert len(parts_of(some)) == 1
    assert some.headers["warning"].endswith("3 of 4 renderings are in no acceptable media type and are left out")
    texts = parts_of(filled.get(f"{url(REPORT, 2)}/rendered", 'multipart/related; type="text/plain"'))
    assert [headers["content-type"] for headers, _ in texts] == ["text/plain; charset=utf-8"]
    assert filled.get(f"{url(IMAGE, 1)}/rendered", 'multipart/related; type="video/mp4"').status_code == 406


def test_a_waveform_is_drawn_on_millimetre_paper(filled: Service) -> None:
    """IMG-22 leaves it open; issue of an electrocardiogram: 12 leads, 25 mm/s, 10 mm/mV, calibration pulses."""
    answer = filled.get(f"{url(ECG)}/rendered")
    assert answer.headers["content-type"] == "image/png"
    sheet = picture(answer).convert("RGB")
    assert sheet.size == (1080, 2160)  # 270 mm by 540 mm at 4 pixels per millimetre
    assert picture(filled.get(f"{url(ECG)}/rendered?viewport=300,600", "image/jpeg")).size == (300, 600)
    thumbnail = filled.get(f"{url(ECG, 2)}/thumbnail")
    assert "warning" not in thumbnail.headers and picture(thumbnail).size == (64, 128)


def test_a_waveform_as_svg_is_true_to_scale(filled: Service) -> None:
    answer = filled.get(f"{url(ECG)}/rendered", "image/svg+xml")
    assert answer.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in answer.headers["content-security-policy"]
    root = ElementTree.fromstring(answer.content)
    assert (root.get("width"), root.get("viewBox")) == ("270mm", "0 0 270 540")
    names = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    leads = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
    assert names[1:13] == leads and names[-1] == "25 mm/s   10 mm/mV"
    lines = [
        np.array([point.split(",") for point in (line.get("points") or "").split()], float)
        for line in root.iter("{http://www.w3.org/2000/svg}polyline")
    ]
    pulse, lead_ii = lines[0], lines[3]
    assert np.ptp(pulse[:, 1]) == pytest.approx(10)  # 1 mV
    assert np.diff(pulse[:, 0]).max() == pytest.approx(5)  # 0.2 s
    # the trace against the samples as pydicom reads them, in millivolts
    volts = ECG.waveform_array(0)[:, 1] / 1000
    assert np.ptp(lead_ii[:, 1]) == pytest.approx(np.ptp(volts) * 10, abs=0.02)
    assert lead_ii[:, 0].max() - lead_ii[:, 0].min() == pytest.approx(250, abs=0.3)
    peak = lead_ii[lead_ii[:, 1].argmin(), 0] - lead_ii[0, 0]
    assert peak / 25 == pytest.approx(volts.argmax() / 1000, abs=0.01)


def test_a_dose_is_a_heat_map_on_one_scale_for_all_frames(filled: Service) -> None:
    """No dose is black, the highest of the whole grid red, and the same dose the same colour in every frame."""
    first, last = (
        np.asarray(picture(filled.get(f"{url(DOSE)}/frames/{frame}/rendered", "image/png"))) for frame in (1, 2)
    )
    assert first[0, 0].tolist() == [0, 0, 0] and last[1, 1].tolist() == [220, 0, 0]
    assert first[1, 0].tolist() == last[0, 1].tolist() and first[1, 1].tolist() == last[1, 0].tolist()
    narrow = picture(filled.get(f"{url(DOSE)}/frames/1/rendered?window=2,4,linear-exact", "image/png"))
    assert narrow.getpixel((1, 1)) == (220, 0, 0)  # 4 Gy


def test_segments_are_coloured_labels_over_nothing(filled: Service) -> None:
    """Binary, fractional and label map; transparent where a format can be, black where not."""
    mask = np.asarray(picture(filled.get(f"{url(MASK)}/frames/1/rendered", "image/png")))
    expected = np.unpackbits(np.frombuffer(MASK.PixelData, np.uint8), bitorder="little")[:256].reshape(16, 16)
    assert np.array_equal(mask[..., 3], expected * 255)
    assert {tuple(colour) for colour in mask[expected == 1].tolist()} == {(230, 60, 50, 255)}
    jpeg = picture(filled.get(f"{url(MASK)}/frames/1/rendered", "image/jpeg"))
    assert jpeg.mode == "RGB" and max(jpeg.getpixel((0, 0))) < 10  # type: ignore[arg-type]
    fraction = np.asarray(picture(filled.get(f"{url(FRACTIONS)}/rendered", "image/png")))
    assert fraction[0, :, 3].tolist() == [0, 128, 255]
    labels = np.asarray(picture(filled.get(f"{url(LABELS)}/rendered", "image/png")))
    assert labels[..., 3].tolist() == [[0, 255, 255], [0, 0, 255]]
    red, green, blue, _ = labels[0, 1].tolist()
    assert red > 240 and green < 40 and blue < 40
    assert labels[0, 2, :3].tolist() == [60, 160, 75]
    webp = np.asarray(picture(filled.get(f"{url(LABELS)}/rendered", "image/webp")))
    assert webp[0, 0, 3] == 0


@pytest.mark.parametrize(("media_type", "form"), [("image/gif", "GIF"), ("image/webp", "WEBP")])
def test_a_multi_frame_image_is_a_moving_picture(filled: Service, media_type: str, form: str) -> None:
    """RT-02: every frame, for as long as the image says; a still where one frame is named."""
    answer = filled.get(f"{url(LOOP)}/rendered", media_type)
    moving = picture(answer)
    assert (moving.format, moving.size) == (form, (32, 24))
    assert getattr(moving, "n_frames", 1) == 4
    stills = []
    for number in range(4):
        moving.seek(number)
        moving.load()
        assert moving.info["duration"] == 40
        stills.append(np.asarray(moving.convert("L")).astype(int))
    for number in (0, 3):
        still = picture(filled.get(f"{url(LOOP)}/frames/{number + 1}/rendered", "image/png"))
        assert np.abs(np.asarray(still.convert("L")).astype(int) - stills[number]).mean() < 4
    assert getattr(picture(filled.get(f"{url(LOOP)}/frames/2/rendered", media_type)), "n_frames", 1) == 1
    again = filled.get(f"{url(LOOP)}/rendered", media_type, If_None_Match=answer.headers["etag"])
    assert again.status_code == 304
    small = picture(filled.get(f"{url(LOOP)}/rendered?viewport=16,16", media_type))
    assert small.size == (16, 12)
    uri = {"requestType": "WADO", "contentType": media_type, "studyUID": LOOP.StudyInstanceUID}
    uri |= {"seriesUID": LOOP.SeriesInstanceUID, "objectUID": LOOP.SOPInstanceUID}
    found = Image.open(BytesIO(filled.client.get(f"{filled.origin}/wado", params=uri).content))
    assert getattr(found, "n_frames", 1) == 4


@pytest.mark.parametrize(
    ("ds", "accept", "status"),
    [
        (IMAGE, "image/jpeg", 200),
        (IMAGE, "image/jp2", 200),
        (IMAGE, "image/jph", 200),
        (IMAGE, "image/jxl", 400),
        (IMAGE, "image/gif", 400),
        (LOOP, "image/gif", 400),
        (LOOP, "image/webp", 400),
        (ECG, "image/png", 200),
        (ECG, "image/svg+xml", 400),
    ],
)
def test_a_profile_is_embedded_or_refused(filled: Service, ds: Dataset, accept: str, status: int) -> None:
    """RP-06: never left out in silence."""
    answer = filled.get(f"{url(ds)}/rendered?iccprofile=srgb", accept)
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["parameter"] == "iccprofile"
    else:
        assert answer.headers["content-type"] == accept
        assert any(mark in answer.content for mark in (b"ICC_PROFILE", b"iCCP", b"colr\2\0\0"))


def test_a_moving_picture_has_its_limit(filled: Service) -> None:
    """Named, with what would be right."""
    answer = filled.get(f"{url(LOOP)}/rendered?viewport=6000,4500", "image/gif")
    assert (answer.status_code, answer.json()["parameter"]) == (400, "viewport")


@pytest.mark.parametrize("ds", [REPORT, KEY_OBJECTS, LETTER], ids=["report", "key objects", "pdf"])
def test_thumbnails_of_text_are_an_icon(filled: Service, ds: Dataset) -> None:
    """WADO-15, IMG-22: nothing of the patient, and the same for all."""
    answer = filled.get(f"{url(ds)}/thumbnail")
    assert picture(answer).size == (128, 128)
    assert answer.content == filled.get(f"{url(REPORT)}/thumbnail").content


def test_wado_uri_gives_the_same(filled: Service) -> None:
    """RT-04, URI-02."""
    names = ("studyUID", "seriesUID", "objectUID")
    for ds, media_type in ((REPORT, "text/plain"), (ECG, "image/svg+xml"), (REPORT, None)):
        uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
        query = {"requestType": "WADO", **dict(zip(names, uids, strict=True))}
        if media_type:
            query["contentType"] = media_type
        answer = filled.client.get(f"{filled.origin}/wado", params=query)
        assert answer.content == filled.get(f"{url(ds)}/rendered", media_type).content


def test_nothing_in_a_report_or_drawing_runs_in_a_browser(filled: Service, browser: Browser) -> None:
    """S-39: Chromium shows the text, asks for nothing more, and runs no script; sandboxed, it has no origin either."""
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(dialog.message))
    try:
        where = f"{filled.url}{url(REPORT)}/rendered"
        page.goto(where)
        assert page.title() == "Radiology Study observation"
        assert "größtenteils" in page.inner_text("body") and "<script>alert(1)</script>" in page.inner_text("body")
        assert page.locator("script, img, iframe, a").count() == 0
        assert asked == [where]
        assert page.evaluate("self.origin") == "null"
        page.screenshot(path=artifact("report.png"), full_page=False)
    finally:
        page.close()
