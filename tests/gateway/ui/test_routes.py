"""The page's files as a browser gets them."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.resources import files
from urllib.parse import urljoin

import httpx
import pytest

from tests.parts import once
from tests.parts.gateway import GatewayProcess

STATIC = files("gateway.ui") / "static"
NAMES = sorted(entry.name for entry in STATIC.iterdir() if entry.is_file())
LIBRARIES = (
    "openseadragon/openseadragon.min.js",
    "pdfjs/pdf.min.mjs",
    "pdfjs/pdf.worker.min.mjs",
    "pdfjs/standard_fonts/FoxitSerif.pfb",
    "pdfjs/standard_fonts/LiberationSans-Regular.ttf",
    "pdfjs/wasm/openjpeg_nowasm_fallback.js",
)


class Tags(HTMLParser):
    """Every start tag of a document with its attributes, and what stands inside script and style elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in {"script", "style"}:
            self.inline += data.strip()


@pytest.fixture(scope="module")
def client(page_gateway: GatewayProcess) -> Iterator[httpx.Client]:
    """A client of the gateway that has nothing stored."""
    with once.client(base_url=page_gateway.http_url) as connected:
        yield connected


@pytest.mark.parametrize("name", ["", *(f"static/{name}" for name in (*NAMES, *LIBRARIES) if name != "index.html")])
def test_every_file_has_a_strong_etag_and_the_headers_that_keep_it_safe(client: httpx.Client, name: str) -> None:
    """S-60."""
    url = f"/{name}"
    answer = client.get(url)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    etag = answer.headers["etag"]
    assert etag.startswith('"')

    again = client.get(url, headers={"If-None-Match": f'"other", {etag}'})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == etag

    changed = client.get(url, headers={"If-None-Match": '"other"'})
    assert changed.status_code == 200

    head = client.head(url)
    assert head.status_code == 200
    assert head.headers["etag"] == etag
    assert head.content == b""


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("", "text/html; charset=utf-8"),
        ("static/main.js", "text/javascript; charset=utf-8"),
        ("static/page.css", "text/css; charset=utf-8"),
        ("static/logo.svg", "image/svg+xml"),
        ("favicon.ico", "image/svg+xml"),
    ],
)
def test_files_say_what_they_are(client: httpx.Client, name: str, media_type: str) -> None:
    assert client.get(f"/{name}").headers["content-type"] == media_type


@pytest.mark.parametrize("name", ["index.html", "none.js", "..%2froutes.py", "%2e%2e/routes.py", "sub/main.js"])
def test_nothing_else_is_served(client: httpx.Client, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404


def test_the_page_has_nothing_inline_and_names_only_files_of_its_own(client: httpx.Client) -> None:
    """S-60."""
    home = str(client.base_url)
    tags = Tags(client.get(home).text)
    assert tags.inline == ""
    for tag, attributes in tags.found:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag
        for name in ("src", "href"):
            link = attributes.get(name)
            if link and not link.startswith("#"):
                assert urljoin(home, link).startswith(home)
                assert client.get(urljoin(home, link)).status_code == 200


def test_the_page_names_the_dimse_listener(client: httpx.Client, page_gateway: GatewayProcess) -> None:
    (body,) = [attributes for tag, attributes in Tags(client.get("/").text).found if tag == "body"]
    assert body["data-aet"] == page_gateway.aet
    assert body["data-dimse-port"] == str(page_gateway.dimse_port)


def test_the_scripts_make_no_markup_from_text() -> None:
    """S-60: the sinks that turn text into elements or code are not used at all."""
    sinks = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc")
    for name in NAMES:
        if name.endswith(".js"):
            text = (STATIC / name).read_text("utf-8")
            assert [sink for sink in sinks if sink in text] == [], name
