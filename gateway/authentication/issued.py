"""Credentials that the gateway hands out: API keys, links, sessions (random, kept as SHA-256), users (passwords, kept
as scrypt). Whoever reads the index learns none of them.

A secret reads `gantry_<id>_<random>`: the id finds the row, and says nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time

from pydantic import ValidationError

from gateway.blob import reading
from gateway.errors import Unauthenticated
from gateway.policy import Limits, Who
from storage.archive import Archive
from storage.credentials import KEY, LINK, SESSION, USER, Credential

PREFIX = "gantry_"
SHORTEST_PASSWORD = 12
LARGEST_CLAIMS = 32_768
_FOREVER = 1e9
_SCRYPT = {"n": 1 << 14, "r": 8, "p": 1}
"""16 MiB and some 40 ms for each guess."""

_NOBODY = "00" * 16 + "$" + "00" * 32
"""What a password is compared with when there is no such user, so that the answer takes as long."""


class Issued:
    """The credentials of one archive's index."""

    def __init__(self, archive: Archive) -> None:
        self._index = archive.index

    def issue(
        self, kind: str, name: str, limits: Limits, made_by: str, expires_at: float | None = None
    ) -> tuple[Credential, str]:
        """A new API key, link or session, and its secret, which is told only now. Raises StorageError."""
        id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        new = Credential(id, kind, name, _hash(secret), limits.model_dump_json(), made_by, time.time(), expires_at)
        self._index.add_credential(new)
        return new, f"{PREFIX}{id}_{secret}"

    def add_user(self, name: str, password: str, limits: Limits, made_by: str) -> Credential:
        """A user with a password of at least `SHORTEST_PASSWORD` characters; an older one of this name ends.

        Raises ValueError, StorageError.
        """
        if len(password) < SHORTEST_PASSWORD:
            raise ValueError(f"a password has at least {SHORTEST_PASSWORD} characters")
        if not name or ":" in name or not name.isprintable():
            raise ValueError("a user's name has printable characters, and no colon")
        salt = secrets.token_bytes(16)
        kept = f"{salt.hex()}${_scrypt(password, salt)}"
        new = Credential(secrets.token_hex(8), USER, name, kept, limits.model_dump_json(), made_by, time.time())
        for old in self._index.credentials(USER, name):
            self._index.revoke_credential(old.id, time.time())
        self._index.add_credential(new)
        return new

    def open_session(self, who: Who, seconds: float) -> str:
        """The secret of a session of somebody who signed in; told only now. Raises Unauthenticated, StorageError."""
        kept = {"claims": dict(who.claims), "subject": who.subject, "scopes": who.scopes}
        limits = json.dumps(kept)
        if len(limits) > LARGEST_CLAIMS:
            raise Unauthenticated("the provider says too much of who this is")
        id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        now = time.time()
        self._index.add_credential(
            Credential(id, SESSION, who.name, _hash(secret), limits, who.name, now, now + seconds)
        )
        return f"{PREFIX}{id}_{secret}"

    def session(self, text: str) -> tuple[Who, float]:
        """Who is in this session, and for how many seconds more. Raises Unauthenticated, Unavailable."""
        return self._who(self._checked(text, (SESSION,)))

    def close_session(self, text: str) -> None:
        """End a session. Raises Unauthenticated, Unavailable."""
        found = self._checked(text, (SESSION,))
        with reading():
            self._index.revoke_credential(found.id, time.time())

    def bearer(self, text: str) -> tuple[Who, float]:
        """Who shows the secret of a key or link, and for how many seconds more. Raises Unauthenticated."""
        return self._who(self._checked(text, (KEY, LINK)))

    def link(self, text: str) -> Who:
        """Who shows the secret of a link. Raises Unauthenticated, Unavailable."""
        return self._who(self._checked(text, (LINK,)))[0]

    def user(self, name: str, password: str) -> tuple[Who, float]:
        """Who signs in with a password. Raises Unauthenticated, Unavailable."""
        now = time.time()
        with reading():
            alive = [one for one in self._index.credentials(USER, name) if one.alive(now)]
        salt, _, kept = (alive[-1].secret if alive else _NOBODY).partition("$")
        if not hmac.compare_digest(_scrypt(password, bytes.fromhex(salt)), kept) or not alive:
            raise Unauthenticated("name or password is wrong")
        return self._who(alive[-1])

    def _checked(self, text: str, kinds: tuple[str, ...]) -> Credential:
        id, _, secret = text.removeprefix(PREFIX).partition("_")
        with reading():
            found = self._index.credential(id) if id.isascii() and len(id) == 16 else None
        right = hmac.compare_digest(_hash(secret), found.secret if found is not None else _hash(""))
        if found is None or not right or found.kind not in kinds or not found.alive(time.time()):
            raise Unauthenticated("the token is not valid here, or not any more")
        return found

    def _who(self, found: Credential) -> tuple[Who, float]:
        seconds = _FOREVER if found.expires_at is None else found.expires_at - time.time()
        if found.kind == SESSION:
            kept = json.loads(found.limits)
            scopes = None if kept["scopes"] is None else tuple(kept["scopes"])
            return Who(found.name, subject=kept["subject"], claims=kept["claims"], scopes=scopes), seconds
        try:
            limits = Limits.model_validate_json(found.limits)
        except ValidationError as error:  # made by a version that knew more
            raise Unauthenticated("the token cannot be read by this version") from error
        who = Who(f"{found.kind}:{found.name}", key=found.name, limits=limits.rights(Who(found.name)))
        return who, seconds


def _hash(secret: str) -> str:
    """Enough for a secret of 256 random bits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _scrypt(password: str, salt: bytes) -> str:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, maxmem=64 << 20, **_SCRYPT).hex()
