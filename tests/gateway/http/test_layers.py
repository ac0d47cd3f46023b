"""The layers that every HTTP wing shares, over real sockets: identity, CORS, problems, ids, logs, metrics, health."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from gateway import logs
from gateway.http import health
from gateway.http.identity import caller_of
from storage.errors import ObjectStoreUnavailable
from tests.gateway.dicomweb.service import Service, serve
from tests.parts import asynchronous, once

TOKEN = "a-token-of-enough-length"
VIEWER = "https://viewer.example"


async def fail(request: Request) -> Response:
    raise ValueError("Doe^Jane cannot be handled")


async def break_off(request: Request) -> Response:
    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        raise ValueError("Doe^Jane cannot be handled")

    return StreamingResponse(body(), media_type="text/plain")


async def who(request: Request) -> Response:
    caller = caller_of(request.scope)
    return PlainTextResponse(f"{caller.name} {caller.door} {caller.address} {caller.request_id}")


async def asset(request: Request) -> Response:
    return PlainTextResponse("asset")


EXTRA = [
    Route("/fail", fail),
    Route("/break", break_off),
    Route("/who", who),
    Route("/static/page.js", asset),
    Route("/", asset),
]


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Service]:
    with serve(folder, more_routes=EXTRA, **settings) as service:
        service.client = once.client(base_url=service.origin, timeout=10)
        yield service


@pytest.fixture
def log_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What is logged while the test runs, as the operator gets it."""
    before = structlog.get_config()
    stream = io.StringIO()
    logs.configure("info", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.configure(**before)


# ---------------------------------------------------------------- identity


def test_without_a_token_setting_everybody_is_let_in(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        answer = service.client.get("/who", headers={"X-Request-Id": "my.id-1"})
        assert answer.text == "anonymous web 127.0.0.1 my.id-1"


@pytest.mark.parametrize(
    "path",
    [
        "/dicomweb/studies",
        "/dicomweb",
        "//dicomweb//studies",
        "/dicomweb/studies/1.2/rendered",
        "/metrics",
        "/who",
        "/nowhere",
        "/static/../dicomweb/studies",
        "/static/%2e%2e/dicomweb/studies",
        "/viewer/..%2fdicomweb/studies",
    ],
)
def test_data_need_the_token(tmp_path: Path, path: str) -> None:
    """SC-401, S-67; Weasis refreshes its token on the challenge."""
    with running(tmp_path, token=TOKEN) as service:
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        answer = service.raw(f"{request}\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 401")
        assert b'www-authenticate: Bearer realm="gantry"\r\n' in answer
        wrong = service.raw(f"{request}Authorization: Bearer {TOKEN}x\r\n\r\n".encode())
        assert wrong.startswith(b"HTTP/1.1 401")
        assert b'error="invalid_token"' in wrong
        right = service.raw(f"{request}Authorization: bearer {TOKEN}\r\n\r\n".encode())
        assert not right.startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("value", ["", "Bearer", f"Basic {TOKEN}", TOKEN, "Bearer \xff\xfe", "Bearer " + "x" * 5000])
def test_other_credentials_are_refused(tmp_path: Path, value: str) -> None:
    """S-67."""
    with running(tmp_path, token=TOKEN) as service:
        answer = service.client.get("/who", headers=[(b"Authorization", value.encode("latin-1"))])
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"


def test_caches_keep_the_answers_of_callers_apart(tmp_path: Path) -> None:
    with running(tmp_path, token=TOKEN) as service:
        answer = service.client.get("/dicomweb/studies", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.headers["vary"] == "Accept, Authorization"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/static/page.js"])
def test_probes_and_the_page_need_no_token(tmp_path: Path, path: str) -> None:
    with running(tmp_path, token=TOKEN) as service:
        assert service.client.get(path).status_code == 200
        assert service.client.post(path).status_code == 401


# ---------------------------------------------------------------- CORS


def test_a_preflight_is_answered_without_credentials(tmp_path: Path) -> None:
    """GEN-18; viewers.md: CORS."""
    with running(tmp_path, token=TOKEN, cors_origins=(VIEWER,)) as service:
        headers = {"Origin": VIEWER, "Access-Control-Request-Method": "GET"}
        answer = service.client.options("/dicomweb/studies", headers=headers)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == VIEWER
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "DELETE" in answer.headers["access-control-allow-methods"]
        for name in ("Authorization", "Range", "If-None-Match", "traceparent"):
            assert name in answer.headers["access-control-allow-headers"]
        assert int(answer.headers["access-control-max-age"]) >= 600


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/dicomweb/studies", TOKEN, 204),
        ("/dicomweb/studies", "wrong" * 5, 401),
        ("/dicomweb/studies/1.2", TOKEN, 404),
        ("/dicomweb/studies?limit=x", TOKEN, 400),
        ("/fail", TOKEN, 500),
        ("/nowhere", TOKEN, 404),
    ],
)
def test_cors_headers_stand_on_every_answer(tmp_path: Path, path: str, token: str, status: int) -> None:
    """viewers.md: else the viewer shows "network error"."""
    with running(tmp_path, token=TOKEN, cors_origins=(VIEWER, "https://other.example")) as service:
        answer = service.client.get(path, headers={"Origin": VIEWER, "Authorization": f"Bearer {token}"})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == VIEWER
        assert "Origin" in answer.headers["vary"]
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        exposed = answer.headers["access-control-expose-headers"]
        for name in ("Content-Range", "ETag", "Warning", "X-Total-Count", "WWW-Authenticate", "X-Request-Id"):
            assert name in exposed


@pytest.mark.parametrize("origin", ["null", "https://viewer.example.evil", "http://viewer.example", "https://x", "*"])
def test_other_origins_are_not_let_in(tmp_path: Path, origin: str) -> None:
    """S-61."""
    with running(tmp_path, cors_origins=(VIEWER,)) as service:
        for answer in (
            service.client.get("/dicomweb/studies", headers={"Origin": origin}),
            service.client.options(
                "/dicomweb/studies", headers={"Origin": origin, "Access-Control-Request-Method": "PUT"}
            ),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control")]


def test_every_origin_never_comes_with_credentials(tmp_path: Path) -> None:
    """S-61."""
    with running(tmp_path, cors_origins=("*",)) as service:
        answer = service.client.get("/dicomweb/studies", headers={"Origin": VIEWER})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


def test_without_the_setting_there_is_no_cors(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        answer = service.client.get("/dicomweb/studies", headers={"Origin": VIEWER})
        assert not [name for name in answer.headers if name.startswith(("access-control", "cross-origin"))]


# ---------------------------------------------------------------- errors, ids, logs, metrics


def test_an_unexpected_error_is_a_problem_and_leaves_no_traceback(
    tmp_path: Path, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    with running(tmp_path) as service:
        answer = service.client.get("/fail")
        assert answer.status_code == 500
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
        assert "Doe" not in answer.text
        lines = log_lines()
        failed = next(line for line in lines if line["event"] == "request failed")
        assert failed["error"] == "ValueError"
        assert failed["where"].startswith("test_layers.py:")
        assert failed["request_id"] == answer.headers["x-request-id"]
        assert "Doe" not in str(lines) and "Traceback" not in str(lines)


def test_a_response_that_fails_half_way_is_cut(tmp_path: Path, log_lines: Callable[[], list[dict[str, Any]]]) -> None:
    """viewers.md: no fake ending."""
    with running(tmp_path) as service:
        with pytest.raises(httpx.RemoteProtocolError):
            service.client.get("/break")
        lines = log_lines()
        assert any(line["event"] == "request failed" and line["cut"] for line in lines)
        assert "Doe" not in str(lines) and "Traceback" not in str(lines)


def test_unknown_routes_and_methods_are_problems(tmp_path: Path) -> None:
    """SC-404, SC-405."""
    with running(tmp_path) as service:
        assert service.client.get("/nowhere").json()["type"] == "urn:gantry:problem:not_found"
        answer = service.client.patch("/dicomweb/studies")
        assert answer.status_code == 405
        assert {method.strip() for method in answer.headers["allow"].split(",")} == {"GET", "HEAD", "OPTIONS", "POST"}
        assert answer.json()["status"] == 405


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "a;b", "ü"])
def test_a_request_id_that_is_none_is_replaced(tmp_path: Path, given: str) -> None:
    with running(tmp_path) as service:
        answer = service.client.get("/who", headers=[(b"X-Request-Id", given.encode("latin-1"))])
        assert answer.headers["x-request-id"] != given
        assert len(answer.headers["x-request-id"]) == 32


def test_the_access_log_has_no_query_and_no_credentials(
    tmp_path: Path, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    """S-80: names stand in queries, tokens in headers."""
    with running(tmp_path, token=TOKEN) as service:
        service.client.get(
            "/dicomweb/studies?PatientName=Doe^Jane", headers={"Authorization": f"Bearer {TOKEN}", "Referer": "Doe"}
        )
        line = next(line for line in log_lines() if line["event"] == "request")
        assert (line["method"], line["path"], line["status"]) == ("GET", "/dicomweb/studies", 204)
        assert line["route"] == "/dicomweb/studies"
        assert "Doe" not in str(log_lines()) and TOKEN not in str(log_lines())


def test_metrics_are_by_route_template(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        service.client.get("/dicomweb/studies/1.2.3/metadata")
        service.client.get("/dicomweb/nothing/here")
        service.client.get("/secret/path")
        service.client.request("PROPFIND", "/dicomweb/studies")
        text = service.client.get("/metrics").text
        assert (
            'gantry_http_requests_total{method="GET",route="/dicomweb/studies/{study}/metadata",status="404"}' in text
        )
        assert 'method="OTHER"' in text
        assert "1.2.3" not in text and "secret" not in text and "PROPFIND" not in text


# ---------------------------------------------------------------- health


def broken() -> None:
    raise ObjectStoreUnavailable("s3.internal:9000 with key AKIA...")


def ready(checks: Sequence[health.Check], partial: Sequence[health.Check] = ()) -> Response:
    routes = health.routes(checks, partial=partial)
    route = next(one for one in routes if isinstance(one, Route) and one.path == "/readyz")
    answer: Response = asynchronous.run(route.endpoint(Request({"type": "http", "method": "GET", "headers": []})))
    return answer


def test_readiness_names_each_check_and_tells_no_secret() -> None:
    answer = ready([("index", lambda: None), ("objects", broken)])
    assert answer.status_code == 503
    found = json.loads(bytes(answer.body))
    assert found["status"] == "not ready"
    assert found["checks"]["index"]["status"] == "ok"
    assert found["checks"]["objects"] == {"status": "failing", "reason": "unavailable"}
    assert ready([("index", lambda: None)]).status_code == 200


def test_what_is_broken_in_part_leaves_the_gateway_in_service() -> None:
    """F-10: no room for a store takes no read away."""
    answer = ready([("index", lambda: None)], [("spool", broken)])
    assert answer.status_code == 200
    found = json.loads(bytes(answer.body))
    assert (found["status"], found["checks"]["spool"]) == ("degraded", {"status": "failing", "reason": "unavailable"})
    assert json.loads(bytes(ready([("objects", broken)], [("spool", broken)]).body))["status"] == "not ready"


def test_liveness_looks_at_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        assert service.client.get("/healthz").json() == {"status": "ok"}
        assert service.client.get("/readyz").json()["checks"].keys() == {"objects", "index"}
