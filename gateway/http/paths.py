"""Request paths as clients write them: doubled and trailing slashes below the DICOMweb roots are taken as one."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

ROOTS = ("/dicomweb", "/wado")


class Paths:
    """`//dicomweb//studies/` is `/dicomweb/studies`. Other paths are left alone: pages may care for their slash."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and ("//" in scope["path"] or scope["path"].endswith("/")):
            path = re.sub(r"/{2,}", "/", scope["path"]).rstrip("/")
            if path.startswith(ROOTS):
                scope["path"] = path  # in place: the outer layers look for the route in this very scope
        await self.app(scope, receive, send)
