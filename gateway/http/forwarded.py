"""How a request reached the outermost proxy: `Forwarded` (RFC 7239) or `X-Forwarded-For`, `-Proto`,
`-Host`, `-Prefix`.

Believed from trusted proxies only (setting `trusted_proxies`): whoever may set them decides which links clients get
(S-59). Of several values the last counts, which the trusted proxy itself wrote.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.errors import BadRequest

PREFIX_KEY = "gantry.prefix"
"""In the scope: the path below which the outermost proxy has this gateway, without a trailing slash."""

HOST = re.compile(r"[A-Za-z0-9.\-_]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]{1,64}){0,8}/?")
_PAIR = re.compile(r'([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";,]*))')
_LONGEST = 4096

Network = IPv4Network | IPv6Network


class Forwarded:
    """Puts what a trusted proxy says in place of the request's own scheme, Host and client address."""

    def __init__(self, app: ASGIApp, trusted: Sequence[Network]) -> None:
        self.app = app
        self.trusted = tuple(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises BadRequest for a forwarding header that is malformed."""
        if scope["type"] == "http" and self.trusted and self._is_trusted(scope):
            _take_over(scope)
        await self.app(scope, receive, send)

    def _is_trusted(self, scope: Scope) -> bool:
        client = scope.get("client")
        try:
            address = ip_address(client[0]) if client else None
        except ValueError:  # a Unix socket
            return False
        return address is not None and any(address in network for network in self.trusted)


def _take_over(scope: Scope) -> None:
    headers = Headers(scope=scope)
    told = _forwarded(headers)
    scheme = told.get("proto") or _last(headers, "x-forwarded-proto")
    host = told.get("host") or _last(headers, "x-forwarded-host")
    prefix = _last(headers, "x-forwarded-prefix")
    client = _address(told.get("for") or _last(headers, "x-forwarded-for") or "")
    if client:  # for the audit, and for how often one may try; what is hidden (RFC 7239 6.3) leaves the proxy's
        scope["client"] = (client, 0)
    if scheme is not None:
        if scheme.lower() not in ("http", "https"):
            raise BadRequest("X-Forwarded-Proto", "the forwarded scheme is http or https")
        scope["scheme"] = scheme.lower()
    if host is not None:
        if not HOST.fullmatch(host):
            raise BadRequest("X-Forwarded-Host", "the forwarded host is malformed")
        kept = [(name, value) for name, value in scope["headers"] if name != b"host"]
        scope["headers"] = [(b"host", host.encode("latin-1")), *kept]
    if prefix is not None:
        if not _PREFIX.fullmatch(prefix):
            raise BadRequest("X-Forwarded-Prefix", "the forwarded prefix is no path")
        scope[PREFIX_KEY] = prefix.rstrip("/")


def _forwarded(headers: Headers) -> dict[str, str]:
    """The parameters of the last element of Forwarded; a comma or semicolon inside quotes is an ordinary character."""
    text = ",".join(headers.getlist("forwarded"))
    if len(text) > _LONGEST:
        raise BadRequest("Forwarded", "the Forwarded header is too long")
    found: dict[str, str] = {}
    end = 0
    for pair in _PAIR.finditer(text):
        if "," in text[end : pair.start()]:
            found = {}
        end = pair.end()
        quoted = pair[2]
        found[pair[1].lower()] = pair[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    return found


def _address(text: str) -> str:
    """The address of a node (RFC 7239 6), without its port; "" where it names none."""
    bare = text.partition("]")[0].removeprefix("[") if text.startswith("[") else text
    bare = bare.partition(":")[0] if bare.count(":") == 1 else bare
    try:
        return str(ip_address(bare))
    except ValueError:
        return ""


def _last(headers: Headers, name: str) -> str | None:
    values = headers.getlist(name)
    return values[-1].rpartition(",")[2].strip() or None if values else None
