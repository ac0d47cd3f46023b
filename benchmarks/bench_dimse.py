"""DIMSE: the same instances, questions and client for Gantry, Orthanc and dcmtk's dcmqrscp, in turns.

    make bench ARGS="--size small"        some seconds; the full size takes about a quarter of an hour

Writes the section "dimse" of docs/performance.md and a line of the history. Peers that are not installed are left out.
All of it runs in a network of its own, since neither of them can be told to listen on loopback alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import report, workload
from benchmarks.dimse_peer import IMPLICIT, STUDY_FIND, STUDY_GET, STUDY_MOVE, VERIFICATION, User, identifier, serve
from benchmarks.machine import Meter, described
from benchmarks.measure import Result, median
from benchmarks.servers import Gantry, Orthanc, Server, orthanc_installed
from benchmarks.workload import CT_CLASS, EXPLICIT, Instance, Tiny
from tests.parts.debian import find
from tests.parts.machine import free_port, memory
from tests.parts.namespace import private_network

INSIDE = "GANTRY_BENCH_NETWORK"
SINK = "SINK"
SC_CLASS = "1.2.840.10008.5.1.4.1.1.7"
STUDY_UID, SERIES_UID, PATIENT_ID, PATIENT_NAME = (0x20, 0x0D), (0x20, 0x0E), (0x10, 0x20), (0x10, 0x10)
ACCESSION, STUDY_DATE = (0x08, 0x50), (0x08, 0x20)
STUDY_KEYS = {
    **{(0x0008, number): "" for number in (0x0020, 0x0030, 0x0050, 0x0061, 0x0090, 0x1030)},
    **{(0x0010, number): "" for number in (0x0010, 0x0020, 0x0030, 0x0040)},
    **{(0x0020, number): "" for number in (0x000D, 0x0010, 0x1206, 0x1208)},
}
IMAGE_KEYS = {(0x0008, 0x0018): "", (0x0008, 0x0016): "", (0x0020, 0x0013): ""}
CONTEXTS = [
    (VERIFICATION, IMPLICIT, False),
    *((f"1.2.840.10008.5.1.4.1.1.{n}", EXPLICIT, False) for n in range(1, 128)),
]
"""As many as one association can propose: their IDs are the odd numbers of one byte."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is stored, retrieved and searched, and how often."""

    name: str
    slices: int
    images: int
    studies: int
    times: int
    idle: int
    half_open: int
    runs: int
    settle: float
    """Seconds until all is started that a gateway starts after it has said that it is ready."""


