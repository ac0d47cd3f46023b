"""DIMSE messages from P-DATA fragments and back (PS3.7 6.3, PS3.8 Annex E).

The data set of a C-STORE goes fragment by fragment to whoever receives it and is never held; command sets and
identifiers are short, bounded, and decoded by pynetdicom.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol, Union, cast

from pydicom._dicom_dict import DicomDictionary
from pynetdicom.dimse import _RQ_TO_MESSAGE, _RSP_TO_MESSAGE, DIMSEServiceProvider
from pynetdicom.dimse_messages import _MESSAGE_TYPES, DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL, C_ECHO, C_FIND, C_STORE, DimsePrimitiveType
from pynetdicom.dsutils import decode
from pynetdicom.pdu_primitives import P_DATA

from gateway.dimse import commands
from gateway.dimse.limits import MAX_PDU, Limits
from gateway.dimse.provider import TRANSFER, deadline
from gateway.dimse.requests import ProtocolError
from gateway.dimse.transport import PeerLost

if TYPE_CHECKING:
    from pynetdicom.dimse_primitives import DIMSEPrimitive

    from gateway.dimse.association import Acceptor

NO_DATA_SET = 0x0101
_PDV = struct.Struct(">LBB")
_ELEMENT = struct.Struct("<HHL")
_COMMAND, _LAST = 1, 2
_MAX_WAITING = 8
_TOO_MUCH = 64
"""How many times too long the data set of an N-ACTION may be and still get an answer."""
_COMMAND_ELEMENTS = frozenset(tag for tag in DicomDictionary if tag >> 16 == 0)


class Unanswered(Exception):
    """The peer released or aborted the association instead of answering a request of ours."""


class ActionInformation(BytesIO):
    """The data set of an N-ACTION request. One of more than `longest` bytes is not kept: `too_long` then."""

    def __init__(self, longest: int) -> None:
        super().__init__()
        self.longest = longest
        self.length = 0

    @property
    def too_long(self) -> bool:
        """Was it too long to be kept?"""
        return self.length > self.longest

    def write(self, data: Any) -> int:
        """Take more of it."""
        self.length += len(data)
        return len(data) if self.too_long else super().write(data)


class DataSetSink(Protocol):
    """Takes the data set of one C-STORE request."""

    def begin(self, request: commands.Request, context_id: int) -> None:
        """A C-STORE request was announced; its data set follows."""

    def write(self, fragment: memoryview) -> None:
        """The next bytes of the data set; the memory is used again after the call. Raises ProtocolError to give up."""


class Messages(DIMSEServiceProvider):
    """The DIMSE service provider of an accepted association; `sink` takes the data sets of C-STORE requests.

    `serving` is the ID of the request that is being answered, if one is: a C-CANCEL for any other is void. Responses
    are taken only while a request of ours is `outstanding`.
    """

    def __init__(self, assoc: Acceptor, sink: DataSetSink) -> None:
        self._cancelled: dict[int, C_CANCEL] = {}
        self._waiting: deque[tuple[int, Request]] = deque()
        self._command = bytearray()
        self._data: BytesIO | None = None
        self._announced: tuple[int, Request | commands.Response] | None = None
        self._responses: deque[commands.Response] = deque()
        self.outstanding = False
        self._acceptor = assoc
        self._sink = sink
        self.serving: int | None = None
        super().__init__(assoc)

    @property
    def in_message(self) -> bool:
        """Has the peer begun a message that is not complete yet?"""
        return bool(self._command) or self._announced is not None

    def next_message(self) -> tuple[int, Request] | None:
        """Presentation context ID and request of the next complete message, if there is one."""
        return self._waiting.popleft() if self._waiting else None

    @property
    def room(self) -> int:
        """Bytes of a message that fit into one PDU."""
        return commands.room(self.maximum_pdu_size, MAX_PDU)

    def send(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Send encoded PDUs, in pieces. Raises Unanswered."""
        self._acceptor.provider.send_pieces(pieces)
        if self._acceptor.provider.state != TRANSFER:
            raise Unanswered

    def response(self, message_id: int) -> commands.Response:
        """Wait for the response to a request of ours. Raises Unanswered, PeerLost, ProtocolError."""
        until = deadline(self._acceptor.limits.response_seconds)
        self.outstanding = True
        while not self._responses:
            if self._acceptor.provider.state != TRANSFER:
                raise Unanswered
            self._acceptor.provider.read(until)
        self.outstanding = False
        response = self._responses.popleft()
        if response.message_id != message_id:
            raise _unexpected("a response to no request of ours")
        return response

    @property
    def cancel_req(self) -> dict[int, C_CANCEL]:
        """C-CANCEL requests by message ID; looks whether one has come since. Asked for between responses."""
        provider = self._acceptor.provider
        try:
            while provider.state == TRANSFER and not self._waiting and provider.connection.readable():
                provider.read(deadline(self._acceptor.limits.pdu_seconds))
                if self.in_message:
                    break
        except (PeerLost, ProtocolError) as error:
            self._acceptor.fail(error)
        return self._cancelled

    @cancel_req.setter
    def cancel_req(self, value: dict[int, C_CANCEL]) -> None:
        self._cancelled = value

    def receive(self, fragments: memoryview) -> None:
        """Take the presentation data values of one P-DATA-TF PDU. Raises ProtocolError."""
        at, end = 0, len(fragments)
        while at < end:
            if end - at < _PDV.size:
                raise _invalid("a presentation data value is cut short")
            length, context_id, control = _PDV.unpack_from(fragments, at)
            if length < 2 or length > end - at - 4:
                raise _invalid("a presentation data value is longer than its PDU")
            value = fragments[at + _PDV.size : at + 4 + length]
            if control & _COMMAND:
                self._receive_command(context_id, value, last=bool(control & _LAST))
            else:
                self._receive_data(context_id, value, last=bool(control & _LAST))
            at += 4 + length

    def send_msg(self, primitive: DimsePrimitiveType, context_id: int) -> None:
        """Encode a message and send it in one write."""
        self._acceptor.provider.send_data(self._encode(primitive, context_id))

    def command(self, command_set: bytes, context_id: int) -> bytes:
        """The P-DATA-TF PDUs of an encoded command set."""
        return b"".join(commands.pdus(context_id, command_set, self.room, command=True))

    def send_bytes(self, pieces: Sequence[bytes | memoryview]) -> None:
        """Send encoded PDUs, in pieces, in one write; nothing when the association has ended meanwhile."""
        self._acceptor.provider.send_pieces(pieces)

    def send_encoded(self, command: bytes, context_id: int, data_set: bytes = b"") -> None:
        """Send a message of encoded `command` PDUs and the data set that follows, in one write."""
        pieces = commands.pdus(context_id, data_set, self.room) if data_set else ()
        self._acceptor.provider.send_pieces([command, *pieces])

    def _encode(self, primitive: DimsePrimitiveType, context_id: int) -> list[P_DATA]:
        if primitive.MessageIDBeingRespondedTo is None:
            message = _RQ_TO_MESSAGE[type(primitive)]()  # type: ignore[index]
        else:
            message = _RSP_TO_MESSAGE[type(primitive)]()
        message.primitive_to_message(primitive)
        return list(message.encode_msg(context_id, self.maximum_pdu_size))

    def _receive_command(self, context_id: int, value: memoryview, *, last: bool) -> None:
        if self._announced is not None:
            raise _unexpected("a command set before the end of a data set")
        if len(self._command) + len(value) > self._acceptor.limits.command_set:
            raise _invalid("the command set is too long")
        self._command += value
        if not last:
            return
        encoded, self._command = bytes(self._command), bytearray()
        if self.outstanding and not self._responses and commands.is_response(encoded):
            response = commands.response(encoded)
            if not response.has_data_set:
                self._responses.append(response)
                return
            self._announced, self._data = (context_id, response), BytesIO()
            return
        request, data = _request(encoded, context_id, self._acceptor.limits)
        if data is None:
            self._complete(context_id, request)
            return
        self._announced = (context_id, request)
        if isinstance(request, commands.Request) and request.field == commands.C_STORE_RQ:
            self._sink.begin(request, context_id)
        else:
            self._data = data

    def _receive_data(self, context_id: int, value: memoryview, *, last: bool) -> None:
        if self._announced is None or self._command:
            raise _unexpected("a data set without a command set")
        if context_id != self._announced[0]:
            raise _invalid("a data set on another presentation context than its command set")
        if self._data is None:
            self._sink.write(value)
        else:
            longest = self._acceptor.limits.identifier
            if isinstance(self._data, ActionInformation):
                longest, so_far = self._data.longest * _TOO_MUCH, self._data.length
            else:
                so_far = self._data.tell()
            if so_far + len(value) > longest:
                raise _invalid("the identifier is too long")
            self._data.write(value)
        if not last:
            return
        request, data = self._announced[1], self._data
        self._announced = self._data = None
        if isinstance(request, commands.Response):
            self._responses.append(request)
            return
        if data is not None and isinstance(request, commands.Request):
            request.identifier = data.getvalue()
        self._complete(context_id, request)

    def _complete(self, context_id: int, request: Request) -> None:
        if isinstance(request, C_CANCEL):
            outstanding = {waiting.MessageID for _, waiting in self._waiting} | {self.serving}
            if (number := request.MessageIDBeingRespondedTo) is not None and number in outstanding:
                self._cancelled[number] = request
            return
        if len(self._waiting) >= _MAX_WAITING:
            raise _unexpected("too many outstanding requests")
        self._waiting.append((context_id, request))


