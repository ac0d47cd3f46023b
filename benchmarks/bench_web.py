"""DICOMweb: what a viewer waits for, at Gantry and at Orthanc, in turns.

    make bench ARGS="--size small"                      some seconds; the full size takes about a quarter of an hour
    make bench ARGS="--only load --keep DIR"            the same in pieces: data and figures stay in DIR,
    make bench ARGS="--only qido,frames --keep DIR"     and the tables hold the last figures of each piece

Writes the sections "web" and "limits" of docs/performance.md, docs/images/performance.png, and a line of the history.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import report, workload
from benchmarks.client import Client
from benchmarks.limits import limits
from benchmarks.machine import described
from benchmarks.measure import Job, Result, measure, often
from benchmarks.report import Row
from benchmarks.servers import Server, all_servers
from benchmarks.workload import Instance, Tiny, batches, multipart

JSON = "application/dicom+json"
FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'
NATIVE = 'multipart/related; type="application/octet-stream"'
TILES = 'multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50'


@dataclass(frozen=True, slots=True)
class Size:
    """How much is stored and asked for; `seconds` is how long one measurement should take."""

    name: str
    slices: int
    frames: int
    tiles: int
    studies: int
    stored: int
    long: int
    seconds: float
    most: int
    runs: int


SIZES = {
    "small": Size("small", 20, 20, 40, 40, 20, 60, 0.05, 5, 1),
    "full": Size("full", 500, 200, 1200, 10_000, 300, 5000, 0.5, 600, 3),
}

PARTS = ("load", "metadata", "frame", "frames", "instance", "study", "qido", "stow", "long", "limits")
"""Pieces that can be measured on their own; `long` are the instances of series of many."""

ROWS = (
    Row("metadata", "metadata of a series, asked again", 20),
    Row("metadata.restart", "metadata of a series, first request after a restart", 5),
    *(
        Row(f"{work}.c{clients}", f"{title}, {clients} client{'s' * (clients > 1)}", goal)
        for work, title, goal in (
            ("frame.native", "frame of a native object", 3.0),
            ("frame.tiles", "frame of a slide", 3.0),
            ("frame.no_table", "frame of a slide without offset table", 3.0),
            ("instance", "single instance", 2.0),
            ("qido.patient", "QIDO-RS studies by PatientID", 5.0),
            ("qido.week", "QIDO-RS studies of a week", 5.0),
            ("qido.name", "QIDO-RS studies by name with a wild card", 5.0),
            ("qido.study", "QIDO-RS study by its UID", 5.0),
            ("qido.series", "QIDO-RS series of a study", 5.0),
        )
        for clients in (1, 8)
    ),
    Row("frames.20", "20 native frames in one request", 20),
    Row("study", "whole study as multipart", 2),
    Row("qido.instances", "QIDO-RS instances of a series", 50),
    Row("qido.long", "QIDO-RS instances of a long series, one page"),
    Row("stow.1", "STOW-RS, 1 instance a request, 4 clients", 1.3, " inst/s"),
    Row("stow.10", "STOW-RS, 10 instances a request, 4 clients", 1.3, " inst/s"),
    Row("stow.50", "STOW-RS, 50 instances a request, 4 clients", 1.3, " inst/s"),
)


def get(path: str, accept: str, least: int = 1) -> Job[Client]:
    """One GET that has to find something, of at least so many bytes."""

    def job(client: Client) -> int:
        answer = client.get(path, accept)
        if answer.status != 200 or answer.size < least:
            raise ValueError(f"status {answer.status}, {answer.size} bytes for {path}")
        return 1

    return job


def post(instances: list[Instance]) -> Job[Client]:
    """One STOW-RS request that has to store everything."""
    content_type, body = multipart(instances)

    def job(client: Client) -> int:
        answer = client.post("/studies", content_type, body)
        if answer.status != 200:
            raise ValueError(f"status {answer.status}: {answer.body[:300]!r}")
        return len(instances)

    return job


class Bench:
    """All scenarios on all servers in turns, so that whatever disturbs the machine disturbs them alike."""

    def __init__(self, servers: Sequence[Server], size: Size, kept: Kept | None = None) -> None:
        self.servers = servers
        self.size = size
        self.kept = Kept(None) if kept is None else kept
        self.results: list[Result] = []
        self.slices = workload.ct_series(size.slices)
        self.enhanced = workload.enhanced(size.frames)
        self.slide, self.no_table = (workload.slide(size.tiles, table=table) for table in (True, False))
        self._nonce = workload.FIRST + 1 + int(time.time()) % 800_000_000  # UIDs that no run before had

    # ------------------------------------------------------------ what is there

    def load(self, server: Server) -> None:
        """Store what the scenarios ask for."""
        tiny = Tiny()
        client = Client(server.web)
        for some in batches(self.slices, 10):
            post(some)(client)
        for one in (self.enhanced, self.slide, self.no_table):
            post([one])(client)
        for numbers in batches_of(range(self.size.studies), 100):
            post([tiny.make(number) for number in numbers])(client)
        client.close()

    def load_long(self, server: Server) -> Instance:
        """A series of many small instances; returns one of them."""
        client = Client(server.web)
        series = workload.ct_series(self.size.long, study=7, size=16)
        for some in batches(series, 100):
            post(some)(client)
        client.close()
        return series[0]

    # ------------------------------------------------------------ scenarios

    def run(self, parts: Collection[str] = PARTS) -> None:
        """These parts, `runs` times."""
        one, seed = self.slices[0], random.Random(7)
        series = f"/studies/{one.study}/series/{one.series}"
        if "metadata" in parts:
            self._restarted("metadata.restart", f"{series}/metadata", JSON)
            self._asked("metadata", lambda: f"{series}/metadata", JSON)
        if "frame" in parts:
            for name, instance, accept in (
                ("native", self.enhanced, NATIVE),
                ("tiles", self.slide, TILES),
                ("no_table", self.no_table, TILES),
            ):
                for clients in (1, 8):
                    self._asked(f"frame.{name}.c{clients}", partial(_any_frame, instance, seed), accept, clients)
        if "frames" in parts:
            starts = range(1, self.size.frames - 18)
            self._asked(
                "frames.20",
                lambda: f"{self.enhanced.path}/frames/{','.join(map(str, _twenty(seed.choice(starts))))}",
                NATIVE,
            )
        if "instance" in parts:
            for clients in (1, 8):
                least = len(one.pieces[1])
                self._asked(f"instance.c{clients}", lambda: seed.choice(self.slices).path, FILES, clients, least=least)
        if "study" in parts:
            self._asked("study", lambda: f"/studies/{one.study}", FILES, least=self.size.slices * len(one.pieces[1]))
        if "qido" in parts:
            self._searches(one, seed)
        if "stow" in parts:
            for batch in (1, 10, 50):
                self._stored(batch)
        if "long" in parts:
            # with limits that are not reached, and differ: an answer to the same question may be remembered
            many = self.size.slices
            self._asked("qido.instances", lambda: f"{series}/instances?limit={many + seed.randrange(5000)}", JSON)
            long = self.load_long(self.servers[0])
            path = f"/studies/{long.study}/series/{long.series}/instances"
            self._asked(
                "qido.long",
                lambda: f"{path}?limit={self.size.long + seed.randrange(5000)}",
                JSON,
                servers=self.servers[:1],
            )

    def _searches(self, one: Instance, seed: random.Random) -> None:
        def any_study() -> workload.Described:
            return workload.described(seed.randrange(self.size.studies))

        def week() -> str:
            # around a study that is there, so that there is something to find
            date = any_study().date
            return f"/studies?StudyDate={date}-{date[:6]}{min(int(date[6:]) + 6, 31):02d}"

        searches: dict[str, Callable[[], str]] = {
            "patient": lambda: f"/studies?PatientID={any_study().patient_id}",
            "week": week,
            "name": lambda: f"/studies?PatientName={any_study().name[:-5]}*",
            "study": lambda: f"/studies?StudyInstanceUID={any_study().study}",
            "series": lambda: f"/studies/{any_study().study}/series",
        }
        for name, path in searches.items():
            for clients in (1, 8):
                self._asked(f"qido.{name}.c{clients}", path, JSON, clients)

    def _asked(
        self,
        work: str,
        path: Callable[[], str],
        accept: str,
        clients: int = 1,
        servers: Sequence[Server] | None = None,
        least: int = 1,
    ) -> None:
        """GETs of `path`, as many as fill the time that a measurement should take, each of at least so many bytes."""
        counts: dict[str, int] = {}
        for _ in range(self.size.runs):
            paths = [path() for _ in range(self.size.most)]
            for server in self.servers if servers is None else servers:
                count = counts.get(server.name)
                if count is None:
                    count = counts[server.name] = self._often(server, paths[0], accept, clients)
                self._note(
                    measure(work, server, [get(one, accept, least) for one in paths[:count]], self._of(server), clients)
                )

    def _often(self, server: Server, path: str, accept: str, clients: int) -> int:
        """How often to ask, from the second time on that it is asked."""
        client = Client(server.web)
        get(path, accept)(client)
        started = time.perf_counter()
        get(path, accept)(client)
        first = time.perf_counter() - started
        client.close()
        return often(first / min(clients, 2), self.size.seconds, self.size.most, least=max(3, clients))

    def _restarted(self, work: str, path: str, accept: str) -> None:
        for _ in range(self.size.runs):
            for server in self.servers:
                server.stop()
                server.start()
                self._note(measure(work, server, [get(path, accept)], self._of(server)))

    def _stored(self, batch: int) -> None:
        count = min(self.size.stored, len(self.slices))
        for _ in range(self.size.runs):
            self._nonce += 1
            fresh = [one.renamed(self._nonce) for one in self.slices[:count]]
            jobs = [post(some) for some in batches(fresh, batch)]
            for server in self.servers:
                self._note(measure(f"stow.{batch}", server, jobs, self._of(server), 4))

    @staticmethod
    def _of(server: Server) -> Callable[[], Client]:
        return lambda: Client(server.web)

    def _note(self, result: Result) -> None:
        self.results.append(result)
        self.kept.add([one for one in self.results if one.work == result.work])
        print(
            f"{result.work:<22} {result.server:<8} {result.rate:>10.2f}/s  p50 {result.latency(0.5):>9.2f} ms  "
            f"CPU {result.cpu_ms:>8.3f} ms  peak {result.peak:>6.0f} MiB  other {result.other:.2f}",
            flush=True,
        )


def _any_frame(instance: Instance, seed: random.Random) -> str:
    return f"{instance.path}/frames/{seed.randint(1, instance.frames)}"


def _twenty(start: int) -> range:
    return range(start, start + 20)


def batches_of(numbers: range, size: int) -> list[range]:
    """A range in ranges of `size`."""
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


# ---------------------------------------------------------------- the report


def text(results: Sequence[Result], servers: Sequence[Server], size: Size) -> str:
    """The section of docs/performance.md."""
    names = [server.name for server in servers]
    peaks = {name: max((one.peak for one in results if one.server == name), default=0.0) for name in names}
    busy = max(one.other for one in results)
    versions = ", ".join(f"{server.name} {server.version}" for server in servers)
    lines = [
        "## DICOMweb",
        "",
        f"{versions}; commit {report.commit()}, {time.strftime('%Y-%m-%d', time.gmtime())}; {described()}. Size "
        f"`{size.name}`: a series of {size.slices} CT slices, an Enhanced CT of {size.frames} frames, slides of "
        f"{size.tiles} tiles, {size.studies:,} studies in the index, a long series of {size.long:,}; medians of "
        f"{size.runs}. Bold: what was wanted is reached.",
        "",
        report.table(results, ROWS, *names),
        "",
        "Peak memory under all of it, in MiB: "
        + ", ".join(f"{name} {peak:,.0f}" for name, peak in peaks.items())
        + ".",
        f"Other work kept up to {busy:.1f} cores of the machine busy meanwhile.",
    ]
    if len(names) > 1:
        lines += ["", "![Ratios](images/performance.png)"]
    return "\n".join(lines)


def picture(results: Sequence[Result], servers: Sequence[Server], path: Path) -> None:
    """Ratios as bars, where there are peers."""
    ours, *peers = servers
    found = {}
    for row in ROWS:
        values = [report.ratio(results, row.work, ours.name, peer.name) for peer in peers]
        there = [value for value in values if value is not None]
        if there:
            found[row.title] = (there, row.goal)
    if found:
        named = " and ".join(f"Orthanc {peer.version}" for peer in peers)
        report.plot(found, path, f"How many times as fast as {named}; red: what was wanted")


class Kept:
    """What was measured in pieces, in a file; of each work the last run."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def add(self, results: Sequence[Result]) -> list[Result]:
        """Keep these, and return all there are."""
        if self._path is None:
            return list(results)
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        new = {one.work for one in results}
        before = [Result(**{**one, "latencies": tuple(one["latencies"])}) for one in map(json.loads, lines)]
        found = [one for one in before if one.work not in new] + list(results)
        self._path.write_text("".join(json.dumps(asdict(one)) + "\n" for one in found))
        return found


