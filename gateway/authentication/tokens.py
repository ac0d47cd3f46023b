"""Access tokens in the form of JSON Web Tokens (RFC 7519, RFC 8725, RFC 9068)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import jwt
from jwt.exceptions import PyJWTError

from gateway.authentication.jwks import KeySet
from gateway.errors import Unauthenticated
from gateway.policy import Oidc, Who

TYPES = frozenset({"at+jwt", "application/at+jwt", "jwt"})
"""Types of tokens that are taken, and none at all; an ID token's audience is another one."""

MOST_KEY_ID = 256


def looks_like_jwt(text: str) -> bool:
    """Three parts, and nothing encrypted (that would be five)."""
    return text.count(".") == 2


class TokenVerifier:
    """Verifies tokens of one issuer for one audience."""

    def __init__(self, oidc: Oidc, keys: KeySet) -> None:
        self._oidc = oidc
        self._keys = keys

    def verify(self, text: str) -> tuple[Who, float]:
        """Who the token names, and for how many seconds more. Raises Unauthenticated, Unavailable."""
        claims = claims_of(text, self._oidc, self._keys, self._oidc.audience)
        return who_of(claims, self._oidc), float(claims["exp"]) + self._oidc.leeway - time.time()


def claims_of(text: str, oidc: Oidc, keys: KeySet, audience: Sequence[str]) -> dict[str, Any]:
    """The claims of a signed token of this provider for one of `audience`. Raises Unauthenticated, Unavailable."""
    try:
        header = jwt.get_unverified_header(text)
        key_id = header.get("kid")
        if key_id is not None and (not isinstance(key_id, str) or len(key_id) > MOST_KEY_ID):
            raise Unauthenticated("the token's key id is malformed")
        if str(header.get("typ", "JWT")).lower() not in TYPES or "crit" in header:
            raise Unauthenticated("the token is of a type that is not taken")
        key = keys.key(key_id)
        claims: dict[str, Any] = jwt.decode(
            text,
            key.key,
            algorithms=[key.algorithm_name],  # that of the key, whatever the token says
            audience=list(audience),
            issuer=oidc.issuer,
            leeway=oidc.leeway,
            options={"require": ["exp", "iss", "aud"]},
        )
        float(claims["exp"])
    except (PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Unauthenticated("the token is not valid here") from error
    return claims


def who_of(claims: Mapping[str, object], oidc: Oidc) -> Who:
    """The caller that verified claims describe. Raises Unauthenticated without a subject."""
    subject = claims.get(oidc.subject_claim) or claims.get("sub") or claims.get("client_id")
    if not isinstance(subject, str) or not subject:
        raise Unauthenticated("the token names no subject")
    return Who(subject, subject=subject, claims=dict(claims), scopes=scopes_of(claims))


def scopes_of(claims: Mapping[str, object]) -> tuple[str, ...]:
    """The scopes of a token: `scope` as words (RFC 8693 4.2), or `scp` as some providers write it."""
    value = claims.get("scope", claims.get("scp", ()))
    if isinstance(value, str):
        return tuple(value.split())
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list | tuple) else ()
