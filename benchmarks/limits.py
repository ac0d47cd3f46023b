"""What this machine and the libraries can do at most: what a measurement is to be read against."""

from __future__ import annotations

import hashlib
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.bare_study import bare_study
from benchmarks.client import Client
from benchmarks.machine import cpu
from tests.parts.machine import free_port

SLICE = 512 << 10
_BARE = """
BODY = bytes({size})
async def app(scope, receive, send):
    body = BODY if scope["path"] == "/slice" else b"hello"
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}})
    await send({{"type": "http.response.body", "body": body}})
"""


def limits(folder: Path, runs: int = 3, slices: int = 500) -> list[tuple[str, str]]:
    """What it is and how much, for a table; medians. A study has so many `slices`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [
        ("files of 512 KiB written and synced, with their folder's entry", _files(folder, runs), "files/s"),
        ("rows of an index in SQLite, committed one by one, synced", _commits(folder, runs), "commits/s"),
        ("loopback, one connection within one process", _median(runs, _loopback), "MB/s"),
        ("SHA-256", SLICE / 1e6 / _each(partial(hashlib.sha256, bytes(SLICE)), 200), "MB/s"),
    ]
    rows = [(name, f"{value:,.0f} {unit}") for name, value, unit in found]
    return rows + _bare_server(folder) + bare_study(folder / "study", slices, SLICE)


def _median(runs: int, once: Callable[[], float]) -> float:
    return statistics.median(once() for _ in range(runs))


def _each(work: Callable[[], object], times: int) -> float:
    started = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - started) / times


def _files(folder: Path, runs: int, count: int = 60) -> float:
    data = os.urandom(SLICE)

    def once() -> float:
        entry = os.open(folder, os.O_RDONLY)
        paths = [folder / f"file-{number}" for number in range(count)]
        started = time.perf_counter()
        for path in paths:
            with path.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.fsync(entry)
        seconds = time.perf_counter() - started
        os.close(entry)
        for path in paths:
            path.unlink()
        return count / seconds

    return _median(runs, once)


def _commits(folder: Path, runs: int, count: int = 300) -> float:
    connection = sqlite3.connect(folder / "limit.db", isolation_level=None)
    for text in (
        "pragma journal_mode=wal",
        "pragma synchronous=full",
        "create table row (uid text unique, value text)",
    ):
        connection.execute(text)

    def once() -> float:
        started = time.perf_counter()
        for number in range(count):
            connection.execute("insert into row values (?, ?)", (f"{started}.{number}", "value"))
        return count / (time.perf_counter() - started)

    value = _median(runs, once)
    connection.close()
    return value


def _loopback(total: int = 1 << 30) -> float:
    listener = socket.create_server(("127.0.0.1", 0))
    piece = bytes(1 << 20)

    def take() -> None:
        connection, _ = listener.accept()
        room = memoryview(bytearray(1 << 20))
        while connection.recv_into(room):
            pass
        connection.close()

    thread = threading.Thread(target=take)
    thread.start()
    started = time.perf_counter()
    with socket.create_connection(listener.getsockname()) as sender:
        for _ in range(total >> 20):
            sender.sendall(piece)
    thread.join()
    listener.close()
    return total / 1e6 / (time.perf_counter() - started)


def _bare_server(folder: Path) -> list[tuple[str, str]]:
    """An ASGI application that does nothing, on the same server as Gantry: with a small answer, and with a slice."""
    (folder / "bare.py").write_text(_BARE.format(size=SLICE))
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bare:app", "--port", str(port), "--no-access-log"]
    server = subprocess.Popen(
        [*command, "--log-level", "error", "--lifespan", "off"], cwd=folder, stdin=subprocess.DEVNULL
    )
    client = Client(f"http://127.0.0.1:{port}")
    rows = []
    try:
        end = time.monotonic() + 30
        while True:
            try:
                client.get("/hello", "*/*")
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        for path, name, times in (("/hello", "5 bytes", 2000), ("/slice", "512 KiB", 1000)):
            before = cpu(server.pid)
            seconds = _each(partial(client.get, path, "*/*"), times)
            spent = 1000 * (cpu(server.pid) - before) / times
            title = f"uvicorn and this client alone, one connection, answers of {name}"
            rows.append((title, f"{1 / seconds:,.0f}/s, CPU of the server {spent:.2f} ms"))
    finally:
        client.close()
        server.terminate()
        server.wait(20)
    return rows
