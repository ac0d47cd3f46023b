"""Cross-origin requests: who may read our answers from a page of another origin (WHATWG Fetch 3.2).

None by default. Listed origins are echoed and may send credentials; `*` lets every origin in, without credentials.
The headers stand on every response, errors included: without them a viewer can only say "network error".
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.http.headers import header

ALLOWED_METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
ALLOWED_HEADERS = (
    "Authorization, Accept, Content-Type, Range, If-Match, If-None-Match, If-Modified-Since, If-Range, "
    "X-Requested-With, X-Request-Id, traceparent"
)
EXPOSED_HEADERS = (
    "Content-Type, Content-Length, Content-Range, Content-Location, Content-Encoding, Accept-Ranges, ETag, "
    "Last-Modified, Location, Warning, Retry-After, X-Total-Count, Server-Timing, "
    "Gantry-Rendering, WWW-Authenticate, X-Request-Id"
)
MAX_AGE_SECONDS = 3600


class CrossOrigin:
    """Answers preflights, and marks every other response of an allowed origin."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self.app = app
        self.origins = frozenset(origin.rstrip("/") for origin in origins)
        self.any_origin = "*" in self.origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        origin = header(scope, b"origin")
        preflight = (
            scope["method"] == "OPTIONS" and origin and header(scope, b"access-control-request-method") is not None
        )
        if not self.origins:
            # Still no question for the service's capabilities (GEN-18): nobody is let in, and a browser is told so.
            await (_preflight({}, send) if preflight else self.app(scope, receive, send))
            return
        allowed = self._allowed(origin)

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                marked = MutableHeaders(scope=message)
                marked.update(allowed)
                if allowed:
                    marked["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
                    marked["Timing-Allow-Origin"] = allowed["Access-Control-Allow-Origin"]
                marked.setdefault("Cross-Origin-Resource-Policy", "cross-origin")
                if not self.any_origin:
                    marked.add_vary_header("Origin")
            await send(message)

        if preflight:
            await _preflight(allowed, send_marked)
            return
        await self.app(scope, receive, send_marked)

    def _allowed(self, origin: str | None) -> dict[str, str]:
        """The headers that let this origin in; none for any other, compared as a whole (S-61)."""
        if origin and origin in self.origins:
            return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
        return {"Access-Control-Allow-Origin": "*"} if self.any_origin and origin else {}


async def _preflight(allowed: dict[str, str], send: Send) -> None:
    headers: list[tuple[bytes, bytes]] = []
    if allowed:
        headers = [
            (b"access-control-allow-methods", ALLOWED_METHODS.encode()),
            (b"access-control-allow-headers", ALLOWED_HEADERS.encode()),
            (b"access-control-max-age", str(MAX_AGE_SECONDS).encode()),
        ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
