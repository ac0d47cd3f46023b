"""Response bodies that are read while they are sent, off the event loop.

A body is made of pieces that are known (bytes, or a stored object of known length), or of an iterator whose end is not
known yet. Chunks are pulled in a worker thread, about 1 MiB at a time: a frame or a slice takes one trip, an object of
2 GB never takes more memory than that. Where it can be, what is longer is sent by that thread (`gateway.http.direct`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from starlette.types import Receive, Scope, Send

from gateway.http.direct import DIRECT, SENT, Direct
from gateway.http.threads import in_thread
from storage.crashpoints import reached

TRIP = 1 << 20
"""Bytes pulled in one trip to a worker thread; one chunk of the source may go over it."""
SMALL = 32 << 10
"""Bytes below which it costs less to copy a chunk than to send it by itself."""


class Source(Protocol):
    """Something stored whose length is known; `open` gives `length` bytes (None: all) from `start` on, in chunks."""

    @property
    def length(self) -> int: ...

    @property
    def open(self) -> Callable[[int, int | None], AbstractContextManager[Iterator[bytes | memoryview]]]: ...


@dataclass(frozen=True, slots=True)
class Known:
    """A body of known length: pieces one after another. It can be read again, and from the middle."""

    pieces: Sequence[bytes | Source]

    @property
    def length(self) -> int:
        """In bytes."""
        return sum(len(piece) if isinstance(piece, bytes) else piece.length for piece in self.pieces)

    @property
    def in_memory(self) -> bool:
        """Nothing has to be read for it."""
        return all(isinstance(piece, bytes) for piece in self.pieces)

    def chunks(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Bytes [start, stop) of the body."""
        stop = self.length if stop is None else stop
        at = 0
        for piece in self.pieces:
            size = len(piece) if isinstance(piece, bytes) else piece.length
            first, last = max(start - at, 0), min(stop - at, size)
            if first < last:
                if isinstance(piece, bytes):
                    yield piece if last - first == size else piece[first:last]
                else:
                    yield from read(piece, first, last)
            at += size


@dataclass(frozen=True, slots=True)
class Flowing:
    """A body whose length is not known before its end; read once."""

    iterator: Iterator[bytes]
    length: None = None

    def chunks(self) -> Iterator[bytes]:
        """All of it."""
        return self.iterator


def settle(iterator: Iterator[bytes], limit: int = TRIP) -> Known | Flowing:
    """Known when `iterator` ends within `limit` bytes, which are then in memory; else Flowing. Blocking.

    What fails in the first pieces fails before the response has begun, and gets a status of its own.
    """
    head: list[bytes] = []
    size = 0
    for piece in iterator:
        head.append(piece)
        size += len(piece)
        if size > limit:
            return Flowing(_rest(head, iterator))
    return Known(head)


@dataclass(slots=True)
class Begun:
    """A response whose first bytes are there, read in the thread that made it; an ASGI application.

    What fails before it is sent gets a status of its own. `chunks` gives the rest, and may block; None: there is none.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    trip: list[bytes]
    chunks: Iterator[bytes] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, until it ends or the client is gone."""
        chunks, direct = self.chunks, scope.get("extensions", {}).get(DIRECT)
        if chunks is None:
            await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
            reached("P9")
            await _send_trip(self.trip, send, last=True)
            reached("P10")
            return
        gone: asyncio.Future[None] | None = None
        try:
            await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
            gone = asyncio.ensure_future(_disconnected(receive))
            trip, self.trip = self.trip, []
            if isinstance(direct, Direct) and direct.fits():
                sent = await direct.send(chain(trip, chunks), gone)
                if sent is not None:
                    await send({"type": "http.response.body", "body": b"", SENT: sent})
                return
            await _send_trip(trip, send, last=False)
            ended = False
            while not ended and not gone.done():
                trip, ended = await in_thread(pull, chunks)
                await _send_trip(trip, send, last=ended)
        finally:
            if gone is not None:
                gone.cancel()
            await in_thread(_close, chunks)


def begin(status: int, headers: list[tuple[bytes, bytes]], chunks: Iterator[bytes]) -> Begun:
    """A response of what `chunks` gives. Blocking; raises what reading raises."""
    try:
        trip, ended = pull(chunks)
    except BaseException:
        _close(chunks)
        raise
    return Begun(status, headers, trip, None if ended else chunks)


def pull(chunks: Iterator[bytes]) -> tuple[list[bytes], bool]:
    """The next chunks, up to TRIP bytes, and whether they were the last. Small neighbours are put together."""
    trip: list[bytes] = []
    small: list[bytes] = []
    size = 0
    while size < TRIP:
        chunk = next(chunks, None)
        if chunk is None:
            break
        size += len(chunk)
        if len(chunk) < SMALL:
            small.append(chunk)
        else:
            trip += [b"".join(small), chunk] if small else [chunk]
            small = []
    if small:
        trip.append(b"".join(small))
    return trip, size < TRIP


async def _send_trip(trip: Sequence[bytes], send: Send, *, last: bool) -> None:
    """Send these chunks; with `last` the body ends with them."""
    for position, chunk in enumerate(trip, 1):
        await send({"type": "http.response.body", "body": chunk, "more_body": not (last and position == len(trip))})
    if last and not trip:
        await send({"type": "http.response.body", "body": b""})


def _close(chunks: Iterator[bytes]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


def _rest(head: list[bytes], iterator: Iterator[bytes]) -> Iterator[bytes]:
    yield from head
    yield from iterator  # not itertools.chain: closing this generator closes that one


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def read(source: Source, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Bytes [start, stop) of `source`. A whole read is asked for as such: only then can the store check it."""
    stop = source.length if stop is None else stop
    with source.open(start, None if (start, stop) == (0, source.length) else stop - start) as chunks:
        for chunk in chunks:
            yield bytes(chunk)  # a server may hold on to it, the source may use its memory again