SIZES = {
    "small": Size("small", 12, 12, 40, 5, 10, 50, 1, 0.0),
    "medium": Size("medium", 300, 500, 10_000, 100, 200, 10_000, 2, 8.0),
    "full": Size("full", 1000, 500, 10_000, 200, 200, 10_000, 3, 8.0),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: the measurements `work`, and what was wanted of their rate or time."""

    work: str
    title: str
    wanted: str


ROWS = (
    Row("store.1", "C-STORE of CT slices, 1 association", "2 x Orthanc, half its CPU"),
    Row("store.4", "C-STORE of CT slices, 4 associations", "2 x Orthanc, half its CPU"),
    Row("associate", "association with 128 contexts, C-ECHO, release", "below 10 ms"),
    Row("echo", "C-ECHO on an open association", "below 1 ms"),
    Row("get", "C-GET of a study, instances", "the best of both"),
    Row("move", "C-MOVE of a study, instances", "the best of both"),
    Row("find.studies", "C-FIND at study level", "3 x Orthanc"),
    Row("find.images", "C-FIND of the instances of a series", "10 x Orthanc"),
)


BOUNDS = """What bounds C-STORE: one sync of the bytes, as Orthanc has it, and the processor. Within the process,
without sockets and other threads, a slice takes 1.6 ms of it at least: SHA-256 of the data set 0.3, from memory to
the file 0.2, reading and describing the header 0.3, the index 0.35 (24 writes to its log), syncing 0.2, naming files
0.15. Sockets, PDUs and the audit add 0.4; settling names and rows later 0.05. Metadata are made ahead for 0.4, once
nobody is served. A receiver in Python, of plain sockets and with one sync, that checks, indexes and digests nothing,
takes 0.65. Where other work keeps the machine busy
all that takes up to twice as much. Threads of several
associations wait for the interpreter of their process besides; there is a process for each core.
"""
"""Taken with a profiler and by a run of each part alone, on the machine of the table in docs/performance.md."""


class Dcmqrscp:
    """dcmtk's archive: a folder with one index file for each AE title. It syncs nothing, and keeps few studies."""

    def __init__(self, folder: Path, sink: int) -> None:
        self.name, self.version, self.web = "dcmqrscp", "", ""
        self.dimse = ("127.0.0.1", free_port(), "QRSCP")
        self._folder, self._sink = folder, sink
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """See Server."""
        (self._folder / "db").mkdir(parents=True, exist_ok=True)
        config = self._folder / "dcmqrscp.cfg"
        config.write_text(
            f"NetworkTCPPort = {self.dimse[1]}\nMaxPDUSize = 131072\nMaxAssociations = 16\n"
            f"HostTable BEGIN\nsink = ({SINK}, 127.0.0.1, {self._sink})\nHostTable END\n"
            f"VendorTable BEGIN\nVendorTable END\n"
            f"AETable BEGIN\nQRSCP {self._folder}/db RW (500, 20480mb) ANY\nAETable END\n"
        )
        program = str(find("dcmqrscp"))
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        self.version = told.split()[2].removeprefix("v")
        with (self._folder / "log").open("ab") as log:
            environment = {**os.environ, "TCP_NODELAY": "1"}
            command = [program, "-c", str(config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with socket.socket() as one:
                if one.connect_ex(self.dimse[:2]) == 0:
                    return
            time.sleep(0.05)
        raise TimeoutError("dcmqrscp does not listen")

    def stop(self) -> None:
        """See Server."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def pids(self) -> list[int]:
        """See Server."""
        return [] if self._process is None else [self._process.pid]


def servers(folder: Path, sink: int) -> list[Server]:
    """All that are installed; each knows the node to which studies are moved. Gantry comes first, Orthanc second."""
    settings = folder / "gantry.toml"
    settings.write_text(f'max_associations = 1000\n[[peers]]\naet = "{SINK}"\nhost = "127.0.0.1"\nport = {sink}\n')
    found: list[Server] = [Gantry(folder / "gantry", arguments=["--config", str(settings)])]
    if orthanc_installed():
        # PDUs as large as Gantry's; as many threads as it likes to have for 4 associations
        more = {
            "MaximumPduLength": 131072,
            "DicomThreadsCount": 8,
            "DicomModalities": {"sink": [SINK, "127.0.0.1", sink]},
        }
        found.append(Orthanc(folder / "orthanc", dimse=True, settings=more))
    if find("dcmqrscp"):
        found.append(Dcmqrscp(folder / "dcmqrscp", sink))
    return found


def user(server: Server, *proposed: tuple[str, str, bool]) -> User:
    """An association with it."""
    host, port, aet = server.dimse
    return User((host, port), aet, proposed)


def data_set(one: Instance) -> tuple[bytes, bytes]:
    """The data set of a Part 10 file, in two pieces."""
    head, pixels = one.pieces
    return head[144 + int.from_bytes(head[140:144], "little") :], pixels


def store(server: Server, instances: Sequence[Instance], sop_class: str = CT_CLASS) -> None:
    """C-STORE of all on one association."""
    with user(server, (sop_class, EXPLICIT, False)) as one:
        for instance in instances:
            one.store(sop_class, instance.sop, *data_set(instance))
        one.release()


def store_over(server: Server, instances: Sequence[Instance], associations: int, sop_class: str = CT_CLASS) -> None:
    """C-STORE over several associations, each in a process of its own."""
    context = multiprocessing.get_context("fork")
    shares = [instances[number::associations] for number in range(associations)]
    senders = [context.Process(target=store, args=(server, share, sop_class)) for share in shares]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
        if sender.exitcode:
            raise RuntimeError(f"a sender to {server.name} failed")


class Bench:
    """All scenarios on all servers in turns, so that whatever disturbs the machine disturbs them alike."""

    def __init__(self, found: Sequence[Server], size: Size) -> None:
        self.servers, self.size = found, size
        self.archives = found[:2] if len(found) > 1 and found[1].name == "Orthanc" else found[:1]
        """Those that are made to keep many studies."""
        self.results: list[Result] = []
        self.notes: list[str] = []
        self._series = workload.ct_series(max(size.slices, size.images))
        self._nonce = workload.FIRST

    def run(self) -> None:
        """Everything."""
        tiny = Tiny()
        for server in self.servers:
            store(server, self._series[: self.size.images])
        for _ in range(self.size.runs):
            for associations in (1, 4):
                self._nonce += 1
                fresh = [one.renamed(self._nonce) for one in self._series[: self.size.slices]]
                for server in self.archives:
                    work = (
                        partial(store_over, server, fresh, associations)
                        if associations > 1
                        else partial(store, server, fresh)
                    )
                    self._measured(f"store.{associations}", server, len(fresh), work)
            for server in self.servers:
                self._associations(server)
                self._retrievals(server)
                self._images(server)
        self._idle()
        self._half_open()
        # last, since the pictures and bundles that follow so many studies keep a gateway busy for minutes
        for server in self.archives:
            store_over(server, [tiny.make(number) for number in range(self.size.studies)], 4, SC_CLASS)
        for _ in range(self.size.runs):
            for server in self.archives:
                self._studies(server)

    def _measured(self, work: str, server: Server, count: int, run: Callable[[], Sequence[float] | None]) -> None:
        """One measurement; `run` may tell how long each operation took, in seconds."""
        with Meter(server.pids()) as meter:
            times = run()
        latencies = tuple(sorted(1000 * one for one in times or ()))
        one = Result(work, server.name, count, meter.seconds, meter.cpu, meter.peak, meter.other, latencies)
        self.results.append(one)

    def _timed(self, work: str, server: Server, operations: Sequence[Callable[[], object]]) -> None:
        """Operations one after the other, each timed."""

        def run() -> list[float]:
            times = []
            for operation in operations:
                started = time.perf_counter()
                operation()
                times.append(time.perf_counter() - started)
            return times

        self._measured(work, server, len(operations), run)

    def _associations(self, server: Server) -> None:
        def whole() -> None:
            with user(server, *CONTEXTS) as one:
                one.echo()
                one.release()

        self._timed("associate", server, [whole] * self.size.times)
        with user(server, (VERIFICATION, IMPLICIT, False)) as one:
            self._timed("echo", server, [one.echo] * (self.size.times * 10))
            one.release()

    def _retrievals(self, server: Server) -> None:
        series = self._series[: self.size.images]
        keys = identifier("STUDY", {STUDY_UID: series[0].study})

        def check(count: int) -> None:
            if count != len(series):
                raise RuntimeError(f"{server.name} sent {count} of {len(series)}")

        def get() -> None:
            with user(server, (STUDY_GET, IMPLICIT, False), (CT_CLASS, EXPLICIT, True)) as one:
                check(one.get(keys)[0])
                one.release()

        def move() -> None:
            with user(server, (STUDY_MOVE, IMPLICIT, False)) as one:
                check(one.move(keys, SINK))
                one.release()

        self._measured("get", server, len(series), get)
        self._measured("move", server, len(series), move)

    def _images(self, server: Server) -> None:
        series = self._series[: self.size.images]
        keys = identifier("IMAGE", {**IMAGE_KEYS, STUDY_UID: series[0].study, SERIES_UID: series[0].series})
        with user(server, (STUDY_FIND, IMPLICIT, False)) as one:

            def ask() -> None:
                if (count := one.find(keys)) != len(series):
                    raise RuntimeError(f"{server.name} found {count} of {len(series)}")

            self._timed("find.images", server, [ask] * max(self.size.times // 50, 3))
            one.release()

    def _studies(self, server: Server) -> None:
        with user(server, (STUDY_FIND, IMPLICIT, False)) as one:
            asked = [identifier("STUDY", {**STUDY_KEYS, **keys}) for keys in self._questions()]
            self._timed("find.studies", server, [partial(one.find, keys) for keys in asked])
            one.release()

    def _questions(self) -> Iterator[dict[tuple[int, int], str]]:
        """By patient, by accession number, and by the beginning of a name within a month."""
        middle = self.size.studies // 2
        for number in range(middle, middle + max(self.size.times // 10, 3)):
            facts = workload.described(number)
            yield {PATIENT_ID: facts.patient_id}
            yield {ACCESSION: facts.accession}
            yield {PATIENT_NAME: facts.name[:4] + "*", STUDY_DATE: f"{facts.date[:6]}01-{facts.date[:6]}31"}

    def _idle(self) -> None:
        """Memory of associations that do nothing."""
        for server in self.archives:
            before = memory(server.pids()[0])
            with ExitStack() as held:
                try:
                    for _ in range(self.size.idle):
                        held.enter_context(user(server, (VERIFICATION, IMPLICIT, False)))
                except OSError:
                    self.notes.append(f"{server.name} takes no {self.size.idle} associations.")
                    continue
                time.sleep(0.5)
                each = (memory(server.pids()[0]) - before) / self.size.idle / (1 << 20)
                self.notes.append(f"{server.name}: {each:.2f} MiB for each of {self.size.idle} idle associations.")

    def _half_open(self) -> None:
        """Connections that say nothing, and a lawful peer among them; then none of them any more."""
        server, count = self.servers[0], self.size.half_open
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, count + 500), most))
        before = memory(server.pids()[0])
        slowest = 0.0
        with ExitStack() as held:
            for number in range(count):
                one = held.enter_context(socket.socket())
                one.bind((f"127.0.{number % 4}.{2 + number // 4 % 200}", 0))
                one.connect(server.dimse[:2])
                if number % max(count // 20, 1) == 0:
                    started = time.perf_counter()
                    with user(server, (VERIFICATION, IMPLICIT, False)) as lawful:
                        lawful.echo()
                        lawful.release()
                    slowest = max(slowest, time.perf_counter() - started)
            during = (memory(server.pids()[0]) - before) / (1 << 20)
        time.sleep(1)
        after = (memory(server.pids()[0]) - before) / (1 << 20)
        self.notes.append(
            f"{server.name} with {count} half-open connections: a lawful association with its C-ECHO took at most "
            f"{1000 * slowest:.0f} ms; {during:.1f} MiB more memory meanwhile, {after:.1f} MiB afterwards."
        )


def text(bench: Bench) -> str:
    """The section of the page."""
    names = [server.name for server in bench.servers]
    head = ["work", *(f"{name}: rate" for name in names), *(f"{name}: p50 ms" for name in names)]
    head += [*(f"{name}: CPU ms" for name in names), *(f"rate to {name}" for name in names[1:]), "wanted"]
    lines = [head, ["---"] + ["---:"] * (len(head) - 2) + ["---"]]
    for row in ROWS:
        found = [[one for one in bench.results if (one.work, one.server) == (row.work, name)] for name in names]
        rates = [median(some, lambda one: one.rate) if some else None for some in found]
        cells = [row.title, *(_number(rate) for rate in rates)]
        cells += [_number(_middle(some)) for some in found]
        cells += [_number(median(some, lambda one: one.cpu_ms)) if some else "" for some in found]
        cells += [_number(rates[0] / rate) if rates[0] and rate else "" for rate in rates[1:]]
        lines.append([*cells, row.wanted])
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    versions = ", ".join(f"{server.name} {server.version}" for server in bench.servers)
    size = bench.size
    other = statistics.median(one.other for one in bench.results)
    return f"""## DIMSE

{versions}; {described()}. CT slices of 530 kB, {size.slices} stored in each run and {size.images} retrieved;
{size.studies} studies to search among; {size.runs} runs, in turns. Other work kept {other:.1f} of the cores busy
meanwhile (median). Both sync the object before they answer, Gantry under a name that the disk knows already; dcmqrscp
syncs nothing, and what its children use of the processor is not all seen.

{table}

{"".join(f"- {note}{chr(10)}" for note in bench.notes)}
{BOUNDS}"""


def _middle(some: Sequence[Result]) -> float | None:
    timed = [one for one in some if one.latencies]
    return median(timed, lambda one: one.latency(0.5)) if timed else None


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def run(size: Size, folder: Path, *, page: Path, history: Path) -> Bench:
    """Measure everything below `folder` and write page and history."""
    with ExitStack() as running:
        listener = running.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
        sink = multiprocessing.get_context("fork").Process(target=serve, args=(listener,), daemon=True)
        sink.start()
        running.callback(sink.join)
        running.callback(sink.terminate)
        bench = Bench(servers(folder, listener.getsockname()[1]), size)
        for server in bench.servers:
            server.start()
            running.callback(server.stop)
        time.sleep(size.settle)
        bench.run()
    report.section("dimse", text(bench), page)
    report.remember(bench.results, size.name, history)
    return bench


def main() -> None:
    """Measure and write docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--out", type=Path, default=report.ROOT / "docs", help="folder of performance.md (docs)")
    parser.add_argument("--folder", type=Path, help="where the servers keep their data; removed afterwards")
    asked = parser.parse_args()
    if not os.environ.get(INSIDE):
        with private_network() as network:
            command = [*network, sys.executable, *sys.argv]
            sys.exit(subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode)
    out: Path = asked.out
    with tempfile.TemporaryDirectory(prefix="gantry-bench-", dir=asked.folder) as folder:
        run(SIZES[asked.size], Path(folder), page=out / "performance.md", history=out / "performance.jsonl")


if __name__ == "__main__":
    main()
