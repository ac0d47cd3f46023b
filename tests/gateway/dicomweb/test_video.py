"""Stored videos through the door, and in a browser."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser
from pydicom.dataset import Dataset

from tests.gateway.dicomweb.service import Service
from tests.gateway.dicomweb.test_rendered import picture, url
from tests.parts.datasets import color, encapsulated, part10_bytes
from tests.parts.films import FRAMES, decoded, film, heard, talkie

H264, H265, MPEG2 = "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.100"


def stored(name: str, data: bytes) -> Dataset:
    ds = encapsulated(color(name, frames=2, FrameTime="100"), [data + b"\0" * (len(data) % 2)])
    ds.PhotometricInterpretation = "YBR_PARTIAL_420"
    ds.NumberOfFrames = FRAMES
    return ds


FILMS = {
    "mp4": (stored("mp4", film("libx264", "mp4")), H264),
    "transport": (stored("transport", film("libx264", "mpegts")), H264),
    "bare": (stored("bare", film("libx264", "h264")), H264),
    "talkie": (stored("talkie", talkie()), H264),
    "hevc": (stored("hevc", film("libx265", "mp4")), H265),
    "hevc bare": (stored("hevc bare", film("libx265", "hevc")), H265),
    "mpeg-2": (stored("mpeg-2", film("mpeg2video", "mpeg")), MPEG2),
    "junk": (stored("junk", b"\0\0\1 is no film"), H264),
}


@pytest.fixture(scope="module")
def filled(shared: Service) -> Iterator[Service]:
    answer = shared.store(*(part10_bytes(ds, syntax) for ds, syntax in FILMS.values()))
    assert answer.status_code == 200, answer.text
    yield shared


@pytest.mark.parametrize("accept", ["*/*", "video/*", "video/mp4"])
@pytest.mark.parametrize("name", ["mp4", "transport", "bare"])
def test_h264_is_mp4_whatever_it_is_stored_in(filled: Service, name: str, accept: str) -> None:
    """RT-03: the same coded pictures, without encoding them anew; with ranges."""
    where = f"{url(FILMS[name][0])}/rendered"
    answer = filled.get(where, accept)
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"].startswith("inline")
    found = decoded(answer.content, "mp4")
    expected = decoded(film("libx264", "mp4"))
    assert len(found) == FRAMES
    assert all(np.array_equal(mine, theirs) for (_, mine), (_, theirs) in zip(found, expected, strict=True))
    part = filled.get(where, accept, Range="bytes=100-199")
    assert (part.status_code, part.content) == (206, answer.content[100:200])
    assert filled.get(where, accept, If_None_Match=answer.headers["etag"]).status_code == 304
    if name == "mp4":
        assert answer.content.rstrip(b"\0") == film("libx264", "mp4").rstrip(b"\0")


@pytest.mark.parametrize(
    ("name", "types"),
    [
        ("transport", ("video/mp4", "video/mp2t")),
        ("bare", ("video/mp4", "video/h264")),
        ("hevc", ("video/mp4", "video/h265")),
        ("hevc bare", ("video/h265",)),
        ("mpeg-2", ("video/mpeg",)),
    ],
)
def test_each_stream_is_offered_as_what_it_is(filled: Service, name: str, types: tuple[str, ...]) -> None:
    """RT-03: the stored bytes under a type of their own; 406 names what there is."""
    ds = FILMS[name][0]
    where = f"{url(ds)}/rendered"
    assert filled.get(where).headers["content-type"] == types[0]
    data = filled.get(where, types[-1]).content
    original = {"transport": "mpegts", "bare": "h264"}.get(name)
    if original:
        assert data.rstrip(b"\0") == film("libx264", original).rstrip(b"\0")
    refused = filled.get(where, "video/ogg")
    assert refused.status_code == 406
    assert {one for one in refused.json()["offered"] if one.startswith("video/")} == set(types)
    if "video/mp4" not in types:
        assert filled.get(where, "video/mp4").status_code == 406


def test_a_stream_that_is_none_is_406_and_still_to_be_had(filled: Service) -> None:
    """RT-03: never 500; the thumbnail of a video is the icon."""
    where = url(FILMS["junk"][0])
    assert filled.get(f"{where}/rendered").status_code == 406
    assert filled.get(f"{where}/rendered", "video/h264").content.startswith(b"\0\0\1 is no film")
    assert picture(filled.get(f"{where}/thumbnail")).size == (128, 128)


def test_sound_of_a_transport_stream_comes_along(filled: Service, browser: Browser) -> None:
    """RT-03: AAC, copied as the pictures are; Chromium decodes it while it plays."""
    where = f"{url(FILMS['talkie'][0])}/rendered"
    rate, first, sound = heard(filled.get(where, "video/mp4").content, "mp4")
    assert rate == 44_100 and abs(first) < 0.1 and len(sound) > 3.5 * rate
    page = browser.new_page()
    try:
        page.goto(f"{filled.url}{where}")
        page.evaluate(
            "() => { const video = document.querySelector('video'); video.muted = true; return video.play(); }"
        )
        page.wait_for_function("() => document.querySelector('video').webkitAudioDecodedByteCount > 1000")
    finally:
        page.close()


@pytest.mark.parametrize("name", ["mp4", "transport", "bare"])
def test_a_browser_plays_it_and_seeks(filled: Service, browser: Browser, name: str) -> None:
    """RT-03: Chromium shows the right frame at a place in the middle."""
    page = browser.new_page()
    try:
        page.goto(f"{filled.url}{url(FILMS[name][0])}/rendered")
        found = page.evaluate(
            """async () => {
              const video = document.querySelector("video");
              video.pause();
              if (video.readyState < 2) await new Promise((done) => video.addEventListener("loadeddata", done));
              const seen = [];
              for (const at of [3.05, 1.05]) {
                const there = new Promise((done) => video.addEventListener("seeked", done, { once: true }));
                video.currentTime = at;
                await there;
                const copy = new OffscreenCanvas(video.videoWidth, video.videoHeight).getContext("2d");
                copy.drawImage(video, 0, 0);
                const row = copy.getImageData(0, 60, video.videoWidth, 1).data;
                let best = 0;
                for (let x = 0; x < video.videoWidth; x += 1) if (row[4 * x] > row[4 * best]) best = x;
                seen.push(best);
              }
              return [video.videoWidth, video.videoHeight, video.duration, seen];
            }"""
        )
    finally:
        page.close()
    width, height, duration, (later, sooner) = found
    assert (width, height) == (160, 120) and abs(duration - FRAMES / 10) < 0.15
    assert 120 <= later <= 123 and 40 <= sooner <= 43
