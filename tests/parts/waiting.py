"""Waiting for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tests.parts.torture import patience

T = TypeVar("T")


def until(found: Callable[[], T], seconds: float = 60.0) -> T:
    """What `found` gives once it is true; fails when it does not become so. Long: machines are busy."""
    end = time.monotonic() + seconds * patience()
    while not (result := found()):
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)
    return result
