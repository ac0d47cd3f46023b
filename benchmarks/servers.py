"""The servers that are measured: Gantry, and Orthanc where Debian's packages are installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.parts.debian import find
from tests.parts.gateway import GatewayProcess
from tests.parts.machine import free_ports

PLUGIN = "libOrthancDicomWeb.so"
PLUGINS = (Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc"))


class Server(Protocol):
    """A server on loopback, started and stopped at will; what it stored stays. All are durable: synced to the disk.

    `web` is its DICOMweb root; `dimse` host, port and AE title.
    """

    name: str
    version: str
    web: str
    dimse: tuple[str, int, str]

    def start(self) -> None:
        """Start it; returns once it answers."""

    def stop(self) -> None:
        """Stop it."""

    def pids(self) -> list[int]:
        """Its processes; what they started is found from them."""


class Gantry:
    """`gantry serve` on a folder and SQLite, with its stock settings but for `arguments` and `environment`."""

    def __init__(
        self, folder: Path, *, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self.name, self.version, self.web, self.dimse = "Gantry", "", "", ("", 0, "")
        self._folder, self._arguments, self._environment = folder, arguments, environment
        self._process: GatewayProcess | None = None

    def start(self) -> None:
        """See Server."""
        one = GatewayProcess(self._folder, arguments=self._arguments, environment=self._environment)
        self._process, self.version, self.web = one, one.version, one.dicomweb_url
        self.dimse = (one.host, one.dimse_port, one.aet)

    def stop(self) -> None:
        """See Server."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def pids(self) -> list[int]:
        """See Server."""
        return [] if self._process is None else [self._process.pid]


class Orthanc:
    """Orthanc with its DICOMweb plugin on SQLite, in stock settings but for what a comparison needs.

    Its DIMSE listener cannot be kept on loopback, so it is there only when asked for. `settings` go over its own.
    """

    def __init__(self, folder: Path, *, dimse: bool = False, settings: Mapping[str, object] | None = None) -> None:
        self.name, self.version = "Orthanc", ""
        web, association = free_ports(2)
        self.web, self.dimse = f"http://127.0.0.1:{web}/dicom-web", ("127.0.0.1", association, "ORTHANC")
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._settings: dict[str, object] = {
            "Name": "bench",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpPort": web,
            "DicomServerEnabled": dimse,
            "DicomPort": association,
            "DicomAet": "ORTHANC",
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "DicomCheckCalledAet": False,
            "UnknownSopClassAccepted": True,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "SyncStorageArea": True,
            "Plugins": [str(_plugin())],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "StudiesMetadata": "Full", "SeriesMetadata": "Full"},
            **(settings or {}),
        }

    def start(self) -> None:
        """See Server."""
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = self._folder / "orthanc.json"
        configuration.write_text(json.dumps(self._settings))
        command = [str(find("Orthanc")), str(configuration)]
        with (self._folder / "log").open("ab") as log:
            # DCMTK sets no TCP_NODELAY unless told to: each of its messages could cost 40 ms
            environment = {"TCP_NODELAY": "1"}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        end = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{self.web}/studies?limit=1", timeout=10):
                    break
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise
                time.sleep(0.05)
        told = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=True).stdout
        self.version = (re.findall(r"\d+(?:\.\d+)+", told) or ["?"])[0]

    def stop(self) -> None:
        """See Server."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def pids(self) -> list[int]:
        """See Server."""
        return [] if self._process is None else [self._process.pid]


def _plugin() -> Path | None:
    return next((folder / PLUGIN for folder in PLUGINS if (folder / PLUGIN).exists()), None)


def orthanc_installed() -> bool:
    """Debian's packages `orthanc` and `orthanc-dicomweb` are there."""
    return find("Orthanc") is not None and _plugin() is not None


def all_servers(folder: Path, *, dimse: bool = False, arguments: Sequence[str] = ()) -> list[Server]:
    """Gantry, then the peers that are installed, each with a new folder below `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    found: list[Server] = [Gantry(folder / "gantry", arguments=arguments)]
    if orthanc_installed():
        found.append(Orthanc(folder / "orthanc", dimse=dimse))
    return found
