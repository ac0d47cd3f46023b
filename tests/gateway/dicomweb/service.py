"""The web wing over real sockets: uvicorn in a thread, on a folder and SQLite, without the rest of the gateway."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from pydicom.dataset import Dataset
from starlette.routing import BaseRoute, Mount

from gateway import http
from gateway.authentication import Authentication
from gateway.dicomweb.catalogue import SERVICES
from gateway.dicomweb.routes import routes, uri_routes
from gateway.http import documentation, health
from gateway.http.protocol import Protocol
from gateway.settings import Settings
from storage import Archive, open_archive
from tests.parts import once
from tests.parts.datasets import part10_bytes
from tests.parts.received import received

BOUNDARY = "gantry-test"
STOW_TYPE = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'


class Service:
    """A running web wing. `url` is its DICOMweb root, `client` an httpx client of it, `archive` what it serves."""

    def __init__(self, archive: Archive, host: str, port: int, folder: Path) -> None:
        self.archive = archive
        self.address = (host, port)
        self.origin = f"http://{host}:{port}"
        self.url = f"{self.origin}/dicomweb"
        self.folder = folder
        self.client = once.client(base_url=self.url, timeout=30)

    def get(self, path: str, accept: str | None = None, **headers: str) -> httpx.Response:
        """GET below the root; `accept` None sends the client's own `*/*`, headers have `_` for `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if accept is not None:
            sent["Accept"] = accept
        return self.client.get(path, headers=sent)

    def store(self, *files: Dataset | bytes, path: str = "/studies", **headers: str) -> httpx.Response:
        """Store data sets, or files as they are, in one multipart request."""
        return self.client.post(path, content=stow_body(files), headers={"Content-Type": STOW_TYPE, **headers})

    def spooled(self) -> list[Path]:
        """Files that are being received."""
        return received(self.folder / "spool")

    def raw(self, request: bytes, seconds: float = 10) -> bytes:
        """Send bytes on a connection of their own; what comes back until the server closes or is silent."""
        with socket.create_connection(self.address, seconds) as connection:
            connection.sendall(request)
            connection.settimeout(seconds)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
            return answer


def stow_body(files: Sequence[Dataset | bytes], boundary: str = BOUNDARY) -> bytes:
    """A multipart body of Part 10 files."""
    parts = [one if isinstance(one, bytes) else part10_bytes(one) for one in files]
    opening = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"\r\n".join(opening + part for part in parts) + f"\r\n--{boundary}--\r\n".encode()


def parts_of(response: httpx.Response) -> list[tuple[Mapping[str, str], bytes]]:
    """Headers (lower case) and bodies of a multipart answer."""
    boundary = response.headers["content-type"].partition("boundary=")[2].strip('"').encode()
    body = response.content
    assert body.startswith(b"--" + boundary + b"\r\n")
    assert body.endswith(b"\r\n--" + boundary + b"--\r\n")
    found: list[tuple[Mapping[str, str], bytes]] = []
    for piece in body[: -len(boundary) - 8].split(b"--" + boundary + b"\r\n")[1:]:
        head, _, data = piece.partition(b"\r\n\r\n")
        lines = (line.partition(": ") for line in head.decode().split("\r\n"))
        headers = {name.lower(): value for name, _, value in lines}
        found.append((headers, data[: int(headers["content-length"])]))
    return found


@contextmanager
def serve(
    folder: Path, *, more_routes: Sequence[BaseRoute] = (), protocol: type[Protocol] = Protocol, **settings: Any
) -> Iterator[Service]:
    """A web wing on a fresh archive in `folder`."""
    chosen = Settings(data=folder, **settings)
    archive = open_archive(
        chosen.objects_url,
        chosen.index_url,
        chosen.spool,
        replace=chosen.duplicates == "replace",
        reserve=chosen.spool_reserve,
    )
    routing: list[BaseRoute] = [
        *health.routes([("objects", archive.objects.check), ("index", archive.index.check)]),
        Mount("/dicomweb", routes=routes(archive, chosen)),
        *uri_routes(archive, chosen),
        *documentation.routes([*SERVICES, health.SERVICE], "test"),
        *more_routes,
    ]
    app = http.application(routing, chosen, Authentication(chosen, archive))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", proxy_headers=False, ws="none", http=protocol
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        host, port = listener.getsockname()
        service = Service(archive, host, port, folder)
        try:
            yield service
        finally:
            service.client.close()
            server.should_exit = True
            thread.join(10)
            archive.close()
