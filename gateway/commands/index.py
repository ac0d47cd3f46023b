"""`gantry index`: rebuild, verify, reconcile; what is damaged."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn

from gateway.commands import Config, Data, IndexUrl, Objects, bar, errors, exit_codes, output, settings_from

index_app = typer.Typer(help="Look after the index.", no_args_is_help=True)


@index_app.command("rebuild")
def index_rebuild(data: Data = None, objects: Objects = None, index: IndexUrl = None, config: Config = None) -> None:
    """Make the index again from the stored objects. Goes on where an interrupted rebuild stopped."""
    from gateway.app import open_from
    from gateway.rebuild import rebuild

    with exit_codes():
        archive = open_from(settings_from({"data": data, "objects": objects, "index": index}, config))
        try:
            with bar(MofNCompleteColumn()) as progress:
                task = progress.add_task("Reading objects", total=None)
                report = rebuild(archive, lambda count: progress.advance(task, count))
            studies, series, instances = archive.index.count()
        finally:
            archive.close()
    output.print(f"{instances} instances in {series} series of {studies} studies")
    _troubles(report.conflicts, report.unreadable, report.damaged)
    raise typer.Exit(2 if report.conflicts or report.unreadable or report.damaged else 0)


@index_app.command("reconcile")
def index_reconcile(
    since: Annotated[
        datetime | None, typer.Option(help="Of what was stored after this moment, where the index knows a later one.")
    ] = None,
    data: Data = None,
    objects: Objects = None,
    index: IndexUrl = None,
    config: Config = None,
) -> None:
    """Take objects into the index that are newer than it is: after a backup of the index was restored, or another
    server of the database took over."""
    from gateway.app import open_from
    from gateway.reconcile import reconcile

    with exit_codes():
        archive = open_from(settings_from({"data": data, "objects": objects, "index": index}, config))
        try:
            with bar(MofNCompleteColumn()) as progress:
                task = progress.add_task("Reading objects", total=None)
                moment = None if since is None else since.timestamp()
                report = reconcile(archive, lambda count: progress.advance(task, count), since=moment)
        finally:
            archive.close()
    output.print(f"{report.instances} instances adopted, {report.removed} removed that had been deleted or replaced")
    _troubles(report.conflicts, report.unreadable, report.damaged)
    raise typer.Exit(2 if report.conflicts or report.unreadable or report.damaged else 0)


@index_app.command("verify")
def index_verify(
    deep: Annotated[bool, typer.Option("--deep", help="Read every object and compare its digest.")] = False,
    data: Data = None,
    objects: Objects = None,
    index: IndexUrl = None,
    config: Config = None,
) -> None:
    """Compare the index with the stored objects: what is missing or damaged, and what no row names."""
    from gateway.app import open_from
    from gateway.integrity import LEASE, verify

    with exit_codes():
        settings = settings_from({"data": data, "objects": objects, "index": index}, config)
        archive = open_from(settings)
        try:
            # who has an SQLite index open is alone with it: nothing is being stored
            lease = 0.0 if settings.index_url.startswith("sqlite:") else LEASE
            with bar(MofNCompleteColumn()) as progress:
                task = progress.add_task("Verifying", total=archive.index.count()[2])
                found = verify(archive, deep=deep, lease=lease, advance=lambda count: progress.advance(task, count))
            behind = archive.high_water.behind() is not None
            counted = archive.index.recount()
        finally:
            archive.close()
    if not counted:
        errors.print("the totals of the index were wrong; they are right now")
    for damage in found.damaged:
        errors.print(f"{damage.reason}: {damage.instance.sop_uid} {damage.instance.key}", markup=False)
    for key in found.orphans:
        errors.print(f"orphan: {key}", markup=False)
    for key in found.kept:
        errors.print(f"kept: {key}", markup=False)
    if behind:
        errors.print("the index is older than the stored objects: run `gantry index reconcile`", markup=False)
    output.print(
        f"{found.instances} instances, {len(found.damaged)} damaged, {len(found.orphans)} objects without a row"
    )
    raise typer.Exit(0 if found.clean and not behind else 1)


@index_app.command("damaged")
def index_damaged(data: Data = None, objects: Objects = None, index: IndexUrl = None, config: Config = None) -> None:
    """List the instances whose objects were found missing or damaged; of the running gateway, where one runs."""
    from gateway.damage import listed

    with exit_codes():
        found = listed(settings_from({"data": data, "objects": objects, "index": index}, config))
    for one in found:
        moment = datetime.fromtimestamp(one["found_at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        output.print(f"{one['reason']:8} {moment} {one['study']} {one['series']} {one['instance']}", markup=False)
    output.print(f"{len(found)} damaged instances")
    raise typer.Exit(1 if found else 0)


def _troubles(conflicts: list[str], unreadable: list[str], damaged: list[str]) -> None:
    for key in conflicts:
        errors.print(f"conflict: {key} holds other bytes of an instance that an older object has", markup=False)
    for key in unreadable:
        errors.print(f"unreadable: {key}", markup=False)
    for key in damaged:
        errors.print(f"damaged: {key}", markup=False)
