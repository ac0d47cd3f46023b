"""Orthanc, of Debian's package: another archive, as a peer of a gateway."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.parts.machine import need
from tests.parts.processes import background, wait_until


@dataclass(frozen=True, slots=True)
class Orthanc:
    """A running server. `network` is what brings a command into its network."""

    url: str
    network: Sequence[str]

    def get(self, path: str) -> Any:
        """The JSON answer to GET."""
        return json.loads(self.file(path))

    def file(self, path: str) -> bytes:
        """The answer to GET."""
        return self._curl(path)

    def post(self, path: str, body: bytes | object) -> Any:
        """The JSON answer to POST, of bytes or of what becomes JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return json.loads(self._curl(path, "--data-binary", "@-", data=data) or b"null")

    def _curl(self, path: str, *options: str, data: bytes = b"") -> bytes:
        command = [*self.network, need("curl"), "-sS", "--fail-with-body", "--max-time", "60", *options]
        done = subprocess.run([*command, self.url + path], input=data, capture_output=True, timeout=90, check=False)
        assert done.returncode == 0, (path, done.stdout, done.stderr)
        return done.stdout


@contextmanager
def run(
    folder: Path, network: Sequence[str], http: int, dicom: int, modalities: dict[str, tuple[str, int]]
) -> Iterator[Orthanc]:
    """The server while the context lasts, with its data in `folder`; it knows the nodes `modalities` (AE title and
    port) on this machine by their names, and talks to no others.
    """
    settings = {
        "Name": "peer",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAet": "ORTHANC",
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomCheckCalledAet": True,
        "DicomCheckModalityHost": True,
        "DicomAlwaysAllowEcho": False,
        "DicomAlwaysAllowStore": False,
        "UnknownSopClassAccepted": True,
        "DicomModalities": {
            name: {"AET": aet, "Host": "127.0.0.1", "Port": port, "AllowStorageCommitment": True}
            for name, (aet, port) in modalities.items()
        },
        "Plugins": [],
    }
    config, log = folder / "orthanc.json", folder / "orthanc.log"
    config.write_text(json.dumps(settings))
    orthanc = Orthanc(f"http://127.0.0.1:{http}", network)
    # without Nagle's algorithm, which dcmtk leaves on, an operation would take 40 ms more
    environment = {"TCP_NODELAY": "1", "LANG": "C.UTF-8"}
    with background([*network, need("Orthanc"), str(config)], log, cwd=folder, env=environment) as process:
        wait_until(lambda: _answers(orthanc), "Orthanc", process, log)
        yield orthanc


def _answers(orthanc: Orthanc) -> bool:
    try:
        return bool(orthanc.get("/system"))
    except AssertionError:
        return False
