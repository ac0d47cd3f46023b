"""The keys of the OpenID provider (RFC 7517): fetched from one pinned place, kept, fetched again when they rotate."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from gateway.authentication.outbound import get_json
from gateway.errors import Unauthenticated, Unavailable
from gateway.logs import get_logger
from gateway.policy import Oidc

log = get_logger(__name__)

FRESH = 3600.0
"""Seconds after which the keys are fetched again, though none is missing."""

PAUSE = 60.0
"""Least seconds between two fetches: tokens with invented key ids must not make us ask each time (S-68)."""

MOST_KEYS = 100
ALGORITHMS: Mapping[str, frozenset[str]] = {
    "RSA": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "EC": frozenset({"ES256", "ES384", "ES512"}),
    "OKP": frozenset({"EdDSA"}),
}
"""Algorithms by key type. Only asymmetric ones: nobody who can verify may be able to sign."""


class KeySet:
    """The provider's public keys by key id; blocking, shared by all threads."""

    def __init__(self, oidc: Oidc) -> None:
        self._issuer = oidc.issuer
        self._url = oidc.jwks_url
        self._algorithms = frozenset(oidc.algorithms)
        self._lock = threading.Lock()
        self._keys: dict[str, PyJWK] = {}
        self._fetched = self._tried = -1e9

    def key(self, key_id: str | None) -> PyJWK:
        """The key of this id; without one, the only key there is. Raises Unauthenticated, Unavailable.

        A provider that does not answer leaves the keys that are known in use.
        """
        found = self._find(key_id)
        if found is None or time.monotonic() - self._fetched > FRESH:
            self._refresh(key_id)
            found = self._find(key_id)
        if found is None:
            if not self._keys:
                raise Unavailable("the keys of the OpenID provider are not known yet")
            raise Unauthenticated("the token is signed with a key that the provider does not have")
        return found

    def _find(self, key_id: str | None) -> PyJWK | None:
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)

    def _refresh(self, key_id: str | None) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._tried < PAUSE:  # another thread was here just now, or somebody makes up key ids
                return
            self._tried = now
            try:
                if self._url is None:
                    self._url = self._discovered()
                self._keys = self._usable(get_json(self._url))
                self._fetched = now
            except Unavailable as error:
                log.warning("keys_not_fetched", reason=str(error), known=len(self._keys))

    def _discovered(self) -> str:
        """Where the provider says that its keys are (OpenID Connect Discovery 4). Raises Unavailable."""
        found = get_json(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        url = found.get("jwks_uri")
        if (
            found.get("issuer") != self._issuer
            or not isinstance(url, str)
            or not url.startswith(("https://", "http://"))
        ):
            raise Unavailable("the OpenID provider describes itself as another one")
        return url

    def _usable(self, document: Mapping[str, Any]) -> dict[str, PyJWK]:
        found: dict[str, PyJWK] = {}
        keys = document.get("keys")
        for one in keys[:MOST_KEYS] if isinstance(keys, list) else []:
            if not isinstance(one, dict) or one.get("use", "sig") != "sig" or one.get("kty") not in ALGORITHMS:
                continue
            try:
                key = PyJWK(one)
            except (PyJWTError, ValueError, TypeError):
                continue
            if key.algorithm_name in ALGORITHMS[one["kty"]] & self._algorithms:
                found[str(one.get("kid", ""))] = key
        return found
