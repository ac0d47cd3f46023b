"""Marks on every picture that leaves the gateway, by every resource that gives pictures; never on thumbnails."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from pydicom.dataset import Dataset

from tests.gateway.dicomweb.service import Service, parts_of, serve
from tests.gateway.dicomweb.test_rendered import url
from tests.gateway.render.states import state, voi
from tests.parts import once
from tests.parts.datasets import ct_slice, multi_frame

PLAIN = ct_slice("mark", rows=200, columns=300)
LOSSY = ct_slice("mark", number=2, rows=200, columns=300, LossyImageCompression="01", LossyImageCompressionRatio="9")
LOOP = multi_frame("mark", 2, frames=2, rows=200, columns=300)
STATE = state(PLAIN, study="mark", SoftcopyVOILUTSequence=[voi(0, 1500)], RescaleSlope="1", RescaleIntercept="-1024")
STORED = (PLAIN, LOSSY, LOOP, STATE)

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def plain(shared: Service) -> Service:
    """A gateway without marks."""
    assert shared.store(*STORED).status_code == 200
    return shared


@pytest.fixture(scope="module")
def marking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that marks its pictures, and those that lost something."""
    folder = tmp_path_factory.mktemp("marking")
    with serve(folder, picture_mark="NOT FOR DIAGNOSIS", picture_mark_lossy=True) as running:
        assert running.store(*STORED).status_code == 200
        yield running


def pixels(data: bytes) -> list[Pixels]:
    with Image.open(BytesIO(data)) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


def pictures(answer: httpx.Response) -> list[Pixels]:
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("multipart/"):
        return [found for _, data in parts_of(answer) for found in pixels(data)]
    return pixels(answer.content)


def rows_marked(marking: Service, plain: Service, path: str, accept: str) -> list[set[int]]:
    """For each picture: the rows in which its lower right quarter has marks. Nothing stands anywhere else."""
    found = []
    for marked, bare in zip(pictures(marking.get(path, accept)), pictures(plain.get(path, accept)), strict=True):
        differs = (marked != bare).any(axis=2)
        assert not differs[: differs.shape[0] // 2].any() and not differs[:, : differs.shape[1] // 4].any()
        found.append(set(np.nonzero(differs.any(axis=1))[0].tolist()))
    return found


@pytest.mark.parametrize(
    ("path", "accept", "count"),
    [
        (f"{url(PLAIN)}/rendered", "image/png", 1),
        (f"{url(PLAIN)}/frames/1/rendered", "image/png", 1),
        (f"{url(PLAIN)}/rendered?viewport=600,400,10,10,100,100", "image/png", 1),
        (f"{url(PLAIN, 2)}/rendered", 'multipart/related; type="image/png"', 2),
        (f"{url(PLAIN, 1)}/rendered", "image/png", 1),
        (f"{url(LOOP)}/rendered", "image/gif", 2),
        (f"{url(STATE)}/rendered", "image/png", 1),
        (f"{url(LOOP)}/frames/1,2/rendered", 'multipart/related; type="image/jpeg"', 2),
    ],
)
def test_every_picture_has_the_mark(plain: Service, marking: Service, path: str, accept: str, count: int) -> None:
    """RP-07: over the finished picture: of instances, frames, regions, series, studies, loops and states."""
    found = rows_marked(marking, plain, path, accept)
    assert len(found) == count and all(found)


def test_wado_uri_marks_its_pictures_too(plain: Service, marking: Service) -> None:
    """URI-08."""
    path = (
        f"/wado?requestType=WADO&studyUID={PLAIN.StudyInstanceUID}&seriesUID={PLAIN.SeriesInstanceUID}"
        f"&objectUID={PLAIN.SOPInstanceUID}&contentType=image/png"
    )
    marked, bare = (pixels(once.get(f"{one.origin}{path}").content)[0] for one in (marking, plain))
    assert (marked != bare)[100:, 75:].any() and not (marked != bare)[:100].any()


def test_loss_is_marked_where_something_was_lost(plain: Service, marking: Service) -> None:
    """One line where neither the pixels nor the picture lost anything, two where either did."""

    def rows(ds: Dataset, accept: str) -> int:
        quality = "?quality=100" if accept == "image/jpeg" else ""
        (found,) = rows_marked(marking, plain, f"{url(ds)}/rendered{quality}", accept)
        return max(found) - min(found)

    one = rows(PLAIN, "image/png")
    assert rows(LOSSY, "image/png") > 1.5 * one
    assert rows(PLAIN, "image/jpeg") > 1.5 * one


@pytest.mark.parametrize("path", [url(PLAIN), url(PLAIN, 2), url(PLAIN, 1), f"{url(PLAIN)}/frames/1"])
def test_thumbnails_have_no_mark(plain: Service, marking: Service, path: str) -> None:
    """WADO-15: no text, whatever is set."""
    marked, bare = (one.get(f"{path}/thumbnail", "image/png").content for one in (marking, plain))
    assert marked == bare
