"""One representation of a resource: conditional requests, ranges and HEAD (RFC 9110 13 and 14; PS3.18 8.6.1.2).

A body of known length with a strong ETag is byte-stable: the same request gives the same bytes, so a part of it can be
asked for and glued to another part, also across a multipart boundary.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from gateway.http.bodies import Flowing, Known, send_chunks
from gateway.http.failures import Failure
from storage.crashpoints import reached

IMMUTABLE = "private, max-age=86400, immutable"
"""For what a SOP Instance UID names: its bytes do not change while it is there."""
REVALIDATE = "private, no-cache"
"""For what may grow or be described anew: keep it, and ask whether it is still the same."""

_RANGE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Representation:
    """A response; an ASGI application. `etag` is given without its quotes; None for what has none."""

    body: Known | Flowing
    media_type: str
    etag: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    vary: str = "Accept"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with 200, 206, 304, or raise Failure 412 or 416."""
        asked = Headers(scope=scope)
        etag = f'"{self.etag}"' if self.etag else None
        headers = {"Vary": self.vary, **self.headers}
        if etag:
            headers["ETag"] = etag
            check_conditions(asked, etag)
            if not_modified(asked, etag):
                await _begin(send, 304, headers)
                await send({"type": "http.response.body", "body": b""})
                return
        headers["Content-Type"] = self.media_type
        if isinstance(self.body, Flowing):
            await _whole(scope, self.status, headers, self.body, receive, send)
            return
        length = self.body.length
        headers["Accept-Ranges"] = "bytes"
        part = wanted_range(asked, length, etag) if scope["method"] == "GET" and self.status == 200 else None
        if part is None:
            headers["Content-Length"] = str(length)
            await _whole(scope, self.status, headers, self.body, receive, send)
            return
        start, stop = part
        headers["Content-Length"] = str(stop - start)
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{length}"
        await send_chunks(lambda: _begin(send, 206, headers), self.body.chunks(start, stop), receive, send)


def etag_of(*identity: str) -> str:
    """A strong entity tag, unquoted: the same for the same content in the same representation, on every gateway."""
    return hashlib.sha256("\0".join(identity).encode()).hexdigest()[:32]


def wanted_range(asked: Headers, length: int, etag: str | None) -> tuple[int, int] | None:
    """The range asked for as [start, stop); None for all of it.

    A malformed Range is ignored, as RFC 9110 14.2 says; so are several ranges (S-54), which the whole body satisfies.
    Raises Failure 416 for one that lies beyond the end.
    """
    text = asked.get("range")
    if text is None:
        return None
    condition = asked.get("if-range")
    if condition is not None and condition.strip() != etag:
        return None
    found = _RANGE.fullmatch(text.strip())
    if found is None or found[0] == "bytes=-" or not (found[1] or found[2]):
        return None
    if found[1]:
        start, stop = int(found[1]), min(int(found[2]) + 1, length) if found[2] else length
        if found[2] and int(found[2]) < start:
            return None
    else:
        start, stop = max(length - int(found[2]), 0), length
    if start >= stop:
        raise Failure(
            416,
            "range_not_satisfiable",
            f"The representation has {length} bytes.",
            headers={"Content-Range": f"bytes */{length}"},
        )
    return start, stop


def not_modified(asked: Headers, etag: str) -> bool:
    """If-None-Match names this representation (weak comparison)."""
    return _listed(asked.get("if-none-match"), etag, weak=True)


def check_conditions(asked: Headers, etag: str) -> None:
    """Raises Failure 412 when If-Match does not name this representation (strong comparison)."""
    if "if-match" in asked and not _listed(asked["if-match"], etag, weak=False):
        raise Failure(412, "precondition_failed", "The representation is another one by now.", headers={"ETag": etag})


def _listed(header: str | None, etag: str, *, weak: bool) -> bool:
    if header is None:
        return False
    if header.strip() == "*":
        return True
    tags = (tag.strip() for tag in header.split(","))
    return any((tag.removeprefix("W/") if weak else tag) == etag for tag in tags)


async def _begin(send: Send, status: int, headers: Mapping[str, str]) -> None:
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    reached("P9")


async def _whole(
    scope: Scope, status: int, headers: Mapping[str, str], body: Known | Flowing, receive: Receive, send: Send
) -> None:
    """The whole body; HEAD has none, and nothing is read for it."""
    if scope["method"] == "HEAD":
        await _begin(send, status, headers)
        await send({"type": "http.response.body", "body": b""})
    elif isinstance(body, Known) and all(isinstance(piece, bytes) for piece in body.pieces):
        await _begin(send, status, headers)
        await send({"type": "http.response.body", "body": b"".join(body.chunks())})
        reached("P10")
    else:
        await send_chunks(lambda: _begin(send, status, headers), body.chunks(), receive, send)
