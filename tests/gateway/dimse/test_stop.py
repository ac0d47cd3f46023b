"""Stopping the server (F-07)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from tests.gateway.dimse.conftest import Door
from tests.gateway.dimse.wire import (
    ABORT,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    CT,
    EXPLICIT,
    IMPLICIT,
    P_DATA,
    VERIFICATION,
    Wire,
    associate_request,
    pdv,
    store_command,
)
from tests.parts.datasets import ct_slice

ECHO = (1, VERIFICATION, (IMPLICIT,))


@contextmanager
def stopping(door: Door, grace: float) -> Iterator[threading.Thread]:
    """The server is being stopped meanwhile."""
    thread = threading.Thread(target=door.server.stop, args=(grace,))
    thread.start()
    yield thread
    thread.join(20)
    assert not thread.is_alive()


def halves(ds: Dataset) -> tuple[bytes, bytes]:
    """The first and second half of a C-STORE as P-DATA."""
    data = encode(ds, False, True)
    assert data is not None
    middle = len(data) // 2
    return pdv(1, 3, store_command(ds.SOPInstanceUID)) + pdv(1, 0, data[:middle]), pdv(1, 2, data[middle:])


def test_idle_associations_are_aborted_and_the_port_is_closed(door: Door) -> None:
    """F-07."""
    with door.wire(ECHO) as wire:
        assert wire.echo() == 0
        started = time.monotonic()
        door.server.stop(10)
        assert time.monotonic() - started < 3
        assert wire.receive()[0] == ABORT
    with pytest.raises(ConnectionRefusedError):
        Wire(door.address)


def test_a_store_in_flight_is_finished(door: Door) -> None:
    """F-07: it is answered and safe; then the association is aborted; meanwhile newcomers get RJ 2,3,1."""
    ds = ct_slice()
    first, second = halves(ds)
    with door.wire((1, CT, (EXPLICIT,))) as wire:
        wire.send(P_DATA, first)
        while not door.spool_files():
            time.sleep(0.005)
        with stopping(door, 20):
            time.sleep(0.2)
            with door.wire() as late:
                late.send(ASSOCIATE_RQ, associate_request([ECHO]))
                kind, body = late.receive()
                assert (kind, body[1:4]) == (ASSOCIATE_RJ, b"\x02\x03\x01")
            wire.send(P_DATA, second)
            assert wire.status() == 0
            assert wire.receive()[0] == ABORT
    assert door.archive.find(ds.SOPInstanceUID) is not None


def test_what_is_not_done_in_time_is_given_up(door: Door) -> None:
    """F-07: abort after the grace; nothing half-stored stays."""
    first, _ = halves(ct_slice())
    with door.wire((1, CT, (EXPLICIT,))) as wire:
        wire.send(P_DATA, first)
        while not door.spool_files():
            time.sleep(0.005)
        started = time.monotonic()
        door.server.stop(0.3)
        assert time.monotonic() - started < 3
        assert wire.receive()[0] == ABORT
    assert door.spool_empties()
    assert door.archive.index.count() == (0, 0, 0)


def test_stopping_twice_is_harmless(door: Door) -> None:
    """The second time there is nothing to stop."""
    door.server.stop(0)
    door.server.stop(0)
