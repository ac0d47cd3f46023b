"""`gantry undelete`: bring back what was deleted, in the running gateway where one runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Any

import typer
from rich.progress import MofNCompleteColumn

from gateway.commands import Config, Data, IndexUrl, Objects, bar, exit_codes, fail, output, settings_from
from gateway.settings import Settings

Ask = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Asks `list` or `restore` with a body, as `/deleted` takes and answers it."""


def undelete(
    study: Annotated[str | None, typer.Option("--study", help="Only of the study with this UID.")] = None,
    hours: Annotated[float | None, typer.Option("--hours", min=0.001, help="Only what went in the last hours.")] = None,
    listing: Annotated[bool, typer.Option("--list", help="Only say what could be brought back.")] = False,
    data: Data = None,
    objects: Objects = None,
    index: IndexUrl = None,
    config: Config = None,
) -> None:
    """Bring back deleted instances whose bytes are still there (delete_delay): of a study, or of the last hours."""
    if study is None and hours is None:
        fail(2, "--study or --hours is needed, to say what is meant")
    wanted = {key: value for key, value in (("study", study), ("hours", hours)) if value is not None}
    counts: Counter[str] = Counter()
    with exit_codes(), _opened(settings_from({"data": data, "objects": objects, "index": index}, config)) as ask:
        if listing:
            for page in _pages(ask, "list", wanted):
                counts.update(one["study"] for one in page["deleted"])
            for uid, number in counts.items():
                output.print(f"{uid} {number} instances", markup=False)
            output.print(f"{counts.total()} instances of {len(counts)} studies can be brought back")
            return
        with bar(MofNCompleteColumn()) as progress:
            task = progress.add_task("Bringing back", total=None)
            for page in _pages(ask, "restore", wanted):
                counts.update(page["counts"])
                progress.advance(task, sum(page["counts"].values()))
    bad = counts["lost"] + counts["damaged"] + counts["there"]
    output.print(
        f"{counts['restored']} instances are back; {counts['lost']} are gone for good, "
        f"{counts['damaged']} are damaged, {counts['there']} were stored again by others"
    )
    raise typer.Exit(1 if bad else 0)


def _pages(ask: Ask, what: str, wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    before = None
    while True:
        page = ask(what, wanted if before is None else {**wanted, "before": before})
        yield page
        before = page["before"]
        if before is None:
            return


@contextmanager
def _opened(settings: Settings) -> Iterator[Ask]:
    from gateway import running
    from gateway.app import open_from

    found = running.reached(settings.data, "/session")
    if found is not None:
        yield lambda what, body: running.ask(*found, f"/deleted/{what}", body)
        return
    with closing(open_from(settings)) as archive:
        yield _here(archive)


def _here(archive: Any) -> Ask:
    import time

    from gateway import undelete as use_case
    from gateway.caller import Caller
    from gateway.http.deleted import HOUR, shown

    def ask(what: str, body: dict[str, Any]) -> dict[str, Any]:
        since = time.time() - body["hours"] * HOUR if "hours" in body else 0.0
        caller = Caller("cli", "cli")
        asked = (archive, caller, since, body.get("study"), body.get("before"))
        if what == "list":
            found = use_case.listed(*asked)
            before = found[-1].sequence if len(found) == use_case.PAGE else None
            return {"deleted": [shown(one) for one in found], "before": before}
        report = use_case.undelete(*asked)
        return {"counts": report.counts, "before": report.before}

    return ask