Request = Union["DIMSEPrimitive", commands.Request]
"""C-STORE, C-FIND and C-ECHO requests, of which there are many, are ours; the others are the library's primitives."""

_OURS = {C_STORE: commands.C_STORE_RQ, C_FIND: commands.C_FIND_RQ, C_ECHO: commands.C_ECHO_RQ}


def _request(encoded: bytes, context_id: int, limits: Limits) -> tuple[Request, BytesIO | None]:
    """The request that a command set holds, and what its data set is to be written to, if one follows."""
    if (plain := commands.request(encoded)) is not None:
        return plain, BytesIO() if plain.has_data_set else None
    known = _known_elements(encoded)
    try:
        command = decode(BytesIO(known), True, True)
        field = command.CommandField
        data = None
        if command.CommandDataSetType != NO_DATA_SET:
            data = ActionInformation(limits.action) if field == commands.N_ACTION_RQ else BytesIO()
        if field not in _MESSAGE_TYPES or field & 0x8000:
            raise _unexpected("no request that we serve")
        message = DIMSEMessage()
        message.command_set, message.context_id, message.data_set = command, context_id, data
        message.__class__ = _MESSAGE_TYPES[field][1]
        request = cast("DIMSEPrimitive", message.message_to_primitive())
    except ProtocolError:
        raise
    except Exception as error:
        # pydicom and the primitives' setters raise whatever a malformed value leads them to; all of it is the peer's
        raise _invalid("the command set is malformed") from error
    if (field := _OURS.get(type(request))) is None:
        return request, data
    if not request.is_valid_request:
        raise _invalid("the request lacks a mandatory parameter")
    sop_class_uid, sop_uid = str(request.AffectedSOPClassUID), str(getattr(request, "AffectedSOPInstanceUID", ""))
    return commands.Request(field, request.MessageID or 0, sop_class_uid, sop_uid, data is not None), data


def _known_elements(encoded: bytes) -> bytes:
    """The elements of a command set that PS3.7 Annex E knows; the others are of no concern.

    Raises ProtocolError unless it is a flat list of elements of group 0000, each once and whole: then nothing deep or
    large is decoded.
    """
    kept = []
    at, before = 0, -1
    while at < len(encoded):
        if at + _ELEMENT.size > len(encoded):
            raise _invalid("the command set is cut short")
        group, number, length = _ELEMENT.unpack_from(encoded, at)
        start, at = at, at + _ELEMENT.size + length
        if group or number <= before or at > len(encoded):
            raise _invalid("the command set is malformed")
        before = number
        if number in _COMMAND_ELEMENTS:
            kept.append(encoded[start:at])
    return b"".join(kept)


def _invalid(what: str) -> ProtocolError:
    return ProtocolError(ProtocolError.INVALID_PARAMETER, what)


def _unexpected(what: str) -> ProtocolError:
    return ProtocolError(ProtocolError.UNEXPECTED_PDU, what)
