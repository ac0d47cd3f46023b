"""Who asks over HTTP: a static bearer token (RFC 6750), or nobody in particular when none is configured."""

from __future__ import annotations

import hashlib
import hmac

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.caller import Caller
from gateway.http.failures import Failure

REALM = "gantry"
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/favicon.ico", "/openapi.json", "/docs"})
"""Answered without credentials: probes and the description of the API, which tell no data, and the page itself, which
asks for the token."""
OPEN_PREFIXES = ("/static/", "/viewer/")
"""Page assets: scripts, styles and pictures of the program, no data."""

_SCOPE_KEY = "gantry.caller"


class Identity:
    """Lets a request in, with its Caller, or answers 401. Everything not listed as open needs the token."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self.app = app
        self.digest = hashlib.sha256(token.encode()).digest() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises Failure 401, which the problem layer answers."""
        if scope["type"] == "http":
            self._identify(scope)
        if scope["type"] != "http" or self.digest is None:
            await self.app(scope, receive, send)
            return

        async def send_varying(message: Message) -> None:
            if message["type"] == "http.response.start":  # a browser's cache outlives who is logged in
                MutableHeaders(scope=message).add_vary_header("Authorization")
            await send(message)

        await self.app(scope, receive, send_varying)

    def _identify(self, scope: Scope) -> None:
        client = scope.get("client")
        address = client[0] if client else ""
        request_id = scope.get("state", {}).get("request_id", "")
        name = "anonymous"
        if self.digest is not None:
            presented = _bearer(Headers(scope=scope).get("authorization", ""))
            if presented is not None and hmac.compare_digest(hashlib.sha256(presented).digest(), self.digest):
                name = "token"
            elif not _is_open(scope):
                raise _unauthorized(presented is not None)
        scope[_SCOPE_KEY] = Caller(name, "web", address, request_id)


def caller_of(scope: Scope) -> Caller:
    """The Caller of a request that passed Identity."""
    caller = scope.get(_SCOPE_KEY)
    if not isinstance(caller, Caller):
        raise RuntimeError("a request reached a wing without passing the identity layer")
    return caller


def _bearer(header: str) -> bytes | None:
    scheme, _, value = header.partition(" ")
    return value.strip().encode("latin-1") if scheme.lower() == "bearer" and value.strip() else None


def _is_open(scope: Scope) -> bool:
    if scope["method"] == "OPTIONS":
        return True
    path: str = scope["path"]
    if ".." in path:  # never widened by a dotted path, whatever resolves it later
        return False
    return scope["method"] in ("GET", "HEAD") and (path in OPEN_PATHS or path.startswith(OPEN_PREFIXES))


def _unauthorized(wrong: bool) -> Failure:
    challenge = f'Bearer realm="{REALM}"'
    if wrong:
        challenge += ', error="invalid_token", error_description="The token is not valid here"'
    detail = (
        "The bearer token is not valid here." if wrong else "A bearer token is needed: Authorization: Bearer TOKEN."
    )
    return Failure(401, "unauthorized", detail, headers={"WWW-Authenticate": challenge})
