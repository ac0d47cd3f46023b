"""Disks that are full, fail or are read-only: each call of a store and of a delete fails once, by the shim."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.doors import Doors
from tests.end_to_end.test_broken_parts import small_disk
from tests.faults.conftest import Yard
from tests.parts import ledger as books
from tests.parts import once
from tests.parts.forge import Forge
from tests.parts.ledger import Ledger, Piece, make_piece
from tests.parts.processes import NotReady
from tests.parts.torture import record, size

OUT_OF_RESOURCES = 0xA700
STEP = {"sync": 1, "write": size(3, 1), "any": size(5, 1)}


@pytest.fixture
def yard(tmp_path: Path, shimmed_forge: Forge) -> Iterator[Yard]:
    """On folder and SQLite, under the shim."""
    with ExitStack() as running:
        yield Yard(tmp_path, {}, shimmed_forge, running)


def prepared(yard: Yard) -> dict[str, str]:
    """Instances that are there before; the environment that puts the archive behind the shim."""
    assert yard.deed("store_some", yard.place(), "before", 2)[0] == 0
    return {"SHIM_ROOT": str(yard.folder / "data")}


FAULTS = [
    ("any", "ENOSPC", False),
    ("any", "EIO", False),
    ("sync", "EIO", False),
    ("write", "EIO", False),
    ("any", "ENOSPC", True),
    ("any", "EROFS", True),
]


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("call", "error", "lasting"), FAULTS)
def test_whichever_call_fails_nothing_is_acknowledged_that_is_not_kept(
    yard: Yard, ledger: Ledger, call: str, error: str, lasting: bool
) -> None:
    """F-12, F-13, F-14, L1, L2, L3: at the n-th call of one store and one delete, for every n; no spool file stays."""
    environment = prepared(yard)
    lines: list[dict[str, Any]] = []
    step = STEP[call]
    status, output = yard.deed("suffer", yard.place(), call, error, 1, step, lasting, seconds=600, environ=environment)
    assert status == 0
    lines = [json.loads(line) for line in output.splitlines()]
    assert len(lines) > 3
    stored = [line for line in lines if line["stored"] != "ok"]
    assert stored, "no store was hit"
    assert {line["stored"] for line in stored} <= ({"full"} if error == "ENOSPC" else {"OutOfResources"}), lines
    assert all(line["readable"] for line in lines)
    # who may not write cannot remove either, nor settle
    assert lasting or {line["left"] for line in lines if line["after"] == "ok"} == {0}
    if call == "sync":  # after a sync that failed nothing is believed until the next start
        for line in lines[:-1]:
            assert line["stored"] == "ok" or (line["deleted"], line["after"]) == ("Unavailable", "OutOfResources"), line
            assert line["deleted"] == "ok" or line["after"] == "OutOfResources", line
    elif call == "any" and error == "ENOSPC":  # once there is room again, all is well, unless a sync failed
        assert [line["after"] for line in lines].count("ok") > len(lines) / 2
    with closing(yard.archive()) as archive:
        for line in lines:
            n = line["n"]
            for study, said in ((f"hit {n}", line["stored"]), (f"after {n}", line["after"])):
                piece = make_piece(study, 1)
                row = archive.find(piece.sop_uid)
                assert row is not None or said != "ok", f"L1: {study}"
                assert row is None or archive.read(row).endswith(piece.data), f"L2: {study}"
            gone = archive.find(make_piece(f"gone {n}", 1).sop_uid)
            assert gone is None or (line["deleted"] != "ok" and archive.read(gone))
        books.sweep(archive)
        assert len(list(archive.objects.keys("obj/"))) == archive.index.count()[2]
    for line in stored[:3]:
        assert yard.deed("store_some", yard.place(), f"hit {line['n']}", 1, 1)[0] == 0
    record(
        f"{error} at {'every' if step == 1 else f'each {step}th'} {call} call{' and all after it' if lasting else ''}",
        points=len(lines),
        stores_refused=len(stored),
        false_acknowledgements=0,
    )


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("when", ["KILL", "KILLED"])
def test_whichever_call_is_the_last_what_was_acknowledged_is_there(yard: Yard, when: str) -> None:
    """F-01: SIGKILL just before or just after the n-th call of a store that changes something on the disk."""
    environment = prepared(yard)
    points = 0
    for n in range(1, 1000, size(7, 1)):
        fault = {**environment, "SHIM_FAULT": f"any:{n}:{when}"}
        status, output = yard.deed("store_some", yard.place(), f"cut {n}", 3, environ=fault)
        with closing(yard.archive()) as archive:
            for number in range(3):
                row = archive.find(make_piece(f"cut {n}", number).sop_uid)
                assert row is not None or str(number) not in output.split()
                assert row is None or archive.read(row).endswith(make_piece(f"cut {n}", number).data)
        if status == 0:
            break
        assert status == -9
        points += 1
    assert points > 5
    record(f"SIGKILL {'before' if when == 'KILL' else 'after'} a call", points=points, lost=0)


@pytest.mark.parametrize(("where", "at"), [("/.arrivals/", 2), ("/objects/", 4), ("index.db-wal", 3)])
def test_after_a_sync_that_failed_nothing_is_acknowledged_until_the_next_start(
    yard: Yard, ledger: Ledger, where: str, at: int
) -> None:
    """F-13: through the doors; reads go on, `/readyz` says why, and the next start is well."""
    environment = prepared(yard)
    fault = {**environment, "SHIM_PATH": where, "SHIM_FAULT": f"sync:{at}:EIO:1"}
    gateway = yard.gateway(**fault)
    statuses: list[int] = []
    with Doors(gateway) as doors:
        for number in range(8):
            piece = make_piece("failing", number)
            if number % 2:
                books.by_c_store(ledger, (gateway.host, gateway.dimse_port), [piece])
            else:
                assert books.stow(ledger, doors, [piece]) in (200, 503)
            statuses.append(ledger.answers[piece.sop_uid])
        # a store does not wait for the log of the index, a delete does
        refused = statuses.index(OUT_OF_RESOURCES) if OUT_OF_RESOURCES in statuses else 8
        assert statuses == [0] * refused + [OUT_OF_RESOURCES] * (8 - refused)
        assert refused < 8 or where == "index.db-wal"
        study = make_piece("before", 0).study_uid
        assert len(doors.retrieve(study)) == 2
        assert doors.delete(study) == 503
        books.by_c_store(ledger, (gateway.host, gateway.dimse_port), [make_piece("failing", 8)])
        assert ledger.answers[make_piece("failing", 8).sop_uid] == OUT_OF_RESOURCES
        assert len(doors.qido(f"/studies/{study}/instances")) == 2
    ready = once.get(f"{gateway.http_url}/readyz", timeout=20)
    assert ready.status_code == 503
    assert "io_error" in {check.get("reason") for check in ready.json()["checks"].values()}
    books.verify(ledger, gateway)
    books.quiet(gateway)
    assert gateway.stop() == 0
    gateway = yard.gateway()
    books.alive(ledger, gateway, "mended")
    assert books.resend(ledger, gateway) == 9 - refused
    books.verify(ledger, gateway)


def test_a_disk_that_stands_still_holds_up_nobody_who_does_not_need_it(yard: Yard, ledger: Ledger) -> None:
    """F-19: whoever stores or deletes meanwhile is told so in time, at both doors; reads, C-ECHO and probes go on, no
    threads gather; once the disk goes on, so does the gateway, and what it was refused is there whole or not at all."""
    environment = prepared(yard)
    hold = yard.folder / "hold"
    gateway = yard.gateway(**environment, SHIM_HOLD=str(hold), GANTRY_PATIENCE="1")
    address, study = (gateway.host, gateway.dimse_port), make_piece("before", 0).study_uid
    with Doors(gateway) as doors, ThreadPoolExecutor(5) as pool:
        books.by_c_store(ledger, address, [make_piece("going", 0)])
        assert books.stow(ledger, doors, [make_piece("going", 1)]) == 200
        hold.touch()
        try:
            stuck: list[Future[Any]] = [
                pool.submit(books.by_c_store, ledger, address, [make_piece("stuck", 0)]),
                pool.submit(books.by_c_store, ledger, address, [make_piece("stuck", 1)]),
                pool.submit(stowed, ledger, doors, make_piece("stuck", 2)),
                pool.submit(stowed, ledger, doors, make_piece("stuck", 3)),
                pool.submit(doors.delete, study),
            ]
            while not all(one.done() for one in stuck):
                assert once.get(f"{gateway.http_url}/healthz", timeout=5).status_code == 200
                time.sleep(0.1)
            assert [one.result() for one in stuck[2:]] == [503, 503, 503]
            assert [ledger.answers[make_piece("stuck", n).sop_uid] for n in range(2)] == [OUT_OF_RESOURCES] * 2
            threads = threads_of(gateway.pid)
            for number in range(4, 12):
                books.by_c_store(ledger, address, [make_piece("stuck", number)])
                assert ledger.answers[make_piece("stuck", number).sop_uid] == OUT_OF_RESOURCES
                assert stowed(ledger, doors, make_piece("stuck", -number)) == 503
            assert threads_of(gateway.pid) < threads + 8  # of sixteen that came, none stays but the last ones
            ready = once.get(f"{gateway.http_url}/readyz", timeout=20)
            assert (ready.status_code, ready.json()["checks"]["objects"]) == (
                503, {"status": "failing", "reason": "stalled"},
            )  # fmt: skip
            assert len(doors.retrieve(study)) == 2
            assert len(doors.qido(f"/studies/{study}/instances")) == 2
        finally:
            hold.unlink()
        books.alive(ledger, gateway, "going again", seconds=20)
        assert doors.delete(study) in (204, 404, 410)  # the one that was not waited for may have been done
    end = time.monotonic() + 30
    while "disk_answers" not in gateway.log():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert "disk_stalled" in gateway.log()
    books.verify(ledger, gateway)
    books.resend(ledger, gateway)
    books.verify(ledger, gateway)
    books.quiet(gateway)
    assert gateway.stop() == 0


def stowed(ledger: Ledger, doors: Doors, piece: Piece) -> int:
    """The status of a request whose answer is no more than a status."""
    ledger.sent(piece)
    return doors.stow(piece.file()).status


def threads_of(pid: int) -> int:
    """How many threads a process has."""
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


def test_a_disk_without_inodes_is_full(yard: Yard, ledger: Ledger) -> None:
    """F-15, as F-10: A700 and 507; nothing stays in the spool; once there are inodes again, all goes in."""
    with small_disk(yard.folder / "data", 64, inodes=120) as disk:
        gateway = yard.gateway()
        books.by_c_store(ledger, (gateway.host, gateway.dimse_port), [make_piece("inodes", n) for n in range(20)])
        assert ledger.counts() == {"ok": 20, "failed": 0, "unknown": 0}
        ballast = disk / "ballast"
        ballast.mkdir()

        def fill(name: str) -> None:
            with pytest.raises(OSError, match="No space"):
                for number in range(200):
                    (ballast / f"{name}{number}").touch()

        fill("first")
        with Doors(gateway) as doors:
            books.by_c_store(ledger, (gateway.host, gateway.dimse_port), [make_piece("more", n) for n in range(5)])
            fill("again")  # what was refused has left some
            assert books.stow(ledger, doors, [make_piece("more", 9)]) == 507
        refused = [n for n in (0, 1, 2, 3, 4, 9) if ledger.answers[make_piece("more", n).sop_uid] == OUT_OF_RESOURCES]
        assert 0 in refused and 9 in refused
        books.verify(ledger, gateway)
        books.quiet(gateway)
        for file in ballast.iterdir():
            file.unlink()
        books.alive(ledger, gateway, "room")
        assert books.resend(ledger, gateway) == len(refused)
        books.verify(ledger, gateway)
        assert gateway.stop() == 0


def test_objects_of_another_store_are_not_served(yard: Yard, ledger: Ledger) -> None:
    """F-14: where another file system comes to lie over the folder nothing is written into it; and where the folder is
    another at the next start, there is none."""
    prepared(yard)
    gateway = yard.gateway()
    piece = make_piece("mounted over", 1)
    with small_disk(gateway.data / "objects", 8, exist_ok=True) as disk:
        books.by_c_store(ledger, (gateway.host, gateway.dimse_port), [piece])
        assert once.get(f"{gateway.http_url}/readyz", timeout=20).json()["checks"]["objects"]["status"] == "failing"
        assert list(disk.iterdir()) == []
    books.resend(ledger, gateway)
    books.verify(ledger, gateway)
    assert gateway.stop() == 0
    with small_disk(gateway.data / "objects", 8, exist_ok=True) as disk:
        with pytest.raises(NotReady, match="belongs to another object store"):
            yard.gateway()
        assert list(disk.iterdir()) == []
    gateway = yard.gateway()
    books.alive(ledger, gateway, "at home")
    books.verify(ledger, gateway)


def test_a_symbolic_link_among_the_objects_leads_nowhere(yard: Yard, ledger: Ledger) -> None:
    """F-20: planted in place of a folder; nothing is written or read outside, and the rest is served."""
    prepared(yard)
    outside = yard.folder / "outside"
    outside.mkdir()
    objects = yard.folder / "data" / "objects" / "obj"
    there = {path.name for path in objects.iterdir()}
    for number in range(256):
        if f"{number:02x}" not in there:
            (objects / f"{number:02x}").symlink_to(outside)
    gateway = yard.gateway()
    pieces = [make_piece("planted", number) for number in range(12)]
    books.by_c_store(ledger, (gateway.host, gateway.dimse_port), pieces)
    assert set(ledger.answers.values()) <= {0, OUT_OF_RESOURCES}
    assert ledger.counts()["failed"] > 0
    assert list(outside.iterdir()) == []
    books.verify(ledger, gateway)
    with Doors(gateway) as doors:
        assert len(doors.retrieve(make_piece("before", 0).study_uid)) == 2
    for link in objects.iterdir():
        if link.is_symlink():
            link.unlink()
    books.resend(ledger, gateway)
    books.verify(ledger, gateway)
    books.quiet(gateway)


def test_a_spool_that_is_swept_away_again_and_again_loses_nothing(yard: Yard, ledger: Ledger) -> None:
    """F-69: files and folders of what is received removed while senders send."""
    prepared(yard)
    gateway = yard.gateway()
    spool = gateway.data / "spool"
    arrivals = gateway.data / "objects" / ".arrivals"
    with books.senders(ledger, gateway, "swept", most=30) as join:
        for _ in range(200):
            for folder in (spool, arrivals):
                for path in list(folder.glob("*")):
                    path.unlink(missing_ok=True)
                with suppress(OSError):
                    folder.rmdir()
        join()
    assert ledger.counts()["ok"] > 0
    books.alive(ledger, gateway, "swept")
    books.resend(ledger, gateway)
    books.verify(ledger, gateway)
    books.quiet(gateway)
