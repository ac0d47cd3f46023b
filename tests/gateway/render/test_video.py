"""H.264 packed anew: the same pictures at the right times, and nothing but NotRenderable for what is none."""

from __future__ import annotations

import random
from collections.abc import Iterable
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from gateway.errors import NotRenderable
from gateway.render.video.container import HEAD, Container, container_of
from gateway.render.video.remux import remux
from gateway.render.video.transport import Piece, streams_of
from tests.parts.films import FRAMES, RATE, decoded, film, heard, talkie


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def packed(data: bytes, size: int = 1000, rate: float | None = 10.0) -> bytes:
    out = BytesIO()
    stream: Iterable[Piece] = (Piece(piece) for piece in pieces(data, size))
    if container_of(data[:HEAD]) is Container.TRANSPORT:
        stream = streams_of(pieces(data, size))
    remux(stream, rate, out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("codec", "container", "expected"),
    [
        ("libx264", "mp4", Container.MP4),
        ("libx264", "mpegts", Container.TRANSPORT),
        ("libx264", "h264", Container.BARE),
        ("mpeg2video", "mpeg", Container.PROGRAM),
        ("mpeg2video", "mpeg2video", Container.BARE),
    ],
)
def test_the_container_shows_in_the_first_bytes(codec: str, container: str, expected: Container) -> None:
    assert container_of(film(codec, container)[:HEAD]) is expected


@pytest.mark.parametrize("size", [1, 188, 1000, 1 << 20])
@pytest.mark.parametrize(
    ("container", "options"),
    [
        ("mpegts", {}),
        ("mpegts", {"profile": "baseline"}),
        ("h264", {}),
        ("h264", {"bf": "0"}),
        ("h264", {"g": "7"}),
        ("h264", {"x264-params": "b-pyramid=normal:bframes=4:slices=3"}),
        ("h264", {"x264-params": "interlaced=1"}),
    ],
)
def test_pictures_are_copied_bit_by_bit_and_shown_in_their_order(
    container: str, options: dict[str, str], size: int
) -> None:
    """RT-03: pictures that were reordered included, in pieces of any size."""
    if size == 1 and container == "mpegts":
        size = 7
    data = film("libx264", container, **options)
    found, expected = decoded(packed(data, size), "mp4"), decoded(data)
    assert len(found) == len(expected) == FRAMES
    assert [round(time, 3) for time, _ in found] == [number / 10 for number in range(FRAMES)]
    for number, ((_, mine), (_, theirs)) in enumerate(zip(found, expected, strict=True)):
        assert np.array_equal(mine, theirs)
        assert abs(int(mine.sum(axis=0).argmax()) - 4 * number) <= 3


@pytest.mark.parametrize("size", [7, 188, 1 << 20])
@pytest.mark.parametrize(
    ("rate", "channels", "late"),
    [(44_100, "stereo", 0.0), (48_000, "mono", 0.0), (44_100, "stereo", 0.5), (44_100, "stereo", -0.3)],
)
def test_sound_comes_along_and_stays_with_the_pictures(rate: int, channels: str, late: float, size: int) -> None:
    """RT-03: AAC of a transport stream, copied frame by frame, as loud as before at the same time as before."""
    data = talkie(rate=rate, channels=channels, late=late)
    found = packed(data, size)
    pictures = decoded(found, "mp4")
    assert len(pictures) == FRAMES and pictures[0][0] == 0
    (was_rate, was_first, was), (is_rate, is_first, sound) = heard(data), heard(found, "mp4")
    assert is_rate == was_rate == rate
    # In the stream both begin some time after zero; in the film the pictures do not.
    shift = decoded(data)[0][0]
    if late >= 0:
        assert is_first == pytest.approx(was_first - shift, abs=0.03)
    common = min(len(was), len(sound))
    assert common > 0.8 * rate * FRAMES / RATE

    def louder(first: float, samples: np.ndarray[Any, Any]) -> float:
        """When the tone becomes loud."""
        return first + float(np.argmax(np.abs(samples) > 0.5)) / rate

    assert louder(is_first, sound) == pytest.approx(louder(was_first, was) - shift, abs=0.03)


def test_what_is_no_sound_is_passed_over() -> None:
    """S-30 in spirit: the film is packed all the same, with as much of its sound as can be read."""
    whole = talkie()
    chance = random.Random(7)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(200):
            place = chance.randrange(188 * 20, len(data))
            if place % 188 > 20:
                data[place] = chance.randrange(256)
        try:
            assert packed(bytes(data))[4:8] == b"ftyp"
        except NotRenderable:
            continue


def test_the_rate_is_the_one_asked_for_else_that_of_the_stream() -> None:
    bare = film("libx264", "h264")
    assert decoded(packed(bare, rate=20.0))[-1][0] == pytest.approx((FRAMES - 1) / 20)
    assert decoded(packed(bare, rate=None))[-1][0] == pytest.approx((FRAMES - 1) / 10)


@pytest.mark.parametrize("junk", [b"", b"\0" * 5000, b"\0\0\1" * 2000, b"no video at all" * 100, b"G" * 1880])
def test_what_is_no_video_is_refused(junk: bytes) -> None:
    with pytest.raises(NotRenderable):
        packed(junk)


@pytest.mark.parametrize("container", ["mpegts", "h264"])
def test_broken_streams_are_refused_or_packed_never_a_crash(container: str) -> None:
    """S-30 in spirit: bytes changed, cut out and cut off."""
    whole = film("libx264", container)
    chance = random.Random(5)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 20)):
            data[chance.randrange(min(len(data), 2000))] = chance.randrange(256)
        if chance.random() < 0.3:
            del data[chance.randrange(len(data)) :]
        try:
            assert packed(bytes(data))[4:8] == b"ftyp"
        except NotRenderable:
            continue
