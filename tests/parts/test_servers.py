"""The real servers of the tests: they start, they are shared by a test run, they keep strangers out, they go away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from botocore.exceptions import ClientError
from psycopg import sql

from tests.parts import keeper
from tests.parts.machine import free_ports, need
from tests.parts.postgres import Postgres
from tests.parts.s3 import S3Server


@pytest.fixture(params=["seaweedfs", "rgw"])
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """Each of the S3 servers."""
    server: S3Server = request.getfixturevalue(request.param)
    return server


def test_an_s3_server_gives_back_a_range_of_what_was_put(s3_server: S3Server) -> None:
    bucket = s3_server.bucket()
    with s3_server.client() as client:
        client.put_object(Bucket=bucket, Key="a/b.dcm", Body=b"0123456789")
        assert client.get_object(Bucket=bucket, Key="a/b.dcm", Range="bytes=2-4")["Body"].read() == b"234"


def test_every_bucket_is_new_and_empty(s3_server: S3Server) -> None:
    first, second = s3_server.bucket(), s3_server.bucket()
    assert first != second
    with s3_server.client() as client:
        assert "Contents" not in client.list_objects_v2(Bucket=second)


def test_an_s3_server_refuses_a_wrong_secret(s3_server: S3Server) -> None:
    stranger = replace(s3_server, secret_key="not the secret")
    with stranger.client() as client, pytest.raises(ClientError) as refused:
        client.list_buckets()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_every_database_is_new_empty_and_our_own(postgres: Postgres) -> None:
    first, second = postgres.database(), postgres.database()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE t (n int)")
    with psycopg.connect(second) as connection:
        assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)
        assert connection.execute(
            "SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone() == (
            "gantry",
            False,
        )


def test_postgres_refuses_a_wrong_password(postgres: Postgres) -> None:
    stranger = replace(postgres, password="mistaken")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(stranger.url("postgres"))


def test_a_statement_of_the_superuser_may_change_the_server(postgres: Postgres) -> None:
    role = sql.Identifier(f"r_{os.getpid()}")
    postgres.execute(sql.SQL("CREATE ROLE {}").format(role))
    postgres.execute(sql.SQL("DROP ROLE {}").format(role))


def pid_exists(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has reaped does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_shared_server_is_started_once_and_ends_with_its_owner_even_by_sigkill(tmp_path: Path) -> None:
    need("initdb")
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    fields = keeper.shared("postgres", tmp_path, owner.pid)
    assert keeper.shared("postgres", tmp_path, owner.pid) == fields
    server, kept = fields["pid"], int((tmp_path / "postgres.pid").read_text())
    assert isinstance(server, int)
    assert pid_exists(server)
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    end = time.monotonic() + 20
    while pid_exists(server) or pid_exists(kept):
        assert time.monotonic() < end, "the server outlived its owner"
        time.sleep(0.05)


def test_a_server_that_cannot_start_says_why_to_everyone_who_asks(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(keeper.StartFailed, match=r"No module named 'tests\.parts\.nonesuch'"):
            keeper.shared("nonesuch", tmp_path, os.getpid())


def test_free_ports_are_all_different() -> None:
    assert len(set(free_ports(50))) == 50


def test_a_program_is_looked_for_outside_of_the_virtual_environment() -> None:
    """pynetdicom installs a `storescu` of its own; the tests mean dcmtk's."""
    path = Path(need("storescu"))
    assert not path.is_relative_to(sys.prefix)
    assert b"DCMTK" in subprocess.run([path, "--version"], capture_output=True, check=True).stdout.upper()


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-package"):
        need("no-such-program", "no-such-package")
    monkeypatch.setenv("CI", "")
    monkeypatch.setenv("GANTRY_TESTS", "")
    with pytest.raises(pytest.skip.Exception, match="no-such-package"):
        need("no-such-program", "no-such-package")
