"""What a store asks of an S3-compatible object store: one PUT for each instance, no HEAD, no LIST."""

from __future__ import annotations

from pathlib import Path

from pydicom.uid import ExplicitVRLittleEndian

from tests.end_to_end.doors import Doors
from tests.parts.datasets import part10_bytes, series_of
from tests.parts.gateway import GatewayProcess
from tests.storage.objects.fake_s3 import BUCKET, FakeS3

COUNT = 12


def test_an_instance_is_stored_by_one_request(tmp_path: Path) -> None:
    """By both doors; of an instance that is there already, its object is read once, to see that it is whole."""
    environment = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    with FakeS3() as fake:
        environment |= {"GANTRY_OBJECTS": f"s3://{BUCKET}/archive", "GANTRY_S3_ENDPOINT": fake.endpoint}
        with GatewayProcess(tmp_path / "data", environment=environment) as gateway, Doors(gateway) as doors:
            for name in ("web", "dimse"):
                files = [part10_bytes(ds, ExplicitVRLittleEndian) for ds in series_of(COUNT, name, rows=16, columns=16)]
                for wanted in ("PUT", "GET"):
                    fake.requests.clear()
                    if name == "web":
                        assert doors.stow(*files).status == 200
                    else:
                        assert doors.c_store(files) == [0] * COUNT
                    asked = list(fake.requests)
                    # what the gateway looks at by itself, and what is worked out later, has keys of its own
                    objects = [(method, key) for method, key in asked if key.startswith("archive/obj/")]
                    if wanted == "PUT":  # on a slow machine pictures of the first ones are made by now
                        objects = [(method, key) for method, key in objects if method != "GET"]
                    assert [method for method, _ in objects] == [wanted] * COUNT, objects
                    assert len({key for _, key in objects}) == COUNT
