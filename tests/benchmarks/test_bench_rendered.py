"""The benchmark of pictures: its small size runs through, and writes its section."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import bench_rendered


def test_all_of_it_is_measured_and_stands_in_the_table(tmp_path: Path) -> None:
    page, history = tmp_path / "performance.md", tmp_path / "performance.jsonl"
    bench_rendered.run(bench_rendered.SIZES["small"], tmp_path, page=page, history=history)
    for row in bench_rendered.ROWS:
        assert f"| {row.title} |" in page.read_text()
    (line,) = history.read_text().splitlines()
    assert set(json.loads(line)["rate and CPU ms"]) == {row.work for row in bench_rendered.ROWS}
