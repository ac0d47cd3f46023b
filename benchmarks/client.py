"""An HTTP/1.1 client that costs little: keep-alive, plain sockets, bodies thrown away as they come unless kept."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

_PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers by lower-case name, the body's size in bytes, and the body where it was to be kept."""

    status: int
    headers: dict[str, str]
    size: int
    body: bytes


class Client:
    """One connection to the service at `base`; opened at need, opened again when the server closed it."""

    def __init__(self, base: str, seconds: float = 300.0) -> None:
        url = urlsplit(base)
        self._address = (url.hostname or "127.0.0.1", url.port or 80)
        self._root = url.path.rstrip("/")
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self._buffer = b""
        self._scratch = memoryview(bytearray(_PIECE))

    def get(self, path: str, accept: str, *, keep: bool = False) -> Answer:
        """GET of what lies at `path` below the base."""
        return self._ask("GET", path, f"Accept: {accept}\r\n", (), keep)

    def post(self, path: str, content_type: str, body: Sequence[bytes]) -> Answer:
        """POST of a body in pieces; the answer is kept."""
        size = sum(map(len, body))
        headers = f"Accept: application/dicom+json\r\nContent-Type: {content_type}\r\nContent-Length: {size}\r\n"
        return self._ask("POST", path, headers, body, True)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _ask(self, method: str, path: str, headers: str, body: Sequence[bytes], keep: bool) -> Answer:
        host, port = self._address
        head = f"{method} {self._root}{path} HTTP/1.1\r\nHost: {host}:{port}\r\n{headers}\r\n".encode()
        reused = self._socket is not None
        try:
            return self._once(head, body, keep)
        except ConnectionError:
            self.close()
            if not reused:
                raise
        return self._once(head, body, keep)

    def _once(self, head: bytes, body: Sequence[bytes], keep: bool) -> Answer:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, self._seconds)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._buffer = b""
        self._socket.sendall(head)
        for piece in body:
            self._socket.sendall(piece)
        return self._answer(self._socket, keep)

    def _answer(self, connection: socket.socket, keep: bool) -> Answer:
        lines = self._until(connection, b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        if status == 100:
            return self._answer(connection, keep)
        pairs = (line.partition(":") for line in lines[1:])
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        kept: list[bytes] | None = [] if keep else None
        size = 0
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while length := int(self._until(connection, b"\r\n").split(b";")[0], 16):
                self._take(connection, length, kept)
                self._until(connection, b"\r\n")
                size += length
            self._until(connection, b"\r\n")
        elif "content-length" in headers:
            size = int(headers["content-length"])
            self._take(connection, size, kept)
        elif status not in (204, 304):
            size = self._to_the_end(connection, kept)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, headers, size, b"".join(kept or ()))

    def _to_the_end(self, connection: socket.socket, kept: list[bytes] | None) -> int:
        """The body of an answer that ends with its connection."""
        size = len(self._buffer)
        if kept is not None:
            kept.append(self._buffer)
        while got := connection.recv_into(self._scratch):
            size += got
            if kept is not None:
                kept.append(bytes(self._scratch[:got]))
        self.close()
        return size

    def _until(self, connection: socket.socket, end: bytes) -> bytes:
        while end not in self._buffer:
            more = connection.recv(65536)
            if not more:
                raise ConnectionError("the server closed the connection")
            self._buffer += more
        found, _, self._buffer = self._buffer.partition(end)
        return found

    def _take(self, connection: socket.socket, size: int, kept: list[bytes] | None) -> None:
        head, self._buffer = self._buffer[:size], self._buffer[size:]
        if kept is not None:
            kept.append(head)
        left = size - len(head)
        while left:
            got = connection.recv_into(self._scratch, min(left, _PIECE))
            if not got:
                raise ConnectionError("the server closed the connection within a body")
            if kept is not None:
                kept.append(bytes(self._scratch[:got]))
            left -= got
