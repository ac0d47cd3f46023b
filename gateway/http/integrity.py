"""Damaged instances for people and for `gantry index damaged`, and how far the scrubber is (`/integrity`)."""

from __future__ import annotations

import re
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway import integrity
from gateway.errors import BadRequest
from gateway.http.catalogue import Operation, Parameter, Resource, Service
from gateway.http.permission import needing
from gateway.http.threads import in_thread
from gateway.rights import Action
from storage.archive import Archive
from storage.records import Damage

JSON = "application/json"
PAGE = 1000
_VERSION = re.compile(r"(?:[0-9a-f]{32})?")

SERVICE = Service(
    "/integrity",
    "Integrity",
    (
        Resource("", [Operation("GET", "damaged", "Instances with a damaged object.", (JSON,), query=("after",))]),
        Resource("/scrub", [Operation("POST", "scrub", "Read all objects again, from now on.", (JSON,))]),
    ),
    {
        "after": Parameter(
            "after", "Only instances of a later version.", {"type": "string", "pattern": "^[0-9a-f]{32}$"}
        )
    },
)


def routes(archive: Archive) -> list[BaseRoute]:
    """The routes of `SERVICE`."""

    async def damaged(request: Request) -> Response:
        after = request.query_params.get("after", "")
        if not _VERSION.fullmatch(after):
            raise BadRequest("after", "after is the version of an instance, 32 hexadecimal digits")
        found = await in_thread(archive.damaged, after, PAGE)
        began, reached = integrity.progress(await in_thread(archive.index.note, integrity.SCRUB))
        scrub = {"began_at": began or None, "done": bool(began) and reached is None}
        return _json({"damaged": [shown(one) for one in found], "scrub": scrub})

    async def scrub(request: Request) -> Response:
        await in_thread(integrity.begin_cycle, archive)
        return _json({})

    return [
        Route("/integrity", needing(Action.ADMIN, damaged)),
        Route("/integrity/scrub", needing(Action.ADMIN, scrub), methods=["POST"]),
    ]


def shown(damage: Damage) -> dict[str, Any]:
    """A damaged instance as JSON."""
    one = damage.instance
    return {
        "study": one.study_uid,
        "series": one.series_uid,
        "instance": one.sop_uid,
        "version": one.version,
        "reason": damage.reason,
        "found_at": damage.found_at,
    }


def _json(body: object) -> Response:
    return Response(orjson.dumps(body), media_type=JSON, headers={"Cache-Control": "no-store"})
