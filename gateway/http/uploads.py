"""Request bodies, taken in off the event loop, with back-pressure, a limit and deadlines."""

from __future__ import annotations

import time
from asyncio import timeout
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import Request

from gateway.http.failures import Failure
from gateway.http.threads import in_thread

BATCH = 1 << 20
"""Bytes gathered before a worker thread takes them; nothing more is read from the client meanwhile."""
LEAST_BYTES_PER_SECOND = 1024
"""A slower sender is cut off (F-59), once the stall deadline is over."""


class ClientGone(Failure):
    """The client left in the middle of its request; nobody will read the answer."""

    def __init__(self) -> None:
        super().__init__(400, "client_gone", "The connection was closed before the request was complete.")


async def take_in(request: Request, feed: Callable[[bytes], None], *, limit: int, stall_seconds: float) -> bytes:
    """Hand the body to `feed`, which runs in a worker thread, in pieces of about 1 MiB; return the last piece instead.

    So what has to be done once all is there can be done in the same trip to a thread. Raises Failure 413 beyond `limit`
    bytes, before reading when they are announced (S-50); 408 after `stall_seconds` without a byte or for a sender that
    trickles; ClientGone; and what `feed` raises.
    """
    check_announced(request.headers, limit)
    batch: list[bytes] = []
    waiting, total, begun, more = 0, 0, time.monotonic(), True
    while more:
        try:
            async with timeout(stall_seconds):
                message = await request.receive()
        except TimeoutError as error:
            raise _too_slow(f"no byte came for {stall_seconds:g} seconds") from error
        if message["type"] == "http.disconnect":
            raise ClientGone
        body, more = message.get("body", b""), message.get("more_body", False)
        total += len(body)
        waiting += len(body)
        batch.append(body)
        if total > limit:
            raise too_large(limit)
        if more and time.monotonic() - begun > stall_seconds + total / LEAST_BYTES_PER_SECOND:
            raise _too_slow(f"fewer than {LEAST_BYTES_PER_SECOND} bytes a second came")
        if more and waiting >= BATCH:
            data = batch[0] if len(batch) == 1 else b"".join(batch)
            batch, waiting = [], 0
            await in_thread(feed, data)
    return batch[0] if len(batch) == 1 else b"".join(batch)


def check_announced(headers: Headers, limit: int) -> None:
    """Raises Failure 413 when Content-Length says that the body is longer than `limit`."""
    announced = headers.get("content-length", "")
    if announced.isdigit() and (len(announced) > 18 or int(announced) > limit):
        raise too_large(limit)


def too_large(limit: int) -> Failure:
    """The 413 that says how much may be sent; the connection is not worth keeping."""
    detail = f"The request body is longer than the limit of {limit} bytes."
    return Failure(413, "too_large", detail, headers={"Connection": "close"}, members={"limit": limit})


def _too_slow(why: str) -> Failure:
    return Failure(408, "request_timeout", f"The request body did not arrive: {why}.", headers={"Connection": "close"})
