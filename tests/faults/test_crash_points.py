"""SIGKILL in the middle of a store, a delete, a sweep, a rebuild, a migration: at named points, and at any moment."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import closing
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine

from storage.index.migrate import FOLDER as FOLDER_OF_STEPS
from storage.index.sqlite import driver
from tests.end_to_end.doors import Doors
from tests.faults.conftest import FOLDER, RGW, SEAWEEDFS, Yard
from tests.parts import ledger as books
from tests.parts.ledger import Ledger, make_piece
from tests.parts.received import received
from tests.parts.torture import is_large, record, seed, size

KILLED = -9
IN_A_STORE = ["P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9", "P10"]
POINTS = [
    pytest.param(FOLDER, IN_A_STORE, id=FOLDER),
    pytest.param(SEAWEEDFS, ["P5", "P8", "P3", "P7"], id=SEAWEEDFS),
    *([pytest.param(RGW, ["P5", "P7"], id=RGW)] if is_large() else []),
]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("yard", "points"), POINTS, indirect=["yard"])
def test_what_was_acknowledged_survives_a_crash_at_every_point_of_a_store(
    yard: Yard, ledger: Ledger, points: list[str]
) -> None:
    """F-01, L1 to L6, A, Q: senders at both doors each time; the next gateway starts without any step of repair."""
    chance = random.Random(seed())
    cycles = size(len(points), 1000) if yard.settings == {} else size(2, 200)
    ready: list[float] = []
    for cycle in range(cycles):
        point = points[cycle % len(points)]
        # beyond what looking after the last crash takes, which passes these points as well
        gateway = yard.gateway(GANTRY_CRASHPOINT=f"{point}:{chance.randrange(60, 100)}")
        ready.append(gateway.ready_seconds)
        if cycle:
            books.verify(ledger, gateway, last_studies(ledger, cycle - 1))
            if cycle % 5 == 0:
                books.resend(ledger, gateway)
        with books.senders(ledger, gateway, cycle) as join:
            assert gateway.wait(60) == KILLED
            join()
        assert "Traceback" not in gateway.log()
    gateway = yard.gateway()
    assert received(gateway.data / "spool") == []
    books.alive(ledger, gateway, "after")
    outcome = ledger.counts()
    assert outcome["ok"] > 20 * cycles
    again = books.resend(ledger, gateway)
    books.verify(ledger, gateway)
    one = next(iter(ledger.pieces.values()))
    expected = sorted(p.data for p in ledger.pieces.values() if p.study_uid == one.study_uid)
    assert sorted(books.c_get(gateway, one.study_uid)) == expected
    nothing = make_piece("never sent", 1)
    sample = [*list(ledger.pieces.values())[:200], nothing]
    committed, failed = books.commit(gateway, sample)
    assert committed == {piece.sop_uid for piece in sample[:-1]}
    assert failed == {nothing.sop_uid: 0x0112}
    books.quiet(gateway)
    assert gateway.stop() == 0
    with closing(yard.archive()) as archive:
        books.check_archive(ledger, archive)
    record(
        f"kill -9 at points of a store, {kind(yard)}",
        seed=seed(),
        cycles=cycles,
        **outcome,
        sent_again=again,
        lost=0,
        wedged=0,
        restart_to_ready_s=f"{median(ready):.2f} in the middle, {quantiles(ready, n=100)[98]:.2f} at the 99th "
        f"percentile, {max(ready):.2f} at most",
    )


def last_studies(ledger: Ledger, cycle: int) -> list[str]:
    """Of the senders of one cycle."""
    return [make_piece((cycle, name), 0).study_uid for name in "abcd"]


def test_a_request_of_fifty_parts_is_kept_part_by_part(yard: Yard, ledger: Ledger) -> None:
    """F-03: no answer came; each part is there whole or not at all, and the same request then succeeds."""
    gateway = yard.gateway(GANTRY_CRASHPOINT="P7:9")
    pieces = [make_piece("fifty", number) for number in range(50)]
    with Doors(gateway) as doors, pytest.raises(httpx.HTTPError):
        books.stow(ledger, doors, pieces)
    assert gateway.wait(60) == KILLED
    gateway = yard.gateway()
    books.verify(ledger, gateway)
    with Doors(gateway) as doors:
        there = len(doors.qido(f"/studies/{pieces[0].study_uid}/instances", limit=100))
        assert 0 < there < 50
        assert books.stow(ledger, doors, pieces) == 200
    assert len(ledger.acknowledged()) == 50
    books.verify(ledger, gateway)
    books.quiet(gateway)


BOTH = pytest.mark.parametrize("yard", [FOLDER, SEAWEEDFS], indirect=True)


def fill(yard: Yard, ledger: Ledger, study: object, count: int) -> None:
    """Store some without a gateway."""
    status, output = yard.deed("store_some", yard.place(), study, count)
    assert status == 0
    for number in map(int, output.split()):
        piece = make_piece(study, number)
        ledger.sent(piece)
        ledger.answered(piece.sop_uid, 0)


def forget(ledger: Ledger, study: object) -> None:
    """A study is gone, as it should be."""
    gone = make_piece(study, 0).study_uid
    for sop_uid in [sop for sop, piece in ledger.pieces.items() if piece.study_uid == gone]:
        for book in (ledger.pieces, ledger.answers, ledger.attempts):
            del book[sop_uid]


@BOTH
def test_a_delete_is_done_or_not_wherever_it_is_cut_short(yard: Yard, ledger: Ledger) -> None:
    """F-04: all of a study is there, or nothing; another delete takes it away; a rebuild agrees."""
    fill(yard, ledger, "stays", 2)
    points = ["D1", "D2", "D3", "D4"] if not yard.settings else ["D3", "D4"]
    times = size(len(points), 100)
    for number in range(times):
        point = points[number % len(points)]
        study = f"leaves {number}"
        fill(yard, ledger, study, 3)
        study_uid = make_piece(study, 0).study_uid
        status, _ = yard.deed("delete", yard.place(), study_uid, crash=point)
        assert status == KILLED
        with closing(yard.archive()) as archive:
            left = archive.locate(study_uid)
            assert len(left) == (0 if point == "D4" else 3)
            if left:
                assert all(archive.read(row) for row in left)  # whoever is there can be read
                archive.delete(study_uid)
            assert archive.find(make_piece("stays", 1).sop_uid) is not None
            created = {change.sop_uid for change in archive.changes() if change.action == "delete"}
            assert {make_piece(study, n).sop_uid for n in range(3)} <= created
        status, output = yard.deed("store_some", yard.place(), study, 3)  # and may come back at once
        assert (status, len(output.split())) == (0, 3)
        yard.deed("delete", yard.place(), study_uid)
        forget(ledger, study)
    with closing(yard.archive()) as archive:
        books.sweep(archive)
        assert archive.index.count() == (1, 1, 2)
        assert len(list(archive.objects.keys("obj/"))) == 2
    record("kill -9 in a delete, " + kind(yard), times=times, half_deleted=0)


def kind(yard: Yard) -> str:
    """The backend in words."""
    return "S3 and PostgreSQL" if yard.settings else "folder and SQLite"


@BOTH
def test_housekeeping_goes_on_where_it_was_cut_short(yard: Yard, ledger: Ledger) -> None:
    """F-05: collector and sweeper killed at each point; what lives stays, what is waste goes in the end."""
    fill(yard, ledger, "stays", 3)
    points = [("collect", f"G{n}") for n in (1, 2, 3)] + [("sweep_all", f"G{n}") for n in (4, 5, 6)]
    if yard.settings and not is_large():
        points = [("collect", "G2"), ("sweep_all", "G4")]
    for number in range(size(len(points), 60)):
        deed, point = points[number % len(points)]
        study = f"waste {number}"
        if deed == "collect":
            fill(yard, ledger, study, 2)
            forget(ledger, study)
            yard.deed("delete", yard.place(), make_piece(study, 0).study_uid)
        else:
            assert yard.deed("leave_orphan", yard.place(), study)[0] == 0
        assert yard.deed(deed, yard.place(), crash=point)[0] == KILLED, point
        with closing(yard.archive()) as archive:
            for row in archive.locate(make_piece("stays", 0).study_uid):
                assert archive.read(row)
            books.sweep(archive)
            assert len(list(archive.objects.keys("obj/"))) == 3, point
            assert list(archive.objects.keys("tomb/")) == []
    gateway = yard.gateway()
    books.verify(ledger, gateway)
    record("kill -9 in housekeeping, " + kind(yard), times=size(len(points), 60), lost=0)


@BOTH
def test_a_rebuild_goes_on_where_it_was_cut_short(yard: Yard, ledger: Ledger) -> None:
    """F-05: until it is done nobody is served half an index; then it is the index that was there before."""
    fill(yard, ledger, "one", 4)
    fill(yard, ledger, "two", 2)
    with closing(yard.archive()) as archive:
        before = [row.version for study in ("one", "two") for row in archive.locate(make_piece(study, 0).study_uid)]
    for crash in ("G7", "G8:3", "G9") if not yard.settings or is_large() else ("G8:3",):
        assert yard.deed("rebuild", yard.place(), crash=crash)[0] == KILLED
        with closing(yard.archive()) as archive:
            assert archive.index.note("rebuild") is not None
    status, output = yard.deed("rebuild", yard.place())
    assert (status, output.strip().endswith("[], []]")) == (0, True)
    with closing(yard.archive()) as archive:
        after = [row.version for study in ("one", "two") for row in archive.locate(make_piece(study, 0).study_uid)]
        assert after == before
        assert archive.index.note("rebuild") is None


@BOTH
def test_a_scrub_that_was_cut_short_finds_the_damage_in_its_next_cycle(yard: Yard, ledger: Ledger) -> None:
    """F-05, F-16: killed with a slice in hand, or between two objects; nothing good is called damaged."""
    fill(yard, ledger, "scrubbed", 4)
    hurt = make_piece("scrubbed", 2)
    with closing(yard.archive()) as archive:
        row = archive.find(hurt.sop_uid)
        assert row is not None
        file = archive.read(row)
        archive.objects.delete(row.key)
        archive.objects.put_bytes(row.key, file[:-1] + bytes([file[-1] ^ 1]))
    for crash in ("G10", "G11", "G11:3") if not yard.settings or is_large() else ("G11:2",):
        assert yard.deed("scrub", yard.place(), crash=crash)[0] == KILLED
    assert yard.deed("scrub", yard.place())[1].splitlines()[-1] == f'["{hurt.sop_uid}"]'
    assert yard.deed("store_some", yard.place(), "scrubbed", 1, 2)[0] == 0  # sent again: repaired
    assert yard.deed("scrub", yard.place())[1].splitlines()[-1] == "[]"


@BOTH
def test_a_reconcile_that_was_cut_short_is_done_by_the_next_one(yard: Yard, ledger: Ledger) -> None:
    """F-05, F-43: until then the index is known to be behind; each instance comes back once."""
    fill(yard, ledger, "stays", 2)
    fill(yard, ledger, "forgotten", 4)
    study = make_piece("forgotten", 0).study_uid
    assert yard.deed("forget", yard.place(), study)[0] == 0
    crashes = ("G12", "G8:2", "G13") if not yard.settings or is_large() else ("G8:2",)
    for crash in crashes:
        assert yard.deed("reconcile", yard.place(), crash=crash)[0] == KILLED
        with closing(yard.archive()) as archive:
            assert archive.high_water.behind() is not None
    adopted = 0 if "G13" in crashes else 2
    assert yard.deed("reconcile", yard.place()) == (0, f"{adopted}\n")
    with closing(yard.archive()) as archive:
        assert archive.high_water.behind() is None
        there = {row.sop_uid: archive.read(row) for row in archive.locate(study)}
        assert {sop: ledger.pieces[sop].file() for sop in there} == there
        told = Counter(change.sop_uid for change in archive.changes() if change.action == "create")
        assert {told[sop] for sop in there} == {2}  # when it was stored, and when it came back
        assert len(there) == 4


FIRST_STARTS = [(FOLDER, point) for point in ("M1", "M2", "M3", "M4", "M5")] + [(SEAWEEDFS, "M2"), (SEAWEEDFS, "M4")]


@pytest.mark.parametrize(("yard", "point"), FIRST_STARTS, indirect=["yard"])
def test_a_first_start_that_was_cut_short_is_no_obstacle(yard: Yard, ledger: Ledger, point: str) -> None:
    """F-06: the schema and the mark of the store are made by whoever starts next."""
    assert yard.deed("store_some", yard.place(), "early", 1, crash=point)[0] == KILLED
    assert yard.deed("store_some", yard.place(), "early", 1, crash=point)[0] in (KILLED, 0)
    fill(yard, ledger, "early", 2)
    with closing(yard.archive()) as archive:
        books.check_archive(ledger, archive)
        assert len(list(archive.objects.keys("store-id/"))) <= 3


def test_a_migration_of_a_filled_index_that_was_cut_short_is_done_by_the_next_start(yard: Yard, ledger: Ledger) -> None:
    """F-06: from the first schema, filled, at each point; what was there stays."""
    place = yard.place()
    index = Path(place["index"].removeprefix("sqlite:///"))
    index.parent.mkdir(parents=True)
    upgrade_to(index, "0001")
    for point in ("M1", "M2", "M3"):
        with closing(driver().connect(index)) as connection:
            (schema,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            if schema == "0001":
                needed = required(connection, "study")
                marks = ", ".join("?" for _ in needed)
                connection.execute("DELETE FROM study")
                connection.execute(f"INSERT INTO study ({', '.join(needed)}) VALUES ({marks})", ["7"] * len(needed))
                connection.commit()
        assert yard.deed("migrate", place["index"], crash=point)[0] in (KILLED, 0)
        with closing(driver().connect(index)) as connection:
            assert connection.execute("SELECT study_instance_uid FROM study").fetchall() == [("7",)]
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert yard.deed("migrate", place["index"])[0] == 0
    with closing(driver().connect(index)) as connection:
        assert connection.execute("SELECT study_instance_uid FROM study").fetchall() == [("7",)]
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() != ("0001",)


def upgrade_to(index: Path, revision: str) -> None:
    """A new index of an earlier version."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER_OF_STEPS))
    engine = create_engine(f"sqlite:///{index}", poolclass=NullPool)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()


def required(connection: Any, table: str) -> list[str]:
    """Columns that have to have a value."""
    facts = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return [name for _, name, _, not_null, default, key in facts if (not_null and default is None) or key]


def test_a_file_that_is_no_dicom_among_the_objects_holds_nothing_up(yard: Yard, ledger: Ledger) -> None:
    """F-09: the gateway starts and serves the rest; a rebuild names it and goes on."""
    fill(yard, ledger, "good", 2)
    folder = Path(yard.place()["objects"].removeprefix("file://"))
    name = "ab" + "c" * 30
    poison = folder / "obj" / "ab" / f"{name}-{'0' * 12}7{'0' * 19}.dcm"
    poison.parent.mkdir(parents=True, exist_ok=True)
    poison.write_bytes(b"\xff" * 5000)
    gateway = yard.gateway()
    books.alive(ledger, gateway, "poison")
    books.verify(ledger, gateway)
    assert gateway.stop() == 0
    status, output = yard.deed("rebuild", yard.place())
    assert status == 0
    assert poison.name in output
    gateway = yard.gateway()
    books.verify(ledger, gateway)
    books.quiet(gateway)
