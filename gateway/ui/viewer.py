"""OHIF at `/viewer/`, where it is installed: its files, with a policy of their own.

OHIF was not written for a strict policy: it makes style elements, workers from blobs, and WebAssembly. It still may
speak to this host only, and the page keeps its own, stricter policy.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from gateway import ohif
from gateway.http.failures import Failure

MEDIA_TYPES = MappingProxyType(
    {
        ".css": "text/css; charset=utf-8",
        ".gif": "image/gif",
        ".html": "text/html; charset=utf-8",
        ".ico": "image/x-icon",
        ".jpg": "image/jpeg",
        ".js": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".mjs": "text/javascript; charset=utf-8",
        ".png": "image/png",
        ".svg": "image/svg+xml",
        ".ttf": "font/ttf",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
        ".webp": "image/webp",
        ".woff": "font/woff",
        ".woff2": "font/woff2",
    }
)
UNKNOWN = "application/octet-stream"
YEAR = "public, max-age=31536000, immutable"

_NAMED_BY_CONTENT = re.compile(r"(^|\.)[0-9a-f]{16,}\.")
_INLINE = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


def policy(page: bytes) -> str:
    """The Content Security Policy of a page: the scripts that stand in it are let in by their digests."""
    digests = [b64encode(sha256(script.encode()).digest()).decode() for script in _INLINE.findall(page.decode())]
    scripts = " ".join(("'self'", *(f"'sha256-{digest}'" for digest in digests), "'wasm-unsafe-eval'", "blob:"))
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src {scripts}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' blob: data:",
            "media-src 'self' blob:",
            "font-src 'self' data:",
            "connect-src 'self' blob: data:",
            "worker-src 'self' blob:",
            "frame-src 'self' blob:",
            "object-src 'self' blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def routes(data: Path) -> list[BaseRoute]:
    """`/viewer/` and all below it, from the data folder."""

    def file(request: Request) -> Response:
        """Blocking; Starlette runs it in a worker thread. Raises Failure 404."""
        if not ohif.installed(data):
            raise Failure(404, "no_viewer", "OHIF is not installed: `gantry viewer install PATH` does that.")
        found = ohif.find(data, request.path_params.get("path", ""))
        if found is None:
            raise Failure(404, "not_found", "The viewer has no such file.")
        return answer(request, found)

    def home(request: Request) -> Response:
        return RedirectResponse("viewer/", 308)

    return [Route(ohif.ROOT.rstrip("/"), home), Route(ohif.ROOT + "{path:path}", file)]


def answer(request: Request, path: Path) -> Response:
    """The file, or 304 when the browser has it."""
    body = path.read_bytes()
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {
        "ETag": etag,
        "Cache-Control": YEAR if _NAMED_BY_CONTENT.search(path.name) else "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if path.suffix == ".html":
        headers["Content-Security-Policy"] = policy(body)
    if etag in {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}:
        return Response(status_code=304, headers=headers)
    return Response(body, headers={**headers, "Content-Type": MEDIA_TYPES.get(path.suffix, UNKNOWN)})
