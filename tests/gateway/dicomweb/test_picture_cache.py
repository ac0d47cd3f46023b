"""Rendered pictures that a client keeps: tags, 304, immutable, and what the picture says of itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless

from gateway.render import VERSION
from tests.gateway.dicomweb.service import Service
from tests.parts.datasets import color, ct_slice, encapsulated, multi_frame, part10_bytes

SLICE, FRAMES, COLOUR = ct_slice("slice"), multi_frame("frames", frames=3), color("colour")
JUNK = encapsulated(ct_slice("junk"), [b"\xff\x4f\xff\x51 is no codestream"])


def url(ds: Dataset) -> str:
    return f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"


@pytest.fixture(scope="module")
def filled(shared: Service) -> Iterator[Service]:
    answer = shared.store(SLICE, FRAMES, COLOUR, part10_bytes(JUNK, JPEG2000Lossless))
    assert answer.status_code == 200, answer.text
    yield shared


def made() -> float:
    return REGISTRY.get_sample_value("gantry_renditions_made_total") or 0


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (url(SLICE) + "/rendered", 'frame=1, window="40,400,linear", source=image'),
        (url(SLICE) + "/rendered?window=300,1500,sigmoid", 'frame=1, window="300,1500,sigmoid", source=request'),
        (url(SLICE) + "/thumbnail", 'frame=1, window="40,400,linear", source=image'),
        (url(FRAMES) + "/frames/3/rendered", 'frame=3, window="'),
        (url(FRAMES) + "/rendered", 'frame=2, window="'),
        (url(COLOUR) + "/rendered", "frame=1"),
    ],
)
def test_a_picture_says_which_window_it_shows_and_where_that_is_from(filled: Service, where: str, said: str) -> None:
    """IMG-05: the header is one that pages of other origins may read."""
    for _ in range(2):  # made, then kept
        found = filled.get(where).headers["gantry-rendering"]
        assert found.startswith(f'renderer="{VERSION}", {said}')
        assert "window" not in found or where != url(COLOUR) + "/rendered"


@pytest.mark.parametrize("resource", ["rendered", "thumbnail", "frames/1/rendered", "frames/1/thumbnail"])
def test_what_is_asked_for_again_is_not_made_again(filled: Service, resource: str) -> None:
    """RES-06, SC-304: strong tag, immutable; 304 and HEAD decode nothing."""
    where = f"{url(SLICE)}/{resource}"
    first = filled.get(where, viewport="1")
    before = made()
    again = filled.get(where)
    assert again.content == first.content and made() == before
    tag = first.headers["etag"]
    assert tag.startswith('"') and "immutable" in first.headers["cache-control"]
    unchanged = filled.get(where, If_None_Match=tag)
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
    part = filled.get(where, Range="bytes=10-19")
    assert (part.status_code, part.content) == (206, first.content[10:20])


def test_head_decodes_nothing(filled: Service) -> None:
    """GEN-21: not even what cannot be decoded."""
    before = made()
    head = filled.client.head(f"{url(JUNK)}/rendered")
    assert (head.status_code, head.headers["content-type"]) == (200, "image/jpeg")
    assert filled.get(f"{url(JUNK)}/rendered").status_code == 406
    assert made() == before + 1  # begun, and not kept
