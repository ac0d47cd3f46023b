"""May the caller do this at all: asked before a handler reads a body. Which studies it may see, use cases ask.

No route is served without a rule: `check` says at start which one has been forgotten.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from starlette.requests import Request
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Scope

from gateway.http.identity import caller_of
from gateway.rights import Action

Endpoint = Callable[[Request], Awaitable[ASGIApp]]
Needs = Mapping[str, Action | None]
"""What the methods of a resource need; None is for everybody."""

_RULE = "gantry_needs"


def needing(needs: Action | Needs | None, endpoint: Endpoint) -> Endpoint:
    """`endpoint`, for callers who may do what it `needs`, by method where methods differ. Raises Forbidden for others.

    HEAD needs what GET does.
    """

    async def permitted(request: Request) -> ASGIApp:
        method = "GET" if request.method == "HEAD" else request.method
        action = needs[method] if isinstance(needs, Mapping) else needs
        if action is not None:
            caller_of(request.scope).rights.within(action)
        return await endpoint(request)

    setattr(permitted, _RULE, needs)
    return permitted


def needed(scope: Scope) -> Action | None:
    """What the request needed, once its route is known; None: nothing, or there is no such route."""
    needs = getattr(scope.get("endpoint"), _RULE, None)
    if isinstance(needs, Mapping):
        return needs.get("GET" if scope["method"] == "HEAD" else scope["method"])
    return needs


def for_everybody(routes: list[BaseRoute]) -> list[BaseRoute]:
    """Routes of the program's own files: they tell no data."""
    for route in routes:
        if isinstance(route, Route):
            setattr(route.endpoint, _RULE, None)
    return routes


def check(routes: Iterable[BaseRoute], above: str = "") -> None:
    """Raises RuntimeError for a route that says nothing of what it needs."""
    for route in routes:
        if isinstance(route, Mount) and route.routes:  # an application without routes could serve anything
            check(route.routes, above + route.path)
        elif not isinstance(route, Route) or not hasattr(route.endpoint, _RULE):
            raise RuntimeError(f"{above}{getattr(route, 'path', route)} has no rule of who may use it")
