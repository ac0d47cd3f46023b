"""A bucket that is encrypted, whose key is lost and found, and one that is open to strangers."""

from __future__ import annotations

import hashlib
import json
import os
from base64 import b64encode
from contextlib import closing
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from storage.encryption import Encryption
from storage.errors import ObjectStoreUnavailable
from storage.objects.s3 import S3Store
from tests.end_to_end.doors import Doors
from tests.parts.command import gantry
from tests.parts.datasets import ct_slice, part10_bytes
from tests.parts.files import dataset_bytes
from tests.parts.fix_gateway import StartGateway
from tests.parts.rgw import KMS_KEY
from tests.parts.s3 import S3Server
from tests.parts.waiting import until


def key_file(folder: Path, name: str) -> Path:
    """A new key."""
    path = folder / name
    path.write_bytes(b64encode(os.urandom(32)) + b"\n")
    return path


def opened_to_all(server: S3Server, bucket: str) -> None:
    """Let strangers read what is in the bucket."""
    resource = f"arn:aws:s3:::{bucket}/*"
    statement = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"], "Resource": [resource]}
    with server.client() as client:
        client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def test_a_lost_key_is_503_and_the_right_one_brings_all_back(
    seaweedfs: S3Server, start_gateway: StartGateway, tmp_path: Path
) -> None:
    """S-86, S-90: the server has nothing that it could read; another key gives errors, no garbage, and harms nothing.
    What is in a bucket that strangers may read is of no use to them then, and yet they are warned of.
    """
    bucket = seaweedfs.bucket()
    right, wrong = key_file(tmp_path, "right"), key_file(tmp_path, "wrong")
    environment = {
        **seaweedfs.environ(),
        "GANTRY_OBJECTS": f"s3://{bucket}/gantry",
        "GANTRY_S3_ENDPOINT": seaweedfs.endpoint,
    }
    with_right, with_wrong = ({**environment, "GANTRY_S3_CUSTOMER_KEY": str(key)} for key in (right, wrong))
    data = tmp_path / "data"
    ds = ct_slice("sealed", rows=64, columns=64)
    file = part10_bytes(ds)
    gateway = start_gateway(data=data, environment=with_right)
    with Doors(gateway) as doors:
        assert doors.stow(file).status == 200
        (got,) = doors.retrieve(ds.StudyInstanceUID)
        assert dataset_bytes(got) == dataset_bytes(file)
    until(lambda: "bucket is not public" in gateway.log())
    assert gateway.stop() == 0
    with seaweedfs.client() as client:
        kept = [one["Key"] for one in client.list_objects_v2(Bucket=bucket)["Contents"] if one["Key"].endswith(".dcm")]
        assert len(kept) == 1
        with pytest.raises(ClientError):
            client.get_object(Bucket=bucket, Key=kept[0])

    opened_to_all(seaweedfs, bucket)
    gateway = start_gateway(data=data, environment=with_wrong)
    until(lambda: "bucket is public" in gateway.log())
    with Doors(gateway) as doors:
        instance = f"/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
        for path in (instance, f"{instance}/frames/1", f"{instance}/rendered?quality=51"):
            answer = doors.get(path)
            assert answer.status_code == 503, (path, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
    assert gateway.stop() == 0

    gateway = start_gateway(data=data, environment=with_right)
    with Doors(gateway) as doors:
        (got,) = doors.retrieve(ds.StudyInstanceUID)
        assert dataset_bytes(got) == dataset_bytes(file)
    assert gateway.stop() == 0
    examined = gantry("doctor", "--data", data, environment=with_right)
    assert "anybody may read" in examined.stdout + examined.stderr
    assert examined.returncode == 1


def test_the_servers_own_keys_are_named_with_each_object(
    rgw: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """S-90: aws:kms, for objects in one piece and in parts; a key that the server does not know is no write."""
    for name, value in rgw.environ().items():
        monkeypatch.setenv(name, value)
    bucket = rgw.bucket()
    source = tmp_path / "object"
    with closing(S3Store(bucket, endpoint=rgw.endpoint, encryption=Encryption("aws:kms", KMS_KEY))) as store:
        assert "public" not in store.facts()
        for number, size in enumerate((100_000, 65 << 20)):
            data = os.urandom(1 << 10) * (size >> 10)
            source.write_bytes(data)
            store.put(f"obj/ab/{number}", source, sha256=hashlib.sha256(data).hexdigest())
            assert store.read(f"obj/ab/{number}", len(data) - 5000) == data[-5000:]
        with rgw.client() as client:
            found = [client.head_object(Bucket=bucket, Key=f"obj/ab/{number}") for number in range(2)]
        assert [one["SSEKMSKeyId"] for one in found] == [KMS_KEY, KMS_KEY]
    with (
        closing(S3Store(bucket, endpoint=rgw.endpoint, encryption=Encryption("aws:kms", "lost"))) as store,
        pytest.raises(ObjectStoreUnavailable),
    ):
        store.put_bytes("obj/ab/2", b"x")


def test_strangers_are_noticed(rgw: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-86: by trying, whatever a policy says."""
    for name, value in rgw.environ().items():
        monkeypatch.setenv(name, value)
    bucket = rgw.bucket()
    with closing(S3Store(bucket, endpoint=rgw.endpoint)) as store:
        assert "public" not in store.facts()
        with rgw.client() as client:
            client.put_bucket_acl(Bucket=bucket, ACL="public-read")
        until(lambda: store.facts().get("public") == "list")
        opened_to_all(rgw, bucket)
        until(lambda: store.facts().get("public") == "read")
