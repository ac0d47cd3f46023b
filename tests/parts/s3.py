"""An S3 server that runs: where it is, how to get in."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ACCESS_KEY = "gantrytests"
SECRET_KEY = "0123456789abcdefgantrytests"


@dataclass(frozen=True, slots=True)
class S3Server:
    """An S3 server on loopback, addressed by path. `kind` is `seaweedfs` or `rgw`; `pid` is the S3 front's process."""

    kind: str
    endpoint: str
    pid: int
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    region: str = "us-east-1"

    def environ(self) -> dict[str, str]:
        """The variables by which AWS's chain finds the credentials, and nothing else of this machine."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    @contextmanager
    def client(self) -> Iterator[S3Client]:
        """A boto3 client, closed at the end of the context."""
        with closing(
            boto3.client(
                "s3",
                endpoint_url=self.endpoint,
                aws_access_key_id=self.access_key,
                aws_secret_access_key=self.secret_key,
                region_name=self.region,
                config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=30),
            )
        ) as client:
            yield client

    def bucket(self) -> str:
        """The name of a bucket made just now, empty."""
        name = f"t-{uuid.uuid4().hex}"
        with self.client() as client:
            client.create_bucket(Bucket=name)
        return name


def answers(url: str) -> bool:
    """Whether an HTTP server answers this URL with success."""
    try:
        with urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (URLError, HTTPException, OSError):
        return False
