"""Who is asking, as the gateway sees it (`/session`), and signing in and out at the page (`/signin`, `/signout`)."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.audit import REFUSED, SUCCESS, Audit, Event
from gateway.authentication import Authentication
from gateway.authentication.sign_in import Flow
from gateway.errors import GatewayError
from gateway.http import cookies
from gateway.http.catalogue import Operation, Resource, Service
from gateway.http.failures import Failure
from gateway.http.identity import caller_of, in_session
from gateway.http.permission import needing
from gateway.http.queue import json_answer
from gateway.http.threads import in_thread
from gateway.logs import get_logger
from gateway.rights import Action
from gateway.settings import Settings

log = get_logger(__name__)

JSON = "application/json"
BACK = "/signin/callback"
FLOW_SECONDS = 600
"""For which somebody may sit in front of the provider's form."""

FAILED = "/#/sign-in-failed"
HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}

_WHO = Operation("GET", "session", "Who asks, and what they may do; wrong credentials are none.", (JSON,), needs=None)
_IN = Operation("GET", "signin", "Sign in with the OpenID provider.", statuses=(303, 404), needs=None)
_BACK = Operation("GET", "signin.callback", "Where the provider sends the browser.", statuses=(303, 404), needs=None)
_OUT = Operation(
    "POST",
    "signout",
    "End the session; `provider` is where to go to sign out there too, or empty.",
    (JSON,),
    statuses=(200, 403),
    needs=None,
)

SERVICE = Service(
    "",
    "Session",
    (
        Resource("/session", [_WHO]),
        Resource("/signin", [_IN]),
        Resource(BACK, [_BACK]),
        Resource("/signout", [_OUT]),
    ),
)


def routes(settings: Settings, authentication: Authentication, audit: Audit | None) -> list[BaseRoute]:
    """The routes of `SERVICE`."""
    sign_in = authentication.sign_in

    async def told(request: Request) -> Response:
        caller = caller_of(request.scope)
        may = [action.value for action in Action if caller.rights.may(action)]
        answer = {"name": caller.name, "may": may, "link_days": settings.link_days}
        return json_answer({**answer, "signed_in": in_session(request.scope)})

    async def begin(request: Request) -> Response:
        if sign_in is None:
            raise _off()
        root = cookies.root_of(request, settings.public_url)
        flow = Flow.new()
        address = await in_thread(sign_in.address, flow, root + BACK)
        response = RedirectResponse(address, 303, HEADERS)
        cookies.put(response, cookies.FLOW, str(flow), FLOW_SECONDS, secure=root.startswith("https:"))
        return response

    async def end(request: Request) -> Response:
        if sign_in is None:
            raise _off()
        root = cookies.root_of(request, settings.public_url)
        secure = root.startswith("https:")
        try:
            flow = Flow.read(cookies.shown(request.scope, cookies.FLOW, secure=secure))
            who = await in_thread(sign_in.finish, flow, dict(request.query_params), root + BACK)
            secret, seconds = await in_thread(authentication.open_session, who)
        except GatewayError as error:
            log.info("sign_in_failed", reason=str(error))
            note(request, "login", REFUSED, "")
            response: Response = RedirectResponse(root + FAILED, 303, HEADERS)
        else:
            note(request, "login", SUCCESS, who.name)
            response = RedirectResponse(root + "/", 303, HEADERS)
            cookies.put(response, cookies.SESSION, secret, int(seconds), secure=secure)
        cookies.put(response, cookies.FLOW, "", 0, secure=secure)
        return response

    async def leave(request: Request) -> Response:
        root = cookies.root_of(request, settings.public_url)
        secure = root.startswith("https:")
        secret = cookies.shown(request.scope, cookies.SESSION, secure=secure)
        provider = ""
        if in_session(request.scope) and await in_thread(authentication.close_session, secret):
            note(request, "logout", SUCCESS, caller_of(request.scope).name)
            if sign_in is not None:
                provider = await in_thread(sign_in.sign_out_address, root + "/")
        response = json_answer({"provider": provider})
        response.headers.update(HEADERS)
        cookies.put(response, cookies.SESSION, "", 0, secure=secure)
        return response

    def note(request: Request, action: str, outcome: str, who: str) -> None:
        if audit is not None:
            caller = caller_of(request.scope)
            operation = f"{request.method} {request.url.path}"
            place = (caller.address, caller.request_id)
            audit.record(Event(action, operation, outcome, "", who, "web", *place, at=time.time()))

    return [
        Route("/session", needing(None, told)),
        Route("/signin", needing(None, begin)),
        Route(BACK, needing(None, end)),
        Route("/signout", needing(None, leave), methods=["POST"]),
    ]


def _off() -> Failure:
    return Failure(404, "not_found", "Nobody signs in here: [oidc] has no client_id.")
