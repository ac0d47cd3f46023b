"""Searching the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.chain import day_of, entries, files


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an event has to be; what is empty does not matter. Times are seconds since the epoch."""

    since: float = 0.0
    until: float = 0.0
    who: str = ""
    study: str = ""
    patient: str = ""
    action: str = ""
    outcome: str = ""

    def fits(self, entry: dict[str, Any]) -> bool:
        """Is this one of those?"""
        at = entry.get("at", 0.0)
        if at < self.since or (self.until and at > self.until):
            return False
        plain = (("who", self.who), ("action", self.action), ("outcome", self.outcome))
        if any(wanted and entry.get(name) != wanted for name, wanted in plain):
            return False
        studies = entry.get("studies", [])
        named = (("study", self.study), ("patient", self.patient))
        return all(not wanted or any(one.get(name) == wanted for one in studies) for name, wanted in named)


def search(folder: Path, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """The events that fit, the newest first by day and by chain."""
    by_day = sorted(files(folder), key=lambda path: (day_of(path), path.name), reverse=True)
    for path in by_day:
        yield from reversed([entry for entry in entries(path) if wanted.fits(entry)])
