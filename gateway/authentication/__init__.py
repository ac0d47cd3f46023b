"""Who is it: credentials of any door, verified (RFC 6750, RFC 9068, RFC 7662, OpenID Connect Discovery).

A secret is one of these, told apart by its form: the token of the settings, a credential that the gateway handed out
(API key, link, session), a JSON Web Token of the OpenID provider, an opaque token that the provider is asked about.
What was verified is remembered for some seconds, so that a viewer's hundred requests cost one verification.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections import OrderedDict
from dataclasses import replace

from gateway.authentication.introspection import Introspection
from gateway.authentication.issued import PREFIX, Issued
from gateway.authentication.jwks import KeySet
from gateway.authentication.sign_in import SignIn
from gateway.authentication.tokens import TokenVerifier, looks_like_jwt
from gateway.errors import Unauthenticated
from gateway.policy import Who
from gateway.settings import Settings
from storage.archive import Archive

REMEMBERED = 60.0
REMEMBERED_ISSUED = 5.0
"""Seconds for which a verified secret is not verified again; for what we handed out, how long a revocation may take."""

MOST = 10_000
LONGEST = 16_384
"""Longest secret in bytes; anything longer is refused unread."""

_OF_THE_SETTINGS = Who("token")


class Authentication:
    """Verifies secrets; blocking, shared by all threads. `local` is a secret for commands on this machine."""

    def __init__(self, settings: Settings, archive: Archive, local: str = "") -> None:
        self._static = [_digest(secret) for secret in (settings.token, local) if secret]
        self.required = settings.closed
        self._issued = Issued(archive)
        self._tokens: TokenVerifier | None = None
        self.sign_in: SignIn | None = None
        self._session_seconds = 0.0
        self._introspection: Introspection | None = None
        if settings.oidc is not None:
            keys = KeySet(settings.oidc)
            self._tokens = TokenVerifier(settings.oidc, keys)
            if settings.oidc.client_id:
                ruled = any(role.subjects or role.claims for role in settings.roles)
                self.sign_in = SignIn(settings.oidc, keys, ruled=ruled)
                self._session_seconds = settings.oidc.session_hours * 3600
            if settings.oidc.introspection_url or settings.oidc.client_secret:
                self._introspection = Introspection(settings.oidc)
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, tuple[float, Who]] = OrderedDict()

    def remembered(self, secret: bytes) -> Who | None:
        """Who showed this secret a moment ago; None: ask `verify`. Never blocks."""
        digest = _digest(secret)
        if any(hmac.compare_digest(digest, one) for one in self._static):
            return _OF_THE_SETTINGS
        found = self._known.get(digest)
        return found[1] if found is not None and time.monotonic() < found[0] else None

    def forget(self) -> None:
        """Verify every secret anew: one of them has been revoked. Other processes learn of it within seconds."""
        with self._lock:
            self._known.clear()

    def verify(self, secret: bytes) -> Who:
        """Who shows this secret. Raises Unauthenticated, Unavailable."""
        if len(secret) > LONGEST:
            raise Unauthenticated("the token is too long")
        if (known := self.remembered(secret)) is not None:
            return known
        try:
            text = secret.decode("ascii")
        except UnicodeDecodeError:
            raise Unauthenticated("the token is not valid here") from None
        who, seconds = self._verified(text)
        self._remember(secret, who, seconds)
        return who

    def verify_link(self, secret: bytes) -> Who:
        """Who shows the secret of a link; no other credentials do. Raises Unauthenticated, Unavailable."""
        if not secret.startswith(PREFIX.encode()) or len(secret) > LONGEST:
            raise Unauthenticated("the link is not valid, or not any more")
        return self._issued.link(secret.decode("ascii", "replace"))

    def open_session(self, who: Who) -> tuple[str, float]:
        """The secret of a new session, and its seconds. Raises Unauthenticated, StorageError."""
        return self._issued.open_session(who, self._session_seconds), self._session_seconds

    def verify_session(self, secret: bytes) -> Who:
        """Who is in the session of this secret. Raises Unauthenticated, Unavailable."""
        kept = b"session " + secret
        if (known := self.remembered(kept)) is not None:
            return known
        who, seconds = self._issued.session(secret.decode("ascii", "replace"))
        self._remember(kept, who, seconds)
        return who

    def close_session(self, secret: str) -> bool:
        """End a session; whether there was one. Raises Unavailable."""
        with self._lock:
            self._known.pop(_digest(b"session " + secret.encode("latin-1")), None)
        try:
            self._issued.close_session(secret)
        except Unauthenticated:
            return False
        return True

    def verify_password(self, name: str, password: str) -> Who:
        """Who signs in with name and password (RFC 7617). Raises Unauthenticated, Unavailable."""
        secret = f"basic {name}\n{password}".encode()
        if len(secret) > LONGEST:
            raise Unauthenticated("name or password is wrong")
        if (known := self.remembered(secret)) is not None:
            return known
        who, seconds = self._issued.user(name, password)
        self._remember(secret, who, seconds)
        return who

    def _verified(self, text: str) -> tuple[Who, float]:
        if text.startswith(PREFIX):
            return self._issued.bearer(text)
        if self._tokens is not None and looks_like_jwt(text):
            return self._tokens.verify(text)
        if self._introspection is not None:
            return self._introspection.verify(text)
        raise Unauthenticated("the token is not valid here")

    def _remember(self, secret: bytes, who: Who, seconds: float) -> None:
        issued = who.key or secret.startswith((b"basic ", b"session "))
        most = REMEMBERED_ISSUED if issued else REMEMBERED
        until = time.monotonic() + min(seconds, most)
        with self._lock:
            self._known[_digest(secret)] = (until, replace(who))
            self._known.move_to_end(_digest(secret))
            while len(self._known) > MOST:
                self._known.popitem(last=False)


def _digest(secret: str | bytes) -> bytes:
    return hashlib.sha256(secret.encode() if isinstance(secret, str) else secret).digest()
