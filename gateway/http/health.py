"""Is it alive, can it work, how much does it do: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client import REGISTRY as DEFAULT_REGISTRY
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.errors import GatewayError
from gateway.http.catalogue import Operation, Resource, Service
from gateway.http.guard import describe
from gateway.http.permission import needing
from gateway.http.threads import in_thread
from gateway.logs import get_logger
from gateway.rights import Action
from storage.errors import StorageError

SERVICE = Service(
    "",
    "Operation",
    (
        Resource(
            "/healthz", [Operation("GET", "healthz", "Does the process answer?", ("application/json",), needs=None)]
        ),
        Resource(
            "/readyz",
            [
                Operation(
                    "GET",
                    "readyz",
                    "Can it work? Each check by name.",
                    ("application/json",),
                    statuses=(200, 503),
                    needs=None,
                )
            ],
        ),
        Resource(
            "/metrics",
            [Operation("GET", "metrics", "Metrics in Prometheus' text format.", ("text/plain",), needs=Action.MONITOR)],
        ),
    ),
)

Check = tuple[str, Callable[[], None]]
"""A dependency's name, and a blocking call that raises when it cannot be used. Quick and cheap."""

LONGEST = 10.0
"""Seconds that a check of `/readyz` may take."""

log = get_logger("gateway.http")


def routes(
    checks: Sequence[Check] = (), *, partial: Sequence[Check] = (), registry: CollectorRegistry = DEFAULT_REGISTRY
) -> list[BaseRoute]:
    """The three routes. `/healthz` looks at nothing: it says that the event loop turns.

    A failing one of `checks` takes the gateway out of service; one of `partial` leaves it in service, degraded: what
    still works, such as every read when there is no room for a store, goes on (F-10).
    """

    async def healthz(request: Request) -> Response:
        return _json({"status": "ok"}, 200)

    probe = _Probe(checks, partial)

    async def readyz(request: Request) -> Response:
        return await probe.answer()

    async def metrics(request: Request) -> Response:
        body = await in_thread(generate_latest, registry)
        return Response(body, media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})

    return [
        Route("/healthz", needing(None, healthz)),
        Route("/readyz", needing(None, readyz)),
        Route("/metrics", needing(Action.MONITOR, metrics)),
    ]


class _Probe:
    """The checks, side by side, and one run of each at a time: the next would not come back either (F-19, F-21)."""

    def __init__(self, checks: Sequence[Check], partial: Sequence[Check]) -> None:
        self._needed = {name for name, _ in checks}
        self._looks = [_Look(*check) for check in (*checks, *partial)]

    async def answer(self) -> Response:
        """Every check by name, with its milliseconds or a word for what is wrong; 503 when one of `checks` fails.

        More about why stands in the log only.
        """
        seen = dict(await asyncio.gather(*(look.result() for look in self._looks)))
        failing = {name for name, one in seen.items() if one["status"] == "failing"}
        ready = failing.isdisjoint(self._needed)
        status = "not ready" if not ready else "degraded" if failing else "ready"
        return _json({"status": status, "checks": seen}, 200 if ready else 503)


class _Look:
    """One check, and its run while it lasts."""

    def __init__(self, name: str, check: Callable[[], None]) -> None:
        self._name = name
        self._check = check
        self._run: asyncio.Future[dict[str, object]] | None = None
        self._begun = 0.0

    async def result(self) -> tuple[str, dict[str, object]]:
        """The check's name, and what it found; `stalled` when it has found nothing `LONGEST` after it began."""
        if self._run is None or self._run.done():
            self._begun = time.monotonic()
            self._run = asyncio.ensure_future(in_thread(_checked, self._name, self._check))
        run = self._run
        await asyncio.wait({run}, timeout=max(0.0, self._begun + LONGEST - time.monotonic()))
        return self._name, run.result() if run.done() else {"status": "failing", "reason": "stalled"}


def _checked(name: str, check: Callable[[], None]) -> dict[str, object]:
    begun = time.perf_counter()
    try:
        check()
    except (StorageError, GatewayError, OSError) as error:
        log.warning("not ready", check=name, **describe(error))
        return (
            {"status": "failing", "reason": error.reason} if isinstance(error, StorageError) else {"status": "failing"}
        )
    return {"status": "ok", "milliseconds": round((time.perf_counter() - begun) * 1000, 2)}


def _json(body: dict[str, object], status: int) -> Response:
    return Response(orjson.dumps(body), status, {"Cache-Control": "no-store"}, "application/json")
