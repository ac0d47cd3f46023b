"""What was deleted and can be brought back, for administrators and for `gantry undelete` (`/deleted`)."""

from __future__ import annotations

import time
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway import undelete
from gateway.dicom.uids import is_uid
from gateway.errors import BadRequest
from gateway.http.catalogue import Operation, Resource, Service
from gateway.http.identity import caller_of
from gateway.http.permission import needing
from gateway.http.queue import JSON, body_of, json_answer
from gateway.rights import Action
from storage.archive import Archive
from storage.records import Deleted

HOUR = 3600.0

SERVICE = Service(
    "/deleted",
    "Deleted",
    (
        Resource(
            "/list",
            [
                Operation(
                    "POST",
                    "deleted",
                    "Deleted instances whose bytes are still there: of the last `hours`, or of a `study`, or both.",
                    (JSON,),
                    (JSON,),
                    statuses=(200, 400, 413, 415),
                )
            ],
        ),
        Resource(
            "/restore",
            [
                Operation(
                    "POST",
                    "restore",
                    "Store a page of them again; `before` of the answer begins the next page.",
                    (JSON,),
                    (JSON,),
                    statuses=(200, 400, 413, 415),
                )
            ],
        ),
    ),
)


def routes(archive: Archive) -> list[BaseRoute]:
    """The routes of `SERVICE`."""

    async def listed(request: Request) -> Response:
        caller, wanted = caller_of(request.scope), await _wanted(request)
        found = await run_in_threadpool(undelete.listed, archive, caller, *wanted)
        before = found[-1].sequence if len(found) == undelete.PAGE else None
        return json_answer({"deleted": [shown(one) for one in found], "before": before})

    async def restore(request: Request) -> Response:
        caller, wanted = caller_of(request.scope), await _wanted(request)
        report = await run_in_threadpool(undelete.undelete, archive, caller, *wanted)
        return json_answer({"counts": report.counts, "before": report.before})

    return [
        Route("/deleted/list", needing(Action.ADMIN, listed), methods=["POST"]),
        Route("/deleted/restore", needing(Action.ADMIN, restore), methods=["POST"]),
    ]


def shown(one: Deleted) -> dict[str, Any]:
    """A deleted instance as JSON."""
    return {"study": one.study_uid, "series": one.series_uid, "instance": one.sop_uid, "deleted_at": one.at}


async def _wanted(request: Request) -> tuple[float, str | None, int | None]:
    """Since when, of which study, and from where on. Raises BadRequest."""
    body = await body_of(request)
    study_uid, hours, before = body.get("study"), body.get("hours"), body.get("before")
    if study_uid is None and hours is None:
        raise BadRequest("hours", "hours or study is needed, to say what is meant")
    if study_uid is not None and not (isinstance(study_uid, str) and is_uid(study_uid)):
        raise BadRequest("study", "study is a Study Instance UID")
    if hours is not None and not (isinstance(hours, int | float) and 0 < hours < 1e6):
        raise BadRequest("hours", "hours is a number above 0")
    if before is not None and not (isinstance(before, int) and 0 < before < 1 << 62):
        raise BadRequest("before", "before is a number that an answer had")
    return time.time() - hours * HOUR if hours else 0.0, study_uid, before
