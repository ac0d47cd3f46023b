"""Colour profiles: whose they are, where they stand in a file, and what conversion does to colours."""

from __future__ import annotations

from copy import deepcopy
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms
from pydicom.dataset import Dataset
from pydicom.uid import JPEGBaseline8Bit

from gateway.errors import BadRequest, NotRenderable
from gateway.render import Picture, View, draw
from gateway.render.jp2 import boxes
from gateway.render.profiles import well_known
from tests.gateway.dicom.opened import opened
from tests.gateway.render.pictures import array_of, row_of
from tests.parts.datasets import color, encapsulated, pixels, sequence_item

SRGB, ADOBE, ROMM = (well_known(name) for name in ("srgb", "adobergb", "rommrgb"))
RED = np.array([[[255, 0, 0], [128, 128, 128], [0, 0, 255], [0, 0, 0]]], np.uint8)


def image(**values: Any) -> Dataset:
    ds = pixels(color("red"), RED, "RGB")
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def drawn(ds: Dataset, profile: str, media_type: str = "image/png", frame: int = 1) -> Picture:
    one = opened(ds)
    return draw(one.header, one.frame(frame), frame, View(profile=profile, quality=100), media_type)


def embedded(picture: Picture) -> bytes | None:
    with Image.open(BytesIO(picture.data)) as found:
        profile: bytes | None = found.info.get("icc_profile")
        return profile


def colours(picture: Picture) -> list[list[int]]:
    with Image.open(BytesIO(picture.data)) as found:
        row: list[list[int]] = np.asarray(found.convert("RGB"))[0].tolist()
        return row


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png", "image/webp"])
def test_the_images_own_profile_is_embedded_as_it_is(media_type: str) -> None:
    """RP-06, IMG-19: in APP2 of JPEG, iCCP of PNG; the colours stay."""
    picture = drawn(image(ICCProfile=ADOBE), "yes", media_type)
    assert embedded(picture) == ADOBE
    assert {"image/jpeg": b"ICC_PROFILE\0", "image/png": b"iCCP", "image/webp": b"ICCP"}[media_type] in picture.data
    if media_type == "image/png":
        assert colours(picture) == RED[0].tolist()


def test_no_profile_unless_it_is_asked_for() -> None:
    """RP-06."""
    assert embedded(drawn(image(ICCProfile=ADOBE), "no")) is None


def test_colours_without_a_profile_are_srgb() -> None:
    """RP-06."""
    for wanted in ("yes", "srgb"):
        picture = drawn(image(), wanted)
        assert embedded(picture) == SRGB and colours(picture) == RED[0].tolist()


@pytest.mark.parametrize(
    ("own", "wanted", "expected", "profile"),
    [
        (None, "adobergb", [219, 0, 0], ADOBE),
        (None, "rommrgb", [179, 70, 26], ROMM),
        (ADOBE, "srgb", [255, 0, 0], SRGB),
        (ADOBE, "adobergb", [255, 0, 0], ADOBE),
    ],
)
def test_colours_are_converted(own: bytes | None, wanted: str, expected: list[int], profile: bytes) -> None:
    """RP-06: the red of sRGB is 219,0,0 in Adobe RGB (1998) and 179,70,26 in ROMM RGB."""
    picture = drawn(image(**({"ICCProfile": own} if own else {})), wanted)
    assert embedded(picture) == profile
    found = colours(picture)
    assert np.abs(np.subtract(found[0], expected)).max() <= 1
    assert found[3] == [0, 0, 0] and max(found[1]) - min(found[1]) <= 1, "grey stays grey"


def test_the_profile_of_the_optical_path_goes_before_that_of_the_image() -> None:
    """IMG-19, IMG-18: the path that the frame's functional group names, else the first."""
    paths = [
        sequence_item(OpticalPathIdentifier="1", ICCProfile=ROMM),
        sequence_item(OpticalPathIdentifier="2", ICCProfile=ADOBE),
    ]
    ds = image(ICCProfile=SRGB, OpticalPathSequence=paths)
    assert embedded(drawn(ds, "yes")) == ROMM
    named = sequence_item(OpticalPathIdentificationSequence=[sequence_item(OpticalPathIdentifier="2")])
    ds.PerFrameFunctionalGroupsSequence = [named]
    assert embedded(drawn(ds, "yes")) == ADOBE


def test_a_profile_inside_a_jpeg_codestream() -> None:
    """RP-06: of several APP2 chunks; the image's own goes before it, and a chunk that is missing makes it none."""
    padded = ROMM[:128] + ROMM[128:] + bytes(70_000)
    long = len(padded).to_bytes(4, "big") + padded[4:]
    out = BytesIO()
    Image.fromarray(np.repeat(RED, 8, 0).repeat(8, 1)).save(out, "JPEG", quality=95, subsampling=0, icc_profile=long)
    ds = image()
    ds.Rows, ds.Columns = 8, 32
    frame = out.getvalue()
    assert frame.count(b"ICC_PROFILE\0") == 2

    def shown(codestream: bytes, **values: Any) -> bytes | None:
        one = deepcopy(ds)
        for keyword, value in values.items():
            setattr(one, keyword, value)
        encapsulated(one, [codestream], photometric="YBR_FULL")
        opened_one = opened(one, JPEGBaseline8Bit)
        return embedded(draw(opened_one.header, opened_one.frame(), 1, View(profile="yes"), "image/png"))

    assert shown(frame) == long
    assert shown(frame, ICCProfile=ADOBE) == ADOBE
    second = frame.index(b"ICC_PROFILE\0", frame.index(b"ICC_PROFILE\0") + 1)
    assert shown(frame[:second] + b"X" + frame[second + 1 :]) == SRGB


