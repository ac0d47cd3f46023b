"""What a process that is to be killed does to an archive, without the doors: run by `tests.parts.forge`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gateway.caller import Caller
from gateway.delete import delete as delete_instances
from gateway.rebuild import rebuild as rebuild_index
from gateway.store import receive, store
from storage import Archive, open_archive, open_index
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


def migrate(url: str) -> None:
    """Bring an index to its schema."""
    open_index(url).close()
