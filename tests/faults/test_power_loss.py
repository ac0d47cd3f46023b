"""F-02: the power goes. What a disk may show then is made from the calls of a real run, and looked at (see `disk`)."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.recover import recover
from storage import open_archive
from storage.errors import StorageError
from storage.index.sqlite import driver
from storage.versions import OBJECTS
from tests.faults.deeds import put
from tests.parts import shim
from tests.parts.disk import Luck, states
from tests.parts.forge import Forge
from tests.parts.gateway import clean_environment
from tests.parts.ledger import make_piece
from tests.parts.shim import Call
from tests.parts.torture import record, seed, size

COUNT = size(15, 45)
"""Stores of each of three threads; the large number is enough for SQLite to work off its log."""


def play(shimmed_forge: Forge, folder: Path, skip: str = "", count: int = COUNT) -> list[Call]:
    """The calls of a run; with a mutant that says that some syncs were done."""
    root, journal = folder / "root", folder / "journal"
    root.mkdir()
    (root / "acks").touch()
    environment = {"SHIM_ROOT": str(root), "SHIM_LOG": str(journal), **({"SHIM_SKIP": skip} if skip else {})}
    where = dict(zip(("objects", "index", "spool"), place(root), strict=True))
    arguments = (where, str(root / "acks"), count)
    status, _ = shimmed_forge.call(
        "tests.faults.deeds:workload", *arguments, environment=clean_environment(environment), cwd=folder
    )
    assert status == 0
    return list(shim.calls(journal))


def place(root: Path) -> tuple[str, str, str]:
    """The archive below a root, as a gateway has it: objects, index, spool."""
    return f"file://{root}/data/objects", f"sqlite:///{root}/data/index.db", f"{root}/data/spool"


def acknowledgements(calls: Sequence[Call]) -> list[tuple[int, str, str, int]]:
    """When, sign, study and number, of the lines of the workload's book."""
    found = []
    for moment, call in enumerate(calls):
        if call.path == "/acks" and call.kind == shim.WRITE:
            for line in call.data.decode().splitlines():
                sign, study, number = line.split()
                found.append((moment, sign, study, int(number)))
    return found


def violations(root: Path, said: Sequence[tuple[int, str, str, int]]) -> list[str]:
    """L1 to L4 on what the disk shows, by an archive that is opened on it."""
    wrong: list[str] = []
    signs: dict[tuple[str, int], str] = {}
    for _, sign, study, number in said:
        signs[study, number] = sign
    try:
        archive = open_archive(*place(root)[:2], root / "data" / "spool")
        recover(archive)
    except (StorageError, OSError) as error:
        return [f"it cannot be opened: {error}"]
    with closing(archive):
        try:
            rows = 0
            for (study, number), sign in signs.items():
                piece = make_piece(study, number)
                row = archive.find(piece.sop_uid)
                rows += row is not None
                if row is None:
                    if sign == "+":
                        wrong.append(f"L1: {study} {number} is lost")
                    continue
                if sign == "-":
                    wrong.append(f"{study} {number} was deleted and is back")
                elif not archive.read(row).endswith(piece.data) or row.dataset_digest != piece.digest:
                    wrong.append(f"L2: {study} {number} has other bytes")
            if archive.index.count()[2] != rows:
                wrong.append("L4: rows that nobody sent")
            for (study, number), sign in signs.items():
                if sign == "?" and put(archive, study, number) not in ("stored", "duplicate"):
                    wrong.append("L3")
            list(archive.objects.keys(OBJECTS))
        except (StorageError, GatewayError) as error:
            wrong.append(f"{type(error).__name__}: {error}")
    with closing(driver().connect(root / "data" / "index.db")) as connection:
        if (health := connection.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
            wrong.append(f"integrity_check: {health[:3]}")
    return wrong


def look(calls: list[Call], folder: Path, count: int, chance: random.Random) -> list[str]:
    """The violations on so many states, at moments of which half stand just after an answer."""
    said = acknowledgements(calls)
    answers = [moment + 1 for moment, sign, _, _ in said if sign in "+-"]
    moments = chance.choices(answers, k=count // 2) + chance.choices(
        range(len(calls)), k=count - count // 2 - len(Luck)
    )
    found: list[str] = []
    for moment, luck, disk in states(calls, moments, chance):
        root = folder / "state"
        root.mkdir()
        disk.show(root, luck, chance)
        wrong = violations(root, [one for one in said if one[0] < moment])
        found += [f"before call {moment} of {len(calls)}, {luck.value}: {one}" for one in wrong]
        shutil.rmtree(root)
    return found


@pytest.mark.timeout(7200)
def test_what_was_acknowledged_survives_a_power_cut(shimmed_forge: Forge, tmp_path: Path) -> None:
    """F-02, L1 to L4, on each state; the index is whole each time."""
    count = size(50, 1000)
    calls = play(shimmed_forge, tmp_path)
    found = look(calls, tmp_path, count, random.Random(seed()))
    record("power cuts", seed=seed(), calls=len(calls), states=count, violations=len(found))
    assert not found, found[:5]


MUTANTS = {
    "directories are not synced": "dir",
    "the index's log is never synced": "-wal",
    "objects are not synced": "/.arrivals/",
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_program_that_does_not_sync_is_caught(shimmed_forge: Forge, tmp_path: Path, mutant: str) -> None:
    """F-02: what the test above would find if there were something to find."""
    calls = play(shimmed_forge, tmp_path, MUTANTS[mutant], count=10)
    found = look(calls, tmp_path, size(12, 100), random.Random(seed()))
    record(f"power cuts, mutant: {mutant}", caught=bool(found), violations=len(found))
    assert found
