"""An S3 server in a few lines, for answers that a healthy real one does not give on demand. Signatures are not read."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

Refusal = tuple[int, str]
BUCKET = "bucket"


class FakeS3:
    """Whole objects in memory, in one bucket, at `endpoint` while its context lasts.

    `refuses(method, key)` may return the status and code to answer with instead of doing what is asked, `hides(key)`
    keeps an object from a list. `conditional` and `ranges` tell whether the server knows If-None-Match and Range.
    `requests` lists the method and key of each.
    """

    def __init__(self, port: int = 0, *, conditional: bool = True, ranges: bool = True, page: int = 1000) -> None:
        self.refuses: Callable[[str, str], Refusal | None] = lambda method, key: None
        self.hides: Callable[[str], bool] = lambda key: False
        self.conditional = conditional
        self.ranges = ranges
        self.page = page
        self.requests: list[tuple[str, str]] = []
        self.objects: dict[str, bytes] = {}
        self.metadata: dict[str, dict[str, str]] = {}
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.fake = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> FakeS3:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()
        self._thread.join(5)

    def count(self, method: str) -> int:
        """Requests of this method."""
        return sum(one == method for one, _ in self.requests)


class _Server(ThreadingHTTPServer):
    fake: FakeS3
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._connections: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, Any]:
        """Remember the connection."""
        connection, address = super().get_request()
        self._connections.append(connection)
        return connection, address

    def hang_up(self) -> None:
        """End the connections that clients kept."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one piece: two would wait for the client's acknowledgement
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def handle_expect_100(self) -> bool:
        """The client waits for this before it sends the body."""
        goes_on = super().handle_expect_100()
        self.wfile.flush()
        return goes_on

    def handle_any(self) -> None:
        """Answer one request."""
        fake, place = self.server.fake, urlsplit(self.path)
        key = place.path.removeprefix(f"/{BUCKET}").removeprefix("/")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with fake.lock:
            fake.requests.append((self.command, key))
            refusal = fake.refuses(self.command, key)
            if refusal is not None:
                self.refuse(*refusal)
            elif not key:
                self.list(parse_qs(place.query))
            elif self.command == "PUT":
                self.put(key, body)
            elif self.command == "DELETE":
                fake.objects.pop(key, None)
                self.answer(204)
            elif key not in fake.objects:
                self.refuse(404, "NoSuchKey")
            else:
                self.get(key)

    do_GET = do_HEAD = do_PUT = do_DELETE = handle_any

    def put(self, key: str, body: bytes) -> None:
        """PutObject."""
        fake = self.server.fake
        if fake.conditional and self.headers.get("If-None-Match") and key in fake.objects:
            self.refuse(412, "PreconditionFailed")
            return
        fake.objects[key] = body
        fake.metadata[key] = {name: value for name, value in self.headers.items() if name.startswith("x-amz-meta-")}
        self.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

    def get(self, key: str) -> None:
        """GetObject and HeadObject."""
        fake = self.server.fake
        body = fake.objects[key]
        asked = self.headers.get("Range", "").removeprefix("bytes=")
        if not asked or not fake.ranges:
            self.answer(200, body, **fake.metadata[key])
            return
        first, _, last = asked.partition("-")
        end = min(int(last or len(body)), len(body) - 1)
        if int(first) > end:
            self.refuse(416, "InvalidRange")
            return
        span = {"Content-Range": f"bytes {first}-{end}/{len(body)}"}
        self.answer(206, body[int(first) : end + 1], **span, **fake.metadata[key])

    def list(self, query: dict[str, list[str]]) -> None:
        """ListObjectsV2 and HeadBucket; the token of a page is the last key of the one before."""
        fake = self.server.fake
        after = (query.get("continuation-token") or query.get("start-after") or [""])[0]
        prefix = query.get("prefix", [""])[0]
        keys = sorted(key for key in fake.objects if key > after and key.startswith(prefix) and not fake.hides(key))
        shown, cut = keys[: fake.page], len(keys) > fake.page
        entries = "".join(
            f"<Contents><Key>{key}</Key><Size>{len(fake.objects[key])}</Size></Contents>" for key in shown
        )
        token = f"<NextContinuationToken>{shown[-1]}</NextContinuationToken>" if cut else ""
        truncated = f"<IsTruncated>{str(cut).lower()}</IsTruncated>"
        self.answer(200, f"<ListBucketResult>{truncated}{entries}{token}</ListBucketResult>".encode())

    def refuse(self, status: int, code: str) -> None:
        """An error answer."""
        self.answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
