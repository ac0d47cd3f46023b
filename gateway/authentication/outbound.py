"""Questions to the OpenID provider: the only requests that verifying a token makes, to URLs of the settings alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import urllib3

from gateway.errors import Unavailable

LARGEST = 1 << 20
_TIMEOUT = urllib3.Timeout(connect=2, read=5)


def get_json(url: str) -> dict[str, Any]:
    """The JSON object at `url`. No redirects. Raises Unavailable."""
    return _json("GET", url, {"Accept": "application/json"}, None)


def post_form(url: str, fields: Mapping[str, str], basic: str) -> dict[str, Any]:
    """The JSON object that answers a form, with `name:password`, if any, as Basic credentials. Raises Unavailable."""
    headers = {
        "Accept": "application/json",
        "Content-Type": "application/x-www-form-urlencoded",
        **(urllib3.make_headers(basic_auth=basic) if basic else {}),
    }
    return _json("POST", url, headers, urlencode(fields))


def _json(method: str, url: str, headers: Mapping[str, str], body: str | None) -> dict[str, Any]:
    try:
        answer = urllib3.request(
            method,
            url,
            body=body,
            headers=headers,
            timeout=_TIMEOUT,
            retries=False,
            redirect=False,
            preload_content=False,
        )
        try:
            data = answer.read(LARGEST + 1)
        finally:
            answer.release_conn()
    except urllib3.exceptions.HTTPError as error:
        raise Unavailable("the OpenID provider does not answer") from error
    try:
        found = json.loads(data) if answer.status == 200 and len(data) <= LARGEST else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unavailable("the OpenID provider gave no answer that can be used")
    return found
