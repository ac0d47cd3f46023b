"""`gantry viewer`: OHIF, installed and removed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway import ohif
from gateway.commands import Config, Data, exit_codes, fail, output, settings_from

viewer_app = typer.Typer(help="The OHIF viewer at /viewer/.", no_args_is_help=True)


@viewer_app.command("install")
def install(
    path: Annotated[Path, typer.Argument(help="Package file (.tgz of npm's @ohif/app) or folder of a build.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Install OHIF from PATH, or replace the one that is there; a running gateway serves it at once."""
    with exit_codes():
        settings = settings_from({"data": data}, config)
        try:
            count = ohif.install(path, settings.data)
        except (ohif.NotInstalled, OSError) as error:
            fail(1, str(error))
    output.print(f"OHIF installed, {count} files; it is at {ohif.ROOT}", markup=False)


@viewer_app.command("remove")
def remove(data: Data = None, config: Config = None) -> None:
    """Take OHIF away."""
    with exit_codes():
        removed = ohif.remove(settings_from({"data": data}, config).data)
    output.print("OHIF removed" if removed else "there is no OHIF installed")
