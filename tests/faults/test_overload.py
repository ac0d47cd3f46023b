"""More than can be done: who comes too much is told at once, what was begun is finished, nothing safe is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from storage.objects.memory import MemoryStore
from tests.end_to_end.doors import Doors, Instance, send
from tests.faults.conftest import Yard
from tests.gateway.dicomweb.service import STOW_TYPE, serve, stow_body
from tests.gateway.dimse.wire import ASSOCIATE_RJ, ASSOCIATE_RQ, P_DATA, Wire, associate_request, pdv, store_command
from tests.parts import once
from tests.parts.datasets import ct_slice, part10_bytes
from tests.parts.gateway import GatewayProcess, clean_environment
from tests.parts.ledger import Ledger, alive, by_c_store, make_piece, quiet, resend, senders, verify
from tests.parts.received import received
from tests.parts.torture import record, size

CT = (1, CTImageStorage, (ExplicitVRLittleEndian,))
OUT_OF_RESOURCES = 0xA700
MIB = 1 << 20


def connected(gateway: GatewayProcess) -> socket.socket:
    """A connection to the HTTP door."""
    host, _, port = gateway.http_url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def head(length: int) -> bytes:
    """Of a STOW-RS request whose body has so many bytes."""
    return (
        f"POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {STOW_TYPE}\r\n"
        f"Content-Length: {length}\r\nConnection: close\r\n\r\n"
    ).encode()


def spooled(gateway: GatewayProcess) -> int:
    """Bytes that are being received."""
    return sum(path.stat().st_size for path in received(gateway.data / "spool"))


def counted(gateway: GatewayProcess) -> float:
    """Bytes that are being received, as the budget counts them; of each file the last may not be written yet."""
    lines = once.get(f"{gateway.http_url}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("gantry_spooled_bytes "))


def until(condition: Any, seconds: float = 30.0) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


@contextmanager
def begun(gateway: GatewayProcess, files: Sequence[bytes]) -> Iterator[list[tuple[socket.socket, bytes]]]:
    """STOW-RS requests that have sent all but their last 100 bytes, which come with them."""
    with ExitStack() as open_ones:
        found = []
        for file in files:
            body = stow_body([file])
            connection = open_ones.enter_context(closing(connected(gateway)))
            connection.sendall(head(len(body)) + body[:-100])
            found.append((connection, body[-100:]))
        yield found


def finished(connection: socket.socket, rest: bytes) -> int:
    """The status, once the rest of the body is sent."""
    connection.sendall(rest)
    answer = b""
    while chunk := connection.recv(65536):
        answer += chunk
    return int(answer.split(b" ", 2)[1])


def test_requests_beyond_the_bound_are_told_to_come_again(yard: Yard) -> None:
    """F-73, SC-503: before their bodies are read; those that were begun end well, searches and C-STORE go on."""
    gateway = yard.gateway(GANTRY_MAX_STORE_REQUESTS="3")
    slices = [ct_slice("slots", number=number, rows=1024, columns=1024) for number in range(1, 6)]
    files = [part10_bytes(ds) for ds in slices]
    with Doors(gateway) as doors, begun(gateway, files[:3]) as requests:
        until(lambda: spooled(gateway) > 3 * MIB)
        for _ in range(3):
            started = time.monotonic()
            refused = doors.web.post("/studies", content=stow_body([files[3]]), headers={"Content-Type": STOW_TYPE})
            record("refusal of a STOW-RS request", milliseconds=round((time.monotonic() - started) * 1000, 1))
            assert (refused.status_code, refused.headers["content-type"]) == (503, "application/problem+json")
            assert int(refused.headers["retry-after"]) > 0
        with closing(connected(gateway)) as large:  # nobody waits for the end of this one
            large.sendall(head(1 << 40))
            assert b" 503 " in large.recv(4096)
        assert doors.qido("/studies") == []
        assert doors.c_store([files[4]]) == [0]
        assert [finished(*one) for one in requests] == [200, 200, 200]
        assert doors.stow(files[3]).status == 200
        assert len(doors.qido("/instances")) == 5
    quiet(gateway)


def test_the_budget_of_bytes_holds_at_both_doors(yard: Yard) -> None:
    """F-73: RJ for a moment, A700, 503; the oldest transfer goes on beyond the budget, and all is well after it."""
    gateway = yard.gateway(GANTRY_MAX_SPOOLED_BYTES=str(2 * MIB))
    large = Instance.of(part10_bytes(ct_slice("budget", number=1, rows=2048, columns=1024)))  # 4 MiB
    small = [Instance.of(part10_bytes(ct_slice("budget", number=number))) for number in (2, 3, 4)]
    address = (gateway.host, gateway.dimse_port)
    with Doors(gateway) as doors, Wire(address, 30) as first, Wire(address, 30) as second:
        for wire in (first, second):
            wire.associate([CT])
        first.send(P_DATA, pdv(1, 3, store_command(large.sop_uid, large.sop_class_uid)))
        half = len(large.data) // 2
        for start in range(0, half, 100_000):
            first.send(P_DATA, pdv(1, 0, large.data[start : min(start + 100_000, half)]))
        until(lambda: counted(gateway) >= half)

        assert send(second, small[0]) == OUT_OF_RESOURCES
        with Wire(address, 30) as third:
            third.send(ASSOCIATE_RQ, associate_request([CT]))
            kind, body = third.receive()
            assert (kind, tuple(body[1:4])) == (ASSOCIATE_RJ, (2, 3, 1))
        turned = doors.web.post("/studies", content=stow_body([small[1].file()]), headers={"Content-Type": STOW_TYPE})
        assert turned.status_code == 503
        assert int(turned.headers["retry-after"]) > 0
        assert doors.qido("/studies") == []

        for start in range(half, len(large.data), 100_000):
            last = 2 if start + 100_000 >= len(large.data) else 0
            first.send(P_DATA, pdv(1, last, large.data[start : start + 100_000]))
        assert first.status() == 0
        assert send(second, small[0]) == 0
        assert doors.stow(small[1].file()).status == 200
        assert doors.c_store([small[2]]) == [0]
        assert len(doors.qido("/instances")) == 4
        text = once.get(f"{gateway.http_url}/metrics").text
        assert "gantry_spooled_bytes 0.0" in text
        assert 'gantry_stores_turned_away_total{door="dimse"} 1.0' in text
    quiet(gateway)


class Client(threading.Thread):
    """Sends instances one by one by STOW-RS, and comes again a little later when it is told to."""

    def __init__(
        self, gateway: GatewayProcess, ledger: Ledger, name: object, seconds: float, start: threading.Barrier
    ) -> None:
        super().__init__(daemon=True)
        self.gateway, self.ledger, self.study, self.seconds, self.together = gateway, ledger, name, seconds, start
        self.accepted: list[float] = []
        self.refused: list[float] = []
        self.statuses: Counter[int] = Counter()

    def run(self) -> None:
        """Until the time is over."""
        number = 0
        host, _, port = self.gateway.http_url.removeprefix("http://").rpartition(":")
        with closing(HTTPConnection(host, int(port), timeout=60)) as web:  # cheap: the machine is the gateway's
            web.connect()
            self.together.wait()
            end = time.monotonic() + self.seconds
            while time.monotonic() < end:
                piece = make_piece(self.study, number, side=256)
                body = stow_body([piece.file()])
                self.ledger.sent(piece)
                started = time.monotonic()
                web.request("POST", "/dicomweb/studies", body, {"Content-Type": STOW_TYPE})
                answer = web.getresponse()
                answer.read()
                took = time.monotonic() - started
                self.statuses[answer.status] += 1
                if answer.status == 200:
                    self.ledger.answered(piece.sop_uid, 0)
                    self.accepted.append(took)
                    number += 1
                else:
                    self.refused.append(took)
                    time.sleep(0.5)


class Modality(Client):
    """Sends ten instances on each association, and comes again a little later where it is rejected."""

    def run(self) -> None:
        """Until the time is over."""
        number = 0
        self.together.wait()
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            started = time.monotonic()
            with Wire((self.gateway.host, self.gateway.dimse_port), 60) as wire:
                wire.send(ASSOCIATE_RQ, associate_request([CT]))
                kind, body = wire.receive()
                if kind == ASSOCIATE_RJ:
                    assert tuple(body[1:4]) in ((2, 3, 1), (2, 3, 2)), body
                    self.refused.append(time.monotonic() - started)
                    self.statuses[503] += 1
                    time.sleep(0.5)
                    continue
                for _ in range(10):
                    piece = make_piece(self.study, number, side=256)
                    self.ledger.sent(piece)
                    started = time.monotonic()
                    status = send(wire, piece.instance())
                    self.accepted.append(time.monotonic() - started)
                    self.statuses[200 if status == 0 else status] += 1
                    self.ledger.answered(piece.sop_uid, status)
                    number += 1
                wire.release()


def load(
    gateway: GatewayProcess, ledger: Ledger, name: str, clients: int, seconds: float, kind: type[Client] = Client
) -> list[Client]:
    """So many clients at once, for so long."""
    start = threading.Barrier(clients)
    work = [kind(gateway, ledger, (name, number), seconds, start) for number in range(clients)]
    for one in work:
        one.start()
    for one in work:
        one.join(seconds + 90)
        assert not one.is_alive(), "a client hangs"
    return work


def percentile(values: list[float], share: float) -> float:
    """In milliseconds; 0 of nothing."""
    return round(sorted(values)[int(share * (len(values) - 1))] * 1000, 1) if values else 0.0


def own_memory(gateway: GatewayProcess, what: str) -> int:
    """Of the process that serves, in bytes; its decoders start when they will."""
    lines = Path(f"/proc/{gateway.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{what}:"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", [Client, Modality], ids=["STOW-RS", "C-STORE"])
def test_ten_times_as_many_senders_cost_neither_memory_nor_instances(
    yard: Yard, ledger: Ledger, kind: type[Client], request: pytest.FixtureRequest
) -> None:
    """F-73, F-60: each is answered, 200 or 503, success or RJ; memory stays flat; what was accepted is there."""
    gateway = yard.gateway(GANTRY_MAX_STORE_REQUESTS="8", GANTRY_MAX_ASSOCIATIONS="8")
    seconds = size(1, 60)
    load(gateway, ledger, "warm", 4, 1, kind)
    normal = load(gateway, ledger, "normal", 4, seconds, kind)
    gateway.forget_peak()
    before = own_memory(gateway, "VmRSS")
    much = load(gateway, ledger, "much", 40, seconds, kind)
    rise = own_memory(gateway, "VmHWM") - before
    statuses = sum((one.statuses for one in much), Counter[int]())
    assert statuses.keys() <= {200, 503}, statuses
    assert rise < 128 * MIB, f"{rise / MIB:.0f} MiB more"
    counts = [sum(len(one.accepted) for one in clients) for clients in (normal, much)]
    latencies = [[value for one in clients for value in one.accepted] for clients in (normal, much)]
    refusals = [value for one in much for value in one.refused]
    record(
        f"overload by {request.node.callspec.id}, 4 against 40 clients",
        seconds=seconds,
        goodput_ratio=round(counts[1] / max(counts[0], 1), 2),
        accepted=counts,
        refused=len(refusals),
        accepted_p99_ms=[percentile(one, 0.99) for one in latencies],
        refused_median_ms=percentile(refusals, 0.5),
        refused_p99_ms=percentile(refusals, 0.99),
        rss_rise_mib=round(rise / MIB, 1),
    )
    assert counts[1] > 0
    verify(ledger, gateway)
    alive(ledger, gateway, "overload")
    quiet(gateway)


class Slow(MemoryStore):
    """An object store that takes its time; `most` is how many puts it saw at once."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds, self.now, self.most = seconds, 0, 0
        self._count = threading.Lock()

    def put(self, *arguments: Any, **more: Any) -> None:
        with self._count:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.seconds)
        super().put(*arguments, **more)
        with self._count:
            self.now -= 1


