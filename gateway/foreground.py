"""Who waits comes first: what is made ahead of requests holds still while there are any.

A thread that computes keeps the interpreter from the others for milliseconds at a time, which is more than most answers
take. So work that can wait looks here before each piece of it; not for ever, since some gateways are never idle.
"""

from __future__ import annotations

import threading
import time

CALM = 0.5
"""Seconds without an operation after which nobody is taken to wait."""
PATIENCE = 20.0
"""Seconds after which work that can wait goes on all the same."""

BREATH, LONG_BREATH = 0.001, 0.01
"""Seconds that are left to others between two small pieces of work: where nobody is waiting, and where somebody is."""

_last = -CALM


def busy() -> None:
    """An operation that somebody waits for has begun or gone on."""
    global _last
    _last = time.monotonic()


def breathe() -> None:
    """Leave the interpreter to others for a moment: in the midst of work that somebody may have begun to wait for."""
    time.sleep(BREATH if time.monotonic() - _last > CALM else LONG_BREATH)


def rest(stopping: threading.Event, until: float) -> None:
    """Wait until nobody is waiting, or we are stopping; at most until this moment of the monotonic clock."""
    while not stopping.is_set() and (now := time.monotonic()) < until and (left := _last + CALM - now) > 0:
        stopping.wait(min(left, until - now))
