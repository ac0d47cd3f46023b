"""Look-up tables as data sets hold them, and as hostile ones do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from gateway.render.lut import Lut, read_lut
from tests.gateway.dicom.opened import opened
from tests.parts.datasets import mr_slice

DESCRIPTOR, DATA, SEGMENTED = 0x00281101, 0x00281201, 0x00281221
BIG_ENDIAN = "1.2.840.10008.1.2.2"


def table(
    descriptor: list[int], data: bytes, *, signed: bool = False, segmented: bool = False, syntax: str | None = None
) -> Lut | None:
    ds: Dataset = mr_slice(PixelRepresentation=int(signed))
    ds.RedPaletteColorLookupTableDescriptor = descriptor
    if segmented:
        ds.SegmentedRedPaletteColorLookupTableData = data
    else:
        ds.RedPaletteColorLookupTableData = data
    header = (opened(ds, syntax) if syntax else opened(ds)).header
    return read_lut(header, DESCRIPTOR, SEGMENTED if segmented else DATA, signed=signed, segmented=segmented)


def words(*values: int) -> bytes:
    return np.array(values, "<u2").tobytes()


def entries(lut: Lut | None) -> list[int]:
    assert lut is not None
    return [int(entry) for entry in lut.array]


def test_values_outside_get_the_first_and_the_last_entry() -> None:
    """IMG-04"""
    lut = table([3, 10, 16], words(5, 6, 7))
    assert lut is not None
    assert lut.apply(np.array([-5, 0, 10, 11, 12, 13, 60000])).tolist() == [5, 5, 5, 6, 7, 7, 7]


def test_no_entries_means_65536() -> None:
    """IMG-04"""
    lut = table([0, 0, 16], np.arange(65536, dtype="<u2").tobytes())
    assert entries(lut) == list(range(65536))


def test_the_first_value_is_signed_when_the_input_is() -> None:
    """IMG-04, S-34"""
    lut = table([2, 65534, 16], words(1, 2))
    assert lut is not None and lut.first == 65534
    signed = table([2, -2, 16], words(1, 2), signed=True)
    assert signed is not None and signed.first == -2
    assert signed.apply(np.array([-3, -2, -1, 0])).tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("count", [4, 5])
def test_8_bit_entries_may_share_words(count: int) -> None:
    """IMG-04"""
    data = bytes(range(1, count + 1)) + b"\0" * (count % 2)
    assert entries(table([count, 0, 8], data)) == list(range(1, count + 1))


def test_8_bit_entries_may_have_a_word_each() -> None:
    assert entries(table([3, 0, 8], words(7, 8, 9))) == [7, 8, 9]


def test_entries_of_a_big_endian_file_are_swapped() -> None:
    swapped = np.array([1, 0x1234], ">u2").tobytes()  # pydicom writes OW as it is given
    assert entries(table([2, 0, 16], swapped, syntax=BIG_ENDIAN)) == [1, 0x1234]


@pytest.mark.parametrize(
    ("descriptor", "data"),
    [([10, 0, 16], words(1, 2)), ([0, 0, 16], words(1, 2)), ([2, 0, 16], words(1, 2, 3, 4))],
    ids=str,
)
def test_a_table_of_another_length_than_it_says_ends_where_its_data_end(descriptor: list[int], data: bytes) -> None:
    """S-34: no bytes of anything else."""
    assert entries(table(descriptor, data)) == [1, 2]


@pytest.mark.parametrize(
    ("descriptor", "data"),
    [([2, 0, 16], b""), ([2, 0], words(1, 2)), ([2, 0, 0], words(1, 2)), ([2, 0, 32], words(1, 2))],
    ids=str,
)
def test_a_table_that_cannot_be_one_is_none(descriptor: list[int], data: bytes) -> None:
    """S-34, S-35"""
    assert table(descriptor, data) is None


def test_output_is_scaled_from_the_bits_of_the_entries() -> None:
    lut = table([3, 0, 12], words(0, 2048, 4095))
    assert lut is not None
    assert lut.apply_8_bit(np.array([0, 1, 2])).tolist() == [0, 128, 255]


def test_more_bits_in_the_entries_than_the_descriptor_says_count() -> None:
    lut = table([2, 0, 10], words(0, 4095))
    assert lut is not None and lut.bits == 12


SEGMENTS: dict[str, tuple[list[int], list[int]]] = {
    "linear": ([0, 1, 0, 1, 255, 255], list(range(256))),
    "discrete": ([0, 3, 9, 8, 7], [9, 8, 7]),
    "falling": ([0, 1, 10, 1, 5, 0], [10, 8, 6, 4, 2, 0]),
    "indirect": ([0, 1, 0, 1, 2, 20, 0, 1, 5, 2, 2, 0, 0], [0, 10, 20, 5, 0, 10, 20]),
    "indirect again": ([0, 2, 1, 2, 2, 1, 0, 0, 2, 1, 0, 0], [1, 2, 1, 2, 1, 2]),
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_segments_are_expanded(name: str) -> None:
    """IMG-12"""
    segments, expected = SEGMENTS[name]
    assert entries(table([len(expected), 0, 16], words(*segments), segmented=True)) == expected


@pytest.mark.parametrize(
    "segments",
    [
        [1, 4, 100],
        [3, 1, 1],
        [0],
        [2, 1, 0],
        [2, 1, 0, 0],
        [0, 1, 5, 2, 1, 6, 0],
        [0, 1, 5, 2, 1, 1, 0],
        [0, 1, 5, 2, 9, 0, 40000],
        [0, 0] * 5000,
    ],
    ids=lambda segments: str(segments[:8]),
)
def test_malformed_segments_make_no_table(segments: list[int]) -> None:
    """IMG-12, S-34: linear first, unknown opcodes, cut off, indirect to indirect, past the end, odd."""
    assert table([1000, 0, 16], words(*segments), segmented=True) is None


def test_segments_make_no_more_entries_than_the_descriptor_says() -> None:
    segments: Any = [0, 1, 0, 1, 65535, 65535]
    assert entries(table([100, 0, 16], words(*segments), segmented=True)) == list(range(100))
