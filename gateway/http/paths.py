"""Request paths as clients write them: doubled and trailing slashes below the DICOMweb roots are taken as one."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.http.failures import Failure

ROOTS = ("/dicomweb", "/wado")
MOUNTS = frozenset({"/dicomweb"})
MAX_URI = 56 * 1024
"""Longest path and query, in bytes (SC-414): 10 000 frame numbers take 49 KB; at 64 KiB the HTTP parser gives up."""


class Paths:
    """`//dicomweb//studies/` is `/dicomweb/studies`. Other paths are left alone: pages may care for their slash.

    The root of a mounted service keeps its slash, which the router needs.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises Failure 414."""
        if scope["type"] == "http":
            if len(scope["path"]) + len(scope["query_string"]) > MAX_URI:
                raise Failure(414, "uri_too_long", f"Path and query have at most {MAX_URI} bytes.")
            path: str = scope["path"]
            if "//" in path or path.endswith("/"):
                path = re.sub(r"/{2,}", "/", path).rstrip("/")
            if path.startswith(ROOTS):
                # in place: the outer layers look for the route in this very scope
                scope["path"] = path + "/" if path in MOUNTS else path
        await self.app(scope, receive, send)
