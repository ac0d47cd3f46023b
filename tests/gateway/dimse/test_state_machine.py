"""The upper layer against peers that send anything at any time (S-09), and a model of what is lawful then."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable
from enum import Enum

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.dimse.conftest import Door
from tests.gateway.dimse.test_hostile import threads_end
from tests.gateway.dimse.wire import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    CT,
    EXPLICIT,
    IMPLICIT,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    VERIFICATION,
    Wire,
    associate_request,
    echo_command,
    find_command,
    pdu,
    pdv,
    store_command,
)

EXAMPLES = int(os.environ.get("GANTRY_FUZZ_EXAMPLES", "100"))
"""Associations that are fuzzed; more of them for a night."""

CONTEXTS = [(1, VERIFICATION, (IMPLICIT,)), (3, CT, (EXPLICIT,))]
HELLO = associate_request(CONTEXTS)


class State(Enum):
    """Of an association, as its peer may know it (PS3.8 Table 9-10: Sta2, Sta6, Sta6 within a message, Sta1)."""

    FRESH = "fresh"
    READY = "ready"
    WITHIN = "within"
    OVER = "over"


Answer = Callable[[tuple[int, bytes]], bool]


def silence(_: tuple[int, bytes]) -> bool:
    """Nothing is to be answered; never asked."""
    raise AssertionError("no answer is awaited")


def aborted(*reasons: int) -> Answer:
    """An A-ABORT of the service provider for one of these reasons."""
    return lambda got: got[0] == ABORT and got[1][2] == 2 and got[1][3] in reasons


def ended(got: tuple[int, bytes]) -> bool:
    """The end of the connection."""
    return got == (0, b"")


def is_a(kind: int) -> Answer:
    """A PDU of this type."""
    return lambda got: got[0] == kind


def status(*known: int) -> Answer:
    """A response with one of these statuses."""

    def check(got: tuple[int, bytes]) -> bool:
        kind, body = got
        return kind == P_DATA and any(struct.pack("<HHLH", 0, 0x0900, 2, one) in body for one in known)

    return check


# Each action: what is sent, and per state what follows: the new state and the lawful answer.
Move = tuple[State, Answer]
UNEXPECTED: Move = (State.OVER, aborted(2))
INVALID: Move = (State.OVER, aborted(6))
UNKNOWN: Move = (State.OVER, aborted(1))
ALWAYS = {State.FRESH: UNEXPECTED, State.READY: UNEXPECTED, State.WITHIN: UNEXPECTED}

ACTIONS: dict[str, tuple[bytes, dict[State, Move]]] = {
    "request": (pdu(ASSOCIATE_RQ, HELLO), ALWAYS | {State.FRESH: (State.READY, is_a(ASSOCIATE_AC))}),
    "bad request": (pdu(ASSOCIATE_RQ, HELLO[:-3]), ALWAYS | {State.FRESH: INVALID}),
    "strange version": (
        pdu(ASSOCIATE_RQ, b"\0\2" + HELLO[2:]),
        ALWAYS | {State.FRESH: (State.OVER, is_a(ASSOCIATE_RJ))},
    ),
    "accept": (pdu(ASSOCIATE_AC, HELLO), ALWAYS),
    "reject": (pdu(ASSOCIATE_RJ, bytes(4)), ALWAYS),
    "release": (
        pdu(RELEASE_RQ, bytes(4)),
        {
            State.FRESH: UNEXPECTED,
            State.READY: (State.OVER, is_a(RELEASE_RP)),
            State.WITHIN: (State.OVER, is_a(RELEASE_RP)),
        },
    ),
    "release response": (pdu(RELEASE_RP, bytes(4)), ALWAYS),
    "abort": (pdu(ABORT, bytes(4)), dict.fromkeys((State.FRESH, State.READY, State.WITHIN), (State.OVER, ended))),
    "unknown": (pdu(99, bytes(10)), dict.fromkeys((State.FRESH, State.READY, State.WITHIN), UNKNOWN)),
    "too long": (
        struct.pack(">BxL", P_DATA, 1 << 30),
        dict.fromkeys((State.FRESH, State.READY, State.WITHIN), INVALID),
    ),
    "echo": (
        pdu(P_DATA, pdv(1, 3, echo_command())),
        ALWAYS | {State.READY: (State.READY, status(0))},
    ),
    "store": (
        pdu(P_DATA, pdv(3, 3, store_command("1.2.3"))),
        ALWAYS | {State.READY: (State.WITHIN, silence)},
    ),
    "data": (pdu(P_DATA, pdv(3, 0, b"data")), ALWAYS | {State.WITHIN: (State.WITHIN, silence)}),
    "last data": (
        pdu(P_DATA, pdv(3, 2, b"data")),
        ALWAYS | {State.WITHIN: (State.READY, status(0xC000))},
    ),
    "data elsewhere": (pdu(P_DATA, pdv(1, 2, b"data")), ALWAYS | {State.WITHIN: INVALID}),
    "half a command": (
        pdu(P_DATA, pdv(1, 1, b"\0\0\0\0\4\0\0\0")),
        {State.FRESH: UNEXPECTED, State.READY: (State.WITHIN, silence), State.WITHIN: UNEXPECTED},
    ),
    "no context": (
        pdu(P_DATA, pdv(77, 3, echo_command())),
        ALWAYS | {State.READY: INVALID},
    ),
    "no such service": (
        pdu(P_DATA, pdv(1, 3, find_command()) + pdv(1, 2, b"")),
        ALWAYS | {State.READY: UNEXPECTED},
    ),
    "nothing": (
        pdu(P_DATA, b""),
        {State.FRESH: UNEXPECTED, State.READY: (State.READY, silence), State.WITHIN: (State.WITHIN, silence)},
    ),
    "garbage": (
        pdu(P_DATA, b"\xff" * 32),
        {State.FRESH: UNEXPECTED, State.READY: INVALID, State.WITHIN: INVALID},
    ),
}


@pytest.fixture(scope="module")
def door(module_door: Door) -> Door:
    """One server for all."""
    return module_door


@given(
    names=st.lists(st.sampled_from(sorted(ACTIONS)), min_size=1, max_size=12),
    polite=st.booleans(),
    pieces=st.integers(1, 40),
)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_answer_is_lawful_and_no_thread_stays(door: Door, names: list[str], polite: bool, pieces: int) -> None:
    """S-09: whatever comes in whatever state, in pieces of any size, the answer is that of PS3.8 Table 9-10, the
    connection is closed after it where it says so, and the next peer is served."""
    state, half = State.FRESH, False
    with door.wire(timeout=5) as wire:
        if polite:
            names = ["request", *names]
        for name in names:
            if state is State.OVER:
                break
            sent, moves = ACTIONS[name]
            state, half, answer = step(name, state, half, moves)
            for at in range(0, len(sent), max(1, len(sent) // pieces)):
                with contextlib.suppress(ConnectionError):
                    wire.socket.sendall(sent[at : at + max(1, len(sent) // pieces)])
            if answer is not silence:
                got = wire.receive()
                assert answer(got), (name, got)
        if state is State.OVER:
            assert wire.ended()
    assert threads_end(seconds=1)
    assert door.spool_empties()


def step(name: str, state: State, half: bool, moves: dict[State, Move]) -> tuple[State, bool, Answer]:
    """The next state, and whether half a command set lies there: then only the rest of it, or the end, is lawful."""
    if not half:
        after, answer = moves[state]
        return after, name == "half a command" and after is State.WITHIN, answer
    if name in {"release", "abort", "unknown", "too long", "garbage", "nothing"}:
        after, answer = moves[State.WITHIN]
        return after, after is State.WITHIN, answer
    if name in {"echo", "store", "no context", "no such service"}:
        return State.OVER, False, aborted(6)  # glued to the half, it is no command set
    if name == "half a command":
        return State.WITHIN, True, silence
    return State.OVER, False, aborted(2)


def test_the_model_knows_all_actions_in_all_states() -> None:
    for name, (_, moves) in ACTIONS.items():
        assert moves.keys() == {State.FRESH, State.READY, State.WITHIN}, name


def test_a_wire_is_what_the_tests_think_it_is(door: Door) -> None:
    with Wire(door.address) as wire:
        wire.associate(CONTEXTS)
        wire.release()