@pytest.mark.parametrize(
    "profile",
    [b"", b"none at all" * 20, SRGB[:100], SRGB[:16] + b"CMYK" + SRGB[20:], (1 << 30).to_bytes(4, "big") + SRGB[4:]],
    ids=["empty", "no profile", "cut", "CMYK", "length lies"],
)
def test_a_profile_that_is_none_is_taken_for_none(profile: bytes) -> None:
    """S-36."""
    assert embedded(drawn(image(ICCProfile=profile + b"\0" * (len(profile) % 2)), "yes")) == SRGB


def test_a_profile_that_cannot_be_used_fails_when_colours_are_converted() -> None:
    """S-36: it is read in a process of its own."""
    junk = SRGB[:128] + (50_000_000).to_bytes(4, "big") + b"\xff" * (len(SRGB) - 132)
    with pytest.raises(NotRenderable):
        drawn(image(ICCProfile=junk), "adobergb")


def colour_box(data: bytes) -> bytes:
    """The content of the Colour Specification box of a JPEG 2000 file."""
    (header,) = [content for kind, content in boxes(data) if kind == b"jp2h"]
    (found,) = [content for kind, content in boxes(header) if kind == b"colr"]
    return found


@pytest.mark.parametrize("media_type", ["image/jp2", "image/jph"])
def test_jpeg_2000_files_hold_restricted_profiles(media_type: str) -> None:
    """RP-06, ISO/IEC 15444-1 I.5.3.3: by the restricted ICC method, with the same pixels."""

    def decoded(data: bytes) -> np.ndarray[Any, Any]:
        (stream,) = [content for kind, content in boxes(data) if kind == b"jp2c"]
        decode = imagecodecs.jpeg2k_decode if media_type == "image/jp2" else imagecodecs.htj2k_decode
        return np.asarray(decode(stream))  # of a whole file some decoders apply the profile

    for wanted, profile in (("adobergb", ADOBE), ("rommrgb", ROMM), ("srgb", SRGB), ("yes", ADOBE)):
        ds = image(ICCProfile=ADOBE + b"\0" * (len(ADOBE) % 2))
        made = drawn(ds, wanted, media_type)
        assert colour_box(made.data) == b"\2\0\0" + profile
        assert np.array_equal(decoded(made.data), array_of(drawn(ds, wanted, "image/png")))
    assert colour_box(drawn(image(), "no", media_type).data)[:3] == b"\1\0\0"


@pytest.mark.parametrize("media_type", ["image/jp2", "image/jph"])
def test_what_is_no_matrix_profile_does_not_go_into_jpeg_2000(media_type: str) -> None:
    """RP-06: converted it does, as it is it is a bad request."""
    tables = SRGB.replace(b"rTRC", b"A2B0")
    ds = image(ICCProfile=tables + b"\0" * (len(tables) % 2))
    assert embedded(drawn(ds, "yes")) == tables
    with pytest.raises(BadRequest) as raised:
        drawn(ds, "yes", media_type)
    assert raised.value.parameter == "iccprofile"


@pytest.mark.parametrize("media_type", ["image/gif", "image/jxl"])
def test_a_format_that_holds_no_profile_here_is_a_bad_request(media_type: str) -> None:
    """RP-06."""
    with pytest.raises(BadRequest) as raised:
        drawn(image(), "yes", media_type)
    assert raised.value.parameter == "iccprofile"


def test_greys_get_a_profile_too() -> None:
    """RP-06."""
    picture = drawn(row_of([0, 100, 200]), "yes")
    assert embedded(picture) == SRGB
    assert [sum(found) for found in colours(picture)] == [0, 3 * 128, 3 * 255]


@pytest.mark.parametrize("profile", [SRGB, ADOBE, ROMM], ids=["srgb", "adobergb", "rommrgb"])
def test_well_known_profiles_are_profiles(profile: bytes) -> None:
    assert int.from_bytes(profile[:4], "big") == len(profile)
    read = ImageCms.ImageCmsProfile(BytesIO(profile))
    assert ImageCms.isIntentSupported(read, ImageCms.Intent.PERCEPTUAL, ImageCms.Direction.INPUT) == 1


def test_our_srgb_is_that_of_others() -> None:
    every = (np.indices((16, 16, 16)) * 17).astype(np.uint8).transpose(1, 2, 3, 0).reshape(64, 64, 3)
    found = ImageCms.profileToProfile(
        Image.fromarray(every),
        ImageCms.createProfile("sRGB"),
        ImageCms.ImageCmsProfile(BytesIO(SRGB)),
        outputMode="RGB",
    )
    assert found is not None
    assert np.abs(np.asarray(found).astype(int) - every).max() <= 1
