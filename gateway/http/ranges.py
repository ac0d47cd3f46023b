"""One representation of a resource: conditional requests, ranges and HEAD (RFC 9110 13 and 14; PS3.18 8.6.1.2).

A body of known length with a strong ETag is byte-stable: the same request gives the same bytes, so a part of it can be
asked for and glued to another part, also across a multipart boundary.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from gateway.http.bodies import Begun, Flowing, Known, begin
from gateway.http.failures import Failure
from gateway.http.threads import in_thread

IMMUTABLE = "private, max-age=86400, immutable"
"""For what a SOP Instance UID names: its bytes do not change while it is there."""
REVALIDATE = "private, no-cache"
"""For what may grow or be described anew: keep it, and ask whether it is still the same."""

MAX_RANGES = 16
"""Ranges of one request that are answered one by one; for more, the whole body (S-54)."""

_UNIT = re.compile(r"bytes\s*=", re.IGNORECASE)
_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Representation:
    """A response; an ASGI application. `etag` is given without its quotes; None for what has none.

    `modified`: when the newest of what it shows was stored, in seconds since the epoch; None where that says nothing.
    """

    body: Known | Flowing
    media_type: str
    etag: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    vary: str = "Accept"
    modified: float | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with 200, 206, 304, or raise Failure 412 or 416."""
        if isinstance(self.body, Known) and self.body.in_memory:
            begun = self.begin(scope)
        else:
            begun = await in_thread(self.begin, scope)
        await begun(scope, receive, send)

    def begin(self, scope: Scope) -> Begun:
        """The answer to this request with its first bytes read. Blocking. Raises Failure 412 or 416."""
        asked = Headers(scope=scope)
        etag = f'"{self.etag}"' if self.etag else None
        headers = {"Vary": self.vary, **self.headers}
        if self.modified is not None:
            headers["Last-Modified"] = formatdate(self.modified, usegmt=True)
        if etag:
            headers["ETag"] = etag
            check_conditions(asked, etag, self.modified)
            if not_modified(asked, etag, self.modified):
                return Begun(304, _raw(headers), [])
        headers["Content-Type"] = self.media_type
        if isinstance(self.body, Flowing):
            return _begin(scope, self.status, headers, self.body.chunks())
        length = self.body.length
        headers["Accept-Ranges"] = "bytes"
        parts = wanted_ranges(asked, length, etag) if scope["method"] == "GET" and self.status == 200 else None
        if parts is None:
            headers["Content-Length"] = str(length)
            return _begin(scope, self.status, headers, self.body.chunks())
        if len(parts) > 1:
            several = _Several(self.body, parts, self.media_type, etag or "")
            headers["Content-Type"] = f"multipart/byteranges; boundary={several.boundary}"
            headers["Content-Length"] = str(several.length)
            return _begin(scope, 206, headers, several.chunks())
        ((start, stop),) = parts
        headers["Content-Length"] = str(stop - start)
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{length}"
        return _begin(scope, 206, headers, self.body.chunks(start, stop))


class _Several:
    """Ranges of one body as `multipart/byteranges` (RFC 9110 14.6): the same bytes for the same ranges."""

    def __init__(self, body: Known, parts: Sequence[tuple[int, int]], media_type: str, etag: str) -> None:
        self.boundary = f"gantry-{etag_of(etag, repr(parts))}"
        opening = f"\r\n--{self.boundary}\r\nContent-Type: {media_type}\r\nContent-Range: bytes "
        self._heads = [f"{opening}{start}-{stop - 1}/{body.length}\r\n\r\n".encode() for start, stop in parts]
        self._end = f"\r\n--{self.boundary}--\r\n".encode()
        self._body = body
        self._parts = parts
        self.length = sum(map(len, self._heads)) + sum(stop - start for start, stop in parts) + len(self._end)

    def chunks(self) -> Iterator[bytes]:
        """All of it."""
        for head, (start, stop) in zip(self._heads, self._parts, strict=True):
            yield head
            yield from self._body.chunks(start, stop)
        yield self._end


def etag_of(*identity: str) -> str:
    """A strong entity tag, unquoted: the same for the same content in the same representation, on every gateway."""
    return hashlib.sha256("\0".join(identity).encode()).hexdigest()[:32]


def wanted_ranges(asked: Headers, length: int, etag: str | None) -> list[tuple[int, int]] | None:
    """The ranges asked for as [start, stop), in the order asked; None for the whole body.

    A malformed Range is ignored, as RFC 9110 14.2 says; so are more than MAX_RANGES, and several that come to more
    bytes than the body has (S-54). Raises Failure 416 where all lie beyond the end.
    """
    text = asked.get("range")
    if text is None:
        return None
    condition = asked.get("if-range")
    if condition is not None and condition.strip() != etag:
        return None
    unit = _UNIT.match(text.strip())
    if unit is None or text.count(",") >= MAX_RANGES:
        return None
    found: list[tuple[int, int]] = []
    for one in text.strip()[unit.end() :].split(","):
        match = _RANGE.fullmatch(one.strip())
        if match is None or (match[2] and int(match[2]) < int(match[1])):
            return None
        if match[3]:
            start, stop = max(length - int(match[3]), 0), length
        else:
            start, stop = int(match[1]), min(int(match[2]) + 1, length) if match[2] else length
        if start < stop:
            found.append((start, stop))
    if not found:
        raise Failure(
            416,
            "range_not_satisfiable",
            f"The representation has {length} bytes.",
            headers={"Content-Range": f"bytes */{length}"},
        )
    wanted = sum(stop - start for start, stop in found)
    return found if len(found) == 1 or wanted <= length else None


def not_modified(asked: Headers, etag: str, modified: float | None = None) -> bool:
    """If-None-Match names this representation (weak comparison); without it, it is no newer than If-Modified-Since."""
    if "if-none-match" in asked or modified is None:
        return _listed(asked.get("if-none-match"), etag, weak=True)
    since = _date(asked.get("if-modified-since"))
    return since is not None and int(modified) <= since


def check_conditions(asked: Headers, etag: str, modified: float | None = None) -> None:
    """Raises Failure 412 when If-Match does not name this representation (strong comparison).

    Without it, when the representation is newer than If-Unmodified-Since.
    """
    if "if-match" in asked:
        holds = _listed(asked["if-match"], etag, weak=False)
    else:
        before = _date(asked.get("if-unmodified-since"))
        holds = before is None or modified is None or int(modified) <= before
    if not holds:
        raise Failure(412, "precondition_failed", "The representation is another one by now.", headers={"ETag": etag})


def _date(text: str | None) -> float | None:
    """An HTTP date in seconds since the epoch; None for what is none, which is ignored (RFC 9110 13.1.3)."""
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def _listed(header: str | None, etag: str, *, weak: bool) -> bool:
    if header is None:
        return False
    if header.strip() == "*":
        return True
    tags = (tag.strip() for tag in header.split(","))
    return any((tag.removeprefix("W/") if weak else tag) == etag for tag in tags)


def _begin(scope: Scope, status: int, headers: Mapping[str, str], chunks: Iterator[bytes]) -> Begun:
    """HEAD has no body, and nothing is read for it."""
    raw = _raw(headers)
    return Begun(status, raw, []) if scope["method"] == "HEAD" else begin(status, raw, chunks)


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
