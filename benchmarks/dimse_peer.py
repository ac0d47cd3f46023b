"""A DIMSE user and a storage provider on plain sockets: as little of their own cost as Python allows, no delays."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.gateway.dimse.wire import (
    ASSOCIATE_AC,
    ASSOCIATE_RQ,
    EXPLICIT,
    IMPLICIT,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    VERIFICATION,
    associate_request,
    command,
    echo_command,
    element,
    find_command,
    item,
    pdu,
    store_command,
)

STUDY_FIND, STUDY_MOVE, STUDY_GET = (f"1.2.840.10008.5.1.4.1.2.2.{last}" for last in (1, 2, 3))
MAX_PDU = 131072
PENDING = 0xFF00
_HEAD = struct.Struct(">BxL")
_PDV = struct.Struct(">LBB")
_PDATA = struct.Struct(">BxLLBB")
C_STORE, C_GET, C_MOVE = 0x0001, 0x0010, 0x0021


@dataclass(frozen=True, slots=True)
class Message:
    """One message: context, command elements, and how long its data set was."""

    context: int
    values: Mapping[int, bytes]
    size: int

    def number(self, tag: int) -> int:
        """The value of a US element."""
        return int.from_bytes(self.values[tag], "little")


class Connection:
    """Reads and writes DIMSE messages; data sets that come are counted and thrown away."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = memoryview(bytearray(MAX_PDU + 4096))
        self.peer_pdu = MAX_PDU

    def read(self) -> tuple[int, memoryview]:
        """Type and body of the next PDU; the body is good until the next read."""
        self._exactly(_HEAD.size)
        kind, length = _HEAD.unpack_from(self._buffer)
        if length > len(self._buffer):
            self._buffer = memoryview(bytearray(length))
        return kind, self._exactly(length)

    def _exactly(self, size: int) -> memoryview:
        got = 0
        while got < size:
            count = self.socket.recv_into(self._buffer[got:size])
            if not count:
                raise ConnectionError("the peer closed the connection")
            got += count
        return self._buffer[:size]

    def message(self) -> Message | None:
        """The next message; None for a request to release."""
        encoded, values, size = b"", {}, 0
        while True:
            kind, body = self.read()
            if kind == RELEASE_RQ:
                self.socket.sendall(pdu(RELEASE_RP, bytes(4)))
                return None
            if kind != P_DATA:
                raise ConnectionError(f"PDU of type {kind}")
            at = 0
            while at < len(body):
                length, context, control = _PDV.unpack_from(body, at)
                if control & 1:
                    encoded += bytes(body[at + 6 : at + 4 + length])
                    if control & 2:
                        values = _elements(encoded)
                        if values[0x0800] == b"\x01\x01":
                            return Message(context, values, 0)
                else:
                    size += length - 2
                    if control & 2:
                        return Message(context, values, size)
                at += 4 + length

    def send(self, context: int, command_set: bytes, *data: bytes) -> None:
        """Send a message; the data set comes in pieces."""
        pieces: list[bytes | memoryview] = [_PDATA.pack(P_DATA, len(command_set) + 6, len(command_set) + 2, context, 3)]
        pieces.append(command_set)
        room = self.peer_pdu - 6
        left = sum(map(len, data))
        for whole in data:
            piece = memoryview(whole)
            for at in range(0, len(piece), room):
                part = piece[at : at + room]
                left -= len(part)
                pieces += [_PDATA.pack(P_DATA, len(part) + 6, len(part) + 2, context, 0 if left else 2), part]
        while pieces:
            sent = self.socket.sendmsg(pieces[:64])
            while pieces and sent >= len(pieces[0]):
                sent -= len(pieces.pop(0))
            if sent:
                pieces[0] = memoryview(pieces[0])[sent:]


def _elements(encoded: bytes) -> dict[int, bytes]:
    values, at = {}, 0
    while at < len(encoded):
        _, number, length = struct.unpack_from("<HHL", encoded, at)
        values[number] = encoded[at + 8 : at + 8 + length]
        at += 8 + length
    return values


def _answer(message: Message) -> bytes:
    """Success for a C-STORE request."""
    values: dict[int, bytes | int] = {0x0100: 0x8001, 0x0120: message.number(0x0110), 0x0800: 0x0101, 0x0900: 0}
    return command({**values, 0x0002: message.values[0x0002], 0x1000: message.values[0x1000]})


