"""Credentials that the gateway itself hands out: API keys, links, users, sessions. Only hashes of secrets are kept."""

from __future__ import annotations

from dataclasses import dataclass

KEY, LINK, USER, SESSION = "key", "link", "user", "session"
"""Kinds of credentials."""


@dataclass(frozen=True, slots=True)
class Credential:
    """One credential. Times are seconds since the epoch; None: never.

    `secret` is the hash of the secret, in the form that the kind of credential asks for. `limits` says in JSON what it
    permits at most; what it means is the gateway's business. `made_by` names who had it made.
    """

    id: str
    kind: str
    name: str
    secret: str
    limits: str
    made_by: str
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None

    def alive(self, now: float) -> bool:
        """May it still be used?"""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)
