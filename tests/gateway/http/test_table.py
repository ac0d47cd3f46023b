"""Routes found by segments are those that Starlette finds by its expressions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route, Router
from starlette.types import ASGIApp, Message

from gateway.dicomweb.routes import routes, uri_routes
from gateway.http import health
from gateway.http.table import Table
from gateway.settings import Settings
from storage import open_archive
from tests.parts import asynchronous


def found(router: ASGIApp, path: str, method: str = "GET") -> Any:
    """What a router makes of a path: status, or the template, its mount and its parameters."""
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
    scope |= {"app": router, "root_path": ""}

    async def receive() -> Message:
        raise AssertionError("nobody reads a body here")

    async def send(message: Message) -> None:
        return None

    async def ask() -> None:
        await router(scope, receive, send)

    try:
        asynchronous.run(ask())
    except HTTPException as error:
        return error.status_code
    route = scope["route"]
    return route.path, scope["root_path"], scope["path_params"], scope["endpoint"] is getattr(route, "endpoint", None)


def same(route: BaseRoute) -> BaseRoute:
    """A route with the same template and methods that only says it was found."""

    async def here(request: Request) -> Response:
        return PlainTextResponse(request.url.path)

    if isinstance(route, Mount):
        return Mount(route.path, routes=[same(one) for one in route.routes])
    assert isinstance(route, Route)
    return Route(route.path, here, methods=list(route.methods or ()))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> list[BaseRoute]:
    folder: Path = tmp_path_factory.mktemp("table")
    settings = Settings(data=folder)
    archive = open_archive(settings.objects_url, settings.index_url, settings.spool)
    try:
        return [
            *map(same, health.routes()),
            same(Mount("/dicomweb", routes=routes(archive, settings))),
            *map(same, uri_routes(archive, settings)),
            Route("/{name}.txt", _text),
        ]
    finally:
        archive.close()


async def _text(request: Request) -> Response:
    return PlainTextResponse(request.path_params["name"])


def test_every_path_leads_where_starlette_takes_it(served: list[BaseRoute]) -> None:
    table, router = Table(served), Router(served, redirect_slashes=False)
    mounted = next(one for one in served if isinstance(one, Mount)).routes
    templates = ["/dicomweb" + one.path for one in mounted if isinstance(one, Route)] + ["/healthz", "/wado", "/a.txt"]
    paths = [one.replace("{path:path}", "a/b").replace("{", "").replace("}", "") for one in templates]
    odd = ["/", "", "/dicomweb", "/dicomweb/", "/dicomweb/studies//series", "/dicomweb/studies/1/", "/nowhere/at/all"]
    for path in [*paths, *odd, *(path + "/more" for path in paths)]:
        for method in ("GET", "HEAD", "POST", "PATCH"):
            assert found(table, path, method) == found(router, path, method), (method, path)
    assert found(table, "/dicomweb/studies/1.2/series/3.4/metadata") == (
        *("/studies/{study}/series/{series}/metadata", "/dicomweb"),
        *({"study": "1.2", "series": "3.4"}, True),
    )
