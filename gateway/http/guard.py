"""The edge where every error becomes an answer, and no traceback passes.

A response that has begun cannot be taken back: it is cut, so that the client sees that it is not whole; it never gets a
closing boundary or a last chunk that would make it look complete.
"""

from __future__ import annotations

import traceback

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.http.failures import problem
from gateway.logs import get_logger

DAY = 86_400
_SAFETY: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
"""What a response has that does not say otherwise. Any cache may keep a 404 that says nothing about it (RFC 9111)."""

log = get_logger("gateway.http")


class Guard:
    """Answers errors with problem bodies, and gives every response its plain safety headers (S-74).

    Browsers that came by https keep to it for `hsts_days` (RFC 6797; 0: as before).
    """

    def __init__(self, app: ASGIApp, hsts_days: float = 0.0) -> None:
        self.app = app
        seconds = b"max-age=%d" % (hsts_days * DAY)
        self._by_tls = (*_SAFETY, (b"strict-transport-security", seconds)) if hsts_days else _SAFETY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_safely(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = headers = list(message.get("headers", ()))
                present = {name for name, _ in headers}
                safety = self._by_tls if scope.get("scheme") == "https" else _SAFETY
                headers += [header for header in safety if header[0] not in present]
            await send(message)

        try:
            await self.app(scope, receive, send_safely)
        # The one place that may catch everything: beyond it there is only the server, which would log a traceback with
        # whatever values it holds, and answer in another form than the rest of the API.
        except Exception as error:
            answer = problem(error, scope.get("state", {}).get("request_id", ""))
            if answer.status >= 500 or started:
                log.error("request failed", reason=answer.reason, cut=started, **describe(error))
            if not started:
                await answer(scope, receive, send_safely)


def describe(error: BaseException) -> dict[str, str]:
    """What of an error may stand in a log: classes and places in our code, no messages, which may hold values."""
    chain: list[str] = []
    where = ""
    current: BaseException | None = error
    while current is not None and len(chain) < 8:
        chain.append(type(current).__name__)
        frames = traceback.extract_tb(current.__traceback__)
        if frames:
            where = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno} {frames[-1].name}"
        current = current.__cause__ or current.__context__
    return {"error": " <- ".join(chain), "where": where}
