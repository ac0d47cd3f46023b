"""Opaque access tokens: the provider is asked what they are worth (RFC 7662)."""

from __future__ import annotations

import time
from urllib.parse import quote

from gateway.authentication.outbound import get_json, post_form
from gateway.authentication.tokens import who_of
from gateway.errors import Unauthenticated, Unavailable
from gateway.policy import Oidc, Who

UNTIL_ASKED_AGAIN = 60.0
"""Seconds for which an answer holds that names no end."""


class Introspection:
    """Asks one provider."""

    def __init__(self, oidc: Oidc) -> None:
        self._oidc = oidc
        self._url = oidc.introspection_url

    def verify(self, text: str) -> tuple[Who, float]:
        """Who the token names, and for how many seconds more. Raises Unauthenticated, Unavailable."""
        oidc = self._oidc
        if self._url is None:
            self._url = self._discovered()
        name, secret = quote(oidc.client_id, safe=""), quote(oidc.client_secret or "", safe="")  # RFC 6749 2.3.1
        found = post_form(self._url, {"token": text, "token_type_hint": "access_token"}, f"{name}:{secret}")
        if found.get("active") is not True:
            raise Unauthenticated("the token is not valid here")
        audience = found.get("aud", ())
        named = {audience} if isinstance(audience, str) else set(audience) if isinstance(audience, list) else set()
        if named.isdisjoint(oidc.audience) or found.get("iss", oidc.issuer) != oidc.issuer:
            raise Unauthenticated("the token is for somebody else")
        expires = found.get("exp")
        seconds = float(expires) - time.time() if isinstance(expires, int | float) else UNTIL_ASKED_AGAIN
        if seconds <= 0:
            raise Unauthenticated("the token is not valid any more")
        return who_of(found, oidc), seconds

    def _discovered(self) -> str:
        found = get_json(f"{self._oidc.issuer.rstrip('/')}/.well-known/openid-configuration")
        url = found.get("introspection_endpoint")
        if found.get("issuer") != self._oidc.issuer or not isinstance(url, str):
            raise Unavailable("the OpenID provider says nothing of introspection")
        return url
