"""One audit event for each request that needs credentials, and for each refusal of some (PS3.15 A.5.3)."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.audit import FAILED, REFUSED, SUCCESS, Audit, Event, event_of
from gateway.caller import Caller
from gateway.http.failures import problem
from gateway.http.identity import CALLER_KEY
from gateway.http.observe import METHODS, template
from gateway.http.permission import needed
from gateway.http.threads import in_thread

PROBES = frozenset({"/healthz", "/readyz"})
"""What answers even when nothing may be done."""

LONGEST_PATH = 300


class Audited:
    """Between the layer that answers errors and the one that says who asks: it sees every error of the latter."""

    def __init__(self, app: ASGIApp, audit: Audit) -> None:
        self.app = app
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises what the layers below raise, and Unavailable while the audit is required and cannot be written."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"] not in PROBES:
            self._audit.check()
        status = 0

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_noted)
        except Exception as error:
            status = problem(error).status if not status else 499
            raise
        finally:
            event = _event(scope, status)
            if event is not None and not self._audit.offer(event):
                await in_thread(self._audit.record, event)


def _event(scope: Scope, status: int) -> Event | None:
    """What there is to tell; None for a request that needed nothing and was not refused."""
    method = scope["method"] if scope["method"] in METHODS else "OTHER"
    route = template(scope)
    operation = f"{method} {scope['path'][:LONGEST_PATH] if route == 'none' else route}"
    outcome = SUCCESS if 200 <= status < 400 else REFUSED if status in (401, 403) else FAILED
    caller = scope.get(CALLER_KEY)
    if not isinstance(caller, Caller):
        if status != 401:
            return None
        client = scope.get("client")
        request_id = scope.get("state", {}).get("request_id", "")
        address = client[0] if client else ""
        return Event("login", operation, REFUSED, str(status), "", "web", address, request_id, at=time.time())
    action = needed(scope)
    if action is None:
        return None
    study_uid = scope.get("path_params", {}).get("study")
    if study_uid and outcome == SUCCESS:
        caller.trail.study(study_uid)
    return event_of(caller, action.value, operation, outcome, str(status))
