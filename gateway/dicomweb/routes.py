"""The resources of the Studies service and of the URI service as routes; which there are says `catalogue`."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from gateway.dicomweb.bulkdata import Bulkdata
from gateway.dicomweb.capabilities import Capabilities
from gateway.dicomweb.catalogue import STUDIES
from gateway.dicomweb.delete import Delete
from gateway.dicomweb.metadata import Metadata
from gateway.dicomweb.qido import Query
from gateway.dicomweb.rendered import Render
from gateway.dicomweb.resources import STRICT_KEY
from gateway.dicomweb.stow import Store
from gateway.dicomweb.wado import Retrieve
from gateway.dicomweb.wado_uri import UriService
from gateway.http.permission import needing
from gateway.http.ranges import Representation
from gateway.http.remembered import Remembered
from gateway.http.threads import in_thread
from gateway.rights import Action
from gateway.settings import Settings
from storage.archive import Archive

Handler = Callable[[Request], Any]

DERIVED = frozenset({"search", "metadata", "rendered", "thumbnail"})
"""Operations whose answers are made from what is stored, and depend on the index and the question alone. What is given
as it was stored is compared with its checksum at every read."""


def routes(archive: Archive, settings: Settings) -> list[BaseRoute]:
    """To be mounted at the root of the Studies service, behind the layers of `gateway.http`."""
    capabilities = Capabilities(settings)
    handlers = _handlers(archive, settings)
    remembered = Remembered(archive.index.state)
    found: list[BaseRoute] = []
    for resource in STUDIES.resources:
        by_method = {
            one.method: (one.needs, handlers[one.name]) for one in resource.operations if one.method != "OPTIONS"
        }
        by_method["OPTIONS"] = (None, _describing(capabilities, resource.path))
        # the paths of bulk values have slashes in them
        path = resource.path.replace("{path}", "{path:path}")
        derived = any(one.name.partition(".")[0] in DERIVED for one in resource.operations)
        endpoint = _endpoint(by_method, settings.strict_accept, remembered if derived else None)
        found.append(Route(path, endpoint, methods=list(by_method)))
    return found


def uri_routes(archive: Archive, settings: Settings) -> list[BaseRoute]:
    """`/wado`. Without an Accept header it answers as PS3.18 9.4 says, whatever `strict_accept` is."""
    service = UriService(archive, settings)
    return [Route("/wado", _endpoint({"GET": (Action.READ, service.retrieve)}, strict=False), methods=["GET"])]


def _handlers(archive: Archive, settings: Settings) -> Mapping[str, Handler]:
    """What answers each operation, by its name in the catalogue."""
    query, store, retrieve = Query(archive, settings), Store(archive, settings), Retrieve(archive, settings)
    metadata, bulk = Metadata(archive, settings), Bulkdata(archive, settings)
    render, delete = Render(archive, settings), Delete(archive, settings)
    found: dict[str, Handler] = {
        "search.studies": query.studies,
        "search.series": query.series,
        "search.instances": query.instances,
        "search.study.series": query.series,
        "search.study.instances": query.instances,
        "search.series.instances": query.instances,
        "store": store.post,
        "store.study": store.post,
        "frames": retrieve.frames,
        "rendered.frames": render.rendered,
        "thumbnail.frames": render.thumbnail,
        "bulkdata": bulk.value,
        "validation": metadata.validation,
    }
    for name in ("study", "series", "instance"):
        found[f"retrieve.{name}"] = retrieve.instances
        found[f"delete.{name}"] = delete.resource
        found[f"metadata.{name}"] = metadata.retrieve
        found[f"rendered.{name}"] = render.rendered
        found[f"thumbnail.{name}"] = render.thumbnail
        found[f"bulkdata.{name}"] = bulk.all
        found[f"pixeldata.{name}"] = bulk.pixels
    return found


def _answer(handler: Handler, request: Request) -> ASGIApp:
    """In one trip to a worker thread: what answers the request, and the first bytes of it."""
    answer: ASGIApp = handler(request)
    return answer.begin(request.scope) if isinstance(answer, Representation) else answer


def _describing(capabilities: Capabilities, path: str) -> Handler:
    def describe(request: Request) -> ASGIApp:
        return capabilities.describe(request, path)

    return describe


def _endpoint(
    handlers: Mapping[str, tuple[Action | None, Handler]], strict: bool, remembered: Remembered | None = None
) -> Callable[[Request], Awaitable[ASGIApp]]:
    """Calls the handler of the request's method, if the caller may do what it needs; blocking ones in a worker thread.
    HEAD is GET without a body.

    `strict` is the setting `strict_accept`. Answers to GET may be `remembered`.
    """

    async def endpoint(request: Request) -> ASGIApp:
        handler = handlers["GET" if request.method == "HEAD" else request.method][1]
        request.scope[STRICT_KEY] = strict
        question = None if remembered is None else remembered.question(request.scope)
        if remembered is not None and question is not None:
            given = remembered.find(question, request.scope)
            if given is not None:
                return given
        answer: ASGIApp
        if inspect.iscoroutinefunction(handler):
            answer = await handler(request)
        else:
            answer = await in_thread(_answer, handler, request)
        if remembered is not None and question is not None:
            remembered.keep(question, answer, request.scope)
        return answer

    return needing({method: needs for method, (needs, _) in handlers.items()}, endpoint)
