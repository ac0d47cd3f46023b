"""WADO-URI over real sockets (PS3.18 9)."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from tests.gateway.dicomweb.service import Service, serve
from tests.parts.datasets import color, ct_slice, encapsulated, multi_frame, part10_bytes, pdf, report
from tests.parts.files import dataset_bytes

ELE, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
SLICE = ct_slice("slice")
FRAMES = multi_frame("frames", frames=5)
PLAIN = ct_slice("implicit")
RLE = color("rle", frames=2)
LOSSY = encapsulated(color("lossy"), [b"\xff\xd8 not looked at \xff\xd9 "], photometric="YBR_FULL_422")
LETTER = pdf("letter", document=b"%PDF-1.4 a letter")
REPORT = report("report")


@pytest.fixture(scope="module")
def filled(shared: Service) -> Iterator[Service]:
    files = [
        part10_bytes(SLICE),
        part10_bytes(FRAMES),
        part10_bytes(PLAIN, IMPLICIT),
        part10_bytes(RLE, RLELossless),
        part10_bytes(LOSSY, JPEGBaseline8Bit),
        part10_bytes(LETTER),
        part10_bytes(REPORT),
    ]
    assert shared.store(*files).status_code == 200
    yield shared


def ask(service: Service, ds: Dataset | None, accept: str | None = None, **query: str) -> httpx.Response:
    """A request for the instance; a parameter that is given replaces the usual one, an empty one takes it away."""
    usual = {"requestType": "WADO"}
    if ds is not None:
        usual |= {"studyUID": ds.StudyInstanceUID, "seriesUID": ds.SeriesInstanceUID, "objectUID": ds.SOPInstanceUID}
    asked = {name: value for name, value in {**usual, **query}.items() if value}
    headers = {"Accept": accept} if accept else {}
    return service.client.get(f"{service.origin}/wado", params=asked, headers=headers)


def size(answer: httpx.Response) -> tuple[int, int]:
    assert answer.status_code == 200, answer.text
    return Image.open(BytesIO(answer.content)).size


def wrong(answer: httpx.Response) -> str:
    """The parameter that a 400 names."""
    assert answer.status_code == 400, answer.text
    return str(answer.json()["parameter"])


def test_an_instance_is_a_picture_by_default(filled: Service) -> None:
    """URI-01, URI-03, URI-12, RT-01: image/jpeg, a single part, in any order of parameters."""
    answer = ask(filled, SLICE)
    assert answer.headers["content-type"] == "image/jpeg"
    assert size(answer) == (SLICE.Columns, SLICE.Rows)
    asked = "&".join((f"objectUID={SLICE.SOPInstanceUID}", f"seriesUID={SLICE.SeriesInstanceUID}", "requestType=WADO"))
    again = filled.client.get(f"{filled.origin}/wado?{asked}&studyUID={SLICE.StudyInstanceUID}")
    assert again.content == answer.content


@pytest.mark.parametrize("name", ["requestType", "studyUID", "seriesUID", "objectUID"])
def test_what_is_required_is_named_when_it_is_missing_or_malformed(filled: Service, name: str) -> None:
    """URI-01, GEN-05."""
    assert wrong(ask(filled, SLICE, **{name: ""})) == name
    assert wrong(ask(filled, SLICE, **{name: "1.2..3"})) == name


def test_unknown_instances_are_not_found(filled: Service) -> None:
    """URI-01, WADO-18: also under another study or series."""
    for other in ({"objectUID": "1.2.3"}, {"seriesUID": FRAMES.SeriesInstanceUID}, {"studyUID": "1.2.3"}):
        assert ask(filled, SLICE, **other).status_code == 404


def test_repeated_parameters_are_refused(filled: Service) -> None:
    """GEN-03."""
    url = str(ask(filled, SLICE).request.url)
    assert wrong(filled.client.get(f"{url}&rows=1&rows=2")) == "rows"


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png", "image/gif"])
def test_the_content_type_says_what_is_wanted(filled: Service, media_type: str) -> None:
    """URI-02: it counts more than Accept, which is the browser's."""
    assert ask(filled, SLICE, "image/webp", contentType=media_type).headers["content-type"] == media_type
    assert ask(filled, SLICE, contentType=f"video/mp4,{media_type}").headers["content-type"] == media_type


@pytest.mark.parametrize(
    "text",
    [
        "application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
        "text/html; charset=utf-8",
        "nonsense",
        "*/*",
        "application/dicom,image/png",
    ],
)
def test_a_content_type_with_parameters_is_refused(filled: Service, text: str) -> None:
    """URI-02."""
    assert wrong(ask(filled, SLICE, contentType=text)) == "contentType"


