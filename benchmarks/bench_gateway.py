"""What a gateway of our own does at its doors: medians of wall time and the server's CPU for each operation.

`make bench` starts `gantry serve` on a temporary folder and SQLite, both durable. Machines are shared and noisy:
compare figures of one run with each other, not with those of another day. `make bench ARGS="--slices 1000"` for more.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID
from pynetdicom import AE

from tests.parts.datasets import part10_bytes, series_of
from tests.parts.gateway import GatewayProcess

TICK = os.sysconf("SC_CLK_TCK")
EXPLICIT = "1.2.840.10008.1.2.1"


def cpu(pid: int) -> float:
    """Seconds of CPU that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(name: str, gateway: GatewayProcess, works: Sequence[Callable[[], object]]) -> None:
    """Run each of `works` once and print a row."""
    times = []
    before = cpu(gateway.pid)
    for work in works:
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    spent = (cpu(gateway.pid) - before) * 1000 / len(works)
    times.sort()
    worst = times[min(len(times) * 95 // 100, len(times) - 1)]
    print(f"{name:<34} {len(works):>6} {statistics.median(times):>10.2f} {worst:>10.2f} {spent:>10.2f}")


def store_by_dimse(gateway: GatewayProcess, slices: Sequence[Dataset]) -> None:
    """C-STORE of each slice on one association."""
    ae = AE("BENCH")
    ae.add_requested_context(slices[0].SOPClassUID, EXPLICIT)
    association = ae.associate(gateway.host, gateway.dimse_port, ae_title=gateway.aet)
    for ds in slices:
        ds.file_meta = FileMetaDataset()  # pynetdicom looks for a transfer syntax there
        ds.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    works = [lambda ds=ds: association.send_c_store(ds) for ds in slices]
    measure("C-STORE, one association", gateway, works)
    association.release()


def store_by_web(gateway: GatewayProcess, client: httpx.Client, slices: Sequence[Dataset]) -> None:
    """STOW-RS of each slice, one a request."""
    url = f"{gateway.dicomweb_url}/studies"
    headers = {"Content-Type": "application/dicom"}
    bodies = [part10_bytes(ds) for ds in slices]
    works = [lambda body=body: client.post(url, content=body, headers=headers).raise_for_status() for body in bodies]
    measure("STOW-RS, one instance a request", gateway, works)


def read(gateway: GatewayProcess, client: httpx.Client, ds: Dataset, rounds: int) -> None:
    """Searches, metadata, frames and pictures of what was stored."""
    study = f"{gateway.dicomweb_url}/studies/{ds.StudyInstanceUID}"
    series = f"{study}/series/{ds.SeriesInstanceUID}"
    instance = f"{series}/instances/{ds.SOPInstanceUID}"
    stored = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=*'}
    for name, url, headers in (
        ("QIDO-RS by PatientID", f"{gateway.dicomweb_url}/studies?PatientID={ds.PatientID}", {}),
        ("QIDO-RS, instances of the series", f"{series}/instances", {}),
        ("WADO-RS, series metadata", f"{series}/metadata", {}),
        ("WADO-RS, instance", instance, {"Accept": "application/dicom; transfer-syntax=*"}),
        ("WADO-RS, frame", f"{instance}/frames/1", stored),
        ("WADO-RS, rendered", f"{instance}/rendered", {"Accept": "image/jpeg"}),
    ):
        works = [lambda url=url, headers=headers: client.get(url, headers=headers).raise_for_status()] * rounds
        measure(name, gateway, works)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=200, help="CT slices of 512 x 512 in each series (200)")
    count: int = parser.parse_args().slices
    with tempfile.TemporaryDirectory(prefix="gantry-bench-") as folder:
        gateway = GatewayProcess(Path(folder, "data"))
        try:
            print(f"{'operation':<34} {'n':>6} {'median ms':>10} {'p95 ms':>10} {'CPU ms':>10}")
            store_by_dimse(gateway, series_of(count, "dimse", rows=512, columns=512))
            slices = series_of(count, "web", rows=512, columns=512)
            with httpx.Client(timeout=60) as client:
                store_by_web(gateway, client, slices)
                read(gateway, client, slices[0], 50)
            print(f"peak memory: {gateway.peak_rss() >> 20} MiB")
        finally:
            gateway.stop()


if __name__ == "__main__":
    main()
