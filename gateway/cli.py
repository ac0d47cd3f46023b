"""The command `gantry`.

Exit codes: 0 clean, 1 something was refused or failed, 2 bad settings, 3 the index cannot be used as it is,
4 the data folder is in use.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import DownloadColumn, MofNCompleteColumn
from rich.table import Table

from gateway.commands import Config, Data, IndexUrl, Objects, errors, output
from gateway.commands import bar as _bar
from gateway.commands import exit_codes as _exit_codes
from gateway.commands import fail as _fail
from gateway.commands import settings_from as _load
from gateway.commands.access import token_app, user_app
from gateway.commands.audit import audit_app
from gateway.commands.index import index_app
from gateway.commands.undelete import undelete
from gateway.commands.viewer import viewer_app
from gateway.version import gantry_version
from storage.errors import IndexBusy

app = typer.Typer(
    name="gantry",
    help="A DICOMweb imaging gateway: images in over DIMSE or STOW-RS, out over DICOMweb, pictures for people.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(index_app, name="index")
app.add_typer(audit_app, name="audit")
app.add_typer(token_app, name="token")
app.add_typer(user_app, name="user")
queue_app = typer.Typer(help="Look at the tasks that wait: forwarding, reports, notifications.", no_args_is_help=True)
app.add_typer(queue_app, name="queue")
app.add_typer(viewer_app, name="viewer")
app.command("undelete")(undelete)


def main() -> None:
    """Run the command line."""
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        output.print(f"gantry {gantry_version()}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """A DICOMweb imaging gateway."""


@app.command()
def serve(
    data: Data = None,
    http: Annotated[str | None, typer.Option("--http", help="HOST:PORT for HTTP (default 127.0.0.1:8080).")] = None,
    dimse: Annotated[str | None, typer.Option("--dimse", help="HOST:PORT for DIMSE (default 127.0.0.1:11112).")] = None,
    aet: Annotated[str | None, typer.Option("--aet", help="AE title of this gateway (default GANTRY).")] = None,
    objects: Objects = None,
    index: IndexUrl = None,
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes that serve, on the same sockets (one for each core).")
    ] = None,
    config: Config = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Listen beyond loopback without authentication.")
    ] = None,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C."""
    flags = {"data": data, "http": http, "dimse": dimse, "aet": aet, "objects": objects, "index": index}
    with _exit_codes():
        settings = _load({**flags, "workers": workers, "insecure": insecure}, config)
        if settings.workers == 1:
            from gateway.app import serve as run
        else:
            from gateway.processes import serve as run

        run(settings)


@app.command("worker", hidden=True)
def worker() -> None:
    """Be one of the processes of `gantry serve --workers`, which starts them itself."""
    with _exit_codes():
        from gateway.processes import work

        work()


@app.command("import")
def import_command(
    paths: Annotated[list[Path], typer.Argument(help="Folders, files, zip archives, DICOMDIRs.", metavar="PATH...")],
    data: Data = None,
    objects: Objects = None,
    index: IndexUrl = None,
    config: Config = None,
) -> None:
    """Store the DICOM files below PATH; into the running gateway when one runs on the data folder."""
    from gateway import importer, running
    from gateway.app import note, open_from
    from gateway.caller import Caller
    from gateway.coerce import Coercer

    caller = Caller(name="import", door="cli")
    with _exit_codes():
        settings = _load({"data": data, "objects": objects, "index": index}, config)
        try:
            found = list(importer.candidates(paths))
        except FileNotFoundError as error:
            _fail(2, str(error))
        archive = None
        try:
            archive = open_from(settings)
            target = importer.into_archive(
                archive,
                caller,
                max_bytes=settings.max_object_bytes,
                accept_unknown_classes=settings.accept_unknown_classes,
                coercer=Coercer.of(settings),
            )
        except IndexBusy:
            found_running = running.address(settings.data)
            if found_running is None:
                raise
            target = running.Running(*found_running)
        try:
            with _bar(DownloadColumn()) as bar:
                task = bar.add_task("Importing", total=sum(candidate.size for candidate in found))
                summary = importer.import_files(found, target, lambda size: bar.advance(task, size))
            if archive is not None:
                note(settings, archive, caller, "import", good=not summary.refused)
        finally:
            if archive is not None:
                archive.close()
    _report(summary)
    raise typer.Exit(1 if summary.refused else 0)


@app.command()
def doctor(
    data: Data = None,
    http: Annotated[str | None, typer.Option("--http", help="HOST:PORT for HTTP.")] = None,
    dimse: Annotated[str | None, typer.Option("--dimse", help="HOST:PORT for DIMSE.")] = None,
    objects: Objects = None,
    index: IndexUrl = None,
    config: Config = None,
) -> None:
    """Check that everything is in place for the gateway to run, and say what to do where it is not."""
    with _exit_codes():
        flags = {"data": data, "http": http, "dimse": dimse, "objects": objects, "index": index}
        settings = _load(flags, config)
        from gateway.doctor import FAILURE, OK, examine

        failed = False
        for one in examine(settings):
            failed |= one.state == FAILURE
            line = f"{one.state:8} {one.check:12} {one.what}" + (f"; {one.advice}" if one.advice else "")
            (output if one.state == OK else errors).print(line, markup=False)
    raise typer.Exit(1 if failed else 0)


