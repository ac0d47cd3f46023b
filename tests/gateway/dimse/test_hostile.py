"""Peers that break the rules, leave, or stall. Lawful ones go on being served (`reliability` S- and F- rows)."""

from __future__ import annotations

import contextlib
import io
import json
import resource
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client import REGISTRY
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from gateway import logs
from gateway.caller import Caller
from gateway.dimse.limits import Limits
from gateway.store import receive, store
from tests.gateway.dimse.conftest import Door, OpenDoor
from tests.gateway.dimse.wire import (
    ABORT,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    CT,
    EXPLICIT,
    IMPLICIT,
    P_DATA,
    RELEASE_RQ,
    STUDY_FIND,
    VERIFICATION,
    Wire,
    associate_request,
    context_item,
    echo_command,
    element,
    find_command,
    item,
    pdu,
    pdv,
    store_command,
)
from tests.parts.datasets import ct_slice, part10_bytes, uid

ECHO = (1, VERIFICATION, (IMPLICIT,))
STORE = (1, CT, (EXPLICIT,))
HASTY = Limits(request_seconds=0.4, pdu_seconds=0.4, idle_seconds=0.6, send_seconds=0.5, linger_seconds=0.3)


@pytest.fixture(scope="module")
def door(module_door: Door) -> Door:
    """One server for all: the tests leave it as it was."""
    return module_door


def association_threads() -> int:
    """Threads that serve an association."""
    return sum(thread.name.startswith("association-") for thread in threading.enumerate())


def threads_end(count: int = 0, seconds: float = 5.0) -> bool:
    """Do all but `count` association threads end in time?"""
    end = time.monotonic() + seconds
    while association_threads() > count and time.monotonic() < end:
        time.sleep(0.01)
    return association_threads() <= count


def aborted(wire: Wire, reason: int | None = None) -> bool:
    """Does the next PDU abort the association as the provider, for this reason?"""
    kind, body = wire.receive()
    return kind == ABORT and body[2] == 2 and (reason is None or body[3] == reason)


def padded(text: str) -> bytes:
    """A UID as a value."""
    return text.encode() + b"\0" * (len(text) % 2)


def encoded(ds: Dataset) -> bytes:
    """A data set in Explicit VR Little Endian."""
    data = encode(ds, False, True)
    assert data is not None
    return data


