"""Command sets as bytes (PS3.7 6.3.1, Annex E): for the messages that are sent and answered by the thousand.

pynetdicom takes a millisecond to encode or decode one by way of a `Dataset`; these take microseconds.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.dimse.requests import ProtocolError

AFFECTED_CLASS, REQUESTED_CLASS = 0x0002, 0x0003
FIELD, MESSAGE_ID, RESPONDED_TO = 0x0100, 0x0110, 0x0120
PRIORITY, DATA_SET_TYPE = 0x0700, 0x0800
STATUS, OFFENDING_ELEMENT, ERROR_COMMENT = 0x0900, 0x0901, 0x0902
AFFECTED_INSTANCE, REQUESTED_INSTANCE, EVENT_TYPE = 0x1000, 0x1001, 0x1002
REMAINING, COMPLETED, FAILED, WARNING = 0x1020, 0x1021, 0x1022, 0x1023
ACTION_TYPE = 0x1008
MOVE_ORIGINATOR, MOVE_ORIGINATOR_ID = 0x1030, 0x1031
"""Element numbers in group 0000."""

C_STORE_RQ, C_GET_RQ, C_FIND_RQ, C_MOVE_RQ, C_ECHO_RQ = 0x0001, 0x0010, 0x0020, 0x0021, 0x0030
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

Values = Mapping[int, int | str | bytes]
"""Element number to value: US as int, UI, AE and LO as text, others as they are encoded."""


@dataclass(slots=True)
class Request:
    """A C-STORE, C-FIND or C-ECHO request; `field` is its Command Field. `identifier` is the data set of a C-FIND."""

    field: int
    MessageID: int
    AffectedSOPClassUID: str
    AffectedSOPInstanceUID: str
    has_data_set: bool
    identifier: bytes = b""


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


def answer(request: Request, status: int, *, data_set: bool = False, more: Values | None = None) -> bytes:
    """The command set of a response to `request`; `more` are further elements. A data set may be told to follow."""
    values: dict[int, int | str | bytes] = {
        AFFECTED_CLASS: request.AffectedSOPClassUID,
        FIELD: request.field | RESPONSE,
        RESPONDED_TO: request.MessageID,
        DATA_SET_TYPE: DATA_SET if data_set else NO_DATA_SET,
        STATUS: status,
    }
    if request.field == C_STORE_RQ:
        values[AFFECTED_INSTANCE] = request.AffectedSOPInstanceUID
    return encode({**values, **more} if more else values)


def _element(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _ELEMENT.pack(0, number, 2) + _SHORT.pack(value)
    text = value.encode("ascii") if isinstance(value, str) else value
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


def request(command_set: bytes) -> Request | None:
    """Read a plain C-STORE, C-FIND or C-ECHO request; None for anything else, and whatever is not as it should be."""
    values: dict[int, bytes] = {}
    at, before, end = 0, -1, len(command_set)
    while at + 8 <= end:
        group, number, length = _ELEMENT.unpack_from(command_set, at)
        at += 8 + length
        if group or number <= before or at > end:
            return None
        before = number
        values[number] = command_set[at - length : at]
    field, message_id = _short(values, FIELD), _short(values, MESSAGE_ID)
    data_set_type = _short(values, DATA_SET_TYPE)
    if at != end or field not in _MANDATORY or message_id is None or data_set_type is None:
        return None
    has_data_set = data_set_type != NO_DATA_SET
    wanted, priority = _MANDATORY[field], _short(values, PRIORITY)
    if has_data_set is (field == C_ECHO_RQ) or (field != C_ECHO_RQ and priority not in (0, 1, 2)):
        return None
    if any(number not in values for number in wanted):
        return None
    sop_class_uid = values[AFFECTED_CLASS].rstrip(b"\0 ")
    if not _UID.fullmatch(sop_class_uid):
        return None
    # a malformed one is no reason to end the association: the service refuses the instance (STORE-07)
    sop_uid = values[AFFECTED_INSTANCE].rstrip(b"\0 ") if AFFECTED_INSTANCE in wanted else b""
    named = sop_uid.decode("ascii") if sop_uid.isascii() and len(sop_uid) <= LONGEST_UID else ""
    return Request(int(field or 0), message_id, sop_class_uid.decode("ascii"), named, has_data_set)


LONGEST_UID = 64
_UID = re.compile(rb"[0-9.]{1,64}")
_MANDATORY: Mapping[int | None, tuple[int, ...]] = {
    C_STORE_RQ: (AFFECTED_CLASS, AFFECTED_INSTANCE),
    C_FIND_RQ: (AFFECTED_CLASS,),
    C_ECHO_RQ: (AFFECTED_CLASS,),
}


def _short(values: Mapping[int, bytes], number: int) -> int | None:
    value = values.get(number, b"")
    return int(_SHORT.unpack(value)[0]) if len(value) == 2 else None


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
