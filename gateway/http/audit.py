"""The audit log for administrators: `/audit` searches it, `/audit/heads` says what the index knows of its chains."""

from __future__ import annotations

import itertools
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.audit import Audit, heads
from gateway.audit.search import Wanted, search
from gateway.blob import reading
from gateway.errors import BadRequest
from gateway.http.catalogue import Operation, Parameter, Resource, Service
from gateway.http.permission import needing
from gateway.http.queue import json_answer
from gateway.http.threads import in_thread
from gateway.rights import Action
from storage.archive import Archive

JSON = "application/json"
MOST = 1000
_NAMES = ("since", "until", "who", "study", "patient", "action", "outcome")

_SEARCH = Operation(
    "GET", "audit", "Search the audit log, the newest first.", (JSON,), query=_NAMES, statuses=(200, 400)
)
SERVICE = Service(
    "/audit",
    "Audit",
    (
        Resource("", [_SEARCH]),
        Resource("/heads", [Operation("GET", "audit.heads", "The end of each chain, as the index has it.", (JSON,))]),
    ),
    {
        "since": Parameter("since", "Seconds since the epoch.", {"type": "number"}),
        "until": Parameter("until", "Seconds since the epoch.", {"type": "number"}),
        "who": Parameter("who", "Name of the caller."),
        "study": Parameter("study", "Study Instance UID."),
        "patient": Parameter("patient", "Patient ID."),
        "action": Parameter(
            "action",
            "search, read, store, delete, share, admin, monitor, login, logout, begin, send, import, export, node, "
            "start, stop.",
        ),
        "outcome": Parameter("outcome", "success, refused, failed."),
    },
)


def routes(archive: Archive, audit: Audit | None) -> list[BaseRoute]:
    """The routes of `SERVICE`; without an audit there are no events."""

    async def found(request: Request) -> Response:
        wanted = _wanted(request)
        events = [] if audit is None else await in_thread(_found, audit, wanted)
        return json_answer({"events": events})

    async def known(request: Request) -> Response:
        with reading():
            ends = await in_thread(heads, archive)
        return json_answer({"heads": {name: [head.number, head.hash] for name, head in ends.items()}})

    return [
        Route("/audit", needing(Action.ADMIN, found)),
        Route("/audit/heads", needing(Action.ADMIN, known)),
    ]


def _found(audit: Audit, wanted: Wanted) -> list[dict[str, Any]]:
    return list(itertools.islice(search(audit.folder, wanted), MOST))


def _wanted(request: Request) -> Wanted:
    values: dict[str, Any] = {name: request.query_params[name] for name in _NAMES if name in request.query_params}
    for name in ("since", "until"):
        if name in values:
            try:
                values[name] = float(values[name])
            except ValueError:
                raise BadRequest(name, f"{name} is a number of seconds since the epoch") from None
    return Wanted(**values)
