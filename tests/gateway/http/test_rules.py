"""No route without a rule of who may use it: the gateway does not start with one."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from gateway.http.permission import check, needing
from gateway.rights import Action


async def answer(request: Request) -> Response:
    return Response()


async def talk(socket: WebSocket) -> None:
    return None


@pytest.mark.parametrize(
    "forgotten",
    [
        Route("/new", answer),
        Mount("/below", routes=[Route("/new", answer)]),
        Mount("/files", app=Response()),
        WebSocketRoute("/talk", talk),
    ],
    ids=["a route", "one below another", "an application", "a socket"],
)
def test_a_route_that_says_nothing_stops_the_start(forgotten: BaseRoute) -> None:
    """S-69, S-78: default deny; whoever adds a route has to say what it needs."""
    fine: list[BaseRoute] = [
        Route("/studies", needing(Action.READ, answer)),
        Route("/healthz", needing(None, answer)),
    ]
    check(fine)
    with pytest.raises(RuntimeError, match="has no rule"):
        check([*fine, forgotten])
