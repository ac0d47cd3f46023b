"""Blocking work off the event loop: the one trip to a worker thread that most requests make.

As Starlette's `run_in_threadpool`, at two thirds of its price; a trip costs as much as many an answer.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MOST = 40
"""Threads; what comes when all are at work waits for one."""

_threads = ThreadPoolExecutor(MOST, "web")


async def in_thread(work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Call `work` in a worker thread, with the context variables of this task. It is done to its end in any case."""
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_threads, lambda: context.run(work, *args, **named))
