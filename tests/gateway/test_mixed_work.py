"""After any mixture of stores, deletes, replacements and repairs, an index made from the objects alone is the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.delete import delete, describe_again
from gateway.errors import Duplicate, GatewayError, NotFound
from gateway.integrity import verify
from gateway.rebuild import rebuild
from storage import Archive, open_archive
from tests.gateway.stored import CALLER, put_bytes
from tests.gateway.test_rebuild import rows
from tests.parts.datasets import color, ct_slice, part10_bytes, report
from tests.parts.torture import record, seed, size

STUDIES = [f"mixed {number}" for number in range(4)]


@pytest.fixture(params=["sqlite", "postgres"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Archive]:
    """On a folder; other bytes replace the old ones."""
    index = f"sqlite:///{tmp_path / 'index.db'}"
    if request.param == "postgres":
        index = str(request.getfixturevalue("postgres").database())
    made = open_archive((tmp_path / "objects").as_uri(), index, tmp_path / "spool", replace=True)
    yield made
    made.close()


def instance(dice: random.Random, content: int) -> Any:
    """One of a few instances, with some content: a few UIDs, so that they meet again and again."""
    study = dice.choice(STUDIES)
    kind = dice.randrange(6)
    if kind == 0:
        return report(study, series=2, StudyDescription=f"content {content}")
    if kind == 1:
        return color(study, series=3, PatientComments=f"content {content}")
    series = dice.choice([1, 4])
    return ct_slice(study, series, dice.randint(1, 4), StudyDescription=f"content {content}", Modality="CT")


def step(dice: random.Random, archive: Archive, folder: Path) -> str:
    """One thing that happens; its name."""
    match dice.choice(
        ["store"] * 16 + ["delete"] * 3 + ["delete series", "delete study", "harm", "harm", "collect", "describe"]
    ):
        case "store":
            ds = instance(dice, dice.randint(1, 2))
            try:
                return put_bytes(archive, part10_bytes(ds)).outcome
            except Duplicate:
                return "conflict"
        case "delete" | "delete series" | "delete study" as what:
            ds = instance(dice, 1)
            uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
            depth = {"delete": 3, "delete series": 2, "delete study": 1}[what]
            try:
                delete(archive, CALLER, *uids[:depth])
            except NotFound:  # Gone is one
                return "nothing to delete"
            except GatewayError:
                raise
            return what
        case "harm":
            live = archive.index.walk(limit=1000)
            if not live:
                return "nothing to harm"
            one = dice.choice(live)
            (folder / "objects" / one.key).unlink()
            # sent again at once, as it was or not: the same data set is all that repairs it
            for content in (1, 2):
                for ds in _all(content):
                    if ds.SOPInstanceUID == one.sop_uid and put_bytes(archive, part10_bytes(ds)).outcome == "repaired":
                        return "repaired"
            return "replaced"
        case "collect":
            archive.collect(now=4e9)
            return "collect"
        case _:
            describe_again(archive)
            return "describe"


def _all(content: int) -> Iterator[Any]:
    for study in STUDIES:
        yield report(study, series=2, StudyDescription=f"content {content}")
        yield color(study, series=3, PatientComments=f"content {content}")
        for series in (1, 4):
            for number in range(1, 5):
                yield ct_slice(study, series, number, StudyDescription=f"content {content}", Modality="CT")


@pytest.mark.timeout(0)
def test_a_rebuild_after_mixed_work_gives_the_same_rows(archive: Archive, tmp_path: Path) -> None:
    """F-42: row for row, deleted and replaced ones included; nothing is missing, damaged or without a row."""
    begun = seed()
    dice = random.Random(begun)
    happened: Counter[str] = Counter()
    for _ in range(size(120, 5000)):
        happened[step(dice, archive, tmp_path)] += 1
    describe_again(archive)
    live = rows(archive)
    assert verify(archive, deep=True, lease=0).clean
    report_ = rebuild(archive)
    assert (report_.conflicts, report_.unreadable, report_.damaged) == ([], [], []), f"seed {begun}"
    assert rows(archive) == live, f"seed {begun}"
    archive.collect(now=4e9)
    archive.collect(now=4e9)
    assert rebuild(archive).instances == archive.index.count()[2]
    assert rows(archive) == live, f"seed {begun}: after the garbage went"
    record("rebuild after mixed work", seed=begun, instances=report_.instances, happened=dict(happened))
    assert {"stored", "duplicate", "replaced", "delete"} <= happened.keys()
