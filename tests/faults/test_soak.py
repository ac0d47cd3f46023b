"""Mixed work for a while: what the process holds, memory, files and threads, does not grow; nothing is lost.

`make torture` takes half an hour, or GANTRY_TORTURE_SOAK seconds.
"""

from __future__ import annotations

import os
import random
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.doors import Doors, resource
from tests.faults.conftest import Yard
from tests.parts.gateway import GatewayProcess
from tests.parts.ledger import Ledger, alive, by_c_store, make_piece, quiet, stow, verify
from tests.parts.torture import record, seed, size

MIB = 1 << 20
SECONDS = int(os.environ.get("GANTRY_TORTURE_SOAK", "0")) or size(3, 1800)
STUDIES = 6


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process holds at a moment; `rss` in bytes, `family` that of its decoders too."""

    at: float
    rss: int
    family: int
    files: int
    threads: int


def sample(gateway: GatewayProcess) -> Sample:
    """Now."""
    process = Path(f"/proc/{gateway.pid}")
    (own,) = [line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS:")]
    files, threads = (len(list((process / name).iterdir())) for name in ("fd", "task"))
    return Sample(time.monotonic(), int(own.split()[1]) << 10, gateway.rss(), files, threads)


class Work:
    """Threads that each do one thing again and again until the time is over. What they meet is in `trouble`."""

    def __init__(self, end: float) -> None:
        self.end = end
        self.trouble: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def add(self, do: Callable[[int], None]) -> None:
        """Call it with 0, 1, 2 and so on."""

        def run() -> None:
            number = 0
            try:
                while time.monotonic() < self.end:
                    do(number)
                    number += 1
            except BaseException as error:
                self.trouble.append(error)

        self._threads.append(threading.Thread(target=run, daemon=True))

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait for the end of all."""
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive(), "a client hangs"
        if self.trouble:
            raise self.trouble[0]


@pytest.mark.timeout(0)
def test_what_the_process_holds_does_not_grow(yard: Yard, ledger: Ledger) -> None:
    """F-74, N: stores at both doors, searches, retrieves, pictures and deletes, all at once."""
    gateway = yard.gateway()
    dice = random.Random(seed())
    address = (gateway.host, gateway.dimse_port)
    gone: set[str] = set()

    def store_by_dimse(number: int) -> None:
        by_c_store(ledger, address, [make_piece(("soak", number % STUDIES), ("dimse", number, n)) for n in range(5)])

    def store_by_web(number: int) -> None:
        with Doors(gateway) as doors:
            pieces = [make_piece(("soak", number % STUDIES), ("web", number, n), side=64) for n in range(3)]
            assert stow(ledger, doors, pieces) == 200

    def read(number: int) -> None:
        with Doors(gateway) as doors:
            for one in doors.qido("/instances", limit=5, offset=dice.randrange(20)):
                path = resource(one["StudyInstanceUID"], one["SeriesInstanceUID"], one["SOPInstanceUID"])
                for view in ("", "/metadata", "/frames/1", "/rendered"):
                    assert doors.get(path + view).status_code in (200, 404, 410)

    def delete(number: int) -> None:
        piece = make_piece(("soak to go", number), 1)
        by_c_store(ledger, address, [piece])
        gone.add(piece.sop_uid)
        with Doors(gateway) as doors:
            assert doors.delete(piece.study_uid) in (200, 204)
        time.sleep(0.05)

    for warm in (store_by_dimse, store_by_web, read, delete):
        warm(1_000_000)
    work = Work(time.monotonic() + SECONDS)
    for do in (store_by_dimse, store_by_web, read, delete):
        work.add(do)
    work.start()
    samples: list[Sample] = []
    while time.monotonic() < work.end:
        samples.append(sample(gateway))
        time.sleep(min(1.0, SECONDS / 20))
    work.join()

    half = len(samples) // 2
    early, late = samples[half // 2 : half], samples[half + half // 2 :]
    hours = (late[-1].at - early[0].at) / 3600
    growth = {
        name: statistics.median(getattr(one, name) for one in late)
        - statistics.median(getattr(one, name) for one in early)
        for name in ("rss", "family", "files", "threads")
    }
    for sop_uid in gone:
        ledger.pieces.pop(sop_uid, None)
        ledger.answers.pop(sop_uid, None)
    record(
        "soak",
        seconds=SECONDS,
        instances=len(ledger.pieces),
        deleted=len(gone),
        rss_mib=round(late[-1].rss / MIB, 1),
        rss_growth_mib=round(growth["rss"] / MIB, 2),
        family_growth_mib=round(growth["family"] / MIB, 2),
        rss_mib_an_hour=round(growth["rss"] / MIB / hours, 1),
        files_growth=growth["files"],
        threads_growth=growth["threads"],
    )
    assert growth["rss"] < 64 * MIB, f"{growth['rss'] / MIB:.0f} MiB"
    verify(ledger, gateway)
    alive(ledger, gateway, "soak")
    calm = time.monotonic() + 60
    while (now := sample(gateway)).files > samples[0].files + 20 or now.threads > samples[0].threads + 20:
        assert time.monotonic() < calm, f"{now} after {samples[0]}"
        time.sleep(0.5)
    quiet(gateway)
