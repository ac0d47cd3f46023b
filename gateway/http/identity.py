"""Who asks over HTTP: bearer tokens (RFC 6750), where switched on names and passwords (RFC 7617), links that stand for
themselves; nobody in particular where no credentials are configured.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.authentication import Authentication
from gateway.caller import Caller
from gateway.errors import TooOften, Unauthenticated
from gateway.http import cookies
from gateway.http.failures import Failure
from gateway.http.headers import add_vary, header
from gateway.http.protocol import CERTIFICATE_KEY
from gateway.http.threads import in_thread
from gateway.limiter import Guesses, Limiter
from gateway.policy import Policy, Who
from gateway.rights import EVERYTHING, NOTHING

REALM = "gantry"
METADATA = "/.well-known/oauth-protected-resource"
"""Where we say whose access tokens are taken (RFC 9728)."""
OPEN_PATHS = frozenset(
    {
        "/",
        "/healthz",
        "/readyz",
        "/favicon.ico",
        "/openapi.json",
        "/docs",
        "/viewer",
        "/session",
        "/signin",
        "/signin/callback",
        METADATA,
        "/.well-known/oauth-authorization-server",
    }
)
"""Answered without credentials: probes and the description of the API, which tell no data, the page itself, which
asks for the token, and what is asked before that: who one is, and who gives tokens."""
OPEN_TO_POST = frozenset({"/signout"})
OPEN_PREFIXES = ("/static/", "/viewer/")
"""Page assets: scripts, styles and pictures of the program, no data."""

LINK_PARAMETER = "token"
LINK_ROOTS = ("/dicomweb", "/wado")
"""Where the secret of a link may stand in the query, for `<img>` and `<video>`, which send no headers."""

CALLER_KEY = "gantry.caller"
"""Where the Caller of a request stands in its scope, once it is known."""
BURST = 5.0
"""Seconds for which a caller may be faster than the rate allows in the long run: a viewer opens a series at once."""

SESSION_KEY = "gantry.session"
"""Whether it is a session of the page that said so."""


class Identity:
    """Lets a request in, with its Caller, or answers 401. Everything not listed as open needs credentials."""

    def __init__(
        self,
        app: ASGIApp,
        authentication: Authentication,
        policy: Policy,
        *,
        basic: bool = False,
        public_url: str | None = None,
        provided: bool = False,
        failed_sign_ins: int = 0,
        request_rate: float = 0.0,
    ) -> None:
        self.app = app
        self._authentication = authentication
        self._policy = policy
        self._challenges = [f'Bearer realm="{REALM}"', *([f'Basic realm="{REALM}", charset="UTF-8"'] if basic else [])]
        self._basic = basic
        self._public_url = public_url
        self._provided = provided
        self._guesses = Guesses(failed_sign_ins)
        self._varies = (b"Authorization", *([b"Cookie"] if authentication.sign_in is not None else []))
        self._pace = Limiter(request_rate, max(request_rate * BURST, 1.0)) if request_rate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises Failure 401, which the problem layer answers, and Unavailable when nobody can tell."""
        if scope["type"] == "http":
            await self._identify(scope)
            self._keep_pace(scope)
        if scope["type"] != "http" or not self._authentication.required:
            await self.app(scope, receive, send)
            return

        async def send_varying(message: Message) -> None:
            if message["type"] == "http.response.start":  # a browser's cache outlives who is logged in
                add_vary(message, *self._varies)
            await send(message)

        await self.app(scope, receive, send_varying)

    async def _identify(self, scope: Scope) -> None:
        address = _address(scope)
        request_id = scope.get("state", {}).get("request_id", "")
        if not self._authentication.required:
            scope[CALLER_KEY] = Caller("anonymous", "web", address, request_id, EVERYTHING)
            return
        presented = header(scope, b"authorization") or ""
        try:
            who = await self._who(scope, presented)
        except Unauthenticated as error:
            self._failed(address)
            if not _is_open(scope):
                raise self._unauthorized(scope, str(error), wrong=True) from error
            who = None
        if who is None and not _is_open(scope):
            raise self._unauthorized(scope, "Credentials are needed: Authorization: Bearer TOKEN.", wrong=False)
        rights = NOTHING if who is None else self._policy.rights(who)
        scope[CALLER_KEY] = Caller("anonymous" if who is None else who.name, "web", address, request_id, rights)

    def _keep_pace(self, scope: Scope) -> None:
        """Raises TooOften for who asks more often than a caller may; what is open is not counted."""
        if self._pace is None or _is_open(scope):
            return
        caller = caller_of(scope)
        early = self._pace.add(caller.name, caller.address if caller.name == "anonymous" else "")
        if early:
            raise TooOften(early, "These credentials are used too often; try again in a moment.")

    def _failed(self, address: str) -> None:
        """Count credentials that were wrong. Raises TooOften when there were too many."""
        if early := self._guesses.wrong_from(address):
            raise TooOften(early, "Too many wrong credentials came from this address.")

    async def _password(self, address: str, name: str, password: str) -> Who:
        """Who signs in with it; not looked at after too many wrong ones. Raises Unauthenticated, TooOften."""
        if early := self._guesses.wait(address, name):
            raise TooOften(early, "Too many wrong passwords; try again later.")
        try:
            return await in_thread(self._authentication.verify_password, name, password)
        except Unauthenticated:
            self._guesses.wrong_for(address, name)
            raise

    async def _who(self, scope: Scope, presented: str) -> Who | None:
        """Who shows credentials; None: nobody does. Raises Unauthenticated, Unavailable."""
        scheme, _, value = presented.partition(" ")
        secret = value.strip().encode("latin-1")
        if scheme.lower() == "bearer" and secret:
            return self._authentication.remembered(secret) or await in_thread(self._authentication.verify, secret)
        if scheme.lower() == "basic" and self._basic:
            name, password = _basic(secret)
            return await self._password(_address(scope), name, password)
        if presented:
            raise Unauthenticated("these credentials are of a kind that is not taken here")
        link = _take_link(scope)
        if link is not None:
            return await in_thread(self._authentication.verify_link, link)
        if self._authentication.sign_in is not None and (who := await self._in_session(scope)) is not None:
            return who
        shown: frozenset[str] = scope.get(CERTIFICATE_KEY, frozenset())
        return Who(_holder(shown), certificate=shown) if shown else None

    async def _in_session(self, scope: Scope) -> Who | None:
        """Whose session the browser's cookie names. Raises Failure 403 for what another site's page would have done."""
        root = self._public_url or f"{scope.get('scheme', 'http')}:"
        secret = cookies.shown(scope, cookies.SESSION, secure=root.startswith("https:"))
        if not secret:
            return None
        try:
            who = await in_thread(self._authentication.verify_session, secret.encode("latin-1"))
        except Unauthenticated:  # it ended: as if there were none
            return None
        if scope["method"] not in cookies.SAFE and not cookies.from_here(scope, self._public_url):
            raise Failure(403, "cross_site", "A session changes things from the page of this gateway only.")
        scope[SESSION_KEY] = True
        return who

    def _unauthorized(self, scope: Scope, detail: str, *, wrong: bool) -> Failure:
        challenges = list(self._challenges)
        if wrong:
            challenges[0] += ', error="invalid_token", error_description="The token is not valid here"'
        if self._provided:  # RFC 9728 5.1
            root = self._public_url or f"{scope.get('scheme', 'http')}://{Headers(scope=scope).get('host', '')}"
            if '"' not in root:
                challenges[0] += f', resource_metadata="{root.rstrip("/")}{METADATA}"'
        return Failure(401, "unauthorized", detail, headers={"WWW-Authenticate": ", ".join(challenges)})


