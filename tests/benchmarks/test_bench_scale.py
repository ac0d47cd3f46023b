"""The generated index: what a store would have written, and a table of searches in it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from benchmarks import bench_scale, workload
from benchmarks.scale import INSTANCES, SERIES, fill
from storage import open_index
from storage.attributes import BY_KEYWORD, Level
from storage.query import Query, condition


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_generated_index_answers_as_a_filled_one(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/index.db"
    if database == "postgres":
        url = str(request.getfixturevalue("postgres").database())
    fill(url, 20)
    index = open_index(url)
    try:
        assert index.count() == (20, 20 * SERIES, 20 * SERIES * INSTANCES)
        facts = workload.described(7)
        for key, value in (("PatientName", facts.name), ("StudyInstanceUID", facts.study)):
            one = condition(BY_KEYWORD[key], value)
            assert one is not None
            (match, *_) = index.search(Query(Level.STUDY, (one,))).matches
            assert match.values["PatientID"] == facts.patient_id
            assert match.values["NumberOfStudyRelatedInstances"] == SERIES * INSTANCES
        assert len(index.locate(facts.study)) == SERIES * INSTANCES
    finally:
        index.close()


def test_searches_in_two_sizes_stand_in_a_table(tmp_path: Path) -> None:
    pairs = [("SQLite", (20, 60))]
    assert bench_scale.run(tmp_path, pairs, runs=1, seconds=0.02, only_make=True) == []
    made = (tmp_path / "SQLite" / "60" / "index.db").stat().st_ino
    (table,) = bench_scale.run(tmp_path, pairs, runs=1, seconds=0.02)
    assert (tmp_path / "SQLite" / "60" / "index.db").stat().st_ino == made
    assert table.count("\n") == 1 + len(bench_scale.searches(Random(1), 20))
