"""The queue of tasks for people and for `gantry queue`: what waits, what failed; try again, forget, send (`/queue`)."""

from __future__ import annotations

import time
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.dicom.uids import is_uid
from gateway.errors import BadRequest
from gateway.forwarding import send
from gateway.http.catalogue import Operation, Parameter, Resource, Service
from gateway.http.failures import Failure
from gateway.http.identity import caller_of
from gateway.http.permission import needing
from gateway.http.threads import in_thread
from gateway.rights import Action
from gateway.settings import Settings
from storage.archive import Archive
from storage.tasks import Task

JSON = "application/json"
LONGEST = 65_536
PAGE = 1000

_TOLD = (200, 400, 413, 415)
"""What a body can be answered with."""

SERVICE = Service(
    "/queue",
    "Queue",
    (
        Resource(
            "",
            [Operation("GET", "queue", "Tasks that are not done yet.", (JSON,), query=("after",), statuses=(200, 400))],
        ),
        Resource(
            "/retry",
            [Operation("POST", "retryTasks", "Try tasks again at once.", (JSON,), (JSON,), statuses=_TOLD)],
        ),
        Resource("/drop", [Operation("POST", "dropTasks", "Forget tasks.", (JSON,), (JSON,), statuses=_TOLD)]),
        Resource(
            "/send",
            [
                Operation(
                    "POST",
                    "send",
                    "Send a study, series or instance to a node.",
                    (JSON,),
                    (JSON,),
                    statuses=(*_TOLD, 404),
                )
            ],
        ),
    ),
    {"after": Parameter("after", "Only tasks with a larger id.", {"type": "integer", "minimum": 0})},
)


def routes(archive: Archive, settings: Settings) -> list[BaseRoute]:
    """The routes of `SERVICE`."""
    index = archive.index

    async def listed(request: Request) -> Response:
        after = request.query_params.get("after", "0")
        if not after.isascii() or not after.isdigit() or len(after) > 18:
            raise BadRequest("after", "after is the id of a task")
        counts = await in_thread(index.task_counts)
        tasks = await in_thread(index.tasks, after=int(after), limit=PAGE)
        numbers = [{"kind": kind, "state": state, "count": count} for (kind, state), count in sorted(counts.items())]
        return json_answer({"counts": numbers, "tasks": [shown(task) for task in tasks]})

    async def retried(request: Request) -> Response:
        ids = _ids(await body_of(request))
        return json_answer({"count": await in_thread(index.retry_tasks, ids, time.time())})

    async def dropped(request: Request) -> Response:
        ids = _ids(await body_of(request))
        return json_answer({"count": await in_thread(index.drop_tasks, ids)})

    async def sent(request: Request) -> Response:
        body = await body_of(request)
        study_uid, series_uid, sop_uid = (_uid(body, name) for name in ("study", "series", "instance"))
        if not isinstance(to := body.get("to"), str):
            raise BadRequest("to", "to is missing")
        if study_uid is None:
            raise BadRequest("study", "study is missing")
        caller = caller_of(request.scope)
        count = await in_thread(send, archive, settings, caller, to, study_uid, series_uid, sop_uid)
        return json_answer({"count": count})

    return [
        Route("/queue", needing(Action.ADMIN, listed)),
        Route("/queue/retry", needing(Action.ADMIN, retried), methods=["POST"]),
        Route("/queue/drop", needing(Action.ADMIN, dropped), methods=["POST"]),
        Route("/queue/send", needing(Action.ADMIN, sent), methods=["POST"]),
    ]


def shown(task: Task) -> dict[str, Any]:
    """A task as JSON; the payload holds UIDs at most."""
    return {
        "id": task.id,
        "kind": task.kind,
        "target": task.target,
        "state": task.state,
        "attempts": task.attempts,
        "due_at": task.due_at,
        "created_at": task.created_at,
        "error": task.error,
    }


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of a request. A page of another origin cannot send one unasked, as it can a form."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Failure(415, "unsupported_media_type", "The body has to be application/json.")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > LONGEST:
            raise Failure(413, "too_large", f"The body is longer than {LONGEST} bytes.")
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise BadRequest("body", "the body is no JSON object")
    return body


def _ids(body: dict[str, Any]) -> list[int] | None:
    """The tasks that are meant; None for all that failed."""
    ids = body.get("ids")
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(type(one) is int and 0 <= one < 1 << 63 for one in ids):
        raise BadRequest("ids", "ids is a list of whole numbers")
    return ids


def _uid(body: dict[str, Any], name: str) -> str | None:
    uid = body.get(name)
    if uid is None:
        return None
    if not isinstance(uid, str) or not is_uid(uid):
        raise BadRequest(name, f"{name} is no UID")
    return uid


def json_answer(body: object, status: int = 200) -> Response:
    """An answer that nobody may keep."""
    return Response(orjson.dumps(body), status, {"Cache-Control": "no-store"}, JSON)
