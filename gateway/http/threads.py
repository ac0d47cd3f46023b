"""Blocking work off the event loop: the one trip to a worker thread that most requests make.

As Starlette's `run_in_threadpool` and asyncio's executors, at less than their price; a trip costs as much as many an
answer. The thread that became idle last gets the next work: what it needs is in the processor's cache still.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

MOST = 40
"""Threads; what comes when all are at work waits for one."""

Job = Callable[[], None]


class _Thread:
    """A worker thread: `job` is what it does once `wake` is released."""

    __slots__ = ("job", "wake")

    def __init__(self, job: Job) -> None:
        self.job: Job | None = job
        self.wake = threading.Lock()
        self.wake.acquire()


class Threads:
    """Up to `most` worker threads, started at need, that end with the process."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._guard = threading.Lock()
        self._idle: list[_Thread] = []
        self._waiting: deque[Job] = deque()
        self._started = 0
        self._rest = threading.Condition(self._guard)
        self._ending = False
        atexit.register(self._finish)

    def submit(self, job: Job) -> None:
        """Have `job` done by a thread. It must not raise."""
        with self._guard:
            if self._idle:
                thread = self._idle.pop()
                thread.job = job
                thread.wake.release()
                return
            if self._started >= self._most:
                self._waiting.append(job)
                return
            self._started += 1
            number = self._started
        threading.Thread(target=self._run, args=(_Thread(job),), name=f"{self._name}_{number}", daemon=True).start()

    def _run(self, thread: _Thread) -> None:
        while True:
            job, thread.job = thread.job, None
            assert job is not None
            job()
            del job  # an idle thread holds on to nothing
            with self._guard:
                if self._waiting:
                    thread.job = self._waiting.popleft()
                    continue
                self._idle.append(thread)
                if self._ending:
                    self._rest.notify_all()
            thread.wake.acquire()

    def _finish(self) -> None:
        """Work that has begun is done to its end before the process ends."""
        with self._guard:
            self._ending = True
            self._rest.wait_for(lambda: len(self._idle) == self._started)


_threads = Threads(MOST, "web")


async def in_thread(work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Call `work` in a worker thread, with the context variables of this task. Once begun it is done to its end, also
    when this task is cancelled.
    """
    return await _begin(work, *args, **named)


async def to_its_end(work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """As `in_thread`, and waited for even when this task is cancelled: until then, what `work` uses is the thread's."""
    future = _begin(work, *args, **named)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
        except Exception:
            break  # of the work: told below
    if cancelled is not None:
        future.exception()
        raise cancelled
    return future.result()


def _begin(work: Callable[P, T], *args: P.args, **named: P.kwargs) -> asyncio.Future[T]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def job() -> None:
        if future.cancelled():
            return
        result: Any = None
        failed: BaseException | None = None
        try:
            result = context.run(work, *args, **named)
        except BaseException as error:
            failed = error
        with suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits
            loop.call_soon_threadsafe(_settle, future, result, failed)

    _threads.submit(job)
    return future


def _settle(future: asyncio.Future[T], result: T, failed: BaseException | None) -> None:
    if future.cancelled():
        return
    if failed is None:
        future.set_result(result)
    else:
        future.set_exception(failed)
