"""A gateway in a network of its own, whose cables to S3 and to PostgreSQL are pulled: nothing passes, none is told."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.end_to_end.doors import Doors
from tests.faults.conftest import SEAWEEDFS, Yard
from tests.faults.test_links import OUT_OF_RESOURCES, PATIENCE, ready, recovered
from tests.parts import ledger as books
from tests.parts import once
from tests.parts.gateway import GatewayProcess, program
from tests.parts.ledger import Ledger, make_piece
from tests.parts.link import Link
from tests.parts.namespace import Cables, cables
from tests.parts.torture import is_large, record, size


@dataclass(frozen=True)
class Site:
    """The networks, the names of the two cables, and what the gateway has to be told."""

    cables: Cables
    names: dict[str, str]
    environment: dict[str, str]


@pytest.fixture
def site(yard: Yard) -> Iterator[Site]:
    """Where no networks can be made the test is skipped: the tests of links show most of it without any rights."""
    with ExitStack() as running:
        made = running.enter_context(cables())
        if made is None:
            pytest.skip("this machine lets us make no networks")
        names: dict[str, str] = {}
        environment = {**yard.settings, "GANTRY_PATIENCE": PATIENCE if is_large() else "1"}
        for name, variable in (("objects", "GANTRY_S3_ENDPOINT"), ("index", "GANTRY_INDEX")):
            names[name], address = made.plug()
            listener = made.in_servers(lambda: socket.create_server((address, 0)))  # noqa: B023
            environment[variable] = running.enter_context(Link(environment[variable], listener)).url
        yield Site(made, names, environment)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("yard", [SEAWEEDFS], indirect=True)
def test_a_gateway_whose_cables_are_pulled_says_so_and_comes_back(yard: Yard, ledger: Ledger, site: Site) -> None:
    """F-65, F-55, L1 to L3, A: each of the two for a while; what the other one has is there all the time."""

    def story() -> None:
        with GatewayProcess(yard.folder / "data", environment=site.environment, launch=program) as gateway:
            address = (gateway.host, gateway.dimse_port)
            books.by_c_store(ledger, address, [make_piece("before", number) for number in range(3)])
            assert len(ledger.acknowledged()) == 3
            for name, cable in site.names.items():
                site.cables.pull(cable)
                began = time.monotonic()
                senders = [
                    threading.Thread(target=books.by_c_store, args=(ledger, address, [make_piece(name, n)], 90))
                    for n in range(3)
                ]
                for sender in senders:
                    sender.start()
                with Doors(gateway, seconds=90) as doors, ThreadPoolExecutor(1) as aside:
                    said = aside.submit(ready, gateway)
                    assert once.get(f"{gateway.http_url}/healthz", timeout=5).status_code == 200
                    if name == "objects":
                        study = make_piece("before", 0).study_uid
                        assert len(doors.qido(f"/studies/{study}/instances")) == 3
                    assert books.stow(ledger, doors, [make_piece(name, 9)]) == 503
                    assert said.result()[name] == "failing"
                for sender in senders:
                    sender.join(90)
                assert {ledger.answers[make_piece(name, n).sop_uid] for n in (0, 1, 2, 9)} == {OUT_OF_RESOURCES}
                time.sleep(size(0, 60))
                out = time.monotonic() - began
                site.cables.put_back(cable)
                back = recovered(gateway, 90)
                books.alive(ledger, gateway, name)
                assert books.resend(ledger, gateway) == 4
                record(f"cable to {name} pulled", seconds=round(out), recovery_seconds=round(back, 1))
            books.verify(ledger, gateway)
            books.quiet(gateway)
            assert gateway.stop() == 0

    site.cables.in_gateway(story)
