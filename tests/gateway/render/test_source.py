"""Headers of images of many frames are held for a while, and no more of them than is said."""

from __future__ import annotations

import pytest

from gateway import retrieve
from gateway.render.source import MOST_HELD, header_and_frame, header_of
from storage import Archive
from storage.records import Located
from tests.gateway.stored import CALLER, put
from tests.parts.datasets import ct_slice, multi_frame


def located(archive: Archive, name: str, frames: int, syntax: str = "1.2.840.10008.1.2.1") -> Located:
    stored = put(archive, multi_frame(name, frames=frames) if frames else ct_slice(name), syntax)
    return retrieve.find(archive, CALLER, stored.study_uid, stored.series_uid, stored.sop_uid)[0]


def test_the_header_of_many_frames_is_read_once(archive: Archive) -> None:
    many, single = located(archive, "many", 3), located(archive, "single", 0)
    assert header_of(archive, many) is header_of(archive, many)
    assert header_of(archive, single) is not header_of(archive, single)


def test_a_deflated_header_has_a_stream_and_is_not_shared(archive: Archive) -> None:
    deflated = located(archive, "deflated", 3, "1.2.840.10008.1.2.1.99")
    assert header_of(archive, deflated) is not header_of(archive, deflated)


def test_those_not_asked_for_longest_go(archive: Archive) -> None:
    first = located(archive, "first", 2)
    held = header_of(archive, first)
    for number in range(MOST_HELD):
        header_of(archive, located(archive, f"other {number}", 2))
    assert header_of(archive, first) is not held


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
@pytest.mark.parametrize("frames", [0, 3])
def test_header_and_frame_in_one_read_are_those_of_two(archive: Archive, frames: int, syntax: str) -> None:
    one = located(archive, f"one read {frames}", frames, syntax)
    number = max(1, frames)
    header, data = header_and_frame(archive, one, number)
    assert bytes(data) == retrieve.stored_frame(archive, one, number)
    assert header.elements == header_of(archive, one).elements
    assert header.pixel == header_of(archive, one).pixel
