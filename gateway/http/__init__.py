"""What every HTTP wing shares: identity, CORS, problem bodies, ranges, deadlines, metrics."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.audit import Audit
from gateway.authentication import Authentication
from gateway.http.audited import Audited
from gateway.http.cors import CrossOrigin
from gateway.http.forwarded import Forwarded
from gateway.http.guard import Guard
from gateway.http.identity import Identity
from gateway.http.observe import Observe
from gateway.http.paths import Paths
from gateway.http.table import Table
from gateway.policy import Policy
from gateway.settings import Settings


def application(
    routes: Sequence[BaseRoute], settings: Settings, authentication: Authentication, audit: Audit | None = None
) -> ASGIApp:
    """`routes` behind the layers that every HTTP wing shares.

    From the outside in: Observe (request id, log line, metrics: sees all answers, the layers' own too), CrossOrigin
    (its headers stand on errors; preflights need no credentials), Guard (errors to problem bodies), Forwarded (what a
    trusted proxy says of the request), Audited (one event for each), Identity (401), Paths (after identity: what is
    open is decided on the path as it came), then the routes.
    """
    known = Identity(
        Paths(_AsApplication(Table(routes))),
        authentication,
        Policy(settings.roles),
        basic=settings.basic_auth,
        public_url=settings.public_url,
        provided=settings.oidc is not None,
        failed_sign_ins=settings.failed_sign_ins,
        request_rate=settings.request_rate,
    )
    asked: ASGIApp = known if audit is None else Audited(known, audit)
    return Observe(
        CrossOrigin(Guard(Forwarded(asked, settings.proxy_networks), settings.hsts_days), settings.cors_origins)
    )


class _AsApplication:
    """Makes the router raise for unknown routes and methods, instead of answering in plain text."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        await self.app(scope, receive, send)
