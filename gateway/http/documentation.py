"""`/openapi.json`, and `/docs`: the same for people, one page without scripts and without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import orjson
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from gateway.http.bodies import Known
from gateway.http.catalogue import Operation, Resource, Service
from gateway.http.openapi import document
from gateway.http.permission import needing
from gateway.http.ranges import REVALIDATE, Representation, etag_of

SERVICE = Service(
    "",
    "Documentation",
    (
        Resource(
            "/openapi.json",
            (Operation("GET", "openapi", "This description (OpenAPI 3.1).", ("application/json",), needs=None),),
        ),
        Resource(
            "/docs",
            (Operation("GET", "docs", "This description as a page.", ("text/html; charset=utf-8",), needs=None),),
        ),
    ),
)

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 22%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.5rem; }
code, .path { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; }
summary { cursor: pointer; padding: .5rem .8rem; }
summary b { display: inline-block; min-width: 4.5rem; }
summary .path { font-weight: 600; } summary span { display: block; opacity: .8; }
details > div { border-top: 1px solid var(--line); padding: .3rem .8rem .8rem; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid var(--line); padding: .3rem .6rem .3rem 0; vertical-align: top; }
td:first-child { white-space: nowrap; }
h4 { margin: .8rem 0 .2rem; }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def routes(services: Sequence[Service], version: str) -> list[BaseRoute]:
    """The two routes. `services` are all of the gateway's, those of this module besides."""
    described = document([*services, SERVICE], version)
    json, page = orjson.dumps(described), _page(described).encode()

    async def openapi(request: Request) -> Representation:
        headers = {"Cache-Control": REVALIDATE}
        return Representation(Known([json]), "application/json", _etag(json), headers)

    async def docs(request: Request) -> Representation:
        headers = {"Cache-Control": REVALIDATE, "Content-Security-Policy": _POLICY}
        return Representation(Known([page]), "text/html; charset=utf-8", _etag(page), headers)

    return [Route("/openapi.json", needing(None, openapi)), Route("/docs", needing(None, docs))]


def _etag(body: bytes) -> str:
    return etag_of(hashlib.sha256(body).hexdigest())


def _page(described: Mapping[str, Any]) -> str:
    info = described["info"]
    out = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])} API <small>{escape(info['version'])}</small></h1>",
        f"<p>{escape(info['description'])} The same for programs: <a href='openapi.json'>openapi.json</a>.</p>",
    ]
    for tag in described["tags"]:
        out.append(f"<h2>{escape(tag['name'])}</h2>")
        for path, methods in described["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation["tags"]:
                    out.append(_operation(path, method, operation))
    out.append("</body></html>\n")
    return "".join(out)


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    out = [
        f"<details id='{escape(operation['operationId'])}'><summary><b>{method.upper()}</b> ",
        f"<span class='path'>{escape(path)}</span><span>{escape(operation['summary'])}</span></summary><div>",
    ]
    rows = [(one["name"], f"{one['description']} ({one['in']})") for one in operation["parameters"]]
    out.append(_table("Parameters", rows))
    taken = operation.get("requestBody", {}).get("content", {})
    out.append(_table("Takes", [(name, "") for name in taken]))
    answers = operation["responses"].items()
    rows = [(f"{status} {one['description']}", ", ".join(one.get("content", {}))) for status, one in answers]
    out.append(_table("Answers", rows))
    out.append("</div></details>")
    return "".join(out)


def _table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    if not rows:
        return ""
    cells = "".join(f"<tr><td><code>{escape(name)}</code></td><td>{escape(text)}</td></tr>" for name, text in rows)
    return f"<h4>{title}</h4><table>{cells}</table>"
