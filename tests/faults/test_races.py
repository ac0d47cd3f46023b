"""Several processes and threads at one instance, one study: who wins, and is what they were told true?"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
import pytest

from storage.index.sqlite import driver
from storage.records import Located
from tests.end_to_end.doors import Doors, resource
from tests.faults.conftest import FOLDER, RGW, SEAWEEDFS, Yard
from tests.parts import ledger as books
from tests.parts.fix_gateway import BackendEnvironment
from tests.parts.gateway import clean_environment
from tests.parts.history import Step, explains
from tests.parts.ledger import Ledger, make_piece
from tests.parts.torture import is_large, record, seed, size

SHARED = "folder+postgres"
"""What several processes of one machine can share without the time that S3 takes."""


@pytest.fixture
def yard(yard: Yard, backend_environment: BackendEnvironment, request: pytest.FixtureRequest) -> Yard:
    """Also on a folder and PostgreSQL."""
    if getattr(request, "param", FOLDER) == SHARED:
        yard.settings = {**yard.settings, "GANTRY_OBJECTS": f"file://{yard.folder}/data/objects"}
    return yard


def together(
    yard: Yard, deed: str, processes: int, *arguments: object, crashes: dict[int, str] | None = None, **place: Any
) -> list[str]:
    """Run a deed in several processes at once; all lines that they print. On SQLite there is one process."""
    meeting = yard.folder / f"meeting-{time.monotonic_ns()}"
    meeting.mkdir()
    processes = processes if "GANTRY_INDEX" in yard.settings else 1
    running = []
    for me in range(processes):
        own = yard.folder / f"{deed}-{me}-{time.monotonic_ns()}"
        own.mkdir()
        environment = dict(yard.settings)
        if crashes and me in crashes:
            environment["GANTRY_CRASHPOINT"] = crashes[me]
        where = yard.place(**place)
        where["spool"] = str(own / "spool")
        child = yard.forge.begin(
            f"tests.faults.deeds:{deed}", where, str(meeting), me, processes, *arguments,
            environment=clean_environment(environment), cwd=own,
        )  # fmt: skip
        running.append((me, child, own))
    lines: list[str] = []
    for me, child, own in running:
        status = child.wait(3000)
        (errors,) = own.glob("*.err")
        assert status == (-9 if crashes and me in crashes else 0), errors.read_text()[-2000:]
        (output,) = own.glob("*.out")
        lines += output.read_text().splitlines()
    return lines


def live(yard: Yard, study: str) -> dict[str, tuple[Located, bytes]]:
    """What is there of a study, by SOP Instance UID."""
    with closing(yard.archive()) as archive:
        return {row.sop_uid: (row, archive.read(row)) for row in archive.locate(make_piece(study, 0).study_uid)}


RACES = [(FOLDER, 8, 60), (SHARED, 8, 1000), (SEAWEEDFS, 2, 100)]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("yard", "small", "large"), RACES, indirect=["yard"])
def test_the_same_instance_from_many_at_once_is_stored_once(yard: Yard, small: int, large: int) -> None:
    """F-46, L1, L5: all are told that it is kept, there is one row and one change, and one object after a sweep."""
    rounds, threads = size(small, large), 16 if is_large() else 6
    lines = together(yard, "race", 4, threads, rounds, 1)
    for number in range(rounds):
        told = Counter(line.split()[2] for line in lines if line.startswith(f"{number} "))
        assert told.keys() <= {"stored", "duplicate"}, told
        assert told["stored"] == 1
    assert len(live(yard, "race")) == rounds
    with closing(yard.archive()) as archive:
        assert len([one for one in archive.changes(limit=100_000) if one.action == "create"]) == rounds
        books.sweep(archive)
        assert len(list(archive.objects.keys("obj/"))) == rounds
    record(
        f"same bytes at once, {len(lines) // rounds} writers, {name(yard)}", rounds=rounds, refused=0, rows_too_many=0
    )


def name(yard: Yard) -> str:
    """The backend in words."""
    objects = "S3" if yard.settings.get("GANTRY_OBJECTS", "file").startswith("s3") else "folder"
    return f"{objects} and {'PostgreSQL' if 'GANTRY_INDEX' in yard.settings else 'SQLite'}"


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("yard", "small", "large"), RACES, indirect=["yard"])
def test_of_different_bytes_for_one_instance_one_wins_and_the_others_are_told(
    yard: Yard, small: int, large: int
) -> None:
    """F-47: exactly one success; its bytes are served; each other one is refused as a duplicate."""
    rounds, threads = size(small, large), 16 if is_large() else 6
    lines = together(yard, "race", 4, threads, rounds, 1000)
    there = live(yard, "race")
    for number in range(rounds):
        told = [line.split()[1:] for line in lines if line.startswith(f"{number} ")]
        assert Counter(outcome for _, outcome in told) == {"stored": 1, "Duplicate": len(told) - 1}
        (winner,) = (int(content) for content, outcome in told if outcome == "stored")
        piece = make_piece("race", number, content=winner)
        assert there[piece.sop_uid][1].endswith(piece.data)
    record(f"other bytes at once, {len(lines) // rounds} writers, {name(yard)}", rounds=rounds, winners_per_round=1)


def histories(lines: list[str]) -> dict[tuple[int, int], list[Step]]:
    """The steps on each instance of each round."""
    found: dict[tuple[int, int], list[Step]] = defaultdict(list)
    for line in lines:
        number, key, who, moment, what, *rest = line.split()
        steps = found[int(number), int(key)]
        if what == "call":
            steps.append(Step(rest[0], rest[1] if rest[0] == "put" else f"by {who}", int(moment)))
            opened[int(number), int(key), who] = len(steps) - 1
        elif rest[0] != "unknown":
            place = opened[int(number), int(key), who]
            step = steps[place]
            steps[place] = Step(step.kind, step.content, step.called, int(moment), rest[0])
    return found


opened: dict[tuple[int, int, str], int] = {}
SCHEDULES = [
    (FOLDER, False, 8, 2000),
    (FOLDER, True, 8, 2000),
    (SHARED, False, 10, 2500),
    (SHARED, True, 10, 2500),
    (RGW, True, 2, 300),
]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("yard", "replace", "small", "large"), SCHEDULES, indirect=["yard"])
def test_whatever_several_do_at_once_has_an_order_that_explains_it(
    yard: Yard, replace: bool, small: int, large: int
) -> None:
    """F-49, F-51: stores, replacements, deletes and reads at random; what is there at the end fits in as well."""
    rounds, chance = size(small, large), seed()
    processes, threads = (3, 2) if "GANTRY_INDEX" in yard.settings else (1, 6)
    opened.clear()
    lines = together(yard, "history", processes, threads, rounds, chance, replace=replace)
    check(yard, lines, rounds, chance, replace)
    steps = sum(" call " in line for line in lines)
    record(
        f"histories, {'replace' if replace else 'refuse'}, {name(yard)}",
        seed=chance, histories=2 * rounds, steps=steps, unexplained=0,
        unknown=sum(line.endswith("unknown") for line in lines),
    )  # fmt: skip


def check(yard: Yard, lines: list[str], rounds: int, chance: int, replace: bool) -> None:
    """Each history has an order; no row is without its object, no object without its row after a sweep."""
    found = histories(lines)
    assert len(found) > rounds
    with closing(yard.archive()) as archive:
        alive = 0
        for (number, key), steps in found.items():
            row = archive.find(make_piece(f"round {chance} {number}", key).sop_uid)
            alive += row is not None
            end = None if row is None else str(int.from_bytes(archive.read(row)[-8:], "little"))
            assert explains(steps, replace=replace, end=end), shown(steps, end)
        assert archive.index.count()[2] == alive
        books.sweep(archive)
        assert len(list(archive.objects.keys("obj/"))) == alive
        assert [info.key for info in archive.objects.keys("tomb/")] == []
    assert inconsistencies(yard) == []


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("yard", [SHARED], indirect=True)
def test_a_process_that_dies_among_others_leaves_an_order_that_explains_it(yard: Yard) -> None:
    """F-49, F-01: one of three is killed before or after a commit; what it did not answer happened or not."""
    rounds = size(8, 300)
    for turn, point in enumerate(("P7", "P8", "P5", "D3", "D4") if is_large() else ("P7", "P8", "D4")):
        chance = seed() + turn
        opened.clear()
        crashes = {1: f"{point}:{3 if point[0] == 'D' else 6}"}
        lines = together(yard, "history", 3, 2, rounds, chance, replace=True, crashes=crashes)
        check_some(yard, lines, chance)
    assert inconsistencies(yard) == []


def shown(steps: list[Step], end: str | None) -> str:
    """A history, to be looked at: moments in milliseconds."""
    first = min(step.called for step in steps)
    lines = []
    for step in sorted(steps, key=lambda step: step.called):
        span = f"{(step.called - first) / 1e6:.2f} {(step.answered - first) / 1e6:.2f}"
        lines.append(f"{span} {step.kind} {step.content}: {step.answer}")
    return "\n".join(["", *lines, f"in the end: {end}"])


def check_some(yard: Yard, lines: list[str], chance: int) -> None:
    """As `check`, where an archive has more than this run left."""
    with closing(yard.archive()) as archive:
        for (number, key), steps in histories(lines).items():
            row = archive.find(make_piece(f"round {chance} {number}", key).sop_uid)
            end = None if row is None else str(int.from_bytes(archive.read(row)[-8:], "little"))
            assert explains(steps, replace=True, end=end), shown(steps, end)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("yard", [FOLDER, SHARED], indirect=True)
def test_a_study_that_is_deleted_while_others_store_into_it_is_whole_or_gone(yard: Yard, ledger: Ledger) -> None:
    """F-50, L4: no row without parents, no study without instances, counters that are true."""
    if "GANTRY_INDEX" in yard.settings:
        together(yard, "crowd", 4, size(6, 200))
    else:
        gateway = yard.gateway()
        threads = [Thread(target=crowd, args=(ledger, gateway, me)) for me in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        books.quiet(gateway)
        assert gateway.stop() == 0
    assert inconsistencies(yard) == []
    there = live(yard, "crowd")
    with closing(yard.archive()) as archive:
        assert archive.index.count()[2] == len(there)
        books.sweep(archive)
        assert len(list(archive.objects.keys("obj/"))) == len(there)


def crowd(ledger: Ledger, gateway: object, me: int) -> None:
    """Store into a study, or delete it, through the doors."""
    from tests.parts.gateway import GatewayProcess

    assert isinstance(gateway, GatewayProcess)
    with Doors(gateway) as doors:
        for number in range(size(10, 300)):
            if me % 2:
                assert books.stow(ledger, doors, [make_piece("crowd", me * 1000 + number)]) == 200
            else:
                assert doors.delete(make_piece("crowd", 0).study_uid) in (204, 404, 410)


COUNTS = """
SELECT 'study without instances', s.id FROM study s WHERE NOT EXISTS (SELECT 1 FROM instance i WHERE i.study = s.id)
UNION ALL
SELECT 'series without instances', s.id FROM series s WHERE NOT EXISTS (SELECT 1 FROM instance i WHERE i.series = s.id)
UNION ALL
SELECT 'series of no study', s.id FROM series s WHERE NOT EXISTS (SELECT 1 FROM study p WHERE p.id = s.study)
UNION ALL
SELECT 'instance of no series', i.id FROM instance i WHERE NOT EXISTS (SELECT 1 FROM series s WHERE s.id = i.series)
UNION ALL
SELECT 'instances of study', s.id FROM study s WHERE number_of_study_related_instances
    <> (SELECT count(*) FROM instance i WHERE i.study = s.id)
