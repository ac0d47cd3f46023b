"""`gantry token` and `gantry user`: credentials that the gateway hands out, in the running gateway where one runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Annotated, Any, Protocol

import typer
from rich.markup import escape
from rich.table import Table

from gateway.commands import Config, Data, IndexUrl, exit_codes, fail, output, settings_from
from gateway.settings import Settings

token_app = typer.Typer(help="API keys.", no_args_is_help=True)
user_app = typer.Typer(help="Users with passwords, for HTTP Basic.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Whose it is.")]
May = Annotated[
    list[str] | None,
    typer.Option(
        "--may", help="search, read, store, delete, share, admin or monitor; several times. Else: search, read."
    ),
]
Study = Annotated[
    list[str] | None,
    typer.Option("--study", help="Only studies with this value, as InstitutionName='North*'.", metavar="KEY=VALUE"),
]
Days = Annotated[float | None, typer.Option("--days", help="It ends after so many days.")]
Id = Annotated[str, typer.Argument(help="As `list` shows it.")]


class Credentials(Protocol):
    """What can be done with credentials of one kind."""

    def listed(self) -> list[dict[str, Any]]:
        """All of them, as the web shows them."""

    def add(self, values: dict[str, Any]) -> dict[str, Any]:
        """Make one; the answer has its secret. Raises GatewayError, StorageError."""

    def revoke(self, id: str) -> None:
        """End one. Raises NotFound."""


@contextmanager
def opened(settings: Settings, path: str) -> Iterator[Credentials]:
    """Those of `/tokens` or `/users` of the running gateway, else those of the index."""
    from gateway import running
    from gateway.app import open_from

    found = running.reached(settings.data, path)
    if found is not None:
        yield _Remote(*found, path)
        return
    with closing(open_from(settings)) as archive:
        yield _Here(archive, path)


class _Remote:
    def __init__(self, url: str, secret: str, path: str) -> None:
        self._place, self._path = (url, secret), path

    def listed(self) -> list[dict[str, Any]]:
        from gateway import running

        return list(running.ask(*self._place, self._path)["credentials"])

    def add(self, values: dict[str, Any]) -> dict[str, Any]:
        from gateway import running

        return running.ask(*self._place, self._path, values)

    def revoke(self, id: str) -> None:
        from gateway import running

        running.ask(*self._place, f"{self._path}/{id}", method="DELETE")


class _Here:
    def __init__(self, archive: Any, path: str) -> None:
        from gateway.authentication.issued import Issued
        from storage.credentials import KEY, USER

        self._index, self._issued = archive.index, Issued(archive)
        self._kind = KEY if path == "/tokens" else USER

    def listed(self) -> list[dict[str, Any]]:
        from gateway.http.credentials import shown

        return [shown(one) for one in self._index.credentials(self._kind)]

    def add(self, values: dict[str, Any]) -> dict[str, Any]:
        from gateway.http.credentials import limits_of, shown

        limits = limits_of(values)
        if "password" in values:
            return shown(self._issued.add_user(values["name"], values["password"], limits, "cli"))
        until = time.time() + values["days"] * 86_400 if values.get("days") else None
        new, secret = self._issued.issue(self._kind, values["name"], limits, "cli", until)
        return {**shown(new), "secret": secret}

    def revoke(self, id: str) -> None:
        from gateway.errors import NotFound

        if not self._index.revoke_credential(id, time.time()):
            raise NotFound("no such credential is alive")


@token_app.command("create")
def token_create(
    name: Name, may: May = None, study: Study = None, days: Days = None,
    data: Data = None, index: IndexUrl = None, config: Config = None,
) -> None:  # fmt: skip
    """Make an API key. Its secret is printed once, and kept nowhere."""
    with _errors(), opened(settings_from({"data": data, "index": index}, config), "/tokens") as tokens:
        made = tokens.add({"name": name, **_limits(may, study), **({"days": days} if days else {})})
    output.print(made["secret"], markup=False)


@token_app.command("list")
def token_list(data: Data = None, index: IndexUrl = None, config: Config = None) -> None:
    """The API keys that were made."""
    _list("/tokens", data, index, config)


@token_app.command("revoke")
def token_revoke(id: Id, data: Data = None, index: IndexUrl = None, config: Config = None) -> None:
    """End an API key; within some seconds nobody is let in with it."""
    _revoke("/tokens", id, data, index, config)


@user_app.command("create")
def user_create(
    name: Name, may: May = None, study: Study = None,
    data: Data = None, index: IndexUrl = None, config: Config = None,
) -> None:  # fmt: skip
    """Make a user, or give one another password, which is asked for."""
    password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    with _errors(), opened(settings_from({"data": data, "index": index}, config), "/users") as users:
        users.add({"name": name, "password": password, **_limits(may, study)})
    output.print(f"{name} may sign in where basic_auth is on", markup=False)


@user_app.command("list")
def user_list(data: Data = None, index: IndexUrl = None, config: Config = None) -> None:
    """The users that were made."""
    _list("/users", data, index, config)


@user_app.command("revoke")
def user_revoke(id: Id, data: Data = None, index: IndexUrl = None, config: Config = None) -> None:
    """End a user."""
    _revoke("/users", id, data, index, config)


@contextmanager
def _errors() -> Iterator[None]:
    with exit_codes():
        try:
            yield
        except ValueError as error:
            fail(2, str(error))


def _limits(may: list[str] | None, study: list[str] | None) -> dict[str, Any]:
    """The limits as the web takes them; several values of one key are alternatives."""
    pattern: dict[str, list[str]] = {}
    for text in study or ():
        key, sign, value = text.partition("=")
        if not sign or not value:
            raise ValueError(f"--study {text}: KEY=VALUE is needed")
        pattern.setdefault(key.strip(), []).append(value)
    return {"may": may or ["search", "read"], **({"studies": [pattern]} if pattern else {})}


def _list(path: str, data: Data, index: IndexUrl, config: Config) -> None:
    with exit_codes(), opened(settings_from({"data": data, "index": index}, config), path) as found:
        rows = found.listed()
    table = Table(box=None)
    table.add_column("id", no_wrap=True, min_width=16)  # to be copied, however narrow the terminal is
    for title in ("name", "may", "studies", "made", "ends"):
        table.add_column(title, overflow="fold")
    for row in rows:
        ended = row["revoked_at"]
        ends = f"ended {_moment(ended)}" if ended else _moment(row["expires_at"]) if row["expires_at"] else "never"
        limits = row["limits"]
        studies = "; ".join(str(one) for one in limits["studies"]) or "all"
        cells = (row["id"], row["name"], ",".join(sorted(limits["may"])), studies, _moment(row["created_at"]), ends)
        table.add_row(*map(escape, cells))
    output.print(table)


def _revoke(path: str, id: str, data: Data, index: IndexUrl, config: Config) -> None:
    with exit_codes(), opened(settings_from({"data": data, "index": index}, config), path) as found:
        found.revoke(id)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(" ", "seconds")
