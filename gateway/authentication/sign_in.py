"""Signing in at the page: the code flow of OpenID Connect with PKCE (OpenID Connect Core 3.1, RFC 7636, RFC 9207).

What a flow has to remember travels with the browser (`Flow`), in a cookie that scripts cannot read: nothing of those
who never come back is kept here, and any of our processes can end what another began.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from gateway.authentication.jwks import KeySet
from gateway.authentication.outbound import get_json, post_form
from gateway.authentication.tokens import claims_of, scopes_of, who_of
from gateway.errors import Unauthenticated, Unavailable
from gateway.policy import Oidc, Who, of_scopes

LONGEST_CODE = 2048


@dataclass(frozen=True, slots=True)
class Flow:
    """One attempt: `state` ties the answer to the browser, `nonce` the ID token to the attempt, `verifier` the code."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Flow:
        """An attempt that nobody can guess."""
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))

    @classmethod
    def read(cls, text: str) -> Flow:
        """From the text that `str` makes. Raises Unauthenticated."""
        parts = text.split(".")
        if len(parts) != 3 or not all(len(part) == 43 for part in parts):
            raise Unauthenticated("the sign-in was not begun in this browser, or took too long")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.state}.{self.nonce}.{self.verifier}"

    @property
    def challenge(self) -> str:
        """What the provider is told of the verifier (RFC 7636 4.2, S256)."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()


class SignIn:
    """The client of one provider. `ruled` says that roles are about people: then scopes that say nothing of DICOM, as
    of a provider that knows no others, do not limit what roles permit. Blocking, shared by all threads.
    """

    def __init__(self, oidc: Oidc, keys: KeySet, *, ruled: bool) -> None:
        self._oidc = oidc
        self._keys = keys
        self._ruled = ruled
        self._found: Mapping[str, Any] | None = None

    def address(self, flow: Flow, back: str) -> str:
        """Where the browser is sent to; `back` is where the provider sends it then. Raises Unavailable."""
        asked = {
            "response_type": "code",
            "client_id": self._oidc.client_id,
            "redirect_uri": back,
            "scope": self._oidc.scope,
            "state": flow.state,
            "nonce": flow.nonce,
            "code_challenge": flow.challenge,
            "code_challenge_method": "S256",
        }
        url = self._endpoint("authorization_endpoint")
        return f"{url}{'&' if '?' in url else '?'}{urlencode(asked)}"

    def finish(self, flow: Flow, answer: Mapping[str, str], back: str) -> Who:
        """Who signed in, by what the provider sent the browser back with. Raises Unauthenticated, Unavailable."""
        oidc, code = self._oidc, answer.get("code", "")
        if not hmac.compare_digest(answer.get("state", "").encode(), flow.state.encode()):
            raise Unauthenticated("the sign-in was begun elsewhere")
        if "error" in answer or not code or len(code) > LONGEST_CODE or answer.get("iss", oidc.issuer) != oidc.issuer:
            raise Unauthenticated("the provider did not sign anybody in")
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": back,
            "code_verifier": flow.verifier,
        }
        basic = ""
        if oidc.client_secret:
            basic = f"{quote(oidc.client_id, safe='')}:{quote(oidc.client_secret, safe='')}"  # RFC 6749 2.3.1
        else:
            fields["client_id"] = oidc.client_id
        told = post_form(self._endpoint("token_endpoint"), fields, basic)
        claims = self._identity(told.get("id_token"), flow)
        granted = scopes_of(told) if "scope" in told else tuple(oidc.scope.split())
        known = who_of(claims, oidc)
        limited = bool(of_scopes(granted, claims).granted) or not self._ruled
        return Who(known.name, subject=known.subject, claims=claims, scopes=granted if limited else None)

    def sign_out_address(self, back: str) -> str:
        """Where the browser is sent to sign out of the provider too, and from there `back` (OpenID Connect RP-Initiated
        Logout 1.0); "" when that is off, or the provider has no such place, or does not answer.
        """
        if not self._oidc.sign_out_at_provider:
            return ""
        try:
            url = self._endpoint("end_session_endpoint")
        except Unavailable:
            return ""
        asked = {"client_id": self._oidc.client_id, "post_logout_redirect_uri": back}
        return f"{url}{'&' if '?' in url else '?'}{urlencode(asked)}"

    def _identity(self, token: object, flow: Flow) -> dict[str, Any]:
        """The claims of the ID token (OpenID Connect Core 3.1.3.7). Raises Unauthenticated, Unavailable."""
        if not isinstance(token, str):
            raise Unauthenticated("the provider gave no ID token")
        claims = claims_of(token, self._oidc, self._keys, [self._oidc.client_id])
        nonce = claims.get("nonce")
        if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), flow.nonce.encode()):
            raise Unauthenticated("the ID token belongs to another sign-in")
        if claims.get("azp", self._oidc.client_id) != self._oidc.client_id:
            raise Unauthenticated("the ID token was made for somebody else")
        return claims

    def _endpoint(self, name: str) -> str:
        """A URL out of the provider's description of itself. Raises Unavailable."""
        if self._found is None:
            found = get_json(f"{self._oidc.issuer.rstrip('/')}/.well-known/openid-configuration")
            if found.get("issuer") != self._oidc.issuer:
                raise Unavailable("the OpenID provider describes itself as another one")
            self._found = found
        url = self._found.get(name)
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise Unavailable(f"the OpenID provider has no {name}")
        return url
