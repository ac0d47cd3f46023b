"""The floor of a whole study: so many files from one folder, sent by as little as Python needs to send them.

    python -m benchmarks.bare_study HOW PORT FOLDER       one of the servers, for one connection at a time

`sendfile` leaves all to the kernel and looks at nothing; `plain` reads each file, compares its checksum and sends it.
`asgi` is the same in an application that does nothing else, on the server that Gantry is served by.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
import xxhash

from benchmarks.client import Client
from benchmarks.machine import cpu
from tests.parts.machine import free_port

WAYS = {
    "sendfile": "sendfile by one thread on a plain socket, nothing compared",
    "plain": "read, compared and sent by one thread on a plain socket",
    "asgi": "read, compared and sent by a bare ASGI application on uvicorn",
}


def bare_study(folder: Path, count: int, size: int, times: int = 5) -> list[tuple[str, str]]:
    """What each way comes to, for a table: medians."""
    folder.mkdir(parents=True, exist_ok=True)
    data = os.urandom(size)
    for number in range(count):
        (folder / f"{number}.dcm").write_bytes(data)
    return [
        (f"{count} files of {size >> 10} KiB in one answer: {way}", _one(folder, how, times))
        for how, way in WAYS.items()
    ]


def _one(folder: Path, how: str, times: int) -> str:
    port = free_port()
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "benchmarks.bare_study", how, str(port), str(folder)]
    server = subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL)
    client = Client(f"http://127.0.0.1:{port}")
    try:
        end = time.monotonic() + 30
        while True:
            try:
                client.get("/", "*/*")
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        before, walls = cpu(server.pid), []
        for _ in range(times):
            started = time.perf_counter()
            client.get("/", "*/*")
            walls.append(1000 * (time.perf_counter() - started))
        spent = 1000 * (cpu(server.pid) - before) / times
        return f"{sorted(walls)[times // 2]:.0f} ms, CPU of the server {spent:.0f} ms"
    finally:
        client.close()
        server.terminate()
        server.wait(20)


# ---------------------------------------------------------------- the servers


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    os.close(descriptor)
    xxhash.xxh3_128(data).hexdigest()
    return data


def _plain(connection: socket.socket, path: str) -> None:
    connection.sendall(_read(path))


def _sendfile(connection: socket.socket, path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    at, size = 0, os.fstat(descriptor).st_size
    while at < size:
        at += os.sendfile(connection.fileno(), descriptor, at, size - at)
    os.close(descriptor)


def _serve(port: int, files: list[str], send: Callable[[socket.socket, str], None]) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % sum(map(os.path.getsize, files))
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(65536):
                    connection.sendall(head)
                    for path in files:
                        send(connection, path)


async def _application(files: list[str], scope: Any, receive: Any, send: Any) -> None:
    length = str(sum(map(os.path.getsize, files))).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    for path in files:
        await send({"type": "http.response.body", "body": _read(path), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def main() -> None:
    """Serve one way until ended."""
    how, port, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    files = sorted(map(str, folder.glob("*.dcm")))
    if how == "asgi":
        uvicorn.run(partial(_application, files), port=port, log_level="error", lifespan="off", interface="asgi3")
    else:
        _serve(port, files, _sendfile if how == "sendfile" else _plain)


if __name__ == "__main__":
    main()
