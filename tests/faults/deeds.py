"""What a process that is to be killed does to an archive, without the doors: run by `tests.parts.forge`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.caller import Caller
from gateway.delete import delete as delete_instances
from gateway.errors import GatewayError
from gateway.rebuild import rebuild as rebuild_index
from gateway.store import receive, store
from storage import Archive, open_archive, open_index
from storage.errors import StorageError
from tests.parts import shim
from tests.parts.ledger import make_piece, sweep

MOST = 1 << 20
CALLER = Caller("deeds", "tests")


@contextmanager
def opened(place: dict[str, Any]) -> Iterator[Archive]:
    """The archive at a place: `objects`, `index`, `spool` and other arguments of `open_archive`."""
    archive = open_archive(**{**place, "spool": Path(place["spool"])})
    try:
        yield archive
    finally:
        archive.close()


def put(archive: Archive, study: object, number: object, content: int = 0) -> str:
    """Store one piece; the outcome."""
    piece = make_piece(study, number, content=content)
    with receive(archive, max_bytes=MOST) as incoming:
        incoming.write(piece.file())
        return store(archive, incoming, CALLER).outcome


def store_some(place: dict[str, Any], study: object, count: int, first: int = 0) -> None:
    """Store pieces, and print the number of each when it is acknowledged."""
    with opened(place) as archive:
        for number in range(first, first + count):
            put(archive, study, number)
            print(number, flush=True)


def delete(place: dict[str, Any], study_uid: str, sop_uid: str | None = None) -> None:
    """Delete a study, or one of its instances."""
    with opened(place) as archive:
        series = archive.find(sop_uid).series_uid if sop_uid else None  # type: ignore[union-attr]
        print(delete_instances(archive, CALLER, study_uid, series, sop_uid), flush=True)


def collect(place: dict[str, Any], later: float = 1e6) -> None:
    """Remove garbage, as if `later` seconds had passed."""
    with opened(place) as archive:
        print(archive.collect(time.time() + later, 1000), flush=True)


def sweep_all(place: dict[str, Any]) -> None:
    """Remove orphans and garbage."""
    with opened(place) as archive:
        sweep(archive)


def rebuild(place: dict[str, Any]) -> None:
    """Make the index again."""
    with opened(place) as archive:
        report = rebuild_index(archive)
        print(json.dumps([report.instances, report.conflicts, report.unreadable]), flush=True)


def workload(place: dict[str, Any], acks: str, count: int, threads: int = 3) -> None:
    """Store and delete, some at a time; each line of `acks` stands there before the next step of its thread.

    `? study number` is about to be stored, `+ study number` is; `! study number` is about to be deleted, `- ...` is.
    """
    # made by whoever set the stage, so that its own name is no part of the play
    book = os.open(acks, os.O_WRONLY | os.O_APPEND)

    def say(sign: str, study: str, number: int) -> None:
        os.write(book, f"{sign} {study} {number}\n".encode())

    def work(archive: Archive, study: str) -> None:
        for number in range(count):
            say("?", study, number)
            put(archive, study, number)
            say("+", study, number)
            if number % 7 == 6:
                gone = make_piece(study, number - 3)
                say("!", study, number - 3)
                delete_instances(archive, CALLER, gone.study_uid, gone.series_uid, gone.sop_uid)
                say("-", study, number - 3)

    with opened(place) as archive, ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda thread: work(archive, f"play{thread}"), range(threads)))
    os.close(book)


def suffer(place: dict[str, Any], call: str, error: str, first: int, step: int, lasting: bool) -> None:
    """One store and one delete after the other, the n-th call of each pair fails: for each n from `first` on.

    Prints a line of JSON for each: what became of the store, of the delete, and of a store after the fault was over.
    """
    for n in range(first, 1000, step):
        with opened(place) as archive:
            put(archive, f"gone {n}", 1)
            os.environ["SHIM_FAULT"] = f"{call}:{n}:{error}:{0 if lasting else 1}"
            shim.begin()
            stored = attempt(lambda: put(archive, f"hit {n}", 1))  # noqa: B023
            piece = make_piece(f"gone {n}", 1)
            deleted = attempt(lambda: delete_instances(archive, CALLER, piece.study_uid))  # noqa: B023
            seen = shim.seen()
            del os.environ["SHIM_FAULT"]
            shim.begin()
            after = attempt(lambda: put(archive, f"after {n}", 1))  # noqa: B023
            left = len(list(archive.spool.folder.iterdir()))
            readable = all(archive.read(row) for row in archive.locate(make_piece("before", 0).study_uid))
        facts = {"n": n, "stored": stored, "deleted": deleted, "after": after, "left": left, "readable": readable}
        print(json.dumps(facts), flush=True)
        if seen < n:
            return


def count_syncs(place: dict[str, Any]) -> None:
    """How many files and folders an archive syncs when it is opened."""
    os.environ["SHIM_FAULT"] = "sync:1000000:EIO"
    shim.begin()
    with opened(place):
        print(shim.seen(), flush=True)


def attempt(work: Callable[[], object]) -> str:
    """What came of it: `ok`, or the name of the error; `full` where that says so."""
    try:
        work()
    except (GatewayError, StorageError) as error:
        return "full" if getattr(error, "full", False) else type(error).__name__
    return "ok"


def migrate(url: str) -> None:
    """Bring an index to its schema."""
    open_index(url).close()
