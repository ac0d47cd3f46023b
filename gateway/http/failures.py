"""Errors to HTTP status and problem body (RFC 9457): one table, used at one place.

Every error of `gateway.errors` and `storage.errors` has its row here, by itself or by its base; a test walks them all.
Bodies hold what the caller may know: their own parameter, what is on offer, a request id. Never a traceback, a path of
ours, a value from a data set. `detail` of a server error is a fixed text for the same reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from math import ceil

import orjson
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from gateway import errors
from storage import errors as stored

PROBLEM = b"application/problem+json"
RETRY_AFTER_SECONDS = 5


class Failure(Exception):
    """A request that this wing itself refuses, such as one without credentials."""

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})
        self.members = dict(members or {})


@dataclass(frozen=True, slots=True)
class Row:
    """What one error class becomes. `shown` is a fixed detail; None shows the error's own message."""

    status: int
    reason: str
    shown: str | None = None


_DAMAGED = "The stored object is missing or is not what was received; it is never served as good."
_DOWN = "The object store or the index cannot be reached just now; try again."
_SLOW = "The search took too long. Narrow it: by date, patient, study, or the beginning of a name."
_FULL = "There is no room left to keep what was sent."
_BUSY = "More is being stored at this moment than the gateway takes at a time; try again."
_INSIDE = "Something failed inside the gateway; the request id names the log lines."

TABLE: dict[type[Exception], Row] = {
    errors.Refused: Row(409, "refused"),
    errors.NotUnderstood: Row(400, "not_understood"),
    errors.ClassMismatch: Row(409, "mismatch"),
    errors.ClassNotSupported: Row(409, "class_not_supported"),
    errors.SyntaxNotSupported: Row(415, "syntax_not_supported"),
    errors.InvalidInstance: Row(400, "invalid_instance"),
    errors.Duplicate: Row(409, "duplicate"),
    errors.OutOfResources: Row(503, "out_of_resources"),
    errors.TooLarge: Row(413, "too_large"),
    errors.NotAuthorized: Row(403, "not_authorized"),
    errors.ProcessingFailure: Row(500, "processing_failure", _INSIDE),
    errors.NotFound: Row(404, "not_found"),
    errors.Gone: Row(410, "gone"),
    errors.Unauthenticated: Row(401, "unauthorized"),
    errors.Forbidden: Row(403, "forbidden"),
    errors.BadRequest: Row(400, "bad_request"),
    errors.TooBroad: Row(413, "too_broad"),
    errors.NotAcceptable: Row(406, "not_acceptable"),
    errors.NotRenderable: Row(406, "not_renderable"),
    errors.Damaged: Row(500, "damaged", _DAMAGED),
    errors.TooSlow: Row(503, "too_slow", _SLOW),
    errors.TooOften: Row(429, "too_many_requests"),
    errors.Unavailable: Row(503, "unavailable", _DOWN),
    stored.ObjectStoreError: Row(500, "processing_failure", _INSIDE),
    stored.ObjectMissing: Row(500, "damaged", _DAMAGED),
    stored.ObjectDamaged: Row(500, "damaged", _DAMAGED),
    stored.ObjectExists: Row(500, "processing_failure", _INSIDE),
    stored.ObjectStoreFull: Row(507, "full", _FULL),
    stored.SpoolBusy: Row(503, "busy", _BUSY),
    stored.ObjectStoreUnavailable: Row(503, "unavailable", _DOWN),
    stored.IndexStoreError: Row(500, "processing_failure", _INSIDE),
    stored.IndexFull: Row(507, "full", _FULL),
    stored.IndexUnavailable: Row(503, "unavailable", _DOWN),
    stored.IndexTooSlow: Row(503, "too_slow", _SLOW),
    stored.IndexBusy: Row(503, "unavailable", _DOWN),
    stored.SchemaRefused: Row(500, "processing_failure", _INSIDE),
    stored.DuplicateConflict: Row(409, "duplicate"),
    stored.QueryRefused: Row(400, "bad_request"),
}

UNEXPECTED = Row(500, "processing_failure", _INSIDE)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem response; an ASGI application."""

    status: int
    reason: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, object] = field(default_factory=dict)
    request_id: str = ""

    @property
    def body(self) -> bytes:
        """What RFC 9457 calls the problem details, and our own members."""
        return orjson.dumps(
            {
                "type": f"urn:gantry:problem:{self.reason}",
                "title": HTTPStatus(self.status).phrase,
                "status": self.status,
                "detail": self.detail,
                "request_id": self.request_id,
                **self.members,
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; HEAD gets the headers alone (GEN-21)."""
        body = self.body
        headers = [(b"content-type", PROBLEM), (b"content-length", b"%d" % len(body))]
        headers += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def row(error: type[Exception]) -> Row:
    """The table's row of an error class: its own, else that of its nearest base; UNEXPECTED for a stranger."""
    return next((TABLE[base] for base in error.__mro__ if base in TABLE), UNEXPECTED)


def problem(error: Exception, request_id: str = "") -> Problem:
    """What the client is told of `error`."""
    if isinstance(error, Failure):
        return Problem(error.status, error.reason, str(error), error.headers, error.members, request_id)
    if isinstance(error, HTTPException):  # the router's own: no such route, method not allowed
        phrase = HTTPStatus(error.status_code).phrase
        reason = phrase.lower().replace(" ", "_").replace("-", "_")
        return Problem(error.status_code, reason, error.detail, error.headers or {}, {}, request_id)
    found = row(type(error))
    detail = str(error) if found.shown is None else found.shown
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if found.status == 503 else {}
    if isinstance(error, errors.TooOften):  # RFC 6585 4
        headers = {"Retry-After": str(max(ceil(error.seconds), 1))}
    return Problem(found.status, found.reason, detail, headers, _members(error), request_id)


def _members(error: Exception) -> dict[str, object]:
    """Members of the problem body beyond those of RFC 9457."""
    if isinstance(error, errors.BadRequest):
        return {"parameter": error.parameter}
    if isinstance(error, stored.QueryRefused):
        return {"parameter": error.key}
    if isinstance(error, errors.NotAcceptable):
        return {"offered": list(error.offered), "stored": error.stored}
    return {}
