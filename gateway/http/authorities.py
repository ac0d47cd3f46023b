"""Where a client gets access tokens for this gateway: RFC 9728 says it of us, and leads on to what the provider says of
itself (RFC 8414; IHE IUA ITI-103).
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.http import cookies
from gateway.http.catalogue import Operation, Resource, Service
from gateway.http.failures import Failure
from gateway.http.identity import METADATA
from gateway.http.permission import needing
from gateway.http.queue import JSON, json_answer
from gateway.rights import Action
from gateway.settings import Settings

SERVER = "/.well-known/oauth-authorization-server"

_OURS = Operation(
    "GET", "wellknown.resource", "Whose access tokens are taken (RFC 9728).", (JSON,), statuses=(200, 404), needs=None
)
_THEIRS = Operation(
    "GET",
    "wellknown.server",
    "Where the OpenID provider describes itself (RFC 8414, ITI-103).",
    statuses=(303, 404),
    needs=None,
)
SERVICE = Service("", "Authorization", (Resource(METADATA, [_OURS]), Resource(SERVER, [_THEIRS])))


def routes(settings: Settings) -> list[BaseRoute]:
    """The routes of `SERVICE`; 404 where no provider is set up."""
    oidc = settings.oidc

    async def ours(request: Request) -> Response:
        if oidc is None:
            raise _none()
        return json_answer(
            {
                "resource": cookies.root_of(request, settings.public_url),
                "authorization_servers": [oidc.issuer],
                "bearer_methods_supported": ["header"],
                "scopes_supported": [f"dicom.{action.value}" for action in Action],
            }
        )

    async def theirs(request: Request) -> Response:
        if oidc is None:
            raise _none()
        address = f"{oidc.issuer.rstrip('/')}/.well-known/openid-configuration"
        return RedirectResponse(address, 303, {"Cache-Control": "no-store"})

    return [Route(METADATA, needing(None, ours)), Route(SERVER, needing(None, theirs))]


def _none() -> Failure:
    return Failure(404, "not_found", "No OpenID provider is set up here.")
