"""What the commands of `gantry` share: their common options, settings, exit codes, consoles."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from gateway.errors import GatewayError
from gateway.logs import configure
from gateway.settings import BadSettings, Settings, load
from storage.errors import IndexBusy, IndexDamaged, RebuildPending, SchemaRefused, StorageError

errors = Console(stderr=True, highlight=False, soft_wrap=True)
output = Console(highlight=False, soft_wrap=True)

Data = Annotated[Path | None, typer.Option("--data", help="Folder of everything kept locally (default: data).")]
Objects = Annotated[str | None, typer.Option("--objects", help="Object store: file:///folder or s3://bucket/prefix.")]
IndexUrl = Annotated[str | None, typer.Option("--index", help="Index: sqlite:////file or postgresql://user@host/name.")]
Config = Annotated[Path | None, typer.Option("--config", help="TOML file with settings.")]


def settings_from(flags: dict[str, Any], config: Path | None) -> Settings:
    """The settings, with these flags; logging is set up by them. Raises BadSettings."""
    settings = load(flags, config)
    configure(settings.log_level)
    return settings


@contextmanager
def exit_codes() -> Iterator[None]:
    """What can go wrong before work begins, as one line and an exit code."""
    try:
        yield
    except BadSettings as error:
        fail(2, f"bad settings: {error}")
    except (SchemaRefused, RebuildPending, IndexDamaged) as error:
        fail(3, str(error))
    except IndexBusy as error:
        fail(4, f"{error}; stop it first")
    except (StorageError, GatewayError) as error:
        fail(1, str(error))


def fail(code: int, message: str) -> NoReturn:
    """Say what went wrong, and end with this exit code."""
    errors.print(f"gantry: {message}", markup=False)
    raise typer.Exit(code)


def bar(column: DownloadColumn | MofNCompleteColumn) -> Progress:
    """A progress bar on a terminal, nothing elsewhere."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), column)
    return Progress(*columns, console=errors, transient=True, disable=not sys.stderr.isatty())