class User(Connection):
    """An association that we ask for; `proposed` are SOP classes, each with one transfer syntax and whether we are
    to be its SCP.
    """

    def __init__(
        self, address: tuple[str, int], called: str, proposed: Sequence[tuple[str, str, bool]], calling: str = "BENCH"
    ) -> None:
        super().__init__(socket.create_connection(address, timeout=300))
        contexts = [(2 * place + 1, sop_class, (syntax,)) for place, (sop_class, syntax, _) in enumerate(proposed)]
        self.contexts = {sop_class: number for number, sop_class, _ in contexts}
        roles = b"".join(
            item(0x54, struct.pack(">H", len(sop_class)) + sop_class.encode() + b"\0\1")
            for sop_class, _, provider in proposed
            if provider
        )
        body = associate_request(contexts, called.encode(), calling.encode(), MAX_PDU, user_items=roles)
        self.socket.sendall(pdu(ASSOCIATE_RQ, body))
        kind, answer = self.read()
        if kind != ASSOCIATE_AC:
            raise ConnectionError(f"refused: {bytes(answer).hex()}")
        at = bytes(answer).rindex(struct.pack(">BxHL", 0x51, 4, 0)[:4])
        self.peer_pdu = min(struct.unpack_from(">L", answer, at + 4)[0] or MAX_PDU, MAX_PDU)

    def echo(self) -> None:
        """C-ECHO."""
        self.send(self.contexts[VERIFICATION], echo_command())
        self._succeeded(self.message())

    def store(self, sop_class: str, sop_uid: str, *data: bytes) -> None:
        """C-STORE."""
        self.send(self.contexts[sop_class], store_command(sop_uid, sop_class), *data)
        self._succeeded(self.message())

    def find(self, identifier: bytes) -> int:
        """C-FIND in Study Root; the number of matches."""
        self.send(self.contexts[STUDY_FIND], find_command(), identifier)
        count = 0
        while (answer := self.message()) is not None and answer.number(0x0900) & 0xFFFE == PENDING:
            count += 1
        self._succeeded(answer)
        return count

    def get(self, identifier: bytes) -> tuple[int, int]:
        """C-GET in Study Root; the number of instances that came, and their bytes."""
        self.send(self.contexts[STUDY_GET], _retrieve(STUDY_GET, C_GET), identifier)
        count = size = 0
        while (message := self.message()) is not None:
            if message.number(0x0100) == C_STORE:
                count, size = count + 1, size + message.size
                self.send(message.context, _answer(message))
            elif message.number(0x0900) != PENDING:
                break
        self._succeeded(message)
        return count, size

    def move(self, identifier: bytes, destination: str) -> int:
        """C-MOVE in Study Root; the number of instances that were sent."""
        asked = _retrieve(STUDY_MOVE, C_MOVE, {0x0600: destination.encode()})
        self.send(self.contexts[STUDY_MOVE], asked, identifier)
        while (answer := self.message()) is not None and answer.number(0x0900) == PENDING:
            continue
        self._succeeded(answer)
        assert answer is not None
        return answer.number(0x1021)

    def release(self) -> None:
        """Release the association."""
        self.socket.sendall(pdu(RELEASE_RQ, bytes(4)))
        self.read()

    @staticmethod
    def _succeeded(answer: Message | None) -> None:
        if answer is None or answer.number(0x0900):
            raise ConnectionError(f"status {answer and answer.number(0x0900):04X}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()


def _retrieve(model: str, field: int, more: Mapping[int, bytes | int] | None = None) -> bytes:
    body: dict[int, bytes | int] = {0x0002: model.encode(), 0x0100: field, 0x0110: 1, 0x0700: 0, 0x0800: 1}
    return command({**body, **(more or {})})


def identifier(level: str, keys: Mapping[tuple[int, int], str]) -> bytes:
    """A query's or a retrieval's identifier, in Implicit VR Little Endian."""
    values = {(0x0008, 0x0052): level, **keys}
    return b"".join(
        element(number, text.encode() + (b"\0" if group == 0x20 else b" ") * (len(text) % 2), group)
        for (group, number), text in sorted(values.items())
    )


def serve(listener: socket.socket) -> None:
    """A storage provider that accepts all and keeps nothing, one association after the other, for ever."""
    while True:
        accepted, _ = listener.accept()
        with accepted:
            peer = Connection(accepted)
            kind, body = peer.read()
            assert kind == ASSOCIATE_RQ
            accepted.sendall(pdu(ASSOCIATE_AC, _acceptance(bytes(body))))
            try:
                while (message := peer.message()) is not None:
                    peer.send(message.context, _answer(message))
            except ConnectionError:
                continue


def _acceptance(request: bytes) -> bytes:
    """Every context in its first transfer syntax."""
    answer, at = request[:68], 68
    while at < len(request):
        kind, length = struct.unpack_from(">BxH", request, at)
        value = request[at + 4 : at + 4 + length]
        if kind == 0x10:
            answer += item(kind, value)
        elif kind == 0x20:
            first = 4 + 4 + struct.unpack_from(">H", value, 6)[0]
            size = struct.unpack_from(">H", value, first + 2)[0]
            answer += item(0x21, bytes([value[0], 0, 0, 0]) + value[first : first + 4 + size])
        at += 4 + length
    return answer + item(0x50, item(0x51, struct.pack(">L", MAX_PDU)) + item(0x52, b"1.2.3.4"))


__all__ = [
    "EXPLICIT",
    "IMPLICIT",
    "STUDY_FIND",
    "STUDY_GET",
    "STUDY_MOVE",
    "VERIFICATION",
    "User",
    "identifier",
    "serve",
]
