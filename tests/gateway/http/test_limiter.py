"""How often one may ask and guess: 429 with Retry-After, for the one who does it and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from gateway.limiter import MOST, Limiter
from tests.parts import once
from tests.parts.fix_gateway import StartGateway
from tests.parts.gateway import GatewayProcess

TOKEN = "the-token-that-may-do-everything"
PASSWORD = "a long enough password"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway behind a proxy on this machine, so that a test can come from several addresses."""
    environment = {
        "GANTRY_TOKEN": TOKEN,
        "GANTRY_BASIC_AUTH": "true",
        "GANTRY_TRUSTED_PROXIES": "127.0.0.1",
        "GANTRY_FAILED_SIGN_INS": "3",
    }
    with GatewayProcess(tmp_path_factory.mktemp("limits") / "data", environment=environment) as started:
        for name in ("reader", "writer"):
            body = {"name": name, "password": PASSWORD, "may": ["search"]}
            answer = once.post(f"{started.http_url}/users", json=body, headers={"Authorization": f"Bearer {TOKEN}"})
            assert answer.status_code == 201, answer.text
        yield started


def ask(gateway: GatewayProcess, address: str, name: str, password: str) -> httpx.Response:
    return once.get(f"{gateway.dicomweb_url}/studies", auth=(name, password), headers={"X-Forwarded-For": address})


def test_guessing_passwords_ends_for_who_guesses(gateway: GatewayProcess) -> None:
    """S-79: the right one is not taken any more either, or guessing would go on; others are not locked out."""
    assert [ask(gateway, "192.0.2.1", "reader", f"guess number {n}").status_code for n in range(3)] == [401] * 3
    for password in ("guess number 4", PASSWORD):
        refused = ask(gateway, "192.0.2.1", "reader", password)
        assert refused.status_code == 429
        assert refused.json()["type"] == "urn:gantry:problem:too_many_requests"
        assert 1 <= int(refused.headers["retry-after"]) <= 300
    assert ask(gateway, "192.0.2.2", "reader", PASSWORD).status_code in (200, 204)
    assert ask(gateway, "192.0.2.1", "writer", PASSWORD).status_code in (200, 204)


def test_guessing_tokens_is_answered_by_429_and_a_right_one_still_taken(gateway: GatewayProcess) -> None:
    """S-79: who shares an address with one who guesses, a proxy's perhaps, is not locked out."""
    url = f"{gateway.dicomweb_url}/studies"
    with once.client(headers={"X-Forwarded-For": "192.0.2.3"}) as client:
        found = [client.get(url, headers={"Authorization": f"Bearer guess-{n}"}).status_code for n in range(95)]
        assert found[:90] == [401] * 90
        assert found[-1] == 429
        assert client.get(url, headers={"Authorization": f"Bearer {TOKEN}"}).status_code in (200, 204)
    assert ask(gateway, "192.0.2.3", "reader", PASSWORD).status_code == 429  # spraying passwords over names


def test_callers_have_a_rate_of_requests_where_one_is_set(start_gateway: StartGateway) -> None:
    """S-79: per caller; what is open, such as probes, is not counted."""
    started = start_gateway(
        environment={"GANTRY_TOKEN": TOKEN, "GANTRY_API_KEYS": "true", "GANTRY_REQUEST_RATE": "0.5"}
    )
    mine = {"Authorization": f"Bearer {TOKEN}"}
    made = once.post(f"{started.http_url}/tokens", json={"name": "other", "may": ["search"]}, headers=mine)
    other = {"Authorization": f"Bearer {made.json()['secret']}"}
    answers = [once.get(f"{started.dicomweb_url}/studies", headers=mine) for _ in range(20)]
    late = next(answer for answer in answers if answer.status_code == 429)
    assert int(late.headers["retry-after"]) >= 1
    assert once.get(f"{started.dicomweb_url}/studies", headers=other).status_code in (200, 204)
    assert once.get(f"{started.http_url}/healthz", headers=mine).status_code == 200


def test_buckets_are_bounded_in_number() -> None:
    """S-79: many made-up names cost no memory beyond the bound."""
    limiter = Limiter(1e-6, 1)
    assert limiter.add("first") == 0
    assert limiter.wait("first") > 0
    for number in range(MOST):
        limiter.add(str(number))
    assert limiter.wait("first") == 0  # the oldest is forgotten
    assert limiter.wait(str(MOST - 1)) > 0
