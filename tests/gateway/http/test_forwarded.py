"""Links behind a proxy: public URL, trusted forwarding headers, and nobody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.settings import BadSettings, load
from tests.gateway.dicomweb.service import serve
from tests.parts.datasets import ct_slice

SLICE = ct_slice("proxy")
STUDY = f"/studies/{SLICE.StudyInstanceUID}"
HERE = "127.0.0.1"


def links(folder: Path, headers: dict[str, str], **settings: Any) -> tuple[int, str]:
    """Status of a metadata request, and what its BulkDataURIs and Retrieve URLs begin with ('' when refused)."""
    with serve(folder, **settings) as service:
        assert service.store(SLICE).status_code == 200
        answer = service.client.get(STUDY + "/metadata", headers=headers)
        if answer.status_code != 200:
            return answer.status_code, ""
        bulk = str(answer.json()[0]["7FE00010"]["BulkDataURI"])
        search = service.client.get("/studies", headers=headers).json()[0]["00081190"]["Value"][0]
        start = bulk.partition("/studies/")[0]
        assert search.partition("/studies/")[0] == start
        return 200, start.replace(service.origin, "OWN")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Forwarded-Proto": "https", "X-Forwarded-Host": "pacs.example"}, "https://pacs.example/dicomweb"),
        ({"X-Forwarded-Proto": "https", "Host": "pacs.example"}, "https://pacs.example/dicomweb"),
        ({"X-Forwarded-Host": "pacs.example:8443"}, "http://pacs.example:8443/dicomweb"),
        ({"X-Forwarded-Host": "evil.example, pacs.example"}, "http://pacs.example/dicomweb"),
        ({"X-Forwarded-Host": "pacs.example", "X-Forwarded-Prefix": "/a/b/"}, "http://pacs.example/a/b/dicomweb"),
        ({"Forwarded": 'for=192.0.2.1;proto=https;host="pacs.example:444"'}, "https://pacs.example:444/dicomweb"),
        (
            {"Forwarded": "host=evil.example;proto=http, for=x;Proto=HTTPS;Host=pacs.example"},
            "https://pacs.example/dicomweb",
        ),
        ({"Forwarded": 'for="a,b;host=evil";host=pacs.example'}, "http://pacs.example/dicomweb"),
        ({"Forwarded": 'host="[2001:db8::1]:8080"'}, "http://[2001:db8::1]:8080/dicomweb"),
        ({}, "OWN/dicomweb"),
    ],
)
def test_a_trusted_proxy_says_how_the_request_came(tmp_path: Path, headers: dict[str, str], expected: str) -> None:
    """S-59: of several values the last, which the proxy itself wrote."""
    assert links(tmp_path, headers, trusted_proxies=HERE) == (200, expected)


@pytest.mark.parametrize("trusted", ["", "192.0.2.0/24,2001:db8::/32"])
def test_nobody_else_does(tmp_path: Path, trusted: str) -> None:
    """S-59."""
    headers = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "host=evil.example;proto=https",
    }
    assert links(tmp_path, headers, trusted_proxies=trusted) == (200, "OWN/dicomweb")


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Host": "evil.example/path"},
        {"X-Forwarded-Host": "a b"},
        {"X-Forwarded-Proto": "javascript"},
        {"X-Forwarded-Prefix": "//evil.example"},
        {"X-Forwarded-Prefix": "/a/../b?c"},
        {"Forwarded": 'host="evil.example/x"'},
        {"Forwarded": "host=" + "a" * 5000},
    ],
)
def test_malformed_forwarding_headers_are_refused(tmp_path: Path, headers: dict[str, str]) -> None:
    """S-59, S-58: 400."""
    assert links(tmp_path, headers, trusted_proxies=f"{HERE},::1") == (400, "")


def test_a_public_url_counts_more(tmp_path: Path) -> None:
    """S-59."""
    settings = {"public_url": "https://public.example/imaging", "trusted_proxies": HERE}
    headers = {"X-Forwarded-Host": "pacs.example"}
    assert links(tmp_path, headers, **settings) == (200, "https://public.example/imaging/dicomweb")


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.0/33", "10.0.0.1/8"])
def test_proxies_are_addresses_or_networks(text: str) -> None:
    with pytest.raises(BadSettings, match="trusted_proxies"):
        load({"trusted_proxies": text})
