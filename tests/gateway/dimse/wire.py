"""A peer that speaks the upper layer byte by byte, so that it can also break it (PS3.8 9.3)."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Self

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)

Context = tuple[int, str, Sequence[str]]


def item(kind: int, value: bytes) -> bytes:
    """An item or sub-item."""
    return struct.pack(">BxH", kind, len(value)) + value


def pdu(kind: int, body: bytes) -> bytes:
    """A PDU."""
    return struct.pack(">BxL", kind, len(body)) + body


def context_item(number: int, abstract: str, transfers: Sequence[str]) -> bytes:
    """A proposed presentation context."""
    syntaxes = item(0x30, abstract.encode()) + b"".join(item(0x40, transfer.encode()) for transfer in transfers)
    return item(0x20, bytes([number, 0, 0, 0]) + syntaxes)


def associate_request(
    contexts: Sequence[Context],
    called: bytes = b"GANTRY",
    calling: bytes = b"WIRE",
    max_pdu: int = 16384,
    application: str = APPLICATION_CONTEXT,
    user_items: bytes = b"",
) -> bytes:
    """The body of an A-ASSOCIATE-RQ PDU."""
    body = struct.pack(">H2x16s16s32x", 1, called.ljust(16), calling.ljust(16))
    body += item(0x10, application.encode()) + b"".join(context_item(*context) for context in contexts)
    return body + item(0x50, item(0x51, struct.pack(">L", max_pdu)) + item(0x52, b"1.2.3.4") + user_items)


def element(number: int, value: bytes, group: int = 0) -> bytes:
    """An element in Implicit VR Little Endian."""
    return struct.pack("<HHL", group, number, len(value)) + value


def command(elements: dict[int, bytes | int]) -> bytes:
    """A command set; numbers are US, bytes are padded."""
    body = b""
    for number, value in sorted(elements.items()):
        encoded = struct.pack("<H", value) if isinstance(value, int) else value + b"\0" * (len(value) % 2)
        body += element(number, encoded)
    return element(0, struct.pack("<L", len(body))) + body


def echo_command(message_id: int = 1) -> bytes:
    """A C-ECHO-RQ."""
    return command({0x0002: VERIFICATION.encode(), 0x0100: 0x0030, 0x0110: message_id, 0x0800: 0x0101})


def store_command(sop_uid: str, sop_class: str = CT, message_id: int = 1) -> bytes:
    """A C-STORE-RQ."""
    return command(
        {0x0002: sop_class.encode(), 0x0100: 0x0001, 0x0110: message_id, 0x0700: 0, 0x0800: 1, 0x1000: sop_uid.encode()}
    )


def find_command(message_id: int = 1, sop_class: str = STUDY_FIND) -> bytes:
    """A C-FIND-RQ."""
    return command({0x0002: sop_class.encode(), 0x0100: 0x0020, 0x0110: message_id, 0x0700: 0, 0x0800: 1})


def pdv(context_id: int, control: int, value: bytes) -> bytes:
    """A presentation data value; `control` 1 is a command, 2 the last fragment."""
    return struct.pack(">LBB", len(value) + 2, context_id, control) + value


class Wire:
    """A TCP connection to a server."""

    def __init__(
        self,
        address: tuple[str, int],
        timeout: float = 10.0,
        receive_buffer: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(timeout)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.connect(address)
            if tls is not None:
                self.socket = tls.wrap_socket(self.socket, server_hostname=address[0])
        except OSError:
            self.socket.close()
            raise

    def associate(
        self, contexts: Sequence[Context] = ((1, VERIFICATION, (IMPLICIT,)),), calling: bytes = b"WIRE"
    ) -> None:
        """Negotiate, and expect to be accepted."""
        self.socket.sendall(pdu(ASSOCIATE_RQ, associate_request(contexts, calling=calling)))
        kind, body = self.receive()
        assert kind == ASSOCIATE_AC, (kind, body)

    def send(self, kind: int, body: bytes = b"") -> None:
        """Send a PDU."""
        self.socket.sendall(pdu(kind, body))

    def receive(self) -> tuple[int, bytes]:
        """The next PDU; (0, b"") when the connection has ended, also within it."""
        header = self._exactly(6)
        if len(header) < 6:
            return 0, b""
        kind, length = struct.unpack(">BxL", header)
        body = self._exactly(length)
        return (kind, body) if len(body) == length else (0, b"")

    def status(self) -> int:
        """The Status of the next response, whose command set and data set come in one fragment each."""
        kind, body = self.receive()
        assert kind == P_DATA, (kind, body)
        at, values = 6, {}
        while at < len(body):
            _, number, length = struct.unpack_from("<HHL", body, at)
            values[number] = body[at + 8 : at + 8 + length]
            at += 8 + length
        if values[0x0800] != b"\x01\x01":
            self.receive()
        return int.from_bytes(values[0x0900], "little")

    def echo(self, context_id: int = 1) -> int:
        """Status of a C-ECHO."""
        self.send(P_DATA, pdv(context_id, 3, echo_command()))
        return self.status()

    def release(self) -> None:
        """Release, and expect the answer."""
        self.send(RELEASE_RQ, bytes(4))
        assert self.receive()[0] == RELEASE_RP

    def ended(self) -> bool:
        """Does the server close the connection, whatever it sends before?"""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        return True

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionError:
                return data
            if not more:
                return data
            data += more
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()
