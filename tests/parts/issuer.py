"""An OpenID provider of our own for tests: discovery, keys, introspection; it counts what it is asked."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import RSAKey

AUDIENCE = "gantry"


def rsa_key(key_id: str) -> RSAKey:
    """A fresh key pair for RS256."""
    return RSAKey.generate_key(2048, {"kid": key_id, "use": "sig", "alg": "RS256"})


class Issuer:
    """A provider on a free port of loopback. `asked` counts requests by path; `active` holds opaque tokens."""

    def __init__(self) -> None:
        self.key = rsa_key("first")
        self.keys: list[Mapping[str, Any]] = [self.key.as_dict(private=False)]
        self.active: dict[str, dict[str, Any]] = {}
        self.asked: Counter[str] = Counter()
        self.down = False
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(issuer.document(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
                token = parse_qs(body).get("token", [""])[0]
                known = self.headers.get("Authorization", "").startswith("Basic ")
                self._answer(issuer.active.get(token, {"active": False}) if known else None)

            def _answer(self, document: Mapping[str, Any] | None) -> None:
                issuer.asked[self.path] += 1
                data = json.dumps(document or {}).encode()
                self.send_response(503 if issuer.down else 200 if document is not None else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                return None

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def document(self, path: str) -> Mapping[str, Any] | None:
        """What a GET is answered with."""
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/jwks",
                "introspection_endpoint": f"{self.url}/introspect",
            }
        return {"keys": self.keys} if path == "/jwks" else None

    def claims(self, **more: object) -> dict[str, Any]:
        """Claims of a good token; a value of None takes one away."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "joe", "iat": now, "exp": now + 300, "scope": "dicom.search"}
        return {name: value for name, value in {**good, **more}.items() if value is not None}

    def token(self, key: RSAKey | None = None, header: Mapping[str, Any] | None = None, **more: object) -> str:
        """A signed access token."""
        return jwt.encode(
            {"alg": "RS256", "kid": "first", "typ": "at+jwt", **(header or {})}, self.claims(**more), key or self.key
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
