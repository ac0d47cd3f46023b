"""`/changes`: the change feed over HTTP, from any sequence number on; with `wait` it is a long poll."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway import changes
from gateway.errors import BadRequest
from gateway.http.catalogue import Operation, Parameter, Resource, Service
from gateway.http.identity import caller_of
from gateway.http.permission import needing
from gateway.http.threads import in_thread
from gateway.rights import Action
from storage.archive import Archive

JSON = "application/json"
LONGEST_WAIT = 30
LOOK_EVERY = 0.5

SERVICE = Service(
    "/changes",
    "Change feed",
    (
        Resource(
            "",
            [
                Operation(
                    "GET",
                    "changes",
                    "What was stored, replaced, repaired and deleted, in the order of commits.",
                    (JSON,),
                    query=("since", "limit", "wait"),
                    statuses=(200, 400),
                    needs=Action.SEARCH,
                )
            ],
        ),
    ),
    {
        "since": Parameter(
            "since", "Only changes with a larger sequence number.", {"type": "integer", "minimum": 0, "default": 0}
        ),
        "limit": Parameter(
            "limit",
            "At most so many.",
            {"type": "integer", "minimum": 1, "maximum": changes.PAGE, "default": changes.PAGE},
        ),
        "wait": Parameter(
            "wait",
            "Seconds to wait for the first change, when there is none yet.",
            {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT, "default": 0},
        ),
    },
)


def routes(archive: Archive) -> list[BaseRoute]:
    """The route of `SERVICE`."""

    async def listed(request: Request) -> Response:
        since = _number(request, "since", 0, 0, (1 << 63) - 1)
        limit = _number(request, "limit", changes.PAGE, 1, changes.PAGE)
        until = time.monotonic() + _number(request, "wait", 0, 0, LONGEST_WAIT)
        found = await in_thread(changes.since, archive, caller_of(request.scope), since, limit)
        while not found and time.monotonic() < until:
            await asyncio.sleep(LOOK_EVERY)
            if await request.is_disconnected():
                break
            found = await in_thread(changes.since, archive, caller_of(request.scope), since, limit)
        body: dict[str, Any] = {
            "changes": [changes.shown(one) for one in found],
            "next": found[-1].sequence if found else since,
        }
        return Response(orjson.dumps(body), media_type=JSON, headers={"Cache-Control": "no-store"})

    return [Route("/changes", needing(Action.SEARCH, listed))]


def _number(request: Request, name: str, default: int, least: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 19 or not least <= int(text) <= most:
        raise BadRequest(name, f"{name} is a number from {least} to {most}")
    return int(text)
