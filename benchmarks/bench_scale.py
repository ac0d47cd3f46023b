"""Searches in a large index beside the same in a small one: what they cost must not grow with the archive.

    make bench ARGS="--size small"                                      some seconds, small indexes
    make bench ARGS="--only scale --keep DIR --postgres 1000000"        a million studies, ten million instances
    make bench ARGS="--only scale --keep DIR --postgres 1000000"        again, without making them again

Writes the section "scale" of docs/performance.md. The index is generated; there are no objects behind it.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import report, workload
from benchmarks.bench_web import JSON, get
from benchmarks.client import Client
from benchmarks.measure import Result, measure, median, often
from benchmarks.scale import INSTANCES, SERIES, fill
from benchmarks.servers import Gantry
from tests.parts import postgres
from tests.parts.debian import find

SERVER = {"shared_buffers": "1GB", "max_wal_size": "8GB"}
"""Settings of PostgreSQL beside those of the tests, as for a machine that serves an archive of this size."""

WANTED = 1.5
"""How many times slower a search may be in the large index."""


@dataclass(frozen=True, slots=True)
class Index:
    """A gateway on a generated index of so many studies."""

    database: str
    studies: int
    server: Gantry


def searches(seed: random.Random, studies: int) -> dict[str, str]:
    """One search of each kind, for a study of the first `studies`, which both indexes have.

    Limits are such that both give as many results; what is counted differs.
    """
    one = workload.described(seed.randrange(studies))
    series = workload.uid("tiny", one.number, 0)
    page = seed.randrange(max(studies // 50, 1))  # hardly any question is asked twice: an answer may be remembered
    day = int(one.date[6:]) - (6 if int(one.date[6:]) > 22 else 0)
    week = f"{one.date[:6]}{day:02d}-{one.date[:6]}{day + 6:02d}"
    return {
        "studies by PatientID": f"/studies?PatientID={one.patient_id}",
        "study by AccessionNumber": f"/studies?AccessionNumber={one.accession}",
        "study by its UID": f"/studies?StudyInstanceUID={one.study}",
        "2 studies of a day": f"/studies?StudyDate={one.date}&limit=2",
        "15 studies of a week": f"/studies?StudyDate={week}&limit=15",
        "4 studies of a week and a modality": f"/studies?StudyDate={week}&ModalitiesInStudy={one.modality}&limit=4",
        "20 studies of a modality": f"/studies?ModalitiesInStudy={one.modality}&limit=20&offset={page}",
        "5 studies by name with a wild card": f"/studies?PatientName={one.name[:-5]}*&limit=5",
        "20 of the newest studies": f"/studies?limit=20&offset={page}",
        "series of a study": f"/studies/{one.study}/series",
        "instances of a series": f"/studies/{one.study}/series/{series}/instances",
    }


def run(
    folder: Path, pairs: Sequence[tuple[str, Sequence[int]]], runs: int, seconds: float, *, only_make: bool = False
) -> list[str]:
    """Tables, one for each database; `pairs` name it, and the sizes of the small and of the large index.

    Indexes that are in `folder` already are not made again.
    """
    texts = []
    for database, sizes in pairs:
        with ExitStack() as stack:
            place = folder / database
            place.mkdir(exist_ok=True)
            server = stack.enter_context(postgres.run(place, **SERVER)) if database == "PostgreSQL" else None
            indexes = []
            for size in sizes:
                url = _index(place, size, server)
                if only_make:
                    continue
                if server is not None:
                    _warm(server, url)
                gantry = Gantry(place / str(size), arguments=["--index", url])
                gantry.start()
                stack.callback(gantry.stop)
                indexes.append(Index(database, size, gantry))
            if indexes:
                texts.append(table(compare(indexes, runs, seconds), indexes))
    return texts


def _warm(server: postgres.Postgres, url: str) -> None:
    """Bring studies and series with their indexes into memory, where those of a server that has run for a while are."""
    with psycopg.connect(server.url(url.rpartition("/")[2], server.admin), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
        connection.execute(
            "SELECT pg_prewarm(oid) FROM pg_class WHERE relkind IN ('r', 'i') AND (relname IN ('study', 'series') "
            "OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid IN ('study'::regclass, 'series'::regclass)))"
        )


def _index(place: Path, size: int, server: postgres.Postgres | None) -> str:
    """The URL of an index of this size, filled if it is new."""
    data = place / str(size)
    data.mkdir(exist_ok=True)
    ready = data / "ready"
    if server is None:
        url = f"sqlite:///{data}/index.db"
        if not ready.exists():
            (data / "index.db").unlink(missing_ok=True)
    else:
        url = server.url(ready.read_text()) if ready.exists() else server.database()
    if not ready.exists():
        started = time.monotonic()
        fill(url, size)
        print(f"an index of {size:,} studies was made in {time.monotonic() - started:.0f} s", flush=True)
        ready.write_text(url.rpartition("/")[2])
    return url


def compare(indexes: Sequence[Index], runs: int, seconds: float) -> list[tuple[str, Index, Result]]:
    """Each search in each index in turns."""
    found = []
    seed = random.Random(11)
    least = min(index.studies for index in indexes)
    for name in searches(seed, least):
        for _ in range(runs):
            paths = [searches(seed, least)[name] for _ in range(400)]
            for index in indexes:
                client = Client(index.server.web)
                get(paths[-1], JSON)(client)
                started = time.perf_counter()
                get(paths[-2], JSON)(client)
                count = often(time.perf_counter() - started, seconds, len(paths))
                client.close()
                jobs = [get(path, JSON) for path in paths[:count]]
                result = measure(name, index.server, jobs, lambda index=index: Client(index.server.web))  # type: ignore[misc]
                found.append((name, index, result))
                print(f"{name:<36} {index.database:<11} {index.studies:>9,} {result.latency(0.5):>8.2f} ms", flush=True)
    return found


def table(found: Sequence[tuple[str, Index, Result]], indexes: Sequence[Index]) -> str:
    """Medians of latency and CPU, and how many times slower the large index is."""
    small, large = indexes
    lines = [
        f"| {small.database} | {small.studies:,} studies: ms, CPU ms | {large.studies:,} studies: ms, CPU ms | times |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in dict.fromkeys(name for name, _, _ in found):
        cells, medians = [name], []
        for index in indexes:
            some = [result for other, one, result in found if (other, one) == (name, index)]
            medians.append(median(some, lambda one: one.latency(0.5)))
            cells.append(f"{medians[-1]:.2f}, {median(some, lambda one: one.cpu_ms):.2f}")
        times = medians[1] / medians[0]
        cells.append(f"**{times:.2f}**" if times <= WANTED else f"{times:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("small", "full"), default="full")
    parser.add_argument("--sqlite", type=int, default=100_000, help="studies in the large index (100000); 0 for none")
    parser.add_argument("--postgres", type=int, default=100_000, help="the same for PostgreSQL")
    parser.add_argument("--out", type=Path, default=report.ROOT / "docs", help="folder of performance.md (docs)")
    parser.add_argument("--keep", type=Path, help="where the databases are, and stay for the next time")
    parser.add_argument("--make", action="store_true", help="make the databases, and measure nothing")
    asked = parser.parse_args()
    full = asked.size == "full"
    pairs: list[tuple[str, Sequence[int]]] = []
    if asked.sqlite:
        pairs.append(("SQLite", (10_000, asked.sqlite) if full else (100, 500)))
    if asked.postgres and find("initdb") is not None:
        pairs.append(("PostgreSQL", (10_000, asked.postgres) if full else (100, 500)))
    with tempfile.TemporaryDirectory(prefix="gantry-scale-") as temporary:
        folder = Path(temporary) if asked.keep is None else asked.keep / "scale"
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)  # PostgreSQL runs as a user of its own
        tables = run(folder, pairs, 3 if full else 1, 0.6 if full else 0.05, only_make=asked.make)
    if asked.make:
        return
    each = f"{SERIES} series of {INSTANCES} instances each"
    text = (
        f"## Searches as the archive grows\n\nQIDO-RS by one client, commit {report.commit()}; medians, the first of "
        f"latency, CPU of the gateway. PostgreSQL with {SERVER['shared_buffers']} of shared buffers, studies and "
        f"series in memory. Limits are such that both sizes give as many results, while what is counted differs. "
        f"Studies have "
        f"{each}. Bold: at most {WANTED} times slower.\n\n"
    )
    report.section("scale", text + "\n\n".join(tables), asked.out / "performance.md")


if __name__ == "__main__":
    main()
