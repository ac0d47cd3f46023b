"""Who is asking, as the gateway sees it: what a page needs to know before it offers anything (`/session`)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.http.catalogue import Operation, Resource, Service
from gateway.http.identity import caller_of
from gateway.http.permission import needing
from gateway.http.queue import json_answer
from gateway.rights import Action
from gateway.settings import Settings

JSON = "application/json"

SERVICE = Service(
    "",
    "Session",
    (
        Resource(
            "/session",
            [
                Operation(
                    "GET", "session", "Who asks, and what they may do; wrong credentials are none.", (JSON,), needs=None
                )
            ],
        ),
    ),
)


def routes(settings: Settings) -> list[BaseRoute]:
    """The routes of `SERVICE`."""

    async def told(request: Request) -> Response:
        caller = caller_of(request.scope)
        may = [action.value for action in Action if caller.rights.may(action)]
        return json_answer({"name": caller.name, "may": may, "link_days": settings.link_days})

    return [Route("/session", needing(None, told))]
