"""One log line and two metrics for each request, and the id that stands on all of its log lines.

Neither has a query string or a header value in it: both carry patient names and tokens.
"""

from __future__ import annotations

import os
import re
import time
from functools import lru_cache

from prometheus_client import Counter, Histogram
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import foreground, metrics
from gateway.http.direct import SENT
from gateway.http.headers import header
from gateway.logs import REQUEST_ID, get_logger

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_LONGEST_PATH = 300

log = get_logger("gateway.http")


class Observe:
    """Gives the request its id (the client's own when it is well formed), logs and counts it when it is over."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        named = (b"x-request-id", request_id.encode())
        scope.setdefault("state", {})["request_id"] = request_id
        begun = time.perf_counter()
        foreground.busy()
        status, sent = 0, 0

        async def send_counted(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), named]
            else:
                sent += len(message.get("body", b"")) + message.get(SENT, 0)
            await send(message)

        bound = REQUEST_ID.set(request_id)
        metrics.OPEN_REQUESTS.inc()
        try:
            await self.app(scope, receive, send_counted)
        finally:
            metrics.OPEN_REQUESTS.dec()
            self._note(scope, status, sent, time.perf_counter() - begun)
            REQUEST_ID.reset(bound)

    @staticmethod
    def _note(scope: Scope, status: int, sent: int, seconds: float) -> None:
        route = template(scope)
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        _counter(method, route, status).inc()
        _timer(route).observe(seconds)
        log.info(
            "request",
            method=method,
            path=scope["path"][:_LONGEST_PATH],
            route=route,
            status=status,
            bytes=sent,
            milliseconds=round(seconds * 1000, 2),
        )


def template(scope: Scope) -> str:
    """The route's template, such as `/dicomweb/studies/{study}`; few values, so that it may label a metric."""
    route = scope.get("route")
    if route is None:
        return "none"
    if isinstance(route, Mount):
        return f"{route.path}/*"
    return f"{scope.get('root_path', '')}{getattr(route, 'path', '')}"


@lru_cache(4096)
def _counter(method: str, route: str, status: int) -> Counter:
    """There are few of them, and the library looks for each anew."""
    return metrics.REQUESTS.labels(method, route, str(status))


@lru_cache(512)
def _timer(route: str) -> Histogram:
    return metrics.REQUEST_SECONDS.labels(route)


def _request_id(scope: Scope) -> str:
    given = header(scope, b"x-request-id")
    return given if given is not None and _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
