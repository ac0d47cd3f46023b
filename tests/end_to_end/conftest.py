"""Fixtures: a gateway with clients at its doors, on each combination of object store and index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from tests.end_to_end.doors import Doors
from tests.parts.fix_gateway import BackendEnvironment, StartGateway, starter
from tests.parts.gateway import BACKENDS, GatewayProcess, Launch
from tests.parts.received import received


@dataclass(frozen=True, slots=True)
class Site:
    """A running gateway, clients at its doors, and the environment that names its bucket and database."""

    gateway: GatewayProcess
    doors: Doors
    environment: Mapping[str, str]

    def objects(self) -> Iterator[bytes]:
        """The stored instances, read past the gateway."""
        if "GANTRY_OBJECTS" not in self.environment:
            for path in sorted((self.gateway.data / "objects" / "obj").rglob("*.dcm")):
                yield path.read_bytes()
            return
        bucket, _, prefix = self.environment["GANTRY_OBJECTS"].removeprefix("s3://").partition("/")
        client = boto3.client(
            "s3",
            endpoint_url=self.environment["GANTRY_S3_ENDPOINT"],
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=self.environment["AWS_REGION"],
        )
        try:
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/obj/"):
                for found in page.get("Contents", []):
                    yield client.get_object(Bucket=bucket, Key=found["Key"])["Body"].read()
        finally:
            client.close()

    def spooled(self) -> list[Path]:
        """Files that are being received, or were left."""
        return received(self.gateway.data / "spool")


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    backend_environment: BackendEnvironment,
    launch: Launch,
    request: pytest.FixtureRequest,
) -> Iterator[Site]:
    """One for all tests of a module, on folder and SQLite or on the backend given by indirect parametrisation."""
    backend = getattr(request, "param", BACKENDS[0])
    environment = backend_environment(backend)
    with ExitStack() as running:
        start = starter(running, tmp_path_factory.mktemp("site"), backend_environment, launch)
        gateway = start(environment=environment)
        yield Site(gateway, running.enter_context(Doors(gateway)), environment)
        assert "Traceback" not in gateway.log()
        assert gateway.stop() == 0
        assert gateway.events()  # each line is a JSON object


@pytest.fixture
def folder_site(start_gateway: StartGateway) -> Iterator[Site]:
    """One for this test alone, on folder and SQLite."""
    gateway = start_gateway()
    with Doors(gateway) as doors:
        yield Site(gateway, doors, {})
