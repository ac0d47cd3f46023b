"""Every error of the gateway and of storage has a status; bodies are problem details (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from gateway import errors
from gateway.http import failures
from storage import errors as stored
from tests.parts import asynchronous


def subclasses(base: type[Exception]) -> Iterator[type[Exception]]:
    for kind in base.__subclasses__():
        room = kind.__module__
        if room.startswith("gateway.dimse"):  # never leaves that wing
            continue
        if room.partition(".")[0] in ("gateway", "storage"):
            yield kind
            yield from subclasses(kind)


EVERY = sorted({*subclasses(errors.GatewayError), *subclasses(stored.StorageError)}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", EVERY)
def test_every_error_has_a_row(kind: type[Exception]) -> None:
    assert failures.row(kind) is not failures.UNEXPECTED
    assert 400 <= failures.row(kind).status < 600


def test_every_row_is_of_an_error_that_exists() -> None:
    assert set(failures.TABLE) <= set(EVERY)


def body_of(problem: failures.Problem, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("a problem reads nothing")

    asynchronous.run(problem({"type": "http", "method": method}, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, sent[1]["body"]


def test_a_problem_names_what_was_wrong() -> None:
    status, headers, body = body_of(failures.problem(errors.BadRequest("limit", "a whole number"), "abc"))
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert json.loads(body) == {
        "type": "urn:gantry:problem:bad_request",
        "title": "Bad Request",
        "status": 400,
        "detail": "a whole number",
        "request_id": "abc",
        "parameter": "limit",
    }


def test_what_is_not_acceptable_lists_the_offers() -> None:
    """SC-406."""
    found = json.loads(body_of(failures.problem(errors.NotAcceptable("no", ["image/png"], "1.2")))[2])
    assert (found["offered"], found["stored"]) == (["image/png"], "1.2")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Doe^Jane at /srv/data"),
        stored.ObjectDamaged("Doe^Jane at /srv/data"),
        stored.IndexUnavailable("Doe^Jane at /srv/data"),
        errors.Damaged("Doe^Jane at /srv/data"),
    ],
)
def test_server_errors_tell_nothing_of_the_inside(error: Exception) -> None:
    status, _, body = body_of(failures.problem(error))
    assert status >= 500
    assert b"Doe" not in body and b"/srv" not in body


def test_what_may_be_retried_says_when() -> None:
    assert body_of(failures.problem(errors.Unavailable("x")))[1]["retry-after"] == "5"
    assert body_of(failures.problem(stored.IndexBusy("x")))[1]["retry-after"] == "5"
    assert "retry-after" not in body_of(failures.problem(errors.NotFound("x")))[1]


def test_the_routers_own_errors_are_problems_too() -> None:
    status, headers, body = body_of(failures.problem(HTTPException(405, headers={"Allow": "GET"})))
    assert (status, headers["allow"]) == (405, "GET")
    assert json.loads(body)["type"] == "urn:gantry:problem:method_not_allowed"


def test_head_gets_no_body() -> None:
    """GEN-21."""
    assert body_of(failures.problem(errors.NotFound("x")), "HEAD")[2] == b""
