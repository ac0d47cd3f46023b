"""Pictures: rendered for the first time and again, and thumbnails of series, at Gantry and at Orthanc, in turns.

    make bench ARGS="--size small"        some seconds; the full size takes some minutes

Writes the section "rendered" of docs/performance.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import report, workload
from benchmarks.bench_web import get, post
from benchmarks.client import Client
from benchmarks.machine import Meter, described
from benchmarks.measure import Result, measure, often
from benchmarks.report import Row
from benchmarks.servers import Server, all_servers
from benchmarks.workload import Instance, batches

JPEG = "image/jpeg"
SMALL = "viewport=128,128"
_SET_OFF = 8
"""Seconds after which work that follows storing has begun."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many objects there are to be rendered for the first time; `seconds` is how long a repeated one is asked."""

    name: str
    slices: int
    radiographs: int
    side: int
    series: int
    seconds: float
    most: int
    runs: int


SIZES = {
    "small": Size("small", 6, 4, 256, 3, 0.05, 5, 1),
    "full": Size("full", 300, 24, 2048, 90, 1.5, 600, 3),
}

ROWS = (
    Row("ct.first", "CT slice 512 x 512 rendered, first time", 2),
    Row("ct.again.c1", "CT slice rendered again, 1 client", 8),
    Row("ct.again.c8", "CT slice rendered again, 8 clients", 8),
    Row("cr.first", "CR 2048 x 2048 rendered, first time", 1.5),
    Row("cr.again.c1", "CR rendered again, 1 client", 20),
    Row("cr.again.c8", "CR rendered again, 8 clients", 20),
    Row("thumbnail.first", "thumbnail of a series, first time", 5),
    Row("thumbnail.again", "thumbnail of a series, again", 5),
)


class Bench:
    """All scenarios on all servers in turns."""

    def __init__(self, servers: Sequence[Server], size: Size) -> None:
        self.servers = servers
        self.size = size
        self.results: list[Result] = []
        self.slices = workload.ct_series(size.slices)
        self.radiographs = workload.radiographs(size.radiographs, size.side)
        self.series = [workload.ct_series(1, study=100 + number)[0] for number in range(size.series)]

    def load(self) -> None:
        """Store what is rendered."""
        for server in self.servers:
            client = Client(server.web)
            for some in (*batches(self.slices, 10), *batches(self.radiographs, 3), *batches(self.series, 10)):
                post(some)(client)
            client.close()
        for server in self.servers:
            _settle(server, 1.0 if self.size.seconds > 1 else 0.0)

    def run(self) -> None:
        """Each object is rendered for the first time in one run only."""
        for number in range(self.size.runs):
            for kind, instances in (("ct", self.slices), ("cr", self.radiographs)):
                share = instances[number :: self.size.runs]
                for server in self.servers:
                    paths = [f"{one.path}/rendered" for one in share]
                    self._note(server, f"{kind}.first", paths, 1)
                    for clients in (1, 8):
                        self._again(server, f"{kind}.again.c{clients}", paths[0], clients)
            for server in self.servers:
                paths = [_thumbnail(server, one) for one in self.series[number :: self.size.runs]]
                self._note(server, "thumbnail.first", paths, 1)
                self._again(server, "thumbnail.again", paths[0], 1)

    def _again(self, server: Server, work: str, path: str, clients: int) -> None:
        client = Client(server.web)
        started = time.perf_counter()
        get(path, JPEG)(client)
        once = time.perf_counter() - started
        client.close()
        count = often(once / min(clients, 2), self.size.seconds, self.size.most, least=max(3, clients))
        self._note(server, work, [path] * count, clients)

    def _note(self, server: Server, work: str, paths: Sequence[str], clients: int) -> None:
        result = measure(work, server, [get(path, JPEG) for path in paths], lambda: Client(server.web), clients)
        self.results.append(result)
        print(
            f"{work:<18} {server.name:<8} {result.rate:>10.2f}/s  p50 {result.latency(0.5):>9.2f} ms  "
            f"CPU {result.cpu_ms:>8.3f} ms  peak {result.peak:>6.0f} MiB  other {result.other:.2f}",
            flush=True,
        )


def _settle(server: Server, seconds: float) -> None:
    """Wait until the server has done what storing set off: idle for so many seconds, half a minute at most."""
    for second in range(int(30 / seconds) if seconds else 0):
        with Meter(server.pids()) as meter:
            time.sleep(seconds)
        if meter.cpu < 0.05 * seconds and second > _SET_OFF:
            return


def _thumbnail(server: Server, one: Instance) -> str:
    """Orthanc has no thumbnails by DICOMweb: a small picture of an instance is what comes nearest."""
    if server.name == "Gantry":
        return f"/studies/{one.study}/series/{one.series}/thumbnail?{SMALL}"
    return f"{one.path}/rendered?{SMALL}"


def text(results: Sequence[Result], servers: Sequence[Server], size: Size) -> str:
    """The section of docs/performance.md."""
    names = [server.name for server in servers]
    versions = ", ".join(f"{server.name} {server.version}" for server in servers)
    busy = max(one.other for one in results)
    return "\n".join(
        [
            "## Pictures",
            "",
            f"{versions}; {time.strftime('%Y-%m-%d', time.gmtime())}; {described()}. Size `{size.name}`: JPEG of "
            f"{size.slices} CT slices and {size.radiographs} CR images of {size.side} x {size.side} pixels, native, in "
            f"their own windows; thumbnails of {size.series} series within 128 x 128 (Orthanc: an instance in that "
            f"size); medians of {size.runs}. Bold: what was wanted is reached.",
            "",
            report.table(results, ROWS, *names),
            "",
            f"Other work kept up to {busy:.1f} cores of the machine busy meanwhile.",
        ]
    )


def run(size: Size, folder: Path, *, page: Path, history: Path) -> list[Result]:
    """Measure everything below `folder` and write page and history."""
    servers = all_servers(folder / "servers")
    bench = Bench(servers, size)
    try:
        for server in servers:
            server.start()
        bench.load()
        bench.run()
    finally:
        for server in servers:
            server.stop()
    report.section("rendered", text(bench.results, servers, size), page)
    report.remember(bench.results, size.name, history)
    return bench.results


def main() -> None:
    """Measure and write docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--out", type=Path, default=report.ROOT / "docs", help="folder of performance.md (docs)")
    parser.add_argument("--folder", type=Path, help="where the servers keep their data; removed afterwards")
    asked = parser.parse_args()
    out: Path = asked.out
    with tempfile.TemporaryDirectory(prefix="gantry-bench-", dir=asked.folder) as folder:
        run(SIZES[asked.size], Path(folder), page=out / "performance.md", history=out / "performance.jsonl")


if __name__ == "__main__":
    main()
