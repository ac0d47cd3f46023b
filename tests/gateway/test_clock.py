"""The wall clock jumps: nothing that lives is swept, names stay unique, rows stay the same."""

from __future__ import annotations

import time

import pytest

from gateway.integrity import verify
from gateway.rebuild import rebuild
from gateway.store import receive, store
from storage.archive import Archive
from storage.versions import new_version
from tests.gateway.stored import CALLER, MAX, put
from tests.gateway.test_rebuild import rows
from tests.parts.datasets import ct_slice, part10_bytes, series_of

HOUR, YEAR = 3600.0, 365.25 * 86_400.0


@pytest.mark.parametrize("jump", [-HOUR, 10 * YEAR, -10 * YEAR])
def test_housekeeping_at_another_time_takes_nothing_that_lives(archive: Archive, jump: float) -> None:
    """F-66, L1: sweep and collect, again and again, with a clock that is wrong and then right."""
    for ds in series_of(3):
        put(archive, ds)
    live = rows(archive)
    for moment in (time.time() + jump, time.time() + jump + 3 * 86_400, time.time(), time.time() + 3 * 86_400):
        archive.sweep(moment)
        archive.collect(moment)
    assert rows(archive) == live
    assert verify(archive, deep=True, lease=0).clean


def test_a_store_in_the_future_is_an_instance_like_others(archive: Archive) -> None:
    """F-66: received while the clock was ahead, or behind; duplicates, searches and a rebuild see no difference."""
    put(archive, ct_slice(number=1))
    for number, when in ((2, 10 * YEAR), (3, 2 * HOUR)):
        with receive(archive, max_bytes=MAX) as incoming:
            incoming.version = new_version(time.time() + when)
            incoming.write(part10_bytes(ct_slice(number=number)))
            assert store(archive, incoming, CALLER).outcome == "stored"
        assert put(archive, ct_slice(number=number)).outcome == "duplicate"
    put(archive, ct_slice(number=4))
    live = rows(archive)
    assert rebuild(archive).instances == 4
    assert rows(archive) == live


def test_names_stay_unique_and_in_order_when_the_clock_goes_back() -> None:
    """F-66: those of one process sort as they were made; those of another moment are others."""
    made = [new_version() for _ in range(5000)]
    assert made == sorted(set(made))
    back = [new_version(time.time() - HOUR) for _ in range(1000)]
    assert len({*made, *back}) == 6000