UNION ALL
SELECT 'series of study', s.id FROM study s WHERE number_of_study_related_series
    <> (SELECT count(*) FROM series x WHERE x.study = s.id)
UNION ALL
SELECT 'instances of series', s.id FROM series s WHERE number_of_series_related_instances
    <> (SELECT count(*) FROM instance i WHERE i.series = s.id)
UNION ALL
SELECT 'live and garbage', i.id FROM instance i JOIN garbage g ON g.version = i.version
"""


def inconsistencies(yard: Yard) -> list[tuple[object, ...]]:
    """Rows that contradict each other."""
    url = yard.place()["index"]
    if url.startswith("sqlite"):
        with closing(driver().connect(url.removeprefix("sqlite:///"))) as connection:
            return list(connection.execute(COUNTS))
    with psycopg.connect(url) as database:
        return database.execute(COUNTS).fetchall()


def test_who_reads_while_others_replace_and_delete_gets_one_whole_version(yard: Yard, ledger: Ledger) -> None:
    """F-51: the bytes of one of the versions, or 404 or 410; never a mixture, never an error of ours."""
    gateway = yard.gateway(GANTRY_DUPLICATES="replace")
    versions = [make_piece("read", 1, content=number, side=256) for number in range(1, 4)]
    path = resource(versions[0].study_uid, versions[0].series_uid, versions[0].sop_uid)
    done = Event()
    seen: Counter[object] = Counter()
    wrong: list[object] = []

    def read() -> None:
        with Doors(gateway) as doors:
            while not done.is_set():
                answer = doors.get(path, "application/dicom; transfer-syntax=*")
                if answer.status_code == 200:
                    (which,) = [n for n, piece in enumerate(versions) if answer.content.endswith(piece.data)] or [-1]
                    seen[which] += 1
                    if which < 0:
                        wrong.append(answer.content[-20:])
                else:
                    seen[answer.status_code] += 1

    readers = [Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    with Doors(gateway) as doors:
        for number in range(size(40, 2000)):
            assert books.stow(ledger, doors, [versions[number % 3]]) == 200
            if number % 4 == 3:
                assert doors.delete(versions[0].study_uid) == 204
    done.set()
    for reader in readers:
        reader.join(30)
    assert wrong == []
    assert seen.keys() <= {0, 1, 2, 404, 410}, seen
    assert {0, 1, 2} <= seen.keys()
    books.quiet(gateway)
    record(
        "reads during replacements and deletes", **{f"version_or_status_{key}": value for key, value in seen.items()}
    )


def test_a_uid_of_another_study_is_refused_and_the_first_stays(yard: Yard, ledger: Ledger) -> None:
    """F-53: 0111H by both doors, also where replacing is allowed; the log names the reason."""
    gateway = yard.gateway(GANTRY_DUPLICATES="replace")
    first, other = make_piece("mine", 1), make_piece("theirs", 1)
    thief = books.Piece(
        other.study_uid, other.series_uid, first.sop_uid,
        other.data.replace(other.sop_uid.encode(), first.sop_uid.encode()),
    )  # fmt: skip
    with Doors(gateway) as doors:
        assert books.stow(ledger, doors, [first]) == 200
        assert doors.c_store([thief.instance()]) == [0x0111]
        answer = doors.stow(thief.file())
        assert (answer.status, answer.failed) == (409, {first.sop_uid: 0x0111})
    books.verify(ledger, gateway)
    assert any(first.sop_uid in line and "refused" in line for line in gateway.log().splitlines())


@pytest.mark.parametrize("yard", [SHARED, SEAWEEDFS], indirect=True)
def test_a_store_that_was_stopped_past_its_lease_is_refused(yard: Yard) -> None:
    """F-54, F-52, L1: by then a sweep may have taken its object for an orphan; no row comes to name it."""
    own = yard.folder / "paused"
    own.mkdir()
    where = yard.place(lease=1.0)
    where["spool"] = str(own / "spool")
    environment = clean_environment({**yard.settings, "GANTRY_CRASHPOINT": "P6:1:stop"})
    child = yard.forge.begin("tests.faults.deeds:store_some", where, "paused", 1, environment=environment, cwd=own)
    wait_stopped(child.pid)
    time.sleep(1.1)
    with closing(yard.archive()) as archive:
        assert len(list(archive.objects.keys("obj/"))) == 1
        books.sweep(archive)
        assert list(archive.objects.keys("obj/")) == []
        os.kill(child.pid, signal.SIGCONT)
        assert child.wait(60) == 1
        (errors,) = own.glob("*.err")
        assert "OutOfResources" in errors.read_text()
        assert archive.index.count() == (0, 0, 0)
    status, output = yard.deed("store_some", yard.place(), "paused", 1)
    assert (status, output) == (0, "0\n")
    assert len(live(yard, "paused")) == 1


def wait_stopped(pid: int, seconds: float = 60.0) -> None:
    """Return once a process is stopped."""
    end = time.monotonic() + seconds
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < end, "it did not stop"
        time.sleep(0.01)
