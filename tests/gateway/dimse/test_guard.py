"""What is held against many peers at once, and against those that claim to be somebody."""

from __future__ import annotations

import contextlib
import io
import json
import resource
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from gateway import logs
from gateway.dimse.limits import Limits
from tests.gateway.dimse.conftest import Door, OpenDoor
from tests.gateway.dimse.wire import (
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    IMPLICIT,
    VERIFICATION,
    Wire,
    associate_request,
    item,
)
from tests.parts.fix_gateway import StartGateway

ECHO = (1, VERIFICATION, (IMPLICIT,))
TOKEN = "the token of this gateway"


def identity(kind: int, primary: bytes, secondary: bytes = b"", *, answer: bool = False) -> bytes:
    """A User Identity sub-item (PS3.7 Table D.3-14)."""
    fields = struct.pack(">H", len(primary)) + primary + struct.pack(">H", len(secondary)) + secondary
    return item(0x58, bytes([kind, answer]) + fields)


def answer(door: Door, sub_item: bytes) -> tuple[int, bytes]:
    """Type and body of the answer to a request with this sub-item."""
    with door.wire() as wire:
        wire.send(ASSOCIATE_RQ, associate_request([ECHO], user_items=sub_item))
        return wire.receive()


@contextlib.contextmanager
def logged() -> Iterator[io.StringIO]:
    """What is logged meanwhile."""
    before, stream = structlog.get_config(), io.StringIO()
    logs.configure("debug", stream)
    try:
        yield stream
    finally:
        structlog.configure(**before)


@pytest.mark.parametrize(
    ("sub_item", "known"),
    [
        (identity(1, b"dr.who"), False),
        (identity(2, b"dr.who", b"guessed-passcode"), False),
        (identity(2, b"dr.who", TOKEN.encode()), True),
        (identity(2, TOKEN.encode(), b""), False),
        (identity(3, b"kerberos ticket"), False),
        (identity(4, b"<saml/>"), False),
        (identity(5, b"head.body.signature"), False),
        (identity(5, TOKEN.encode()), True),
        (identity(9, b"of the future"), False),
    ],
    ids=["name", "passcode", "right", "swapped", "kerberos", "saml", "jwt", "right jwt", "unknown"],
)
def test_a_user_identity_is_verified_or_refused(open_door: OpenDoor, sub_item: bytes, known: bool) -> None:
    """S-16, NET-02: RJ 2,2,1; nothing of it is ever logged."""
    with logged() as stream:
        door = open_door(token=TOKEN)
        kind, body = answer(door, sub_item)
        assert (kind == ASSOCIATE_AC) is known
        assert known or body[1:4] == b"\2\2\1" or (kind, body[2:]) == (7, b"\2\6")
        door.server.stop(0)
    text = stream.getvalue()
    assert not any(secret in text for secret in ("dr.who", "guessed", TOKEN, "kerberos", "saml", "head.body"))


def test_guessing_identities_ends_for_who_guesses(open_door: OpenDoor) -> None:
    """S-79: RJ 2,3,1, temporary congestion, once there were too many; then the right one is not looked at either, or
    guessing would go on. Another AE title is not locked out.
    """
    door = open_door(token=TOKEN, failed_sign_ins=3)
    wrong, right = identity(2, b"dr.who", b"guessed-passcode"), identity(2, b"dr.who", TOKEN.encode())
    assert [answer(door, wrong)[1] for _ in range(3)] == [b"\0\2\2\1"] * 3
    assert answer(door, wrong)[1] == answer(door, right)[1] == b"\0\2\3\1"
    with door.wire() as wire:
        wire.send(ASSOCIATE_RQ, associate_request([ECHO], user_items=right, calling=b"OTHER"))
        assert wire.receive()[0] == ASSOCIATE_AC


def test_without_a_token_no_identity_can_be_right(open_door: OpenDoor) -> None:
    """S-16: an empty passcode is not the absent token."""
    assert answer(open_door(), identity(2, b"dr.who", b""))[0] == ASSOCIATE_RJ


