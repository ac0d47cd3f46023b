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
from tests.parts.gateway import GatewayProcess, program
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
        one = GatewayProcess(
            self._folder, arguments=self._arguments, environment=self._environment, workers=None, launch=program
        )
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
    `root` is a folder with a Debian in it (`newest_orthanc.py`) whose Orthanc it is; `folder` then lies in there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "Orthanc",
        dimse: bool = False,
        settings: Mapping[str, object] | None = None,
        root: Path | None = None,
    ) -> None:
        self.name, self.version = name, ""
        web, association = free_ports(2)
        self.web, self.dimse = f"http://127.0.0.1:{web}/dicom-web", ("127.0.0.1", association, "ORTHANC")
        self._folder = folder
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        storage = self._inside(folder / "storage")
        self._settings: dict[str, object] = {
            "Name": "bench",
            "StorageDirectory": storage,
            "IndexDirectory": storage,
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
            "Plugins": [self._inside(_plugin(root or Path("/")) or Path(PLUGIN))],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "StudiesMetadata": "Full", "SeriesMetadata": "Full"},
            **(settings or {}),
        }

    def start(self) -> None:
        """See Server."""
        self._folder.mkdir(parents=True, exist_ok=True)
        configuration = self._folder / "orthanc.json"
        configuration.write_text(json.dumps(self._settings))
        program = (
            [str(find("Orthanc"))]
            if self._root is None
            else [str(find("chroot")), str(self._root), "/usr/sbin/Orthanc"]
        )
        command = [*program, self._inside(configuration)]
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
        told = subprocess.run([*program, "--version"], capture_output=True, text=True, check=True).stdout
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

    def _inside(self, path: Path) -> str:
        """A path as its process has to know it."""
        return str(path if self._root is None else "/" / path.relative_to(self._root))


def _plugin(root: Path) -> Path | None:
    found = (root / folder.relative_to("/") / PLUGIN for folder in PLUGINS)
    return next((path for path in found if path.exists()), None)


def orthanc_installed() -> bool:
    """Debian's packages `orthanc` and `orthanc-dicomweb` are there."""
    return find("Orthanc") is not None and _plugin(Path("/")) is not None


def all_servers(
    folder: Path,
    *,
    dimse: bool = False,
    arguments: Sequence[str] = (),
    newest: Path | None = None,
    keep: bool = False,
) -> list[Server]:
    """Gantry, then the peers that are installed, each with a new folder below `folder`, or the one that it had.

    `newest` is where `newest_orthanc.py` put an Orthanc; its data lie in there.
    """
    inside = None if newest is None else newest.absolute() / f"srv/gantry-{folder.parent.name}-{folder.name}"
    for one in (folder, inside):
        if one is not None and not keep:
            shutil.rmtree(one, ignore_errors=True)
    found: list[Server] = [Gantry(folder / "gantry", arguments=arguments)]
    if orthanc_installed():
        found.append(Orthanc(folder / "orthanc", dimse=dimse))
    if inside is not None and newest is not None:
        found.append(Orthanc(inside, name="newest Orthanc", dimse=dimse, root=newest.absolute()))
    return found
