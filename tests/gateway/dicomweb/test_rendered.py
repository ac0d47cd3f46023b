"""Rendered and thumbnail resources over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import MPEG4HP41, JPEG2000Lossless

from tests.gateway.dicomweb.service import Service, parts_of
from tests.parts.datasets import color, ct_slice, encapsulated, multi_frame, part10_bytes, pdf, report, series_of, uid

SLICES = series_of(3, "slices")
WIDE = ct_slice("wide", rows=256, columns=512)
FRAMES = multi_frame("frames", frames=5, rows=40, columns=40)
LETTER = pdf("letter", document=b"%PDF-1.4 letter")
PAGE = pdf("page", document=b"<script>", MIMETypeOfEncapsulatedDocument="text/html")
FILM_BYTES = b"\0\0\0\x18ftypmp42" + b"film" * 5000
FILM = encapsulated(color("film", frames=2), [FILM_BYTES], photometric="YBR_PARTIAL_420")
JUNK = encapsulated(ct_slice("junk"), [b"\xff\x4f\xff\x51 is no codestream"])
PLAN = report("plan", SOPClassUID="1.2.840.10008.5.1.4.1.1.481.5", Modality="RTPLAN", ContentSequence=None)
BROWSER = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"


def url(ds: Dataset, level: int = 3) -> str:
    parts = (
        f"/studies/{ds.StudyInstanceUID}",
        f"/series/{ds.SeriesInstanceUID}",
        f"/instances/{ds.SOPInstanceUID}",
    )
    return "".join(parts[:level])


def picture(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(BytesIO(answer.content))


@pytest.fixture(scope="module")
def filled(shared: Service) -> Iterator[Service]:
    FILM.NumberOfFrames = 2
    answer = shared.store(
        *SLICES,
        WIDE,
        FRAMES,
        LETTER,
        PAGE,
        part10_bytes(FILM, MPEG4HP41),
        part10_bytes(JUNK, JPEG2000Lossless),
        PLAN,
    )
    assert answer.status_code == 200, answer.text
    yield shared


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("resource", ["rendered", "thumbnail"])
@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "image/jpeg"),
        (BROWSER, "image/jpeg"),
        ("image/jpeg", "image/jpeg"),
        ("image/png", "image/png"),
        ("image/gif", "image/gif"),
    ],
)
def test_a_picture_at_every_level(filled: Service, level: int, resource: str, accept: str, media_type: str) -> None:
    """WADO-04, WADO-07, MT-04, MT-05, RT-01."""
    answer = filled.get(f"{url(SLICES[0], level)}/{resource}", accept)
    assert answer.headers["content-type"] == media_type
    assert picture(answer).size == (64, 64)
    assert picture(answer).format == media_type.partition("/")[2].upper()


@pytest.mark.parametrize("resource", ["rendered", "thumbnail"])
def test_a_picture_of_a_frame(filled: Service, resource: str) -> None:
    """WADO-04, WADO-07."""
    first = filled.get(f"{url(FRAMES)}/frames/1/{resource}", "image/png")
    last = filled.get(f"{url(FRAMES)}/frames/5/{resource}", "image/png")
    assert picture(first).size == picture(last).size == (40, 40)
    assert first.content != last.content
    assert filled.get(f"{url(FRAMES)}/frames/6/{resource}").status_code == 404
    assert filled.get(f"{url(FRAMES)}/frames/0/{resource}").status_code == 400


def test_one_picture_of_many_is_the_one_in_the_middle(filled: Service) -> None:
    """RP-09, RT-02: of several frames there is no default; all of them as multipart, or one that stands for them."""
    middle = filled.get(f"{url(SLICES[1])}/rendered", "image/png")
    assert filled.get(f"{url(SLICES[1], 1)}/rendered", "image/png").content == middle.content
    frame = filled.get(f"{url(FRAMES)}/frames/3/rendered", "image/png")
    assert filled.get(f"{url(FRAMES)}/rendered", "image/png").content == frame.content


def test_all_pictures_of_a_study_as_multipart(filled: Service) -> None:
    """RP-09, WADO-13."""
    parts = parts_of(filled.get(f"{url(SLICES[0], 1)}/rendered", 'multipart/related; type="image/jpeg"'))
    assert [headers["content-location"] for headers, _ in parts] == [f"{filled.url}{url(ds)}/frames/1" for ds in SLICES]
    assert all(headers["content-type"] == "image/jpeg" and body[:2] == b"\xff\xd8" for headers, body in parts)
    assert len(parts_of(filled.get(f"{url(FRAMES)}/rendered", 'multipart/related; type="image/png"'))) == 5


@pytest.mark.parametrize(
    ("viewport", "size"),
    [
        ("100,100", (100, 50)),
        ("1024,1024", (1024, 512)),
        ("64,64,0,0,128,256", (32, 64)),
        ("512,512,,,512,512", (512, 256)),
    ],
)
def test_viewports(filled: Service, viewport: str, size: tuple[int, int]) -> None:
    """RP-03, RP-10."""
    assert picture(filled.get(f"{url(WIDE)}/rendered?viewport={viewport}")).size == size


def test_a_negative_width_mirrors(filled: Service) -> None:
    """RP-10."""
    plain = picture(filled.get(f"{url(WIDE)}/rendered?viewport=256,256,0,0,256,128&accept=image/png"))
    mirrored = picture(filled.get(f"{url(WIDE)}/rendered?viewport=256,256,0,0,-256,128&accept=image/png"))
    assert np.array_equal(np.asarray(plain)[:, ::-1], np.asarray(mirrored))


def test_windows_and_quality_change_the_picture(filled: Service) -> None:
    """RP-02, RP-05."""
    path = f"{url(WIDE)}/rendered"
    bodies = {filled.get(f"{path}{query}").content for query in ("", "?window=1000,50,linear", "?quality=5")}
    assert len(bodies) == 3
    assert picture(filled.get(f"{path}?window=40,400,linear-exact")).size == (512, 256)
    assert picture(filled.get(f"{path}?window=40.5,4e2,sigmoid")).size == (512, 256)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("quality=0", "quality"),
        ("quality=101", "quality"),
        ("quality=-1", "quality"),
        ("quality=", "quality"),
        ("quality=high", "quality"),
        ("quality=1&quality=2", "quality"),
        ("viewport=", "viewport"),
        ("viewport=0,0", "viewport"),
        ("viewport=10", "viewport"),
        ("viewport=10,10,1", "viewport"),
        ("viewport=-5,5", "viewport"),
        ("viewport=1.5,5", "viewport"),
        ("viewport=99999,99999", "viewport"),
        ("viewport=10,10,0,0,0,0", "viewport"),
        ("viewport=10,10,9999,0,5,5", "viewport"),
        ("viewport=10,10,nan,0,5,5", "viewport"),
        ("window=40,400", "window"),
        ("window=nan,inf,linear", "window"),
        ("window=1,x,linear", "window"),
        ("window=40,400,cubic", "window"),
        ("window=40,0,linear", "window"),
        ("window=40,-1,sigmoid", "window"),
        ("annotation=", "annotation"),
        ("annotation=a%0d%0ab", "annotation"),
    ],
)
def test_ill_formed_parameters_are_refused_by_name(filled: Service, query: str, parameter: str) -> None:
    """RP-01 to RP-05, GEN-03, S-66."""
    answer = filled.get(f"{url(WIDE)}/rendered?{query}")
    assert (answer.status_code, answer.json()["parameter"]) == (400, parameter)


def test_annotations_are_burnt_in_over_the_finished_picture(filled: Service) -> None:
    """RP-01, RP-07: patient at the top left, technique at the bottom left, whatever region is shown."""
    path = f"{url(WIDE)}/rendered?viewport=512,512,0,0,512,256"

    def marks(annotation: str) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        plain = np.asarray(picture(filled.get(path, "image/png")))
        answer = filled.get(f"{path}&annotation={annotation}", "image/png")
        assert "warning" not in answer.headers
        return np.asarray(np.asarray(picture(answer)) != plain)

    patient, technique, both = marks("patient"), marks("technique"), marks("patient,technique")
    assert patient[:60, :250].any() and not patient[60:].any() and not patient[:, 250:].any()
    assert technique[180:, :300].any() and not technique[:180].any()
    assert np.array_equal(both, patient | technique)
    part = filled.get(f"{url(WIDE)}/rendered?viewport=256,256,200,100,100,100&annotation=patient", "image/png")
    assert len(np.unique(np.asarray(picture(part))[:40])) > 20


def test_annotations_that_are_not_known_are_named(filled: Service) -> None:
    """RP-01: ignored, with the words of the standard."""
    answer = filled.get(f"{url(WIDE)}/rendered?annotation=patient,weather,stars")
    warning = "The following annotation values are not supported: weather,stars"
    assert answer.headers["warning"] == f"299 {filled.url}: {warning}"
    letter = filled.get(f"{url(LETTER)}/rendered?annotation=patient")
    assert letter.headers["warning"].endswith("are not supported: patient")


def test_a_thumbnail_has_the_size_asked_for(filled: Service) -> None:
    """WADO-15, RP-04."""
    assert picture(filled.get(f"{url(WIDE)}/thumbnail")).size == (128, 64)
    assert picture(filled.get(f"{url(WIDE)}/thumbnail?viewport=40,40")).size == (40, 20)
    assert filled.get(f"{url(WIDE)}/thumbnail?viewport=40,40,0,0,5,5").status_code == 400
    # whatever is asked for: no text
    plain = filled.get(f"{url(WIDE)}/thumbnail").content
    assert filled.get(f"{url(WIDE)}/thumbnail?annotation=patient,technique").content == plain


@pytest.mark.parametrize("ds", [PLAN, JUNK])
def test_what_has_no_picture(filled: Service, ds: Dataset) -> None:
    """IMG-22: 406, and a neutral icon as thumbnail that says what it is; never 500."""
    for level in (1, 2, 3):
        assert filled.get(f"{url(ds, level)}/rendered").status_code == 406
        answer = filled.get(f"{url(ds, level)}/thumbnail?viewport=80,60")
        assert (picture(answer).format, picture(answer).size) == ("JPEG", (60, 60))
        assert answer.headers["warning"].endswith("there is no picture of it; this is a neutral icon")
        assert answer.headers["cache-control"] == "private, no-cache"
    assert filled.get(f"{url(ds)}/frames/2/thumbnail").status_code == 404


def test_an_encapsulated_pdf_is_its_own_rendering(filled: Service) -> None:
    """RT-04, IMG-21, S-39: a PDF is shown, a document with active content is saved and may do nothing."""
    answer = filled.get(f"{url(LETTER)}/rendered", "application/pdf")
    assert (answer.headers["content-type"], answer.content) == ("application/pdf", b"%PDF-1.4 letter")
    assert answer.headers["content-disposition"].startswith("inline; filename=")
    assert filled.get(f"{url(LETTER)}/rendered", "image/jpeg").status_code == 406
    assert answer.headers["x-content-type-options"] == "nosniff"
    active = filled.get(f"{url(PAGE)}/rendered").headers
    assert active["content-disposition"].startswith("attachment; filename=")
    assert active["content-security-policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize("accept", ["video/mp4", "video/*", "*/*"])
def test_a_video_is_its_own_rendering_and_can_be_sought_in(filled: Service, accept: str) -> None:
    """RT-03; Safari probes the first two bytes."""
    answer = filled.get(f"{url(FILM)}/rendered", accept)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.content.rstrip(b"\0") == FILM_BYTES
    probe = filled.get(f"{url(FILM)}/rendered", accept, Range="bytes=0-1")
    assert (probe.status_code, probe.content) == (206, FILM_BYTES[:2])
    assert probe.headers["content-range"] == f"bytes 0-1/{len(answer.content)}"


def test_pictures_are_revalidated_and_heads_have_no_body(filled: Service) -> None:
    """GEN-19."""
    path = f"{url(WIDE)}/rendered"
    first = filled.get(path)
    assert filled.get(path, If_None_Match=first.headers["etag"]).status_code == 304
    head = filled.client.head(path)
    assert (head.status_code, head.headers["etag"], head.content) == (200, first.headers["etag"], b"")
    assert filled.get(path + "?quality=50").headers["etag"] != first.headers["etag"]
    assert filled.get("/studies/" + uid("study", "none") + "/rendered").status_code == 404