def test_a_store_ten_times_slower_than_its_senders_bounds_the_queue(tmp_path: Path) -> None:
    """F-73: at most so many requests wait, with their bytes on disk; the others come again; each gets its answer."""
    slow = Slow(0.2)
    statuses: Counter[int] = Counter()
    most = 0
    with serve(tmp_path, max_store_requests=6) as service:
        service.archive.objects = slow

        def client(name: int) -> None:
            with once.client(base_url=service.url, timeout=60) as web:
                for number in range(1, 4):
                    file = part10_bytes(ct_slice(f"slow {name}", number=number))
                    while True:
                        answer = web.post("/studies", content=stow_body([file]), headers={"Content-Type": STOW_TYPE})
                        statuses[answer.status_code] += 1
                        if answer.status_code == 200:
                            break
                        assert answer.status_code == 503
                        assert int(answer.headers["retry-after"]) > 0
                        time.sleep(0.1)

        threads = [threading.Thread(target=client, args=(name,)) for name in range(20)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            most = max(most, len(service.spooled()))
            time.sleep(0.02)
        assert statuses[200] == 60
        assert statuses[503] > 0
        assert slow.most <= 6
        assert most <= 6 + 2  # a file may be gone and counted all the same
        assert service.archive.index.count()[2] == 60
        assert service.spooled() == []


@pytest.mark.parametrize("yard", ["folder+sqlite"], indirect=True)
def test_a_stop_under_load_loses_nothing(yard: Yard, ledger: Ledger) -> None:
    """F-07, L1 to L3: SIGTERM while twenty associations and four web clients send; exit status 0, no false answer."""
    gateway = yard.gateway()
    stop = threading.Event()

    def pieces(name: int) -> Iterator[Any]:
        for number in range(10_000):
            if stop.is_set():
                return
            yield make_piece(("stop", name), number)

    address = (gateway.host, gateway.dimse_port)
    threads = [
        threading.Thread(target=by_c_store, args=(ledger, address, pieces(name)), daemon=True) for name in range(20)
    ]
    with senders(ledger, gateway, "stop by web"):
        for thread in threads:
            thread.start()
        ledger.wait_for(100)
        gateway.signal(signal.SIGTERM)
        assert gateway.wait(60) == 0
        stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    statuses = {status for status in ledger.answers.values() if status not in (0, -1)}
    assert statuses <= {OUT_OF_RESOURCES}, "what was not stored may be sent again"
    again = yard.gateway()
    verify(ledger, again)
    resend(ledger, again)
    verify(ledger, again)
    quiet(again)


def test_a_client_that_leaves_a_download_frees_what_it_held(tmp_path: Path) -> None:
    """F-63: the object is closed soon, and it is no error of ours."""
    closed = threading.Event()

    class Watched(MemoryStore):
        @contextmanager
        def stream(self, key: str, start: int = 0, length: int | None = None) -> Iterator[Any]:
            try:
                with super().stream(key, start, length) as chunks:
                    yield chunks
            finally:
                closed.set()

    with serve(tmp_path) as service:
        service.archive.objects = Watched()
        ds = ct_slice("leaver", rows=4096, columns=4096)
        assert service.store(ds).status_code == 200
        closed.clear()
        with closing(socket.create_connection(service.address, 10)) as leaver:
            path = f"/dicomweb/studies/{ds.StudyInstanceUID}"
            accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
            leaver.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n".encode())
            assert leaver.recv(1000).startswith(b"HTTP/1.1 200")
        assert closed.wait(10)
        assert service.get("/studies").status_code == 200


def test_a_log_that_nobody_reads_holds_nobody_up(tmp_path: Path) -> None:
    """F-67: the reader of standard error stands still; stores go on, and the lines that were lost are counted."""
    reader, writer = os.pipe()
    gateway = subprocess.Popen(
        [
            *(sys.executable, "-m", "gateway", "serve", "--data", str(tmp_path / "data")),
            *("--http", "127.0.0.1:0", "--dimse", "127.0.0.1:0"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=writer,
        cwd=tmp_path,
        env=clean_environment(),
    )
    os.close(writer)
    try:
        assert gateway.stdout is not None
        url = gateway.stdout.readline().decode().split()[3]
        with once.client(base_url=f"{url}/dicomweb", timeout=30) as web:
            junk = stow_body([b"no DICOM" * 10] * 100)  # a line in the log for each
            for _ in range(10):
                assert web.post("/studies", content=junk, headers={"Content-Type": STOW_TYPE}).status_code == 409
            good = stow_body([part10_bytes(ct_slice("unread"))])
            assert web.post("/studies", content=good, headers={"Content-Type": STOW_TYPE}).status_code == 200
            assert len(web.get("/studies").json()) == 1
            text = web.get(f"{url}/metrics").text
        (line,) = [line for line in text.splitlines() if line.startswith("gantry_log_lines_dropped_total ")]
        assert float(line.split()[1]) > 100
        gateway.terminate()
        assert gateway.wait(40) == 0
        lines = os.read(reader, 1 << 20).decode().splitlines()
        assert all(one.startswith("{") and one.endswith("}") for one in lines), "lines are whole, or not there"
    finally:
        if gateway.poll() is None:
            gateway.kill()
            gateway.wait()
        if gateway.stdout is not None:
            gateway.stdout.close()
        os.close(reader)