def test_types_that_cannot_be_had(filled: Service) -> None:
    """URI-02, SC-406: with what can."""
    refused = ask(filled, SLICE, contentType="video/mp4")
    assert refused.status_code == 406
    assert {"image/jpeg", "application/dicom"} <= set(refused.json()["offered"])
    assert ask(filled, REPORT, contentType="image/jpeg").status_code == 406
    assert ask(filled, SLICE, "video/mp4").status_code == 406


def test_a_browser_gets_its_picture(filled: Service) -> None:
    """URI-03."""
    browser = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
    assert ask(filled, SLICE, browser).status_code == 200
    assert ask(filled, SLICE, "image/png").headers["content-type"] == "image/png"


@pytest.mark.parametrize("ds", [SLICE, PLAIN, RLE], ids=["explicit", "implicit", "rle"])
def test_files_are_explicit_vr_little_endian_unless_said_otherwise(filled: Service, ds: Dataset) -> None:
    """URI-04, NEG-09, GEN-13."""
    answer = ask(filled, ds, contentType="application/dicom")
    assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={ELE}"
    got = dcmread(BytesIO(answer.content))
    assert got.file_meta.TransferSyntaxUID == ELE
    assert np.array_equal(np.frombuffer(got.PixelData, np.uint8), np.frombuffer(ds.PixelData, np.uint8))


def test_only_lossy_data_stay_as_they_are(filled: Service) -> None:
    """URI-04, NEG-09."""
    answer = ask(filled, LOSSY, contentType="application/dicom")
    assert dcmread(BytesIO(answer.content)).file_meta.TransferSyntaxUID == JPEGBaseline8Bit


def test_a_transfer_syntax_may_be_named(filled: Service) -> None:
    """URI-04: the stored one, another one, one that cannot be had, one that is none."""
    stored = ask(filled, RLE, contentType="application/dicom", transferSyntax=str(RLELossless))
    assert dataset_bytes(stored.content) == dataset_bytes(part10_bytes(RLE, RLELossless))
    other = ask(filled, SLICE, contentType="application/dicom", transferSyntax=str(JPEGLSLossless))
    assert dcmread(BytesIO(other.content)).file_meta.TransferSyntaxUID == JPEGLSLossless
    for uid in (IMPLICIT, str(JPEGBaseline8Bit), "1.2.3"):
        assert ask(filled, SLICE, contentType="application/dicom", transferSyntax=uid).status_code == 406
    assert wrong(ask(filled, SLICE, contentType="application/dicom", transferSyntax="x")) == "transferSyntax"
    assert wrong(ask(filled, SLICE, transferSyntax=ELE)) == "transferSyntax"


def test_there_is_no_de_identification(filled: Service) -> None:
    """URI-05, SC-501: refused by name, never ignored."""
    refused = ask(filled, SLICE, anonymize="yes", contentType="application/dicom")
    assert refused.status_code == 501
    assert "anonymize" in refused.json()["detail"]
    assert wrong(ask(filled, SLICE, anonymize="no")) == "anonymize"


def test_frames_are_numbered_from_one(filled: Service) -> None:
    """URI-06."""
    pictures = [ask(filled, FRAMES, contentType="image/png", frameNumber=str(number)).content for number in (1, 2, 5)]
    assert len(set(pictures)) == 3
    middle = ask(filled, FRAMES, contentType="image/png", frameNumber="3").content
    assert ask(filled, FRAMES, contentType="image/png").content == middle
    for number in ("0", "6", "-1", "x", "1,2"):
        assert wrong(ask(filled, FRAMES, frameNumber=number)) == "frameNumber"
    assert wrong(ask(filled, SLICE, frameNumber="1")) == "frameNumber"


def test_a_window_has_a_center_and_a_width(filled: Service) -> None:
    """URI-07."""
    shown = ask(filled, SLICE, contentType="image/png", windowCenter="40", windowWidth="400").content
    assert shown != ask(filled, SLICE, contentType="image/png", windowCenter="400", windowWidth="40").content
    rest = f"/studies/{SLICE.StudyInstanceUID}/series/{SLICE.SeriesInstanceUID}/instances/{SLICE.SOPInstanceUID}"
    assert filled.get(f"{rest}/rendered?window=40,400,linear", "image/png").content == shown
    assert wrong(ask(filled, SLICE, windowCenter="40")) == "windowWidth"
    assert wrong(ask(filled, SLICE, windowWidth="400")) == "windowCenter"
    for value in ("nan", "x", "1e999"):
        assert wrong(ask(filled, SLICE, windowCenter=value, windowWidth="400")) == "windowCenter"
    both = {"windowCenter": "40", "windowWidth": "400"}
    assert wrong(ask(filled, SLICE, contentType="application/dicom", **both)) == "windowCenter"