def in_session(scope: Scope) -> bool:
    """Is it somebody who signed in at the page, and not a token, who asks?"""
    return bool(scope.get(SESSION_KEY, False))


def caller_of(scope: Scope) -> Caller:
    """The Caller of a request that passed Identity."""
    caller = scope.get(CALLER_KEY)
    if not isinstance(caller, Caller):
        raise RuntimeError("a request reached a wing without passing the identity layer")
    return caller


def _basic(secret: bytes) -> tuple[str, str]:
    """Name and password. Raises Unauthenticated."""
    try:
        name, colon, password = b64decode(secret, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Unauthenticated("the credentials are malformed") from error
    if not colon:
        raise Unauthenticated("the credentials are malformed")
    return name, password


def _take_link(scope: Scope) -> bytes | None:
    """The secret of a link in the query, taken out of it: no handler, link or log is to see it."""
    query: bytes = scope["query_string"]
    if scope["method"] not in ("GET", "HEAD") or not scope["path"].startswith(LINK_ROOTS):
        return None
    if LINK_PARAMETER.encode() not in query:
        return None
    pieces = query.split(b"&")
    found = [piece for piece in pieces if piece.partition(b"=")[0] == LINK_PARAMETER.encode()]
    if len(found) != 1:
        return None
    scope["query_string"] = b"&".join(piece for piece in pieces if piece not in found)
    return unquote_to_bytes(found[0].partition(b"=")[2])


def _holder(certificate: frozenset[str]) -> str:
    """What to call the holder of a certificate: the first of its names, else its fingerprint."""
    return "certificate:" + min(certificate, key=lambda name: (len(name) == 64, name))


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _is_open(scope: Scope) -> bool:
    if scope["method"] == "OPTIONS":
        return True
    path: str = scope["path"]
    if ".." in path:  # never widened by a dotted path, whatever resolves it later
        return False
    if scope["method"] == "POST":
        return path in OPEN_TO_POST
    return scope["method"] in ("GET", "HEAD") and (path in OPEN_PATHS or path.startswith(OPEN_PREFIXES))
