"""The resources of the Studies service (PS3.18 10.1), below the DICOMweb root."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from gateway.dicomweb.delete import Delete
from gateway.dicomweb.qido import Query
from gateway.dicomweb.rendered import Render
from gateway.dicomweb.stow import Store
from gateway.dicomweb.wado import Retrieve
from gateway.settings import Settings
from storage.archive import Archive

STUDY = "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"
FRAMES = INSTANCE + "/frames/{frames}"


def routes(archive: Archive, settings: Settings) -> list[BaseRoute]:
    """To be mounted at the DICOMweb root, behind `gateway.http.middleware`."""
    query, store = Query(archive, settings), Store(archive, settings)
    retrieve, render, delete = Retrieve(archive, settings), Render(archive, settings), Delete(archive, settings)
    found: list[BaseRoute] = []

    def add(path: str, **handlers: Callable[..., Any]) -> None:
        """One resource; a method that it has no handler for is answered 405 with the others in Allow."""
        by_method = {name.upper(): handler for name, handler in handlers.items()}
        found.append(Route(path, _endpoint(by_method), methods=list(by_method)))

    add("/studies", get=query.studies, post=store.post)
    add("/series", get=query.series)
    add("/instances", get=query.instances)
    add(STUDY + "/series", get=query.series)
    add(STUDY + "/instances", get=query.instances)
    add(SERIES + "/instances", get=query.instances)

    add(STUDY, get=retrieve.instances, post=store.post, delete=delete.resource)
    for path in (SERIES, INSTANCE):
        add(path, get=retrieve.instances, delete=delete.resource)
    for path in (STUDY, SERIES, INSTANCE):
        add(path + "/metadata", get=retrieve.metadata)
        add(path + "/rendered", get=render.rendered)
        add(path + "/thumbnail", get=render.thumbnail)
    add(FRAMES, get=retrieve.frames)
    add(FRAMES + "/rendered", get=render.rendered)
    add(FRAMES + "/thumbnail", get=render.thumbnail)
    add(INSTANCE + "/bulkdata/{path:path}", get=retrieve.bulkdata)
    return found


def _endpoint(handlers: Mapping[str, Callable[[Request], Any]]) -> Callable[[Request], Awaitable[ASGIApp]]:
    """Calls the handler of the request's method; blocking ones in a worker thread. HEAD is GET without a body."""

    async def endpoint(request: Request) -> ASGIApp:
        handler = handlers["GET" if request.method == "HEAD" else request.method]
        answer: ASGIApp
        if inspect.iscoroutinefunction(handler):
            answer = await handler(request)
        else:
            answer = await run_in_threadpool(handler, request)
        return answer

    return endpoint
