"""Work on bytes that nobody vouches for, in processes of its own: a crash, a bomb or a hang there ends one request.

A function does its work in a child process when it is called through `call`. The children are few, kept warm, and hold
nothing but what they were given: no settings, no credentials, no open file but one socket. Each call has a limit of
memory, of CPU time and of time; a child that goes beyond, or dies, is replaced, and what killed it is not tried again
for a while (F-08, S-32, S-44).

The function is one of a module's own, `function(data, facts) -> (facts, buffer)`: facts are what JSON can say, and the
only thing that a child's answer is parsed as.
"""

from __future__ import annotations

import atexit
import os
import threading

from gateway.isolated.pool import Limits, Pool, Work
from gateway.isolated.wire import Facts

__all__ = ["Facts", "Limits", "Pool", "Work", "call", "configure", "warm"]

_lock = threading.Lock()
_limits = Limits()
_pool: Pool | None = None


def configure(limits: Limits) -> None:
    """Set the limits of this process's children; before the first call."""
    global _limits
    with _lock:
        _limits = limits


def call(work: Work, data: bytes | memoryview, facts: Facts, most: int) -> tuple[Facts, memoryview]:
    """Call `work(data, facts)` in a child of this process; a buffer of more than `most` bytes is refused.

    Raises NotRenderable: the work failed, or its process was stopped. Unavailable: no process was free in time.
    """
    return _shared().call(work, data, facts, most)


def warm(*works: Work) -> None:
    """Start the children now, with what these functions need, so that no request waits for it. Returns at once."""
    _shared().warm(works)


def _shared() -> Pool:
    global _pool
    with _lock:
        if _pool is None:
            _pool = Pool(_limits)
        return _pool


def _close() -> None:
    global _pool
    with _lock:
        pool, _pool = _pool, None
    if pool is not None:
        pool.close()


def _forget() -> None:
    """After a fork: the children are the parent's."""
    global _lock, _pool
    _lock = threading.Lock()
    if _pool is not None:
        _pool.abandon()
        _pool = None


atexit.register(_close)
os.register_at_fork(after_in_child=_forget)