def test_a_user_identity_is_ignored_where_set_so(open_door: OpenDoor) -> None:
    """PS3.7 D.3.3.7: then there is no positive response either, though one was asked for."""
    kind, body = answer(open_door(user_identity="ignore"), identity(2, b"dr.who", b"x", answer=True))
    assert kind == ASSOCIATE_AC
    assert b"\x59\0" not in body[68:]


def test_a_positive_response_is_given_when_asked_for(open_door: OpenDoor) -> None:
    """PS3.7 D.3.3.7.2: an item without a value, for a passcode that is right."""
    kind, body = answer(open_door(token=TOKEN), identity(2, b"dr.who", TOKEN.encode(), answer=True))
    assert kind == ASSOCIATE_AC
    assert struct.pack(">BxHH", 0x59, 2, 0) in body


def resident() -> int:
    """Memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_half_open_connections_are_held_off(open_door: OpenDoor) -> None:
    """F-58, S-02: from four addresses, many times more than may wait; lawful peers are served within two seconds all
    the time, and what the others cost is given back."""
    door = open_door(limits=Limits(request_seconds=2.0))
    assert door.is_alive()
    before, slowest, waiting = resident(), 0.0, []
    with contextlib.ExitStack() as stack:
        for number in range(2400):
            peer = stack.enter_context(socket.socket())
            peer.bind((f"127.0.0.{2 + number % 4}", 0))
            peer.connect(door.address)
            with contextlib.suppress(OSError):
                peer.sendall(b"\1" * (number % 3))
            waiting.append(peer)
            if number % 100 == 0:
                started = time.monotonic()
                assert door.is_alive()
                slowest = max(slowest, time.monotonic() - started)
        assert slowest < 2
        # connections are taken in the order they came: once this peer is answered, none of the others waits to be seen
        assert door.is_alive()
        # each address has its 32 at most
        assert sum(is_open(peer) for peer in waiting) <= 4 * 32
        end = time.monotonic() + 6
        while any(is_open(peer) for peer in waiting) and time.monotonic() < end:
            time.sleep(0.1)
        assert not any(is_open(peer) for peer in waiting)
    assert resident() - before < 16 << 20


def is_open(peer: socket.socket) -> bool:
    """Has the server not closed its end?"""
    try:
        return peer.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def test_idle_associations_are_small(open_door: OpenDoor) -> None:
    """200 of them with many presentation contexts: less than a megabyte each."""
    door = open_door(max_associations=200)
    contexts = [ECHO, *((number, f"1.2.840.10008.5.1.4.1.1.{number}", (IMPLICIT,)) for number in range(3, 256, 2))]
    before = resident()
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            wire = stack.enter_context(door.wire(*contexts))
            assert wire.echo() == 0
        assert (resident() - before) / 200 < 1 << 20


def test_a_gateway_without_file_descriptors_makes_room(start_gateway: StartGateway) -> None:
    """F-68: strangers hold all descriptors that are left; a lawful peer is served all the same, and the log says once
    in a while what happened."""
    gateway = start_gateway()
    used = len(list(Path(f"/proc/{gateway.pid}/fd").iterdir()))
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (used + 24, used + 24))
    with contextlib.ExitStack() as stack:
        for number in range(120):
            peer = stack.enter_context(socket.socket())
            peer.bind((f"127.0.0.{2 + number % 4}", 0))
            peer.connect((gateway.host, gateway.dimse_port))
        started = time.monotonic()
        with Wire((gateway.host, gateway.dimse_port)) as wire:
            wire.associate()
            assert wire.echo() == 0
            assert time.monotonic() - started < 5
    dropped = [event for event in gateway.events() if event["event"] == "connections_dropped"]
    assert 1 <= len(dropped) <= 10


def test_the_limit_of_open_files_is_raised_at_start(start_gateway: StartGateway) -> None:
    """F-68: as far as it may be; and told when that is not enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        gateway = start_gateway(environment={"GANTRY_MAX_ASSOCIATIONS": "10000"})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    wanted = 4096 + 4 * 10_000
    allowed = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)[0]
    assert allowed == (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard))
    told = [event for event in gateway.events() if event["event"] == "few_open_files"]
    assert (len(told) == 1) is (allowed < wanted), json.dumps(told)
