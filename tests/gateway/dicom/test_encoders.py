"""Encoders: what each transfer syntax takes, that lossless ones lose nothing, and how far lossy ones may be off.

Decoders here are not those of the same library where there are others: pydicom's own RLE, jpegsof3 and liblj92 for JPEG
lossless, pyjpegls, and openjpeg for what OpenJPH wrote. dcmtk's are in `test_transcode.py`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import imagecodecs
import jpeg_ls
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from openjpeg.utils import decode as openjpeg_decode
from pydicom.pixels.decoders.rle import _rle_decode_frame

from gateway.dicom import compress
from gateway.dicom.codestream import read_jpeg, read_jpeg_2000
from gateway.dicom.encoders import ENCODERS, available, encode_frame
from gateway.dicom.pixels import DecodedFrame, PixelDescription, PixelKind, decode_frame
from gateway.dicom.uids import SYNTAXES
from gateway.errors import NotAcceptable
from tests.parts.datasets import phantom

Image = NDArray[Any]

ROOT = "1.2.840.10008.1.2."
EXPLICIT = ROOT + "1"
DEFLATED = ROOT + "1.99"
LOSSLESS = [uid for uid, encoder in ENCODERS.items() if encoder.method is None]
LOSSY = [uid for uid, encoder in ENCODERS.items() if encoder.method is not None]


def described(image: Image, stored: int, photometric: str = "MONOCHROME2") -> PixelDescription:
    return PixelDescription(
        image.shape[0],
        image.shape[1],
        3 if image.ndim == 3 else 1,
        photometric,
        image.dtype.itemsize * 8,
        stored,
        stored - 1,
        int(image.dtype.kind == "i"),
    )


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Image, PixelDescription]:
    """Any small picture: grey or colour, 1 to 32 bits, signed or not; smooth, noisy, or all ends of the range."""
    allocated = draw(st.sampled_from([8, 16, 16, 32]))
    stored = draw(st.integers(1, allocated))
    signed = draw(st.booleans())
    samples = draw(st.sampled_from([1, 3]))
    rows, columns = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    photometrics = ["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"] if samples == 1 else ["RGB", "YBR_FULL"]
    shape = (rows, columns) if samples == 1 else (rows, columns, 3)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["noise", "smooth", "ends", "flat"]))
    top = (1 << stored) - 1
    if kind == "noise":
        values = random.integers(0, top, shape, np.int64, endpoint=True)
    elif kind == "smooth":
        slope = np.linspace(0, top, rows * columns).astype(np.int64).reshape(rows, columns)
        values = slope if samples == 1 else np.stack([slope, slope[::-1], slope[:, ::-1]], axis=-1)
    else:
        values = random.integers(0, 1 if kind == "ends" else 0, shape, np.int64, endpoint=True) * top
    if signed:
        values = values - (1 << (stored - 1))
    image = values.astype(f"<{'i' if signed else 'u'}{allocated // 8}")
    return image, described(image, stored, draw(st.sampled_from(photometrics)))


def rle(data: bytes, description: PixelDescription) -> Image:
    d = description
    cells = bytes(_rle_decode_frame(data, d.rows, d.columns, d.samples_per_pixel, d.bits_allocated))
    planes = np.frombuffer(cells, f"<u{d.bits_allocated // 8}").reshape(d.samples_per_pixel, d.rows, d.columns)
    return planes.transpose(1, 2, 0)


def jpeg_lossless(data: bytes, description: PixelDescription) -> Image:
    found: Image = imagecodecs.jpegsof3_decode(data)
    return found


def jpeg_ls_image(data: bytes, description: PixelDescription) -> Image:
    found: Image = jpeg_ls.jlsread(data)
    return found


def jpeg_2000(data: bytes, description: PixelDescription) -> Image:
    found: Image = openjpeg_decode(data)
    return found


def jpeg_xl(data: bytes, description: PixelDescription) -> Image:
    found: Image = imagecodecs.jpegxl_decode(data)
    return found


def native(data: bytes, description: PixelDescription) -> Image:
    cells = np.frombuffer(data, f"<u{description.bits_allocated // 8}")
    return cells.reshape(description.rows, description.columns, description.samples_per_pixel)


OTHERS: dict[str, Callable[[bytes, PixelDescription], Image]] = {
    ROOT + "5": rle,
    ROOT + "4.57": jpeg_lossless,
    ROOT + "4.70": jpeg_lossless,
    ROOT + "4.80": jpeg_ls_image,
    ROOT + "4.90": jpeg_2000,
    ROOT + "4.201": jpeg_2000,
    ROOT + "4.202": jpeg_2000,
    ROOT + "4.110": jpeg_xl,
    ROOT + "8.1": lambda data, description: native(zlib.decompress(data, wbits=-15), description),
    ROOT + "1.98": native,
}
"""Decoders by transfer syntax, giving values or their lowest bits."""


def test_each_lossless_encoder_has_another_decoder_to_check_it() -> None:
    assert OTHERS.keys() == set(LOSSLESS)


@settings(max_examples=60, deadline=None)
@given(pictures())
def test_lossless_encoders_lose_nothing(picture: tuple[Image, PixelDescription]) -> None:
    image, description = picture
    mask = (1 << description.bits_stored) - 1
    seen = 0
    for uid in LOSSLESS:
        if not ENCODERS[uid].takes(description, description.photometric_interpretation):
            continue
        frame = DecodedFrame(image, description.photometric_interpretation)
        data, photometric = encode_frame(frame, description, uid)
        again = replace(description, photometric_interpretation=photometric)
        decoded = decode_frame(data, again, uid)
        assert decoded.pixels.dtype == image.dtype and np.array_equal(decoded.pixels, image), uid
        assert decoded.photometric_interpretation == description.photometric_interpretation, uid
        values = OTHERS[uid](data, again).reshape(image.shape).astype(np.int64) & mask
        assert np.array_equal(values, image.astype(np.int64) & mask), uid
        seen += 1
    assert seen >= 3


BOUND = {
    ROOT + "4.50": 30.0,
    ROOT + "4.51": 45.0,
    ROOT + "4.81": 40.0,
    ROOT + "4.91": 47.0,
    ROOT + "4.203": 45.0,
}
"""Least peak signal-to-noise ratio, in dB, for pictures that are smooth but for a few edges."""


def samples_of(bits: int, signed: bool, samples: int) -> Image:
    grey = (phantom(72, 96).astype(np.int64) << 4) >> (16 - bits)
    image = grey if samples == 1 else np.stack([grey, grey[::-1], np.roll(grey, 5, 1)], axis=-1)
    image[:4] = 0
    image[-4:] = (1 << bits) - 1
    image -= (1 << (bits - 1)) if signed else 0
    return image.astype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")


@pytest.mark.parametrize("uid", LOSSY)
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_lossy_encoders_keep_to_their_bound(uid: str, bits: int, signed: bool, samples: int) -> None:
    image = samples_of(bits, signed, samples)
    description = described(image, bits, "RGB" if samples == 3 else "MONOCHROME2")
    frame = DecodedFrame(image, description.photometric_interpretation)
    if not ENCODERS[uid].takes(description, frame.photometric_interpretation):
        with pytest.raises(NotAcceptable):
            encode_frame(frame, description, uid)
        return
    data, photometric = encode_frame(frame, description, uid)
    assert len(data) < image.nbytes / 2
    decoded = decode_frame(data, replace(description, photometric_interpretation=photometric), uid)
    assert decoded.photometric_interpretation == description.photometric_interpretation
    error = np.abs(decoded.pixels.astype(np.int64) - image)
    noise = float(np.sqrt((error**2).mean()))
    assert 20 * np.log10(((1 << bits) - 1) / max(noise, 1e-9)) > BOUND[uid]
    assert error.max() < (1 << bits) / 2, "values have wrapped"
    if uid == ROOT + "4.81":
        assert error.max() <= (2 * compress.NEAR if signed else compress.NEAR)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("uid", [ROOT + "4.203", ROOT + "4.91"])
def test_other_decoders_read_lossy_frames_in_the_range_of_bits_stored(uid: str, bits: int) -> None:
    image = samples_of(bits, False, 1)
    data, _ = encode_frame(DecodedFrame(image, "MONOCHROME2"), described(image, bits), uid)
    values = openjpeg_decode(data)
    assert int(values.max()) < 1 << bits
    assert float(np.abs(values.astype(np.int64) - image).mean()) < (1 << bits) / 400


@pytest.mark.parametrize("uid", [ROOT + "4.90", ROOT + "4.91", ROOT + "4.201", ROOT + "4.202", ROOT + "4.203"])
@pytest.mark.parametrize(("bits", "signed"), [(5, False), (8, True), (10, True), (12, False), (16, True)])
def test_jpeg_2000_codestreams_say_bits_stored_and_sign(uid: str, bits: int, signed: bool) -> None:
    image = samples_of(bits, signed, 1)
    data, _ = encode_frame(DecodedFrame(image, "MONOCHROME2"), described(image, bits), uid)
    stream = read_jpeg_2000(data)
    assert (stream.bits, stream.signed) == (bits, signed)
    assert stream.reversible == (uid not in LOSSY)


@pytest.mark.parametrize(("size", "levels"), [(64, 5), (1024, 5), (4000, 6)])
def test_rpcl_has_small_first_resolutions_and_tile_lengths(size: int, levels: int) -> None:
    image = np.zeros((8, size), np.uint16)
    data, _ = encode_frame(DecodedFrame(image, "MONOCHROME2"), described(image, 12), ROOT + "4.202")
    cod, tlm = data.index(b"\xff\x52"), data.index(b"\xff\x55")
    assert data[cod + 5] == 2, "RPCL (15444-1 Table A.16)"
    assert read_jpeg_2000(data).levels == levels
    assert tlm < data.index(b"\xff\x90")
    assert data.count(b"\xff\x90\x00\x0a") == levels + 1, "one tile-part a resolution"


@pytest.mark.parametrize(
    ("uid", "photometric", "written"),
    [
        (ROOT + "4.50", "RGB", "YBR_FULL_422"),
        (ROOT + "4.50", "YBR_FULL", "YBR_FULL_422"),
        (ROOT + "4.90", "RGB", "YBR_RCT"),
        (ROOT + "4.90", "YBR_FULL", "YBR_FULL"),
        (ROOT + "4.91", "RGB", "YBR_ICT"),
        (ROOT + "4.201", "RGB", "YBR_RCT"),
        (ROOT + "4.202", "YBR_FULL", "YBR_FULL"),
        (ROOT + "4.203", "RGB", "YBR_ICT"),
        (ROOT + "4.80", "RGB", "RGB"),
        (ROOT + "4.80", "YBR_FULL", "YBR_FULL"),
        (ROOT + "4.70", "RGB", "RGB"),
        (ROOT + "5", "YBR_FULL_422", "YBR_FULL"),
        (ROOT + "5", "RGB", "RGB"),
    ],
)
def test_colour_is_named_for_what_it_has_become(uid: str, photometric: str, written: str) -> None:
    """WADO-19"""
    image = samples_of(8, False, 3)
    data, name = encode_frame(DecodedFrame(image, photometric), described(image, 8, photometric), uid)
    assert name == written
    if uid in (ROOT + "4.50", ROOT + "4.70"):
        assert read_jpeg(data).colour == ("RGB" if written == "RGB" else "YBR")
    if uid == ROOT + "4.50":
        at = data.index(b"\xff\xc0")
        assert data[at + 11] == 0x21, "luminance twice across: 4:2:2"


def test_pixels_that_a_codec_has_no_room_for_are_not_acceptable() -> None:
    image = np.zeros((4, 4), np.uint32)
    wide = described(image, 32)
    for uid in LOSSLESS:
        if uid not in (ROOT + "5", ROOT + "8.1", ROOT + "1.98"):
            with pytest.raises(NotAcceptable):
                encode_frame(DecodedFrame(image, "MONOCHROME2"), wide, uid)
    with pytest.raises(NotAcceptable):
        encode_frame(DecodedFrame(image, "MONOCHROME2"), wide, "1.2.840.10008.1.2.4.100")


GREY12 = PixelDescription(8, 8, bits_stored=12, high_bit=11)
ALL_LOSSLESS_16 = {"4.201", "4.202", "4.90", "4.80", "4.70", "4.57", "5", "8.1", "1.98"}


@pytest.mark.parametrize(
    ("description", "stored", "expected"),
    [
        (GREY12, "1", ALL_LOSSLESS_16 | {"1", "1.99", "4.110", "4.51", "4.81", "4.91", "4.203"}),
        (replace(GREY12, pixel_representation=1), "1", ALL_LOSSLESS_16 | {"1", "1.99", "4.81", "4.91", "4.203"}),
        (
            PixelDescription(8, 8, 3, "RGB", 8, 8, 7),
            "4.90",
            ALL_LOSSLESS_16 | {"1", "1.99", "4.110", "4.50", "4.81", "4.91", "4.203"},
        ),
        (
            PixelDescription(8, 8, 3, "YBR_FULL_422", 8, 8, 7),
            "1",
            (ALL_LOSSLESS_16 - {"4.70", "4.57"}) | {"1", "1.99", "4.50", "4.81", "4.91", "4.203"},
        ),
        (
            PixelDescription(8, 8, 3, "YBR_FULL_422", 8, 8, 7),
            "4.50",
            ALL_LOSSLESS_16 | {"1", "1.99", "4.110", "4.50", "4.81", "4.91", "4.203"},
        ),
        (PixelDescription(8, 8, 1, "PALETTE COLOR", 8, 8, 7), "5", ALL_LOSSLESS_16 | {"1", "1.99"}),
        (PixelDescription(8, 8, 1, "MONOCHROME2", 1, 1, 0), "1", {"1", "1.99", "8.1", "1.98"}),
        (
            PixelDescription(8, 8, bits_allocated=32, bits_stored=32, high_bit=31),
            "",
            {"", "1", "1.99", "5", "8.1", "1.98"},
        ),
        (PixelDescription(8, 8, kind=PixelKind.FLOAT, bits_allocated=32), "1", {"1", "1.99"}),
        (GREY12, "4.102", {"4.102"}),
        (GREY12, "4.94", {"4.94"}),
        (None, "1", {"1", "1.99"}),
    ],
)
def test_what_an_instance_can_be_had_in(description: PixelDescription | None, stored: str, expected: set[str]) -> None:
    """SC-406"""
    uid = (ROOT + stored).removesuffix(".")
    found = available(description, uid)
    assert found[0] == uid
    assert set(found) == {(ROOT + end).removesuffix(".") for end in expected}
    lossy = [one in LOSSY for one in found[1:]]
    assert lossy == sorted(lossy), "lossless before lossy"


def test_native_syntaxes_are_left_out_beyond_4_gib() -> None:
    """NEG-10"""
    many = replace(GREY12, rows=1024, columns=1024, number_of_frames=2048)
    found = available(many, ROOT + "4.90")
    assert EXPLICIT not in found and DEFLATED not in found and ROOT + "4.201" in found
    assert EXPLICIT in available(replace(many, number_of_frames=2047), ROOT + "4.90")


def test_every_encoder_is_of_a_known_encapsulated_syntax() -> None:
    for uid, encoder in ENCODERS.items():
        assert SYNTAXES[uid].encapsulated
        assert SYNTAXES[uid].lossy == (encoder.method is not None)
