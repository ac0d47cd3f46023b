"""PostgreSQL of Debian, any version: a cluster of its own on loopback, in a folder that goes away."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from tests.parts.debian import find
from tests.parts.machine import free_ports
from tests.parts.processes import background, wait_until
from tests.parts.torture import patience

PROGRAMS = ("initdb",)

# Nothing needs to survive a power cut here.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "jit": "off",
    "autovacuum": "off",
}


@dataclass(frozen=True, slots=True)
class Postgres:
    """A PostgreSQL server. `user` owns its own databases and is no superuser; `admin` is one; both know `password`."""

    host: str
    port: int
    password: str
    pid: int
    version: str
    user: str = "gantry"
    admin: str = "postgres"

    def url(self, database: str, user: str | None = None) -> str:
        """A connection URL, password included."""
        return f"postgresql://{user or self.user}:{self.password}@{self.host}:{self.port}/{database}"

    def execute(self, statement: sql.Composed) -> None:
        """Run one statement as the superuser, outside of a transaction."""
        with psycopg.connect(self.url("postgres", self.admin), autocommit=True) as connection:
            connection.execute(statement)

    def database(self) -> str:
        """The URL of a database made just now, empty, owned by `user`."""
        name = f"t_{uuid.uuid4().hex}"
        self.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(self.user)))
        return self.url(name)


def os_user() -> str | None:
    """PostgreSQL refuses to run as root: who it runs as then, None for ourselves."""
    if os.geteuid():
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise FileNotFoundError("no user but root to run PostgreSQL as")


@contextmanager
def standby(primary: Postgres, folder: Path) -> Iterator[Postgres]:
    """A server that follows the primary, while the context lasts, with its data in `folder`."""
    environment = {**os.environ, "PGPASSWORD": primary.password}
    command = [program("pg_basebackup"), "-D", str(folder / "data"), "-h", primary.host, "-p", str(primary.port)]
    user = os_user()
    if user:
        shutil.chown(folder, user)
    subprocess.run(
        [*command, "-U", primary.admin, "-R", "-X", "stream", "-c", "fast"],
        check=True,
        timeout=100 * patience(),
        env=environment,
        cwd=folder,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        stdout=subprocess.DEVNULL,
    )
    with _serving(folder, primary.password, {}) as server:
        yield server


@contextmanager
def promoted(folder: Path, password: str) -> Iterator[Postgres]:
    """What was a standby, as the primary, while the context lasts."""
    with _serving(folder, password, {}) as server:
        _control(folder, "promote", "-w")
        yield server


def program(name: str) -> str:
    """A program of PostgreSQL's, of the server's version."""
    initdb = find("initdb")
    assert initdb is not None
    return str(Path(initdb).resolve().parent / name)


@contextmanager
def _serving(folder: Path, password: str, more: Mapping[str, str]) -> Iterator[Postgres]:
    """A server on data that are there."""
    data, log = folder / "data", folder / "postgres.log"
    (port,) = free_ports(1)
    settings = [word for name, value in (SETTINGS | dict(more)).items() for word in ("-c", f"{name}={value}")]
    command = [program("postgres"), "-D", str(data), "-p", str(port), *settings]
    with background(command, log, cwd=folder, user=os_user()) as process:
        wait_until(lambda: answers(port, password), "PostgreSQL", process, log)
        yield Postgres("127.0.0.1", port, password, process.pid, (data / "PG_VERSION").read_text().strip())


@contextmanager
def run(folder: Path, **more: str) -> Iterator[Postgres]:
    """The server while the context lasts, with its data in `folder`, and other settings where they are given.

    What an earlier one left there is used again.
    """
    initdb = find("initdb")
    if initdb is None:
        raise FileNotFoundError("initdb: Debian's package postgresql")
    user, data, secret = os_user(), folder / "data", folder / "password"
    new = not data.exists()
    if new:
        _make(initdb, folder, data, secret, user)
    with _serving(folder, secret.read_text(), more) as server:
        if new:
            role = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            server.execute(role.format(sql.Identifier(server.user), sql.Literal(server.password)))
        yield server


def _make(initdb: str, folder: Path, data: Path, secret: Path, user: str | None) -> None:
    secret.write_text(secrets.token_urlsafe(16))
    data.mkdir()
    if user:
        shutil.chown(data, user)
        shutil.chown(secret, user)
    options = ("-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
    made = subprocess.run(
        [initdb, "-D", str(data), "-U", "postgres", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        timeout=100 * patience(),
        check=False,
        user=user,
        group=user,
        extra_groups=[] if user else None,
    )
    if made.returncode:
        raise RuntimeError(f"initdb ended with status {made.returncode}:\n{made.stdout}")


def restart(folder: Path) -> None:
    """Let the server of `run` crash and start again, with the same settings; it ends with `stop` then."""
    _control(folder, "restart", "-m", "immediate", "-w", "-l", str(folder / "data" / "restarted.log"))


def stop(folder: Path) -> None:
    """Stop a server that was restarted."""
    _control(folder, "stop", "-m", "immediate", "-w")


def _control(folder: Path, *arguments: str) -> None:
    user = os_user()
    command = [program("pg_ctl"), "-D", str(folder / "data"), *arguments]
    subprocess.run(
        command,
        check=True,
        timeout=100 * patience(),
        cwd=folder,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def answers(port: int, password: str) -> bool:
    """Whether the server lets the superuser in."""
    try:
        psycopg.connect(f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
