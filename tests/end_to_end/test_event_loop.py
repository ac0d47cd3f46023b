"""The event loop of a gateway is never held up: while long requests are worked on, short ones are answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import cache

import httpx
import pytest

from tests.end_to_end.doors import resource
from tests.gateway.dicomweb.service import STOW_TYPE, stow_body
from tests.parts import once
from tests.parts.datasets import part10_bytes, series_of, uid
from tests.parts.gateway import GatewayProcess

SERIES = resource(uid("study", "study"), uid("series", "study", 1))


@cache
def files() -> list[bytes]:
    """What is stored meanwhile."""
    return [part10_bytes(ds) for ds in series_of(150, "meanwhile", rows=256, columns=256)]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("loop") / "data") as running:
        body = stow_body(series_of(400, rows=16, columns=16))
        once.post(
            f"{running.dicomweb_url}/studies", content=body, headers={"Content-Type": STOW_TYPE}, timeout=100
        ).raise_for_status()
        yield running


def store(url: str) -> None:
    body = stow_body(files())
    once.post(f"{url}/studies", content=body, headers={"Content-Type": STOW_TYPE}, timeout=100).raise_for_status()


def get(path: str, accept: str, times: int) -> Callable[[str], None]:
    def work(url: str) -> None:
        with once.client(timeout=100, headers={"Accept": accept}) as client:
            for _ in range(times):
                client.get(f"{url}{path}").raise_for_status()

    return work


WORKS: dict[str, Callable[[str], None]] = {
    "store": store,
    "metadata in XML": get(f"{SERIES}/metadata", 'multipart/related; type="application/dicom+xml"', 1),
    "metadata": get(f"{SERIES}/metadata", "application/dicom+json", 20),
    "search": get(f"{SERIES}/instances?includefield=all", "application/dicom+json", 20),
    "archive": get(SERIES, "application/zip", 2),
    "files": get(SERIES, 'multipart/related; type="application/dicom"; transfer-syntax=*', 5),
}


@pytest.mark.parametrize("name", WORKS)
def test_short_requests_are_answered_while_long_ones_are_worked_on(gateway: GatewayProcess, name: str) -> None:
    """The longest wait for `/healthz`, which needs the event loop and nothing else, is a small part of the work's time.

    A loop that did the work itself would answer at its end. As a share of the work's own time: the machine may be slow.
    """
    failed: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(3):
                WORKS[name](gateway.dicomweb_url)
        except httpx.HTTPError as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="work")
    waits = []
    with once.client(timeout=100) as client:
        client.get(f"{gateway.http_url}/healthz").raise_for_status()
        begun = time.monotonic()
        thread.start()
        while thread.is_alive():
            asked = time.monotonic()
            client.get(f"{gateway.http_url}/healthz").raise_for_status()
            waits.append(time.monotonic() - asked)
            time.sleep(0.005)
        seconds = time.monotonic() - begun
    assert not failed
    assert len(waits) >= 5
    assert sorted(waits)[len(waits) // 2] < seconds / 20
    assert max(waits) < max(0.3 * seconds, 0.5)