def run(
    size: Size,
    folder: Path,
    *,
    page: Path,
    history: Path,
    image: Path,
    parts: Collection[str] = PARTS,
    keep: bool = False,
    newest: Path | None = None,
) -> list[Result]:
    """Measure these parts below `folder` and write page, history and picture; `keep` lets a later run go on there."""
    servers = all_servers(folder / f"servers-{size.name}", newest=newest, keep=keep)
    kept = Kept(folder / f"web-{size.name}.jsonl" if keep else None)
    bench = Bench(servers, size, kept)
    try:
        for server in servers:
            server.start()
        for server in servers:
            loaded = folder / f"loaded-{size.name}-{server.name.replace(' ', '-')}"
            if not loaded.exists():
                bench.load(server)
                loaded.touch()
        bench.run(parts)
    finally:
        for server in servers:
            server.stop()
    if bench.results:
        results = kept.add(bench.results)
        report.section("web", text(results, servers, size), page)
        report.remember(bench.results, size.name, history)
        picture(results, servers, image)
    if "limits" in parts:
        found = limits(folder / "limits", size.runs, size.slices)
        rows = "\n".join(f"| {name} | {value} |" for name, value in found)
        report.section("limits", f"## What the machine can do\n\n| what | most |\n| --- | --- |\n{rows}", page)
    return bench.results


def main() -> None:
    """Measure and write docs/performance.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--out", type=Path, default=report.ROOT / "docs", help="folder of performance.md (docs)")
    parser.add_argument("--keep", type=Path, help="where data and figures are kept for the next piece")
    parser.add_argument("--only", help=f"some of {', '.join(PARTS)}, with commas between them")
    parser.add_argument("--newest", type=Path, help="a folder that newest_orthanc.py made")
    asked = parser.parse_args()
    parts = asked.only.split(",") if asked.only else PARTS
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]}")
    if asked.only and not asked.keep:
        parser.error("with --only, name a folder for what was measured before: --keep DIR")
    out: Path = asked.out
    with tempfile.TemporaryDirectory(prefix="gantry-bench-") as temporary:
        folder = Path(temporary) if asked.keep is None else asked.keep
        folder.mkdir(parents=True, exist_ok=True)
        run(
            SIZES[asked.size],
            folder,
            page=out / "performance.md",
            history=out / "performance.jsonl",
            image=out / "images" / "performance.png",
            parts=parts,
            keep=asked.keep is not None,
            newest=asked.newest,
        )


if __name__ == "__main__":
    main()
