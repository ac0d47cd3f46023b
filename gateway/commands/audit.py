"""`gantry audit`: does the log hold, and what is in it."""

from __future__ import annotations

import json
import time
from contextlib import closing
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from gateway.commands import Config, Data, IndexUrl, errors, exit_codes, output, settings_from
from gateway.settings import Settings
from storage.chain import Head

audit_app = typer.Typer(help="The audit log.", no_args_is_help=True)

DAY = 86_400.0


@audit_app.command("verify")
def audit_verify(data: Data = None, index: IndexUrl = None, config: Config = None) -> None:
    """Find lines that were changed, added or taken away. Exit code 2 when there are some."""
    from storage.chain import entries, files, verify

    with exit_codes():
        settings = settings_from({"data": data, "index": index}, config)
        known = _heads(settings)
        folder = folder_of(settings)
        faults = verify(folder, known)
    for fault in faults:
        errors.print(f"{fault.file}:{fault.line}: {fault.what}", markup=False)
    events = sum(1 for path in files(folder) for _ in entries(path))
    output.print(f"{events} events in {len(files(folder))} files; {len(faults)} faults")
    raise typer.Exit(2 if faults else 0)


@audit_app.command("search")
def audit_search(
    study: Annotated[str, typer.Option("--study", help="Study Instance UID.")] = "",
    patient: Annotated[str, typer.Option("--patient", help="Patient ID.")] = "",
    who: Annotated[str, typer.Option("--who", help="Name of the caller.")] = "",
    action: Annotated[str, typer.Option("--action", help="search, read, store, delete, share, admin, login ...")] = "",
    outcome: Annotated[str, typer.Option("--outcome", help="success, refused or failed.")] = "",
    days: Annotated[float, typer.Option("--days", help="Only of the last days.")] = 0.0,
    limit: Annotated[int, typer.Option("--limit", help="At most so many, the newest first.", min=1)] = 100,
    data: Data = None,
    config: Config = None,
) -> None:
    """Print events as JSON, one a line, the newest first."""
    from gateway.audit.search import Wanted, search

    with exit_codes():
        settings = settings_from({"data": data}, config)
        since = time.time() - days * DAY if days else 0.0
        wanted = Wanted(since, 0.0, who, study, patient, action, outcome)
        for entry in islice(search(folder_of(settings), wanted), limit):
            shown = {**entry, "at": datetime.fromtimestamp(entry.get("at", 0)).isoformat("T", "milliseconds")}
            output.print(json.dumps(shown), markup=False)


def folder_of(settings: Settings) -> Path:
    """Where the log is."""
    return settings.data.resolve() / "audit"


def _heads(settings: Settings) -> dict[str, Head]:
    """What the index knows, by the running gateway where one runs."""
    from gateway import running
    from gateway.app import open_from
    from gateway.audit import heads

    found = running.reached(settings.data, "/audit/heads")
    if found is not None:
        told = running.ask(*found, "/audit/heads")["heads"]
        return {name: Head(number, hash) for name, (number, hash) in told.items()}
    with closing(open_from(settings)) as archive:
        return heads(archive)
