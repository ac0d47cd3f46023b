"""Routes found by the segments of a path: look-ups in dictionaries, instead of a regular expression for each route.

What is found is what Starlette's router would find, and it is asked for all the rest: methods that a route does not
have, paths that no route has, paths with slashes in their parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import Receive, Scope, Send


@dataclass(slots=True)
class _Node:
    """Where one is after some segments: `named` by the next one, `any` when that is a parameter, `found` at the end."""

    named: dict[str, _Node] = field(default_factory=dict)
    any: _Node | None = None
    found: tuple[Route, str, tuple[str, ...]] | None = None


class Table(Router):
    """A router of routes and mounts whose endpoints are coroutine functions of a request, answering an ASGI app."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        super().__init__(routes, redirect_slashes=False)
        self._root = _Node()
        for route, above in _leaves(self.routes):
            self._enter(route, above)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Find the route and let its endpoint answer. Raises HTTPException 404 and 405, as Router does."""
        found = self._find(scope) if scope["type"] == "http" and not scope.get("root_path") else None
        if found is None:
            await super().__call__(scope, receive, send)
            return
        route, mount, params = found
        scope["router"] = self
        scope["route"] = route
        scope["endpoint"] = route.endpoint
        scope["path_params"] = params
        scope["app_root_path"] = ""
        scope["root_path"] = mount
        answer = await route.endpoint(Request(scope, receive, send))
        await answer(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[Route, str, dict[str, Any]] | None:
        node: _Node | None = self._root
        values = []
        for segment in scope["path"][1:].split("/"):
            assert node is not None
            following = node.named.get(segment)
            if following is None:
                following = node.any if segment else None
                values.append(segment)
            if following is None:
                return None
            node = following
        if node is None or node.found is None:
            return None
        route, mount, names = node.found
        if route.methods is not None and scope["method"] not in route.methods:
            return None
        return route, mount, dict(zip(names, values, strict=True))

    def _enter(self, route: Route, above: str) -> None:
        node, names = self._root, []
        for segment in (above + route.path)[1:].split("/"):
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.any = node = node.any or _Node()
            else:
                node = node.named.setdefault(segment, _Node())
        node.found = node.found or (route, above, tuple(names))


def _leaves(routes: Sequence[BaseRoute], above: str = "") -> Iterator[tuple[Route, str]]:
    """The routes that can be found this way, with the path of their mount."""
    for route in routes:
        if isinstance(route, Mount):
            yield from _leaves(route.routes, above + route.path)
        elif isinstance(route, Route) and inspect.iscoroutinefunction(route.endpoint) and _is_plain(route.path):
            yield route, above


def _is_plain(path: str) -> bool:
    """Every parameter in this template is a segment of its own, and any segment will do for it."""
    return all("{" not in segment or segment[1:-1].isidentifier() for segment in path.split("/"))