def test_a_request_of_four_gigabytes_is_not_believed(door: Door) -> None:
    """S-01: closed after the header, whatever follows; memory stays."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with door.wire() as wire:
        wire.socket.sendall(struct.pack(">BxL", ASSOCIATE_RQ, 0xFFFFFFFF))
        with contextlib.suppress(OSError):
            for _ in range(1024):
                wire.socket.sendall(bytes(65536))
        assert wire.ended()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 << 10
    assert door.is_alive()


def test_many_silent_peers_take_no_places(open_door: OpenDoor) -> None:
    """S-02: a hundred connections with one byte each, and five places: the canary is served all the time, and the
    silent ones are gone at their deadline."""
    door = open_door(max_associations=5, limits=HASTY)
    silent = [Wire(door.address) for _ in range(100)]
    for wire in silent:
        wire.socket.sendall(b"\x01")
    for _ in range(3):
        started = time.monotonic()
        assert door.is_alive()
        assert time.monotonic() - started < 2
    assert threads_end()
    assert all(wire.ended() for wire in silent)
    for wire in silent:
        wire.socket.close()


def test_the_oldest_of_too_many_waiting_peers_makes_room(open_door: OpenDoor) -> None:
    """F-58: by address here, since all come from one."""
    door = open_door(limits=Limits(waiting_per_address=4))
    waiting = []
    for _ in range(6):
        waiting.append(Wire(door.address, timeout=2))
        time.sleep(0.05)
    assert [wire.ended() for wire in waiting[:2]] == [True, True]
    assert door.is_alive()
    waiting[5].associate([ECHO])
    assert waiting[5].echo() == 0
    for wire in waiting:
        wire.socket.close()


def test_one_byte_now_and_then_does_not_keep_a_place(open_door: OpenDoor) -> None:
    """F-59: the deadline of a PDU is absolute."""
    door = open_door(limits=HASTY)
    with door.wire(ECHO) as wire:
        started = time.monotonic()
        with contextlib.suppress(OSError):
            for byte in pdu(P_DATA, pdv(1, 3, echo_command())):
                wire.socket.sendall(bytes([byte]))
                time.sleep(0.1)
                if association_threads() == 0:
                    break
        assert time.monotonic() - started < 3
    assert threads_end()


def test_an_idle_association_is_aborted(open_door: OpenDoor) -> None:
    """NET-06."""
    door = open_door(limits=HASTY)
    with door.wire(ECHO) as wire:
        assert aborted(wire)


def test_a_fragment_larger_than_negotiated_aborts(door: Door) -> None:
    """S-04: AB(6), for a PDU over the announced length."""
    with door.wire(STORE) as wire:
        wire.socket.sendall(struct.pack(">BxL", P_DATA, 256 << 20) + bytes(65536))
        assert aborted(wire, 6)
    assert door.is_alive()


def test_a_command_set_that_never_ends_aborts(door: Door) -> None:
    """S-05: AB(6) beyond 64 KiB."""
    with door.wire(ECHO) as wire:
        with contextlib.suppress(OSError):
            for _ in range(20):
                wire.send(P_DATA, pdv(1, 1, bytes(16_000)))
        assert aborted(wire, 6)


def test_an_identifier_that_never_ends_aborts(door: Door) -> None:
    """S-12: AB(6) beyond 1 MiB."""
    with door.wire((1, STUDY_FIND, (IMPLICIT,))) as wire:
        wire.send(P_DATA, pdv(1, 3, find_command()))
        with contextlib.suppress(OSError):
            for _ in range(100):
                wire.send(P_DATA, pdv(1, 0, bytes(16_000)))
        assert aborted(wire, 6)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes(67),
        associate_request([(2, VERIFICATION, (IMPLICIT,))]),
        associate_request([ECHO, ECHO]),
        associate_request([(1, VERIFICATION, ())]),
        associate_request([(1, "", (IMPLICIT,))]),
        associate_request([(1, "1." + "2" * 70, (IMPLICIT,))]),
        associate_request([(1, VERIFICATION, ["1.2"] * 5000)]),
        associate_request([ECHO])[:-2],
        associate_request([ECHO]) + b"\x20\x00\xff\xff",
        associate_request([ECHO], user_items=b"\x54\x00\x00\x02\x00\xff"),
        associate_request([ECHO], user_items=b"\x56\x00\x00\x01\x00"),
        bytes(68) + item(0x10, b"1.2.840.10008.3.1.1.1") + context_item(1, VERIFICATION, (IMPLICIT,)),
    ],
    ids=range(13),
)
def test_a_malformed_request_is_aborted(door: Door, body: bytes) -> None:
    """S-06: AB, in no time, and the next peer is served."""
    with door.wire() as wire:
        started = time.monotonic()
        wire.send(ASSOCIATE_RQ, body)
        kind, answer = wire.receive()
        assert (kind, answer[2:]) == (ABORT, b"\x02\x06") or (kind, answer[:4]) == (ASSOCIATE_RJ, b"\x00\x01\x02\x02")
        assert time.monotonic() - started < 1
    assert door.is_alive()


@pytest.mark.parametrize("kind", [P_DATA, RELEASE_RQ, 2, 3, 6])
def test_nothing_but_a_request_may_come_first(door: Door, kind: int) -> None:
    """S-09: AB(2)."""
    with door.wire() as wire:
        wire.send(kind, bytes(4))
        assert aborted(wire, 2)
        assert wire.ended()


@pytest.mark.parametrize(("kind", "reason"), [(ASSOCIATE_RQ, 2), (2, 2), (3, 2), (6, 2), (0, 1), (9, 1), (255, 1)])
def test_no_other_pdu_may_come_on_an_association(door: Door, kind: int, reason: int) -> None:
    """S-09: AB(2) for an unexpected PDU, AB(1) for an unknown one; no thread stays."""
    with door.wire(ECHO) as wire:
        wire.send(kind, bytes(4))
        assert aborted(wire, reason)
    assert threads_end()


@pytest.mark.parametrize(
    "body",
    [
        b"\x00\x00\x00",
        struct.pack(">LBB", 1, 1, 3),
        struct.pack(">LBB", 1000, 1, 3),
        pdv(3, 3, echo_command()),
        pdv(1, 2, b"data before any command"),
        pdv(1, 3, b"no command set"),
        pdv(1, 3, echo_command()[:-4]),
        pdv(1, 3, element(0, b"\x04\0\0\0") + element(0x0100, b"\x30\0") * 2),
        pdv(1, 3, element(0x0010, b"x" * 64, 0x0010)),
        pdv(1, 3, element(0x0100, b"\x30\x80")),
        pdv(1, 3, element(0x0100, b"\x30\x00")),
        pdv(1, 3, element(0x0002, b"1.2\0") + element(0x0100, b"\x21\0") + element(0x0110, b"\1\0")),
    ],
    ids=range(12),
)
def test_a_message_that_is_none_aborts(door: Door, body: bytes) -> None:
    """S-09: AB(2) or AB(6)."""
    with door.wire(ECHO) as wire:
        wire.send(P_DATA, body)
        kind, answer = wire.receive()
        assert kind == ABORT
        assert answer[2] == 2
        assert answer[3] in {2, 6}
    assert door.is_alive()


def test_unknown_command_elements_are_ignored(door: Door) -> None:
    """PS3.7 Annex E knows no (0000,0036)."""
    known = echo_command()[12:]
    body = known[:26] + element(0x0036, b"xx") + known[26:]
    assert known[:8] == element(0x0002, bytes(18))[:8]
    with door.wire(ECHO) as wire:
        wire.send(P_DATA, pdv(1, 3, element(0, struct.pack("<L", len(body))) + body))
        assert wire.status() == 0


@pytest.mark.parametrize("body", [bytes(4), b"\0\0\x02\x06", b"\0\0\x63\x63", b""])
def test_an_abort_is_one_whatever_its_reason(door: Door, body: bytes) -> None:
    """S-09: the connection is closed, nothing is answered."""
    with door.wire(ECHO) as wire:
        wire.send(ABORT, body)
        assert wire.receive() == (0, b"")
    assert threads_end()


def test_a_store_on_a_context_that_was_refused_aborts(door: Door) -> None:
    """S-09."""
    with door.wire((1, CT, (EXPLICIT,)), (3, CT, ("1.2.3.4",))) as wire:
        wire.send(P_DATA, pdv(3, 3, store_command("1.2.3")) + pdv(3, 2, b"data"))
        assert aborted(wire, 6)
    assert door.spool_empties()


def half_sent(door: Door) -> Wire:
    """A peer in the middle of a data set, whose spool file has begun."""
    wire = door.wire(STORE)
    wire.send(P_DATA, pdv(1, 3, store_command("1.2.3")) + pdv(1, 0, bytes(10_000)))
    end = time.monotonic() + 5
    while not door.spool_files() and time.monotonic() < end:
        time.sleep(0.005)
    assert len(door.spool_files()) == 1
    return wire


def test_a_cable_cut_in_a_data_set_leaves_nothing(door: Door) -> None:
    """F-55."""
    wire = half_sent(door)
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.socket.close()  # a reset
    assert door.spool_empties()
    assert threads_end()
    assert door.archive.find("1.2.3") is None


def test_a_peer_that_falls_silent_in_a_data_set_leaves_nothing(open_door: OpenDoor) -> None:
    """F-55: after the deadline."""
    door = open_door(limits=HASTY)
    with half_sent(door):
        assert door.spool_empties()
        assert threads_end()


def test_an_abort_in_a_data_set_leaves_nothing(door: Door) -> None:
    """F-57."""
    with half_sent(door) as wire:
        wire.send(ABORT, bytes(4))
        assert door.spool_empties()
        assert wire.ended()


def test_a_release_in_a_data_set_leaves_nothing(door: Door) -> None:
    """S-09, F-57."""
    with half_sent(door) as wire:
        wire.send(RELEASE_RQ, bytes(4))
        assert door.spool_empties()


def test_a_peer_gone_before_its_answer_finds_the_object_stored(door: Door) -> None:
    """F-56: a re-send is a success, as a duplicate."""
    ds = ct_slice()
    message = pdv(1, 3, store_command(ds.SOPInstanceUID)) + pdv(1, 2, encoded(ds))
    with door.wire(STORE) as wire:
        wire.send(P_DATA, message)
    end = time.monotonic() + 5
    while door.archive.find(ds.SOPInstanceUID) is None and time.monotonic() < end:
        time.sleep(0.01)
    with door.wire(STORE) as wire:
        wire.send(P_DATA, message)
        assert wire.status() == 0
    assert len(door.archive.locate(ds.StudyInstanceUID)) == 1


def test_a_peer_that_does_not_read_its_answers_is_dropped(open_door: OpenDoor) -> None:
    """F-59 in the other direction: a query with megabytes of answers, none of which is read."""
    door = open_door(limits=HASTY, objects="memory:")
    for number in range(1, 161):
        with receive(door.archive, max_bytes=1 << 20) as incoming:
            incoming.write(part10_bytes(ct_slice(number=number, rows=2, columns=2)))
            store(door.archive, incoming, Caller("test", "cli"))
    keys = element(0x0052, b"IMAGE ", 0x0008)
    keys += element(0x000D, padded(uid("study", "study")), 0x0020) + element(
        0x000E, padded(uid("series", "study", 1)), 0x0020
    )
    keys += b"".join(element(number, b"", 0x7777) for number in range(4000))
    before = answered()
    wire = Wire(door.address, receive_buffer=4096)
    wire.associate([(1, STUDY_FIND, (EXPLICIT, IMPLICIT)), (3, STUDY_FIND, (IMPLICIT,))])
    for start in range(0, len(keys), 16_000):
        fragment = keys[start : start + 16_000]
        command = pdv(3, 3, find_command()) if not start else b""
        wire.send(P_DATA, command + pdv(3, 2 if start + 16_000 >= len(keys) else 0, fragment))
    assert threads_end(seconds=10)
    wire.socket.close()
    assert answered() == before


def answered() -> float:
    """C-FIND operations that came to their end."""
    return REGISTRY.get_sample_value("gantry_dimse_operations_total", {"command": "C-FIND", "status": "0000"}) or 0.0


def test_peers_that_accept_tiny_pdus_only_are_rejected(door: Door) -> None:
    """A maximum length of 1 to 127 bytes."""
    with door.wire() as wire:
        wire.send(ASSOCIATE_RQ, associate_request([ECHO], max_pdu=7))
        assert wire.receive()[0] == ASSOCIATE_RJ


@contextlib.contextmanager
def lines() -> Iterator[io.StringIO]:
    """What is logged, as JSON lines."""
    before = structlog.get_config()
    stream = io.StringIO()
    logs.configure("debug", stream)
    try:
        yield stream
    finally:
        structlog.configure(**before)


def test_logs_tell_what_happened_and_nothing_of_patients(open_door: OpenDoor) -> None:
    """S-07, and the rule of quiet: an association id on every line, no names, no tracebacks, one line each."""
    with lines() as stream:
        door = open_door()
        ds = ct_slice(PatientName="Secret^Name", PatientID="SECRET-ID")
        with door.wire(STORE, (3, STUDY_FIND, (IMPLICIT,))) as wire:
            wire.send(P_DATA, pdv(1, 3, store_command(ds.SOPInstanceUID)) + pdv(1, 2, encoded(ds)))
            assert wire.status() == 0
            wire.send(P_DATA, pdv(1, 3, store_command("1.2.3")) + pdv(1, 2, b"SECRET-DATA"))
            assert wire.status() == 0xC000
            keys = element(0x0052, b"STUDY ", 0x0008) + element(0x0010, b"Secret^Name ", 0x0010)
            wire.send(P_DATA, pdv(3, 3, find_command()) + pdv(3, 2, keys))
            assert [wire.status(), wire.status()] == [0xFF00, 0]
            wire.send(P_DATA, b"SECRET-GARBAGE")
            assert aborted(wire)
        with door.wire() as wire:
            wire.send(ASSOCIATE_RQ, associate_request([ECHO], calling=b"EVIL\n{%s}\x1b"))
            assert wire.receive()[0] == ASSOCIATE_RJ
        assert threads_end()
        door.server.stop(0)
        text = stream.getvalue()
    assert "ecret" not in text.lower()
    assert "Traceback" not in text
    records = [json.loads(line) for line in text.splitlines()]
    assert all(record.get("association_id") for record in records)
    assert {record["event"] for record in records} >= {
        "association_accepted", "association_rejected", "stored", "store_refused", "find_answered", "protocol_error",
        "association_ended",
    }  # fmt: skip


def test_more_files_than_select_knows(open_door: OpenDoor) -> None:
    """F-68: with more than 1,024 open files, associations are served."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip("no more files are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(1100):
                stack.enter_context(open("/dev/null", "rb"))  # noqa: PTH123
            assert open_door().is_alive()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
