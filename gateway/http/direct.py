"""Bodies that a worker thread writes straight to the connection, past the event loop.

A study of hundreds of megabytes takes least where one thread sends a piece while another reads the next one: nothing is
copied, queued for the event loop, or joined. The thread that sends never waits long for a client; the event loop does
that, for as many of them as there are.

Only for bodies of known length on connections without TLS; what was written to the transport before has left it then.
The connection is written to by a descriptor of our own: when the transport closes its own meanwhile, the number may be
another client's by the next write.
"""

from __future__ import annotations

import asyncio
import contextvars
import fcntl
import select
import socket
import struct
import termios
import threading
from collections.abc import Iterator
from contextlib import closing
from enum import Enum
from time import monotonic

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from gateway.http.threads import MOST, Threads, to_its_end
from gateway.logs import get_logger

log = get_logger("gateway.http")

DIRECT = "gantry.direct"
"""Where a request's `Direct` stands among the extensions of its scope."""
SENT = "gantry.sent"
"""Where the last message of a response tells how many bytes of its body went this way."""

TRIP_SECONDS = 0.05
"""After so long a thread is given back, so that others who wait for one have their turn."""
PATIENCE = 20
"""Milliseconds that a thread waits for a client to take more."""
AHEAD = 1 << 20
"""Bytes that are read while others are sent; one chunk of the source may go over it. Threads that take turns more often
wait for each other more than they gain.
"""
_MOST_PIECES = 64


class _State(Enum):
    """Why a trip of a thread ended."""

    DONE = "done"
    MORE = "more"
    FULL = "full"
    GONE = "gone"


class Direct:
    """The connection of one request; `cycle` is uvicorn's side of its response, from when its head has been read.

    A client that takes nothing for `write_seconds` is dropped.
    """

    def __init__(self, transport: asyncio.Transport, write_seconds: float) -> None:
        self.cycle: RequestResponseCycle | None = None
        self._transport = transport
        self._write_seconds = write_seconds

    def fits(self) -> bool:
        """May the body of the response, which has begun, be sent like this?"""
        cycle = self.cycle
        return (
            cycle is not None
            and cycle.response_started
            and cycle.chunked_encoding is False
            and not cycle.disconnected
            and not self._transport.is_closing()
        )

    async def send(self, chunks: Iterator[bytes], gone: asyncio.Future[None]) -> int | None:
        """Send all that `chunks` gives, and tell how many bytes that was; None when the client went away, as `gone`
        tells, or was dropped. Raises what `chunks` raises.
        """
        cycle = self.cycle
        assert cycle is not None
        if not await self._flushed(gone):
            return None
        descriptor = self._transport.get_extra_info("socket").fileno()
        with closing(socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM)) as connection:
            connection.setblocking(False)
            ahead = _Ahead(chunks)
            pump = _Pump(connection, ahead, cycle.expected_content_length)
            try:
                while (state := await to_its_end(pump.run)) is not _State.DONE:
                    if state is _State.FULL and not await self._taken(connection, gone):
                        log.info("connection dropped", reason="response_not_taken")
                        state = _State.GONE
                    if state is _State.GONE or gone.done() or self._transport.is_closing():
                        self._transport.abort()
                        await asyncio.wait([gone], timeout=1.0)  # uvicorn has to know it before the response is over
                        return None
            finally:
                await to_its_end(ahead.finish)
        cycle.expected_content_length -= pump.sent
        return pump.sent

    async def _flushed(self, gone: asyncio.Future[None]) -> bool:
        """Wait until what was written before has left the transport: the head, which is short."""
        await asyncio.sleep(0)
        while self._transport.get_write_buffer_size():  # a client that does not take it is dropped by the protocol
            if gone.done() or self._transport.is_closing():
                return False
            await asyncio.sleep(0.001)
        return not self._transport.is_closing()

    async def _taken(self, connection: socket.socket, gone: asyncio.Future[None]) -> bool:
        """Wait until there is room for more; False for a client that takes nothing at all."""
        loop = asyncio.get_running_loop()
        room: asyncio.Future[None] = loop.create_future()
        loop.add_writer(connection.fileno(), _done, room)
        try:
            before, times = _unsent(connection), 0
            while times < 4:
                done, _ = await asyncio.wait(
                    (room, gone), timeout=self._write_seconds / 4, return_when=asyncio.FIRST_COMPLETED
                )
                if done:
                    return True
                now = _unsent(connection)  # room is told of only once there is much
                before, times = now, times + 1 if now == before else 0
            return False
        finally:
            loop.remove_writer(connection.fileno())


_readers = Threads(MOST, "ahead")
"""Not those that send: they would wait for each other."""


class _Ahead:
    """Reads `chunks`, the next pieces while the last ones are sent; one thread at a time."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._context = contextvars.copy_context()
        self._read = threading.Lock()  # held from when the next pieces are asked for until they are there
        self._pieces: list[bytes | memoryview] = []
        self._failed: BaseException | None = None
        self._begin()

    def take(self) -> list[bytes | memoryview]:
        """The next pieces; none at the end. Raises what reading raised."""
        with self._read:
            pieces, failed = self._pieces, self._failed
        if failed is not None:
            raise failed
        if pieces:
            self._begin()
        return pieces

    def finish(self) -> None:
        """Wait until nothing is read any more; blocking."""
        with self._read:
            pass

    def _begin(self) -> None:
        self._read.acquire()
        _readers.submit(self._job)

    def _job(self) -> None:
        try:
            self._pieces = self._context.run(self._next)
        except BaseException as error:
            self._failed = error
        finally:
            self._read.release()

    def _next(self) -> list[bytes | memoryview]:
        pieces: list[bytes | memoryview] = []
        size = 0
        while size < AHEAD and len(pieces) < _MOST_PIECES:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            pieces.append(chunk)
            size += len(chunk)
        return pieces


class _Pump:
    """Moves what is read to a connection that does not block, `size` bytes at most; `sent` of them have gone."""

    def __init__(self, connection: socket.socket, ahead: _Ahead, size: int) -> None:
        self.sent = 0
        self._connection = connection
        self._ahead = ahead
        self._left = size
        self._pieces: list[bytes | memoryview] = []
        self._poll = select.poll()
        self._poll.register(connection, select.POLLOUT)

    def run(self) -> _State:
        """One trip of a worker thread. Raises what reading raises."""
        until = monotonic() + TRIP_SECONDS
        try:
            while self._pieces or self._read():
                if not self._write():
                    return _State.FULL
                if monotonic() > until:
                    return _State.MORE
        except ConnectionError:
            return _State.GONE
        return _State.DONE

    def _read(self) -> bool:
        """The next pieces; False at the end."""
        self._pieces = self._ahead.take()
        size = sum(map(len, self._pieces))
        if size > self._left:
            raise RuntimeError("a body that is longer than its Content-Length")
        self._left -= size
        return bool(self._pieces)

    def _write(self) -> bool:
        """Send what was read; False when the client does not take it soon. Raises ConnectionError."""
        pieces = self._pieces
        while pieces:
            try:
                sent = self._connection.sendmsg(pieces)
            except BlockingIOError:
                if not self._poll.poll(PATIENCE):
                    return False
                continue
            self.sent += sent
            done = 0
            while done < len(pieces) and sent >= len(pieces[done]):
                sent -= len(pieces[done])
                done += 1
            del pieces[:done]
            if pieces:
                pieces[0] = memoryview(pieces[0])[sent:]
        return True


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _unsent(connection: socket.socket) -> int:
    """Bytes that were handed over and that the client has not taken yet."""
    return int(struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0])
