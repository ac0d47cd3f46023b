"""Stored values: cut out of their cells as PS3.3 C.7.6.3 says, and equal to pydicom's for every file at hand."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels.processing import convert_color_space
from pydicom.pixels.utils import pixel_array

from gateway.dicom.pixels import PixelDescription, PixelKind, decode_frame, frame_to_native
from gateway.errors import NotRenderable
from tests.gateway.dicom.opened import EXPLICIT, Opened, opened
from tests.parts.datasets import color, ct_slice, instance, report, segmentation
from tests.parts.files import SampleFile, readable_files

ONE_PIXEL = PixelDescription(1, 1)

NO_DECODER = "pydicom has no decoder for it without a library that is under the GPL, or none at all"
PYDICOM_FAILS = {
    "GDCMJ2K_TextGBR.dcm": "Pillow finds the codestream broken; OpenJPEG decodes all of it",
    "JPEG-LL.dcm": NO_DECODER,
    "JPEG-lossy.dcm": NO_DECODER,
    "JPGExtended.dcm": NO_DECODER,
    "JPGLosslessP14SV1_1s_1f_8b.dcm": NO_DECODER,
    "SC_rgb_jpeg_gdcm.dcm": NO_DECODER,
}
"""Files that are decoded here and not by pydicom."""

NOT_DECODED = {
    "JPEG2000-embedded-sequence-delimiter.dcm": "the codestream announces 3722445056 columns: bytes were put into it",
    "badVR.dcm": "Number of Frames is '1A'",
}
"""Files that are decoded by neither."""


def images() -> list[SampleFile]:
    found = []
    for file in readable_files():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = dcmread(file.path, defer_size=1024)
        if "Rows" in ds and "PixelData" in ds and file.name not in NOT_DECODED:
            found.append(file)
    return found


@pytest.mark.parametrize("file", images(), ids=lambda file: file.name)
def test_every_frame_that_pydicom_decodes_is_decoded_alike(file: SampleFile) -> None:
    one = Opened(file.path.read_bytes())
    description = PixelDescription.from_header(one.header)
    assert one.table is not None
    for number in {1, one.table.count // 2 + 1, one.table.count}:
        ours = decode_frame(one.frame(number), description, one.syntax_uid)
        assert ours.pixels.shape[:2] == (description.rows, description.columns)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                expected = pixel_array(dcmread(file.path), index=number - 1)
            except (RuntimeError, ValueError):
                assert file.name in PYDICOM_FAILS
                continue
        pixels = ours.pixels
        if ours.photometric_interpretation == "YBR_FULL":
            pixels = convert_color_space(pixels, "YBR_FULL", "RGB")
        assert pixels.dtype == expected.dtype.newbyteorder("<")
        assert np.array_equal(pixels, expected)


def described(**values: Any) -> PixelDescription:
    return replace(ONE_PIXEL, **values)


@pytest.mark.parametrize(
    ("cell", "stored", "high", "signed", "value"),
    [
        (0x0FFF, 12, 11, 1, -1),
        (0x0800, 12, 11, 1, -2048),
        (0x07FF, 12, 11, 1, 2047),
        (0xF123, 12, 11, 0, 0x123),
        (0xF123, 12, 11, 1, 0x123),
        (0x1FFF, 12, 11, 1, -1),
        (0xABC1, 12, 15, 0, 0xABC),
        (0xABC1, 12, 15, 1, 0xABC - 0x1000),
        (0x1230, 8, 11, 0, 0x23),
        (0xFFFF, 16, 15, 0, 65535),
        (0xFFFF, 16, 15, 1, -1),
        (0x0002, 1, 1, 0, 1),
    ],
)
def test_stored_bits_end_at_high_bit_and_the_rest_is_cut(
    cell: int, stored: int, high: int, signed: int, value: int
) -> None:
    """IMG-01"""
    description = described(bits_stored=stored, high_bit=high, pixel_representation=signed)
    frame = decode_frame(cell.to_bytes(2, "little"), description, EXPLICIT)
    assert frame.pixels.item() == value


@pytest.mark.parametrize("width", [8, 16, 32, 64])
@pytest.mark.parametrize("signed", [0, 1])
def test_cells_of_every_width_keep_their_extremes(width: int, signed: int) -> None:
    low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
    description = described(
        columns=2, bits_allocated=width, bits_stored=width, high_bit=width - 1, pixel_representation=signed
    )
    data = b"".join((value % (1 << width)).to_bytes(width // 8, "little") for value in (low, high))
    assert decode_frame(data, description, EXPLICIT).pixels.tolist() == [[low, high]]


def test_single_bits_lie_lowest_first_and_frames_do_not_start_on_bytes() -> None:
    """IMG-16"""
    one = opened(segmentation(frames=3, rows=5, columns=7))
    description = PixelDescription.from_header(one.header)
    bits = np.unpackbits(np.frombuffer(bytes(one.data[-14:]), np.uint8), bitorder="little")[:105].reshape(3, 5, 7)
    for number in (1, 2, 3):
        frame = decode_frame(one.frame(number), description, EXPLICIT)
        assert np.array_equal(frame.pixels, bits[number - 1])


def test_planes_become_pixels() -> None:
    """IMG-02"""
    ds = color(rows=4, columns=6)
    by_pixel = np.frombuffer(ds.PixelData, np.uint8).reshape(4, 6, 3)
    ds.PlanarConfiguration = 1
    ds.PixelData = by_pixel.transpose(2, 0, 1).tobytes()
    one = opened(ds)
    frame = decode_frame(one.frame(), PixelDescription.from_header(one.header), EXPLICIT)
    assert np.array_equal(frame.pixels, by_pixel)


def test_chroma_of_4_2_2_belongs_to_both_pixels_of_a_pair() -> None:
    """IMG-13"""
    description = PixelDescription(1, 4, 3, "YBR_FULL_422", 8, 8, 7)
    frame = decode_frame(bytes([1, 2, 30, 40, 5, 6, 70, 80]), description, EXPLICIT)
    assert frame.pixels.tolist() == [[[1, 30, 40], [2, 30, 40], [5, 70, 80], [6, 70, 80]]]
    assert frame.photometric_interpretation == "YBR_FULL"


def test_4_2_2_in_name_only_is_taken_as_it_is_stored() -> None:
    description = PixelDescription(1, 2, 3, "YBR_FULL_422", 8, 8, 7)
    frame = decode_frame(bytes([1, 2, 3, 4, 5, 6]), description, EXPLICIT)
    assert frame.pixels.tolist() == [[[1, 2, 3], [4, 5, 6]]]


@pytest.mark.parametrize(("kind", "form"), [(PixelKind.FLOAT, "<f4"), (PixelKind.DOUBLE, "<f8")])
def test_float_pixels_are_themselves(kind: PixelKind, form: str) -> None:
    """IMG-15"""
    values = np.array([[0.5, -1e9], [3.25, 7.0]], form)
    description = PixelDescription(2, 2, kind=kind, bits_allocated=int(form[2]) * 8)
    assert np.array_equal(decode_frame(values.tobytes(), description, EXPLICIT).pixels, values)


def test_float_pixel_data_of_an_instance_is_found() -> None:
    """IMG-15"""
    ds = instance("1.2.840.10008.5.1.4.1.1.30", "OT", Rows=2, Columns=3, SamplesPerPixel=1, BitsAllocated=32)
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.FloatPixelData = np.arange(6, dtype="<f4").tobytes()
    one = opened(ds)
    description = PixelDescription.from_header(one.header)
    assert description.kind is PixelKind.FLOAT
    assert decode_frame(one.frame(), description, EXPLICIT).pixels.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("missing", [1, 100, 8191])
def test_a_frame_with_too_few_bytes_is_refused(missing: int) -> None:
    """IMG-23"""
    one = opened(ct_slice())
    with pytest.raises(NotRenderable, match="too few"):
        decode_frame(one.frame()[:-missing], PixelDescription.from_header(one.header), EXPLICIT)


def test_what_has_no_pixels_is_not_renderable() -> None:
    """IMG-22"""
    with pytest.raises(NotRenderable, match="no pixel data"):
        PixelDescription.from_header(opened(report()).header)


EXTREMES: dict[str, list[int]] = {
    "rows": [-1, 0, 1, 65535, 65536],
    "columns": [-1, 0, 1, 65535],
    "samples_per_pixel": [0, 1, 2, 3, 4],
    "bits_allocated": [0, 1, 7, 8, 12, 16, 64, 128],
    "bits_stored": [-1, 0, 1, 8, 12, 16, 17],
    "high_bit": [-1, 0, 7, 11, 15, 16],
    "pixel_representation": [0, 1, 2],
    "number_of_frames": [0, 1],
}


def test_no_description_is_taken_with_which_sizes_or_shifts_go_wrong() -> None:
    """S-33: whatever is not refused can be decoded from as many bytes as it says."""
    taken = refused = 0
    for values in itertools.product(*EXTREMES.values()):
        named = dict(zip(EXTREMES, values, strict=True))
        try:
            description = PixelDescription(**named)  # type: ignore[arg-type]
        except NotRenderable:
            refused += 1
            continue
        taken += 1
        assert 0 < description.frame_bytes <= 512 * 1024 * 1024
        if description.frame_bytes <= 64:
            frame = decode_frame(bytes(-(-description.frame_bits // 8)), description, EXPLICIT)
            assert frame.pixels.size == description.rows * description.columns * description.samples_per_pixel
    assert taken > 50 and refused > 10_000


def test_a_header_with_absurd_values_is_refused_not_believed() -> None:
    """S-33"""
    for values in ({"BitsAllocated": 12}, {"HighBit": 40}, {"BitsStored": 17}, {"Rows": 0}, {"SamplesPerPixel": 9}):
        with pytest.raises(NotRenderable):
            PixelDescription.from_header(opened(ct_slice(**values)).header)


def test_a_native_frame_stays_as_it_is() -> None:
    one = opened(ct_slice())
    description = PixelDescription.from_header(one.header)
    assert frame_to_native(one.frame(), description, EXPLICIT) == (one.frame(), "MONOCHROME2")