def test_a_region_is_given_in_parts_of_the_image(filled: Service) -> None:
    """URI-08."""
    columns, rows = SLICE.Columns, SLICE.Rows
    part = ask(filled, SLICE, contentType="image/png", region="0.25,0.5,0.75,1", windowCenter="40", windowWidth="400")
    whole = ask(filled, SLICE, contentType="image/png", windowCenter="40", windowWidth="400")
    assert size(part) == (columns // 2, rows // 2)
    pixels = np.asarray(Image.open(BytesIO(whole.content)))
    assert np.array_equal(
        np.asarray(Image.open(BytesIO(part.content))), pixels[rows // 2 :, columns // 4 : columns * 3 // 4]
    )
    for text in ("0,0,1", "0,0,1,1,1", "0.5,0,0.5,1", "0,0.6,1,0.5", "0,0,1,1.1", "-0.1,0,1,1", "a,b,c,d", "nan,0,1,1"):
        assert wrong(ask(filled, SLICE, region=text)) == "region"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"rows": "10", "columns": "20"}, (10, 10)),
        ({"rows": "20", "columns": "10"}, (10, 10)),
        ({"rows": "16"}, (16, 16)),
        ({"columns": "12"}, (12, 12)),
        ({"rows": "100", "columns": "100", "region": "0,0,1,0.5"}, (100, 50)),
        ({"columns": "40", "region": "0,0,0.5,1"}, (40, 80)),
    ],
)
def test_rows_and_columns_are_greatest_sizes(filled: Service, asked: dict[str, str], expected: tuple[int, int]) -> None:
    """URI-09: the aspect is kept; what is not given follows."""
    assert SLICE.Rows == SLICE.Columns
    assert size(ask(filled, SLICE, **asked)) == expected


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "x", "9999999"])
def test_sizes_that_are_none(filled: Service, value: str) -> None:
    """URI-09, S-66."""
    assert wrong(ask(filled, SLICE, rows=value)) == "rows"
    assert wrong(ask(filled, SLICE, rows="99999", columns="99999")) == "rows"


def test_presentation_states_are_named_by_two_uids(filled: Service) -> None:
    """URI-10: unknown ones are 400; known ones are not applied, and never silently left out."""
    known = {"presentationSeriesUID": SLICE.SeriesInstanceUID, "presentationUID": SLICE.SOPInstanceUID}
    assert wrong(ask(filled, SLICE, **known)) == "presentationUID"  # an image is no state
    unknown = {**known, "presentationUID": "1.2.3"}
    assert wrong(ask(filled, SLICE, **unknown)) == "presentationUID"
    assert wrong(ask(filled, SLICE, presentationUID="1.2.3")) == "presentationSeriesUID"
    assert wrong(ask(filled, SLICE, **known, windowCenter="1", windowWidth="2")) == "windowCenter"


def test_quality_annotation_and_character_set(filled: Service) -> None:
    """URI-11, GEN-07: quality by its own name, annotations burnt in or named in a Warning, charset ignored."""
    low, high = (ask(filled, SLICE, imageQuality=text) for text in ("5", "95"))
    assert len(low.content) < len(high.content)
    assert wrong(ask(filled, SLICE, imageQuality="0")) == "imageQuality"
    for name in ("imageAnnotation", "annotation"):
        assert "stars" in ask(filled, SLICE, **{name: "stars"}).headers["warning"]
        burnt = ask(filled, SLICE, **{name: "patient"})
        assert "warning" not in burnt.headers and burnt.content != ask(filled, SLICE).content
    assert ask(filled, SLICE, charset="UTF-8").status_code == 200


def test_documents_come_as_they_are(filled: Service) -> None:
    """URI-03, URI-12, RT-04."""
    answer = ask(filled, LETTER)
    assert (answer.headers["content-type"], answer.content) == ("application/pdf", b"%PDF-1.4 a letter")


def test_answers_can_be_kept_and_had_in_parts(filled: Service) -> None:
    """GEN-19, GEN-20, URI-12."""
    answer = ask(filled, SLICE)
    url = str(answer.request.url)
    assert filled.client.get(url, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    part = filled.client.get(url, headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, answer.content[:10])
    assert filled.client.head(url).headers["etag"] == answer.headers["etag"]


def test_a_strict_gateway_answers_picture_links_all_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    """URI-03, NEG-01: the setting is for the RESTful services."""
    with serve(tmp_path_factory.mktemp("strict"), strict_accept=True) as service:
        service.store(SLICE, Accept="*/*")
        request = ask(service, SLICE).request
        del request.headers["accept"]
        assert service.client.send(request).status_code == 200
