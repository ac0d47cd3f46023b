"""S3 servers that know less than Amazon's, or list less than they have: the archive is as good on them."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.delete import delete
from gateway.rebuild import rebuild
from storage import Archive, open_archive
from storage.versions import OBJECTS, new_version
from tests.faults.deeds import CALLER, put
from tests.parts.ledger import make_piece
from tests.storage.objects.fake_s3 import FakeS3

DAY = 86_401.0
HIDDEN = 0.1
"""The part of all objects that each list lacks."""


@pytest.fixture
def fake() -> Iterator[FakeS3]:
    """It knows neither conditions nor checksums, and lists seven at a time."""
    with FakeS3(conditional=False, page=7) as server:
        yield server


@pytest.fixture
def archive(fake: FakeS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """One on it."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "somebody")
    index = f"sqlite:///{tmp_path / 'index.db'}"
    made = open_archive("s3://bucket/here", index, tmp_path / "spool", endpoint=fake.endpoint, replace=True)
    yield made
    made.close()


def live(archive: Archive, study: str = "lesser") -> dict[str, bytes]:
    """What is there, and can be read."""
    return {row.sop_uid: archive.read(row) for row in archive.locate(make_piece(study, 0).study_uid)}


def test_a_server_without_conditions_and_checksums_keeps_as_much(archive: Archive) -> None:
    """F-32, L1, L4, L5: stores, duplicates, replacements, deletes, a rebuild: nothing rests on what it lacks."""
    for number in range(12):
        assert put(archive, "lesser", number) == "stored"
    assert put(archive, "lesser", 1) == "duplicate"
    assert put(archive, "lesser", 2, content=5) == "replaced"
    for number in (3, 4):
        piece = make_piece("lesser", number)
        delete(archive, CALLER, piece.study_uid, piece.series_uid, piece.sop_uid)
    there = live(archive)
    assert len(there) == 10
    assert rebuild(archive).conflicts == []
    assert live(archive) == there


def test_a_list_that_lacks_objects_costs_none_that_lives(archive: Archive, fake: FakeS3) -> None:
    """F-29, L1: a tenth is missing in each list, another one each time; orphans go, some of them later."""
    dice = random.Random(29)
    for number in range(30):
        put(archive, "lesser", number)
    gone = make_piece("lesser", 7)
    delete(archive, CALLER, gone.study_uid, gone.series_uid, gone.sop_uid)
    for number in range(5):
        archive.objects.put_bytes(archive.key(f"1.2.{number}", new_version()), b"left by a crash")
    there = live(archive)
    fake.hides = lambda key: dice.random() < HIDDEN
    removed = 0
    for day in range(1, 9):
        removed += archive.sweep(time.time() + day * DAY)
        archive.collect(time.time() + day * DAY)
        assert live(archive) == there
    fake.hides = lambda key: False
    assert removed == 5
    assert len(list(archive.objects.keys(OBJECTS))) == len(there) == 29
