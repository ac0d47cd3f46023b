"""Fixtures: the real servers behind a gateway, each started at most once in a test run, on free ports.

`seaweedfs`, `rgw`: an `S3Server`; `bucket()` makes an empty bucket. `postgres`: a `Postgres`; `database()` makes an
empty database. All workers of a run share them, so a test makes its own bucket or database, and never stops the
server: a test that needs one to break starts its own by `with seaweedfs.run(folder) as server`, of `tests.parts`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.parts import keeper
from tests.parts import postgres as postgres_part
from tests.parts import rgw as rgw_part
from tests.parts.machine import need
from tests.parts.postgres import Postgres
from tests.parts.s3 import S3Server

# Set by the first pytest process of a run, inherited by its workers: the folder of the run, and who owns it.
FOLDER, OWNER = "GANTRY_TEST_FOLDER", "GANTRY_TEST_OWNER"


def pytest_configure() -> None:
    """Make the run's folder."""
    if FOLDER not in os.environ:
        os.environ[FOLDER] = tempfile.mkdtemp(prefix="gantry-tests-")
        os.environ[OWNER] = str(os.getpid())


def pytest_unconfigure() -> None:
    """Stop what was started; also after Ctrl-C."""
    if os.environ.get(OWNER) == str(os.getpid()):
        folder = Path(os.environ.pop(FOLDER))
        keeper.stop_all(folder)
        shutil.rmtree(folder, ignore_errors=True)


def shared(name: str, programs: Sequence[str]) -> Any:
    """The fields of a shared server; the test cannot run where one of the programs is missing."""
    for program in programs:
        need(program)
    return keeper.shared(name, Path(os.environ[FOLDER]), int(os.environ[OWNER]))


@pytest.fixture(scope="session")
def seaweedfs() -> S3Server:
    """SeaweedFS's S3 server."""
    return S3Server(**shared("seaweedfs", ()))


@pytest.fixture(scope="session")
def rgw() -> S3Server:
    """Ceph's S3 server, the RADOS Gateway."""
    return S3Server(**shared("rgw", rgw_part.PROGRAMS))


@pytest.fixture(scope="session")
def postgres() -> Postgres:
    """PostgreSQL."""
    return Postgres(**shared("postgres", postgres_part.PROGRAMS))
