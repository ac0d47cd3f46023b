"""The browser page: its files, served with what a browser needs to trust and to cache them.

The page speaks to the public endpoints only, so nothing here touches the archive. The files are read once and are
small; `Cache-Control: no-cache` makes a browser ask each time, and the strong ETag makes the answer short.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway import ohif
from gateway.http.threads import in_thread
from gateway.ui import viewer

MEDIA_TYPES = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".mjs": "text/javascript; charset=utf-8",
        ".pfb": "application/octet-stream",
        ".svg": "image/svg+xml",
        ".ttf": "font/ttf",
    }
)
"""What a file is, by its suffix. A file with another suffix is not served."""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "frame-src 'self' blob:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types default",
    )
)
"""Nothing inline, nothing from elsewhere, and no markup made from text (S-60). Frames show documents: PDF, reports."""

HEADERS = MappingProxyType(
    {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
)


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file of the page, ready to send. `etag` is strong and quoted (RFC 9110 8.8.3)."""

    body: bytes
    media_type: str
    etag: str

    @classmethod
    def of(cls, body: bytes, suffix: str) -> PageFile:
        """The file with this content, of the kind that `suffix` names."""
        return cls(body, MEDIA_TYPES[suffix], f'"{sha256(body).hexdigest()[:32]}"')

    def answer(self, request: Request) -> Response:
        """200 with the content, or 304 when the browser has it already."""
        headers = {**HEADERS, "ETag": self.etag}
        asked = request.headers.get("if-none-match", "")
        if asked.strip() == "*" or self.etag in {tag.strip().removeprefix("W/") for tag in asked.split(",")}:
            return Response(status_code=304, headers=headers)
        return Response(self.body, headers={**headers, "Content-Type": self.media_type})


def routes(data: Path, *, aet: str = "GANTRY", dimse_port: int = 11112, sign_in: bool = False) -> list[BaseRoute]:
    """`/` and `/static/...`, and `/viewer/...` from the data folder.

    `sign_in` says that one can sign in with a provider. `aet` and `dimse_port` are where
    the gateway takes C-STORE: the page tells them to a visitor who has no study yet.
    """
    folder = files(__package__) / "static"
    template = folder / "index.html"
    # With a link to OHIF and without: it can be installed while the gateway runs.
    pages = [
        PageFile.of(_filled(template, aet, dimse_port, link, sign_in), ".html") for link in ("", ohif.ROOT.lstrip("/"))
    ]
    static = dict(_below(folder, ""))

    async def index(request: Request) -> Response:
        return pages[await in_thread(ohif.installed, data)].answer(request)

    async def static_file(request: Request) -> Response:
        found = static.get(request.path_params["name"])
        if found is None:
            return Response("Not found\n", 404, {**HEADERS, "Content-Type": "text/plain; charset=utf-8"})
        return found.answer(request)

    async def favicon(request: Request) -> Response:
        return static["favicon.svg"].answer(request)

    return [
        Route("/", index, name="page"),
        Route("/favicon.ico", favicon),
        Route("/static/{name:path}", static_file, name="static"),
        *viewer.routes(data),
    ]


def _below(folder: Traversable, prefix: str) -> Iterator[tuple[str, PageFile]]:
    """The files of the folder and of those in it, by their path below the first."""
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            yield from _below(entry, f"{name}/")
        elif PurePosixPath(name).suffix in MEDIA_TYPES and name != "index.html":
            yield name, PageFile.of(entry.read_bytes(), PurePosixPath(name).suffix)


def _filled(template: Traversable, aet: str, dimse_port: int, link: str, sign_in: bool) -> bytes:
    text = template.read_text("utf-8").replace("{{ohif}}", link).replace("{{sign_in}}", "signin" if sign_in else "")
    return text.replace("{{aet}}", escape(aet)).replace("{{dimse_port}}", str(dimse_port)).encode()
