"""A TCP proxy whose line can be cut, held, slowed, and harmed, between a gateway and S3 or PostgreSQL.

Unlike a network namespace it needs no rights, and each gateway has lines of its own.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit


class Reply(bytes):
    """Bytes that go back to the client, after which its connection ends: nothing of what it sent is passed on."""


class Passage:
    """What happens to the bytes of one connection; the plain one lets all pass.

    `upload` and `download` return what passes instead (None: the connection ends); `upload` may return a Reply.
    """

    def upload(self, data: bytes) -> bytes | None:
        """From the client to the server."""
        return data

    def download(self, data: bytes) -> bytes | None:
        """From the server to the client."""
        return data


class Link:
    """Forwards to the server at `url`, on a port of its own, while its context lasts; `url` gives that port. `listener`
    is where it is reached, if not on loopback.

    `held` lets nothing pass and nothing end, as a broken line does; new connections are taken and hang. `refused` ends
    new connections. `delay` (seconds) is added to each piece, `rate` (bytes a second) bounds each way. `passage` makes
    what is done to each new connection. All may be set at any time; `cut` ends what is open.
    """

    def __init__(self, url: str, listener: socket.socket | None = None) -> None:
        there = urlsplit(url)
        self._there = (there.hostname or "127.0.0.1", there.port or 80)
        self._url = there
        self.held = False
        self.refused = False
        self.delay = 0.0
        self.rate = 0.0
        self.passage: Callable[[], Passage] = Passage
        self.connections = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener = listener
        self._host = "127.0.0.1"
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        """The server's URL by this link."""
        user = self._url.netloc.rpartition("@")[0]
        return self._url._replace(netloc=f"{user}{'@' if user else ''}{self._host}:{self.port}").geturl()

    def cut(self) -> None:
        """End all connections, without a word."""
        self._loop.call_soon_threadsafe(self._abort)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        listener = self._listener or socket.create_server(("127.0.0.1", 0))
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, sock=listener))
        self._host, self.port = listener.getsockname()[:2]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._abort()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(asyncio.sleep(0.05))
        self._loop.close()

    def _abort(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        theirs: asyncio.StreamWriter | None = None
        try:
            while self.held:
                await asyncio.sleep(0.02)
            if self.refused:
                return
            back, theirs = await asyncio.open_connection(*self._there)
            self._writers.add(theirs)
            passage = self.passage()
            ways = (
                self._pump(reader, theirs, writer, passage.upload),
                self._pump(back, writer, writer, passage.download),
            )
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, theirs):
                if one is not None:
                    self._writers.discard(one)
                    with suppress(Exception):
                        one.close()

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        harm: Callable[[bytes], bytes | None],
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
                while self.held:
                    await asyncio.sleep(0.02)
                passed = harm(data)
                if isinstance(passed, Reply):
                    client.write(passed)
                    await client.drain()
                    return
                if passed is None:
                    sink.transport.abort()
                    return
                sink.write(passed)
                await sink.drain()
