"""Overlays and profiles that are too long for a header in memory are read from the store when a picture needs them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from gateway import retrieve
from gateway.render import View, render
from gateway.render.profiles import well_known
from storage import Archive
from storage.records import Located
from tests.gateway.render.pictures import array_of
from tests.gateway.render.test_overlays import overlay
from tests.gateway.stored import CALLER, put
from tests.parts.datasets import color, ct_slice, pixels, sequence_item

SYNTAXES = ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"]


def located(archive: Archive, ds: Dataset, syntax: str) -> Located:
    stored = put(archive, ds, syntax)
    return retrieve.find(archive, CALLER, stored.study_uid, stored.series_uid, stored.sop_uid)[0]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_overlay_of_a_large_image(archive: Archive, syntax: str) -> None:
    """IMG-16: 1024 x 1024 bits are 128 KiB."""
    bits = np.zeros((1024, 1024), np.uint8)
    bits[100:200, 300:500] = 1
    ds = overlay(pixels(ct_slice("large", rows=1024, columns=1024), np.zeros((1024, 1024), np.int16)), bits)
    picture = render(archive, located(archive, ds, syntax), 1, View(), "image/png")
    assert np.array_equal(array_of(picture) == 255, bits == 1)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_long_profile_of_an_optical_path(archive: Archive, syntax: str) -> None:
    """IMG-19, RP-06: scanners' profiles have up to a megabyte."""
    short = well_known("adobergb")
    long = (200_000).to_bytes(4, "big") + short[4:] + bytes(200_000 - len(short))
    ds = color("slide", OpticalPathSequence=[sequence_item(OpticalPathIdentifier="1", ICCProfile=long)])
    one = located(archive, ds, syntax)
    with Image.open(BytesIO(render(archive, one, 1, View(profile="yes"), "image/jpeg").data)) as image:
        assert image.info["icc_profile"] == long
    with Image.open(BytesIO(render(archive, one, 1, View(profile="srgb"), "image/png").data)) as image:
        assert image.info["icc_profile"] == well_known("srgb")


def test_what_is_longer_than_anybody_needs_is_taken_for_none(archive: Archive) -> None:
    """S-35, S-36: an overlay of more than 8 MiB is not drawn, a profile of more than 4 MiB not embedded."""
    ds = overlay(ct_slice("huge overlay", rows=16, columns=16), np.ones((8200, 8192), np.uint8))
    plain = ct_slice("no overlay", rows=16, columns=16)
    with_one, without = (
        render(archive, located(archive, one, SYNTAXES[0]), 1, View(), "image/png") for one in (ds, plain)
    )
    assert np.array_equal(array_of(with_one), array_of(without))
    short = well_known("adobergb")
    size = (4 << 20) + 2
    long = size.to_bytes(4, "big") + short[4:] + bytes(size - len(short))
    coloured = color("huge profile", ICCProfile=long)
    one = located(archive, coloured, SYNTAXES[0])
    with Image.open(BytesIO(render(archive, one, 1, View(profile="yes"), "image/png").data)) as image:
        assert image.info.get("icc_profile") != long
