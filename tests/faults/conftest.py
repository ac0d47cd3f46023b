"""Fixtures of tests of faults: gateways and processes made at once by a forge, on each combination of backends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.recover import recover
from storage import Archive, open_archive
from tests.parts import shim
from tests.parts.fix_gateway import BackendEnvironment
from tests.parts.forge import Forge
from tests.parts.gateway import BACKENDS, GatewayProcess, clean_environment
from tests.parts.ledger import Ledger

FOLDER, SEAWEEDFS, RGW = BACKENDS


@dataclass
class Yard:
    """One archive, and what may be started on it: gateways, processes without doors, the archive in this process."""

    folder: Path
    settings: Mapping[str, str]
    forge: Forge
    running: ExitStack

    def gateway(self, *, name: str = "data", **environment: str) -> GatewayProcess:
        """A gateway; on S3 and PostgreSQL another `name` makes another one beside it."""
        return self.gateway_at((0, 0), name, environment)

    def gateway_at(self, ports: tuple[int, int], name: str, environment: Mapping[str, str]) -> GatewayProcess:
        """One with these ports of HTTP and DIMSE."""
        process = GatewayProcess(
            self.folder / name,
            arguments=("--http", f"127.0.0.1:{ports[0]}", "--dimse", f"127.0.0.1:{ports[1]}"),
            environment={**self.settings, **environment},
            launch=self.forge.launch,
            workers=None if "GANTRY_WORKERS" in environment else 1,
        )
        return self.running.enter_context(process)

    def place(self, name: str = "data", **arguments: Any) -> dict[str, Any]:
        """The arguments of `open_archive`."""
        data = self.folder / name
        return {
            "objects": self.settings.get("GANTRY_OBJECTS", f"file://{data}/objects"),
            "index": self.settings.get("GANTRY_INDEX", f"sqlite:///{data}/index.db"),
            "spool": str(data / "spool"),
            "endpoint": self.settings.get("GANTRY_S3_ENDPOINT"),
            **arguments,
        }

    def deed(
        self,
        function: str,
        *arguments: object,
        crash: str = "",
        seconds: float = 60.0,
        environ: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Run a function of `deeds` in a process of its own, that dies where `crash` says; its status and output."""
        at = {"GANTRY_CRASHPOINT": crash} if crash else {}
        environment = clean_environment({**self.settings, **at, **(environ or {})})
        return self.forge.call(
            f"tests.faults.deeds:{function}", *arguments, environment=environment, cwd=self.folder, seconds=seconds
        )

    def archive(self, name: str = "data", **arguments: Any) -> Archive:
        """The archive in this process, while the test lasts or until it is closed. No gateway may run on SQLite."""
        place = self.place(name, **arguments)
        archive = open_archive(**{**place, "spool": self.folder / "own" / "spool"})
        recover(archive)
        self.running.callback(archive.close)
        return archive


@pytest.fixture
def yard(
    tmp_path: Path,
    backend_environment: BackendEnvironment,
    forge: Forge,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Yard]:
    """On folder and SQLite, or on the backend given by indirect parametrisation."""
    settings = backend_environment(getattr(request, "param", FOLDER))
    for name, value in settings.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    with ExitStack() as running:
        yield Yard(tmp_path, settings, forge, running)


@pytest.fixture(scope="session")
def shim_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim, compiled."""
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="session")
def shimmed_forge(shim_library: Path) -> Iterator[Forge]:
    """As `forge`; what it makes runs under the shim."""
    with Forge(preload=shim_library) as made:
        yield made


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """What was sent and answered in this test."""
    with Ledger(tmp_path / "ledger.txt") as made:
        yield made
