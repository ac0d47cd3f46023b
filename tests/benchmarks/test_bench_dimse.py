"""The benchmark of the DIMSE door itself: its small size runs through, and writes a page and a history."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import bench_dimse


def test_all_of_it_is_measured_and_stands_in_the_table(tmp_path: Path) -> None:
    """As a command, since it makes a network of its own for the peers."""
    command = [sys.executable, bench_dimse.__file__, "--size", "small", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "performance.md").read_text()
    for row in bench_dimse.ROWS:
        assert f"| {row.title} |" in page
    assert "half-open connections" in page
    (line,) = (tmp_path / "out" / "performance.jsonl").read_text().splitlines()
    found = json.loads(line)["rate and CPU ms"]
    assert set(found) == {row.work for row in bench_dimse.ROWS}
    assert all(one["Gantry"][0] > 0 for one in found.values())
