"""Four gateways on one S3 server and one PostgreSQL, behind one address: any of them dies, stands still, is cut off."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import RGW, SEAWEEDFS, Yard
from tests.faults.test_links import PATIENCE, Wired, recovered, wired
from tests.faults.test_races import SHARED, inconsistencies, live, together
from tests.parts import ledger as books
from tests.parts.debian import find
from tests.parts.gateway import GatewayProcess
from tests.parts.ledger import Ledger, make_piece
from tests.parts.machine import free_ports, need
from tests.parts.processes import background, wait_until
from tests.parts.s3 import answers
from tests.parts.torture import is_large, record, seed, size

CONFIGURATION = """
global
    maxconn 2000
defaults
    timeout connect 2s
    timeout queue 5s
    timeout client 60s
    timeout server 60s
    default-server check inter 500ms fall 2 rise 1
frontend web
    mode http
    bind 127.0.0.1:{web}
    default_backend web
backend web
    mode http
    balance leastconn
    option httpchk GET /readyz
    timeout check 2s
    retries 2
    retry-on conn-failure
    option redispatch
{web_servers}
frontend dimse
    mode tcp
    bind 127.0.0.1:{dimse}
    default_backend dimse
backend dimse
    mode tcp
    balance leastconn
    option httpchk GET /readyz
    timeout check 2s
    option redispatch
{dimse_servers}
"""


@dataclass
class Front:
    """The one address; to a client it looks like a gateway."""

    http_url: str
    host: str
    dimse_port: int
    aet: str = "GANTRY"

    @property
    def dicomweb_url(self) -> str:
        """The DICOMweb root."""
        return f"{self.http_url}/dicomweb"


@contextmanager
def balancer(folder: Path, gateways: list[GatewayProcess]) -> Iterator[Front]:
    """HAProxy in front of gateways."""
    haproxy = need("haproxy")
    web, dimse = free_ports(2)
    checked = [gateway.http_url.rpartition(":")[2] for gateway in gateways]
    servers = {
        "web_servers": "\n".join(f"    server g{n} 127.0.0.1:{port}" for n, port in enumerate(checked)),
        "dimse_servers": "\n".join(
            f"    server g{n} 127.0.0.1:{gateway.dimse_port} port {port}"
            for n, (gateway, port) in enumerate(zip(gateways, checked, strict=True))
        ),
    }
    file, log = folder / "haproxy.cfg", folder / "haproxy.log"
    file.write_text(CONFIGURATION.format(web=web, dimse=dimse, **servers))
    with background([haproxy, "-db", "-f", str(file)], log, patience=3.0) as process:
        wait_until(lambda: answers(f"http://127.0.0.1:{web}/readyz"), "HAProxy", process, log)
        yield Front(f"http://127.0.0.1:{web}", "127.0.0.1", dimse)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("yard", [SEAWEEDFS, RGW] if is_large() else [SEAWEEDFS], indirect=True)
def test_any_of_four_gateways_may_die_stand_still_or_be_cut_off(yard: Yard, ledger: Ledger) -> None:
    """F-01, F-65, F-52, L1 to L5, A: senders at the one address all the while; then each gateway says the same."""
    assert find("haproxy")
    chance = random.Random(seed())
    with ExitStack() as running:
        cluster = [running.enter_context(wired(yard, name=f"g{n}")) for n in range(4)]
        front: Any = running.enter_context(balancer(yard.folder, [one.gateway for one in cluster]))
        done = threading.Event()
        senders = [
            threading.Thread(target=send, args=(ledger, front, name, done), daemon=True)
            for name in ("c", "d", "s", "t")
        ]
        for sender in senders:
            sender.start()
        turns = size(1, 12)
        for turn in range(turns):
            for trouble in (die, stand_still, lose_objects, lose_index, collect):
                enough = len(ledger.acknowledged()) + 6
                trouble(cluster, chance.randrange(4), yard, turn)
                ledger.wait_for(enough, 120)
        done.set()
        for sender in senders:
            sender.join(90)
            assert not sender.is_alive()
        for one in cluster:
            recovered(one.gateway)
        counts = ledger.counts()
        books.resend(ledger, cluster[0].gateway)
        for number, one in enumerate(cluster):
            books.verify(ledger, one.gateway)
            if number == 0:
                books.alive(ledger, one.gateway, "cluster")
        with closing(yard.archive()) as archive:
            books.check_archive(ledger, archive)
        assert inconsistencies(yard) == []
        record("four gateways on one S3 server and one PostgreSQL", seed=seed(), turns=turns, lost=0, **counts)


def send(ledger: Ledger, front: Any, name: str, done: threading.Event) -> None:
    """Send through the balancer, on a new connection whenever one ends."""
    for turn in range(10_000):
        if done.is_set():
            return
        pieces = [make_piece(f"cluster {name}", 3 * turn + number) for number in range(3)]
        if name in "cd":
            books.by_c_store(ledger, (front.host, front.dimse_port), pieces, 60)
        else:
            books.by_stow(ledger, front, pieces)
        time.sleep(0.01 if is_large() else 0.1)


def die(cluster: list[Wired], which: int, yard: Yard, turn: int) -> None:
    """SIGKILL, and another in its place, at the same address."""
    one = cluster[which]
    ports = int(one.gateway.http_url.rpartition(":")[2]), one.gateway.dimse_port
    one.gateway.kill()
    time.sleep(0.5)
    lines = {"GANTRY_S3_ENDPOINT": one.s3.url, "GANTRY_INDEX": one.index.url, "GANTRY_PATIENCE": PATIENCE}
    one.gateway = yard.gateway_at(ports, one.gateway.data.name, lines)


def stand_still(cluster: list[Wired], which: int, yard: Yard, turn: int) -> None:
    """SIGSTOP for a while."""
    gateway = cluster[which].gateway
    os.kill(gateway.pid, signal.SIGSTOP)
    time.sleep(size(2, 10))
    os.kill(gateway.pid, signal.SIGCONT)


def lose_objects(cluster: list[Wired], which: int, yard: Yard, turn: int) -> None:
    """The line to S3 broken for a while: held at first, then cut."""
    line = cluster[which].s3
    line.held = True
    time.sleep(size(2, 20))
    line.refused, line.held = True, False
    line.cut()
    time.sleep(0.5)
    line.refused = False


def lose_index(cluster: list[Wired], which: int, yard: Yard, turn: int) -> None:
    """The line to PostgreSQL broken for a while."""
    line = cluster[which].index
    line.held = True
    time.sleep(size(2, 30))
    line.held = False
    line.cut()


def collect(cluster: list[Wired], which: int, yard: Yard, turn: int) -> None:
    """Housekeeping by two others at once, of what is due."""
    together(yard, "gather", 2, 0.0)


@pytest.mark.parametrize("yard", [SHARED, SEAWEEDFS], indirect=True)
def test_waste_is_collected_once_however_many_collect_it(yard: Yard) -> None:
    """F-52: claimed by one each; all of it goes, and nothing else."""
    count = size(20, 500)
    assert yard.deed("store_some", yard.place(), "waste", count)[0] == 0
    assert yard.deed("store_some", yard.place(), "stays", 3)[0] == 0
    yard.deed("delete", yard.place(), make_piece("waste", 0).study_uid)
    lines = together(yard, "gather", 4, 1e6)
    assert sum(map(int, lines)) == count
    assert len(live(yard, "stays")) == 3
    with closing(yard.archive()) as archive:
        assert len(list(archive.objects.keys("obj/"))) == 3
        assert list(archive.objects.keys("tomb/")) == []  # also where two collected the last two at once
    record("waste collected by four at once", objects=count, collected=count, twice=0)


@pytest.mark.parametrize("yard", [SHARED, SEAWEEDFS], indirect=True)
def test_many_writers_of_one_study_do_not_refuse_each_other(yard: Yard) -> None:
    """F-35, L1: four processes at once into one new study; nobody deadlocks, nobody is told to come again."""
    threads, count = size(4, 16), size(3, 30)
    lines = together(yard, "flood", 4, threads, count)
    assert lines == ["stored"] * (4 * threads * count)
    assert len(live(yard, "flood")) == len(lines)
    assert inconsistencies(yard) == []
    record(f"{4 * threads} writers of one study", stores=len(lines), refused=0)
