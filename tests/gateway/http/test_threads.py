"""The one trip of a request to a worker thread."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading

import pytest

from gateway.http.threads import Threads, in_thread, to_its_end
from tests.parts.asynchronous import run

WORD: contextvars.ContextVar[str] = contextvars.ContextVar("word")

ENDS_WHILE_AT_WORK = """
import threading, time
from gateway.http.threads import Threads

begun = threading.Event()

def work():
    begun.set()
    time.sleep(0.3)
    print("done", flush=True)

Threads(2, "test").submit(work)
begun.wait(30)
"""


def test_what_is_returned_and_raised_comes_back_and_context_goes_along() -> None:
    def work(raises: bool) -> str:
        if raises:
            raise KeyError("no")
        assert threading.current_thread() is not threading.main_thread()
        return WORD.get()

    async def ask() -> str:
        WORD.set("here")
        with pytest.raises(KeyError):
            await in_thread(work, True)
        return await in_thread(work, raises=False)

    assert run(ask()) == "here"


def test_more_work_than_threads_waits_its_turn_and_all_of_it_is_done() -> None:
    threads, most = Threads(3, "test"), threading.Semaphore(3)
    done: list[int] = []
    over = threading.Event()

    def job(number: int) -> None:
        assert most.acquire(blocking=False)
        done.append(number)
        most.release()
        if len(done) == 200:
            over.set()

    for number in range(200):
        threads.submit(lambda number=number: job(number))  # type: ignore[misc]
    assert over.wait(30)
    assert sorted(done) == list(range(200))


def test_work_is_done_to_its_end_when_nobody_waits_any_more() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(30)
        done.set()

    async def leave() -> None:
        task = asyncio.create_task(in_thread(work))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(leave())
    go_on.set()
    assert done.wait(30)


def test_its_end_is_waited_for_though_the_task_is_cancelled_and_then_it_ends_so() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(30)
        done.set()

    async def leave() -> None:
        task = asyncio.create_task(to_its_end(work))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0.001)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done.is_set()
        with pytest.raises(ZeroDivisionError):
            await to_its_end(lambda: 1 // 0)
        assert await to_its_end(max, 1, 2) == 2

    run(leave())


def test_a_process_ends_after_the_work_that_it_has_begun() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDS_WHILE_AT_WORK], capture_output=True, timeout=60, check=True)
    assert ended.stdout == b"done\n"
