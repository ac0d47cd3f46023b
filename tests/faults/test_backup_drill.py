"""The drill of docs/operations.md: backup while the gateway works, disaster, restore, reconcile; nothing is lost."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.doors import Doors
from tests.faults.conftest import Yard
from tests.faults.test_overload import until
from tests.parts import once
from tests.parts.command import gantry
from tests.parts.gateway import GatewayProcess
from tests.parts.ledger import Ledger, Piece, alive, by_c_store, by_stow, make_piece, quiet, verify
from tests.parts.postgres import program
from tests.parts.torture import record, size

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"


def commands(section: str) -> str:
    """The shell lines that the document gives in a section."""
    text = DOCS.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))


def back_up_index(url: str, to: Path) -> None:
    """As the document says, while the gateway runs."""
    if url.startswith("sqlite"):
        done = subprocess.run(
            [sys.executable, "-c", _SQLITE, url.removeprefix("sqlite:///"), str(to)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    else:
        done = subprocess.run(
            [program("pg_dump"), "--format=custom", f"--file={to}", url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr


_SQLITE = """
import sqlite3, sys
source, copy = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True), sqlite3.connect(sys.argv[2])
source.backup(copy)
"""


def send(ledger: Ledger, gateway: GatewayProcess, pieces: list[Piece]) -> None:
    """Half by each door; all are acknowledged."""
    by_c_store(ledger, (gateway.host, gateway.dimse_port), pieces[::2])
    by_stow(ledger, gateway, pieces[1::2])
    assert {piece.sop_uid for piece in pieces} <= ledger.acknowledged()


def read_feed(gateway: GatewayProcess, since: int = 0) -> list[dict[str, Any]]:
    """The entries of the change feed after that number."""
    entries: list[dict[str, Any]] = []
    while True:
        asked = {"since": entries[-1]["sequence"] if entries else since}
        page = once.get(f"{gateway.http_url}/changes", params=asked, timeout=20).json()["changes"]
        if not page:
            return entries
        entries += page


@pytest.mark.timeout(400)
@pytest.mark.parametrize("yard", ["folder+sqlite", "seaweedfs+postgres"], indirect=True)
def test_an_index_of_yesterday_is_brought_up_to_date(
    yard: Yard, ledger: Ledger, request: pytest.FixtureRequest
) -> None:
    """F-43, L1: stored and deleted since the backup; RPO 0 for what was acknowledged, and the RTO is measured.

    A gateway that somebody starts on it too early says so, and sweeps nothing.
    """
    for command in ("gantry index reconcile", "gantry index verify"):
        assert command in commands("Backup and restore")
    count = size(20, 2000)
    gateway = yard.gateway()
    first = [make_piece("drill before", number) for number in range(count)]
    send(ledger, gateway, first)
    url = str(yard.place()["index"])
    backup = yard.folder / "backup"
    back_up_index(url, backup)
    assert gateway.stop() == 0
    gateway = yard.gateway()

    after = [make_piece("drill after", number) for number in range(count)]
    send(ledger, gateway, after)
    with Doors(gateway) as doors:
        gone = [first[0], first[1], after[0]]
        for piece in gone:
            assert doors.delete(piece.study_uid, piece.series_uid, piece.sop_uid) in (200, 204)
    for piece in gone:
        del ledger.pieces[piece.sop_uid], ledger.answers[piece.sop_uid]
    told_before = read_feed(gateway)
    gateway.kill()

    # the disaster: the index is gone, and with it all since the backup
    environment = dict(yard.settings)
    data = yard.folder / "data"
    if url.startswith("sqlite"):
        for file in data.glob("index.db*"):
            file.unlink()
        shutil.copy(backup, data / "index.db")
    else:
        environment["GANTRY_INDEX"] = str(request.getfixturevalue("postgres").database())
        restore = [program("pg_restore"), "--no-owner", f"--dbname={environment['GANTRY_INDEX']}", str(backup)]
        done = subprocess.run(restore, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    arguments = ("--data", data)
    own = {name: value for name, value in environment.items() if name.startswith("GANTRY_")}
    early = yard.gateway(**own)
    until(lambda: "index_behind" in {event["event"] for event in early.events()})
    ready = once.get(f"{early.http_url}/readyz", timeout=20)
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["checks"]["history"] == {"status": "failing", "reason": "index_behind"}
    until(lambda: "gantry_index_behind 1.0" in once.get(f"{early.http_url}/metrics", timeout=20).text)
    if not yard.settings:
        said = gantry("doctor", *arguments)
        assert said.returncode == 1
        assert "`gantry index reconcile`" in said.stdout + said.stderr
    send(ledger, early, [make_piece("drill early", number) for number in range(2)])
    quiet(early)
    assert early.stop() == 0
    yard.settings = {**yard.settings, **own}
    assert yard.deed("sweep_days", yard.place(), 3) == (0, "IndexBehind\n" * 3)

    started = time.monotonic()
    told = gantry("index", "reconcile", *arguments, environment=environment)
    # what had arrived just before is known from that already
    adopted = re.fullmatch(r"(\d+) instances adopted, 2 removed that had been deleted or replaced\n", told.stdout)
    assert adopted is not None, told.stdout
    assert told.returncode == 0, told.stdout
    assert int(adopted[1]) == count - 1 or url.startswith("sqlite")
    clean = gantry("index", "verify", "--deep", *arguments, environment=environment)
    assert clean.returncode == 0, clean.stdout + clean.stderr
    again = yard.gateway()
    took = round(time.monotonic() - started, 1)
    record("drill: index restored, reconciled, verified, serving", instances=2 * count, seconds=took)
    verify(ledger, again)
    told_again = [one for one in read_feed(again, told_before[-1]["sequence"]) if one["action"] == "create"]
    assert {one["instance"] for one in told_again} >= {piece.sop_uid for piece in after[1:]}
    with Doors(again) as doors:
        for piece in gone:
            path = f"/studies/{piece.study_uid}/series/{piece.series_uid}/instances/{piece.sop_uid}"
            assert doors.get(path).status_code in (404, 410)
    alive(ledger, again, "drill")
    assert once.get(f"{again.http_url}/readyz", timeout=20).json()["checks"]["history"]["status"] == "ok"
    quiet(again)
    assert again.stop() == 0
    code, swept = yard.deed("sweep_days", yard.place(), 3)
    assert (code, swept.split()) == (0, ["0", "0", "0"])


def test_objects_of_yesterday_are_completed_by_sending_again(yard: Yard, ledger: Ledger) -> None:
    """F-44, L3, L4: what the copy of the objects lacks is listed, never served as absent, and taken again."""
    gateway = yard.gateway()
    first = [make_piece("old objects", number) for number in range(6)]
    send(ledger, gateway, first[:4])
    objects = yard.folder / "data" / "objects"
    copy = yard.folder / "copy"
    shutil.copytree(objects, copy)
    send(ledger, gateway, first[4:])
    assert gateway.stop() == 0
    shutil.rmtree(objects)
    shutil.copytree(copy, objects)

    listed = gantry("index", "verify", "--data", yard.folder / "data")
    assert listed.returncode == 1
    assert {line.split()[1] for line in listed.stderr.splitlines() if line.startswith("missing: ")} == {
        piece.sop_uid for piece in first[4:]
    }
    again = yard.gateway()
    with Doors(again) as doors:
        for piece in first[4:]:
            path = f"/studies/{piece.study_uid}/series/{piece.series_uid}/instances/{piece.sop_uid}"
            assert doors.get(path).status_code == 500
    send(ledger, again, first[4:])
    verify(ledger, again)
    assert again.stop() == 0
    assert gantry("index", "verify", "--deep", "--data", yard.folder / "data").returncode == 0
