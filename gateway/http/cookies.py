"""Cookies of the page: a session, and what a sign-in has to remember. Scripts cannot read them, and no other site's
page can have them sent but by following a link (RFC 6265bis 4.1.2, 4.1.3).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

SESSION = "gantry-session"
FLOW = "gantry-sign-in"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
LONGEST = 8192


def root_of(request: Request, public_url: str | None) -> str:
    """Where the browser sees the gateway, without a slash at the end."""
    return (public_url or str(request.base_url)).rstrip("/")


def named(name: str, *, secure: bool) -> str:
    """The name under which it is kept: with TLS in a form that no other host of the domain can set."""
    return f"__Host-{name}" if secure else name


def put(response: Response, name: str, value: str, seconds: int, *, secure: bool) -> None:
    """Have the browser keep it for so long; 0: forget it."""
    response.set_cookie(
        named(name, secure=secure), value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="lax"
    )


def shown(scope: Scope, name: str, *, secure: bool) -> str:
    """What the browser kept under this name; "" if nothing."""
    text = Headers(scope=scope).get("cookie", "")
    wanted = named(name, secure=secure)
    if wanted not in text or len(text) > LONGEST:
        return ""
    for piece in text.split(";"):
        key, _, value = piece.strip().partition("=")
        if key == wanted:
            return value
    return ""


def from_here(scope: Scope, public_url: str | None) -> bool:
    """Was this request made by our own page? Needed of what changes something, since cookies come along by themselves
    (S-62; Fetch Metadata, else Origin).
    """
    headers = Headers(scope=scope)
    if (site := headers.get("sec-fetch-site")) is not None:
        return site == "same-origin"
    origin = headers.get("origin", "")
    ours = [f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"]
    if public_url:
        parts = urlsplit(public_url)
        ours.append(f"{parts.scheme}://{parts.netloc}")
    return origin in ours
