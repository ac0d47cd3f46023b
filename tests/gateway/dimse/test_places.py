"""Places for associations, shared by processes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from gateway.dimse import places
from gateway.dimse.places import Places, Seat


@pytest.fixture
def seats() -> Iterator[list[Seat]]:
    """Those of three processes."""
    descriptor = os.memfd_create("places")
    os.ftruncate(descriptor, places.size(3))
    yield [Seat(number, 3, descriptor) for number in range(3)]
    os.close(descriptor)


def test_there_are_as_many_as_were_asked_for() -> None:
    alone = Places(2)
    assert [alone.take() for _ in range(3)] == [True, True, False]
    alone.give()
    assert alone.take()


def test_what_one_takes_the_others_have_not(seats: list[Seat]) -> None:
    """F-60"""
    one, two, three = (Places(3, seat) for seat in seats)
    assert [one.take(), two.take(), two.take(), three.take()] == [True, True, True, False]
    two.give()
    assert three.take()
    assert not one.take()


def test_a_process_that_has_ended_has_none(seats: list[Seat]) -> None:
    one, two = Places(2, seats[0]), Places(2, seats[1])
    assert one.take() and one.take() and not two.take()
    places.vacate(seats[0])
    assert two.take()