@app.command("export")
def export_command(
    to: Annotated[Path, typer.Option("--to", help="A new folder, or a new zip archive (.zip).")],
    studies: Annotated[
        list[str] | None, typer.Argument(help="Study Instance UIDs; none needs --all.", metavar="[STUDY]...")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All studies.")] = False,
    media: Annotated[bool, typer.Option("--dicomdir", help="As DICOM media, with a DICOMDIR.")] = False,
    data: Data = None,
    objects: Objects = None,
    index: IndexUrl = None,
    config: Config = None,
) -> None:
    """Write studies to a folder or zip archive; of the running gateway, where one runs on the data folder."""
    from gateway.export import FromArchive, FromRunning, Source, export

    if bool(studies) == everything:
        _fail(2, "name studies, or say --all")
    with _exit_codes():
        settings = _load({"data": data, "objects": objects, "index": index}, config)
        from gateway import running
        from gateway.app import note, open_from
        from gateway.caller import Caller

        archive = None
        caller = Caller("export", "cli")
        try:
            archive = open_from(settings)
            source: Source = FromArchive(archive, caller)
        except IndexBusy:
            address = running.address(settings.data)
            if address is None:
                raise
            source = FromRunning(*address)
        try:
            with _bar(MofNCompleteColumn()) as bar:
                task = bar.add_task("Exporting", total=None)
                report = export(source, studies or [], to, media=media, progress=lambda count: bar.advance(task, count))
            if archive is not None:
                note(settings, archive, caller, "export", good=not report.failed)
        except OSError as error:
            if archive is not None:
                note(settings, archive, caller, "export", good=False)
            _fail(1, f"{to}: {error.strerror}")
        finally:
            if archive is not None:
                archive.close()
    output.print(f"{report.files} files written, {len(report.failed)} failed")
    for sop_uid, reason in report.failed:
        errors.print(f"failed {sop_uid}: {reason}", markup=False)
    raise typer.Exit(1 if report.failed else 0)


@app.command()
def send(
    study: Annotated[str, typer.Argument(help="Study Instance UID.", metavar="STUDY")],
    to: Annotated[str, typer.Option("--to", help="AE title of a peer, or URL of a forwarding rule.", metavar="PEER")],
    series: Annotated[str | None, typer.Option("--series", help="Only this Series Instance UID.")] = None,
    instance: Annotated[str | None, typer.Option("--instance", help="Only this SOP Instance UID.")] = None,
    data: Data = None,
    objects: Objects = None,
    index: IndexUrl = None,
    config: Config = None,
) -> None:
    """Send a study to another node; the running gateway does it where one runs on the data folder."""
    from gateway.queueing import opened

    with _exit_codes():
        settings = _load({"data": data, "objects": objects, "index": index}, config)
        with opened(settings) as queue:
            sent, failed, queued = queue.send(to, study, series, instance)
    if queued:
        output.print(f"{queued} instances queued for {to}; see `gantry queue list`", markup=False)
    else:
        output.print(f"{sent} instances sent, {failed} failed", markup=False)
    raise typer.Exit(1 if failed else 0)


Ids = Annotated[list[int] | None, typer.Argument(help="Numbers of tasks; none: all that failed.", metavar="[ID]...")]


@queue_app.command("list")
def queue_list(data: Data = None, index: IndexUrl = None, config: Config = None) -> None:
    """Show the tasks that are not done yet."""
    from gateway.queueing import opened

    with _exit_codes(), opened(_load({"data": data, "index": index}, config)) as queue:
        found = queue.tasks()
    if not found:
        output.print("nothing waits")
        return
    table = Table("id", "kind", "target", "state", "attempts", "due", "error", box=None)
    for task in found:
        due = "" if task["state"] == "failed" else _moment(task["due_at"])
        row = (task["id"], task["kind"], task["target"], task["state"], task["attempts"], due, task["error"])
        table.add_row(*(escape(str(cell)) for cell in row))
    output.print(table)


@queue_app.command("retry")
def queue_retry(ids: Ids = None, data: Data = None, index: IndexUrl = None, config: Config = None) -> None:
    """Try tasks again at once, also those that were given up."""
    from gateway.queueing import opened

    with _exit_codes(), opened(_load({"data": data, "index": index}, config)) as queue:
        output.print(f"{queue.retry(ids or None)} tasks are due again")


@queue_app.command("drop")
def queue_drop(
    ids: Annotated[
        list[int] | None, typer.Argument(help="Numbers of tasks; none: all given up.", metavar="[ID]...")
    ] = None,
    data: Data = None,
    index: IndexUrl = None,
    config: Config = None,
) -> None:
    """Forget tasks."""
    from gateway.queueing import opened

    with _exit_codes(), opened(_load({"data": data, "index": index}, config)) as queue:
        output.print(f"{queue.drop(ids or None)} tasks dropped")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _report(summary: Any) -> None:
    counts = [f"{number} {outcome}" for outcome, number in sorted(summary.outcomes.items(), reverse=True)]
    counts.append(f"{len(summary.refused)} refused")
    counts.append(f"{summary.skipped} skipped (no DICOM files)")
    output.print(f"{summary.files} files: {', '.join(counts)}")
    for name, reason in summary.refused:
        errors.print(f"refused {name}: {reason}", markup=False)
