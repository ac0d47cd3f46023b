"""Requests that write: answered even while the disk that they wait for stands still (F-19)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from gateway.http.failures import RETRY_AFTER_SECONDS, Failure
from storage.stalls import Stalls

T = TypeVar("T")

LOOK = 0.5
"""Seconds between two looks."""


async def unless_stalled(work: Coroutine[Any, Any, T], stalls: Stalls) -> T:
    """What comes of `work`. Raises Failure 503 when it lasts while a disk stands still; `work` then goes on alone,
    since its thread cannot be called back, and may be done in the end.
    """
    begun = asyncio.get_running_loop().time()
    task = asyncio.ensure_future(work)
    try:
        while not (await asyncio.wait({task}, timeout=LOOK))[0]:
            if stalls.found and asyncio.get_running_loop().time() - begun > stalls.patience:
                task.add_done_callback(_forgotten)
                detail = "The disk does not answer. What was asked for may still be done; try again."
                headers = {"Retry-After": str(RETRY_AFTER_SECONDS), "Connection": "close"}
                raise Failure(503, "stalled", detail, headers=headers)
    except asyncio.CancelledError:
        task.cancel()
        raise
    return task.result()


def _forgotten(task: asyncio.Future[Any]) -> None:
    """Nobody asks any more what came of it."""
    if not task.cancelled():
        task.exception()
