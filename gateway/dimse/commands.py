"""Command sets as bytes (PS3.7 6.3.1, Annex E): for the messages that are sent and answered by the thousand.

pynetdicom takes a millisecond to encode or decode one by way of a `Dataset`; these take microseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.dimse.requests import ProtocolError

AFFECTED_CLASS, REQUESTED_CLASS = 0x0002, 0x0003
FIELD, MESSAGE_ID, RESPONDED_TO = 0x0100, 0x0110, 0x0120
PRIORITY, DATA_SET_TYPE, STATUS, ERROR_COMMENT = 0x0700, 0x0800, 0x0900, 0x0902
AFFECTED_INSTANCE, REQUESTED_INSTANCE, EVENT_TYPE = 0x1000, 0x1001, 0x1002
REMAINING, COMPLETED, FAILED, WARNING = 0x1020, 0x1021, 0x1022, 0x1023
ACTION_TYPE = 0x1008
MOVE_ORIGINATOR, MOVE_ORIGINATOR_ID = 0x1030, 0x1031
"""Element numbers in group 0000."""

C_STORE_RQ, C_GET_RQ, C_MOVE_RQ, C_ECHO_RQ = 0x0001, 0x0010, 0x0021, 0x0030
N_EVENT_REPORT_RQ, N_ACTION_RQ, N_CREATE_RQ = 0x0100, 0x0130, 0x0140
RESPONSE = 0x8000
DATA_SET, NO_DATA_SET = 0x0001, 0x0101

_COMMAND, _LAST = 1, 2
_ELEMENT = struct.Struct("<HHL")
_SHORT = struct.Struct("<H")
_LONG = struct.Struct("<L")
_PDATA = struct.Struct(">BxLLBB")
_PDV_HEAD = 6
_SPACES = frozenset({ERROR_COMMENT, MOVE_ORIGINATOR})

Values = Mapping[int, int | str]
"""Element number to value: US as int, UI, AE and LO as text."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a response says: `field` is its Command Field, `message_id` that of the request it answers."""

    field: int
    message_id: int
    status: int
    comment: str
    has_data_set: bool


def encode(values: Values) -> bytes:
    """A command set, in Implicit VR Little Endian as all of them are."""
    body = b"".join(_element(number, values[number]) for number in sorted(values))
    return _ELEMENT.pack(0, 0, 4) + _LONG.pack(len(body)) + body


def _element(number: int, value: int | str) -> bytes:
    if isinstance(value, int):
        return _ELEMENT.pack(0, number, 2) + _SHORT.pack(value)
    text = value.encode("ascii")
    if len(text) % 2:
        text += b" " if number in _SPACES else b"\0"
    return _ELEMENT.pack(0, number, len(text)) + text


def is_response(command_set: bytes) -> bool:
    """Does an encoded command set announce itself as a response?"""
    field = _elements(command_set).get(FIELD, b"")
    return len(field) == 2 and bool(_SHORT.unpack(field)[0] & RESPONSE)


def response(command_set: bytes) -> Response:
    """Read a response. Raises ProtocolError."""
    values = _elements(command_set)
    comment = values.get(ERROR_COMMENT, b"").decode("ascii", "replace").strip(" \0")
    return Response(
        _number(values, FIELD),
        _number(values, RESPONDED_TO),
        _number(values, STATUS),
        comment,
        _number(values, DATA_SET_TYPE) != NO_DATA_SET,
    )


def _elements(command_set: bytes) -> dict[int, bytes]:
    values: dict[int, bytes] = {}
    at = 0
    while at < len(command_set):
        if at + _ELEMENT.size > len(command_set):
            raise _malformed()
        group, number, length = _ELEMENT.unpack_from(command_set, at)
        at += _ELEMENT.size
        if group or at + length > len(command_set):
            raise _malformed()
        values[number] = command_set[at : at + length]
        at += length
    return values


def _number(values: Mapping[int, bytes], number: int) -> int:
    value = values.get(number, b"")
    if len(value) != 2:
        raise _malformed()
    return int(_SHORT.unpack(value)[0])


def _malformed() -> ProtocolError:
    return ProtocolError(ProtocolError.INVALID_PARAMETER, "the command set is malformed")


def room(maximum_length: int | None, ours: int) -> int:
    """Bytes of a message that fit into one P-DATA-TF PDU of the peer's maximum length (0 or None: no limit).

    No PDU becomes longer than `ours`, since nothing is gained; fragments have an even length (PS3.8 Annex E).
    """
    return (min(maximum_length or ours, ours) - _PDV_HEAD) & ~1


def pdus(
    context_id: int, data: bytes | memoryview, size: int, *, command: bool = False, last: bool = True
) -> list[bytes | memoryview]:
    """P-DATA-TF PDUs of at most `size` bytes of `data` each, in pieces to be joined (PS3.8 9.3.5).

    `last` says that the command or data set ends with `data`.
    """
    pieces: list[bytes | memoryview] = []
    view = memoryview(data)
    kind = _COMMAND if command else 0
    end = len(view)
    for at in range(0, end, size):
        piece = view[at : at + size]
        length = len(piece)
        control = kind | (_LAST if last and at + length == end else 0)
        pieces += (_PDATA.pack(4, length + _PDV_HEAD, length + 2, context_id, control), piece)
    return pieces
