"""Fixtures: a real `gantry serve` on each combination of object store and index.

`start_gateway(backend, ...)` starts one and returns the `GatewayProcess`; all are ended after the test.
`gateway_process` is one for the test alone, `module_gateway` one for all tests of a module. Both run on folder and
SQLite, or as a test says:

    @pytest.mark.parametrize("module_gateway", BACKENDS, indirect=True)

They are forked from a process that has everything imported (`tests.parts.forge`), since most of a start is imports. A
module whose tests are about the start, its memory or its processes has them started as programs:

    @pytest.fixture(scope="module")
    def launch() -> Launch:
        return program
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.parts.forge import Forge, shared
from tests.parts.gateway import BACKENDS, GatewayProcess, Launch
from tests.parts.postgres import Postgres
from tests.parts.s3 import S3Server


class StartGateway(Protocol):
    """What `start_gateway` gives."""

    def __call__(
        self,
        backend: str = BACKENDS[0],
        *,
        data: Path | None = None,
        aet: str = "GANTRY",
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> GatewayProcess:
        """Start a gateway.

        `data` (a fresh folder by default) makes it go on where an earlier one left off; on S3 and PostgreSQL it is
        `environment`, as `backend_environment` gave it, that does.
        """


BackendEnvironment = Callable[[str], dict[str, str]]


@pytest.fixture(scope="session")
def backend_environment(request: pytest.FixtureRequest) -> BackendEnvironment:
    """A function: the settings of a gateway on a fresh bucket and a fresh database of the backend, one of BACKENDS."""

    def settings(backend: str) -> dict[str, str]:
        objects, _, index = backend.partition("+")
        environment: dict[str, str] = {}
        if objects != "folder":
            server: S3Server = request.getfixturevalue(objects)
            environment |= server.environ()
            environment |= {
                "GANTRY_OBJECTS": f"s3://{server.bucket()}/gantry",
                "GANTRY_S3_ENDPOINT": server.endpoint,
            }
        if index != "sqlite":
            database: Postgres = request.getfixturevalue(index)
            environment["GANTRY_INDEX"] = database.database()
        return environment

    return settings


@pytest.fixture(scope="session")
def forge() -> Forge:
    """What forks processes."""
    return shared()


@pytest.fixture(scope="session")
def launch(forge: Forge) -> Launch:
    """How gateways are started; a module may have another way."""
    return forge.launch


def starter(
    running: ExitStack, folder: Path, backends: BackendEnvironment, launch: Launch | None = None
) -> StartGateway:
    """A `start_gateway` whose gateways end with `running`."""

    def start(
        backend: str = BACKENDS[0],
        *,
        data: Path | None = None,
        aet: str = "GANTRY",
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> GatewayProcess:
        if data is None:
            data = folder / f"data-{len(list(folder.iterdir()))}"
        settings = {**backends(backend), **(environment or {})}
        process = GatewayProcess(data, aet=aet, arguments=arguments, environment=settings, launch=launch)
        return running.enter_context(process)

    return start


@pytest.fixture
def start_gateway(tmp_path: Path, backend_environment: BackendEnvironment, launch: Launch) -> Iterator[StartGateway]:
    """Start gateways for this test."""
    folder = tmp_path / "gateways"
    folder.mkdir()
    with ExitStack() as running:
        yield starter(running, folder, backend_environment, launch)


@pytest.fixture
def gateway_process(start_gateway: StartGateway, request: pytest.FixtureRequest) -> GatewayProcess:
    """A gateway for this test alone; on folder and SQLite, or on the backend given by indirect parametrisation."""
    return start_gateway(getattr(request, "param", BACKENDS[0]))


@pytest.fixture(scope="module")
def module_gateway(
    tmp_path_factory: pytest.TempPathFactory,
    backend_environment: BackendEnvironment,
    launch: Launch,
    request: pytest.FixtureRequest,
) -> Iterator[GatewayProcess]:
    """A gateway that all tests of a module share: each uses study UIDs of its own. Backend as for `gateway_process`."""
    with ExitStack() as running:
        start = starter(running, tmp_path_factory.mktemp("gateway"), backend_environment, launch)
        yield start(getattr(request, "param", BACKENDS[0]))
