"""The server's side of an HTTP connection, with deadlines and bounds that uvicorn does not have (S-52, S-50).

A request's head has to be there `head_seconds` after its first byte, or after the connection, and within `head_bytes`;
so have the trailers of a chunked body. A client that takes none of its response for `write_seconds` is dropped: closing
alone would wait for it for ever. Bodies have deadlines of their own: `gateway.http.uploads`.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway.http.direct import DIRECT, Direct
from gateway.http.failures import Problem
from gateway.logs import get_logger
from gateway.tls import peer_certificate

log = get_logger("gateway.http")

CERTIFICATE_KEY = "gantry.certificate"
"""Where the names in the certificate that the client has shown stand in the scope of a request."""


class _TrailersTooLong(Exception):
    """Raised inside the parser, which gives up then."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools; one for each connection."""

    head_seconds = 10.0
    head_bytes = 128 * 1024
    """Of request line and headers: a URI of 56 KiB has room, with large cookies and tokens."""
    write_seconds = 60.0

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._in_head = True
        self._begun = False
        self._received = 0
        self._trailers = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._unsent = (0, 0)
        self._direct: Direct | None = None
        self._certificate: frozenset[str] = frozenset()

    # ------------------------------------------------------------ the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, but not for ever."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        self._certificate = peer_certificate(tls) if tls is not None else frozenset[str]()
        self._await_head()
        self._watch_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is to be waited for any more."""
        self._head_is_here()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; what is longer than a head may be is 431."""
        if not self._in_head and self._is_idle():
            self._in_head = True
            self._await_head()
        self._received = self._received + len(data) if self._in_head else 0
        super().data_received(data)
        if self._in_head and self._received > self.head_bytes and not self.transport.is_closing():
            self._refuse(431, "head_too_long", f"Request line and headers have at most {self.head_bytes} bytes.")

    # ------------------------------------------------------------ the parser's callbacks

    def on_message_begin(self) -> None:
        """The first byte of a request has come."""
        self._in_head = self._begun = True
        self._trailers = 0
        if self._head_timer is None:  # a request behind another one
            self._await_head()
        super().on_message_begin()
        scope = cast("dict[str, object]", self.scope)
        scope[CERTIFICATE_KEY] = self._certificate
        self._direct = None
        if self.scheme == "http":
            self._direct = Direct(self.transport, self.write_seconds)
            scope["extensions"] = {DIRECT: self._direct}

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer: these are read past, and nobody looks at them."""
        if self._in_head:
            super().on_header(name, value)
            return
        self._trailers += len(name) + len(value)
        if self._trailers > self.head_bytes:
            raise _TrailersTooLong

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._in_head = self._begun = False
        self._head_is_here()
        super().on_headers_complete()
        if self._direct is not None:
            self._direct.cycle = self.cycle

    # ------------------------------------------------------------ refusals

    def send_400_response(self, msg: str) -> None:
        """What no HTTP parser understands; a problem body, as everywhere."""
        self._refuse(400, "bad_request", msg)

    def _refuse(self, status: int, reason: str, detail: str) -> None:
        """Answer, where nothing else is being answered, and close."""
        if self._is_idle():
            body = Problem(status, reason, detail).body
            head = b"content-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[status] + head % len(body) + body)
        self.transport.close()

    def _is_idle(self) -> bool:
        """Nothing is being received or answered."""
        current: RequestResponseCycle | None = self.cycle
        return current is None or (current.response_complete and not current.more_body)

    # ------------------------------------------------------------ deadlines

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._no_head)

    def _head_is_here(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _no_head(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self.flow.read_paused:  # we are the one who makes it wait
            self._await_head()
        elif self._begun:
            log.info("connection dropped", reason="head_too_slow")
            self._refuse(408, "request_timeout", f"The request's head took more than {self.head_seconds:g} seconds.")
        else:
            self.transport.close()

    def _watch_writing(self) -> None:
        """Look from time to time whether anything of what is to be sent was taken."""
        waiting = self.transport.get_write_buffer_size()
        before, times = self._unsent
        self._unsent = waiting, times + 1 if waiting and waiting == before else 0
        if self._unsent[1] >= 4:
            log.info("connection dropped", reason="response_not_taken", bytes=waiting)
            self.transport.abort()
            return
        self._write_timer = self.loop.call_later(self.write_seconds / 4, self._watch_writing)
