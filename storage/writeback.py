"""Having the disk begin with a file that will have to be on it soon.

What was written lies in memory until a sync asks for it, and then all of it is waited for. Begun at once, it is written
while other files still arrive or this one is looked into, and its sync finds less to do. It promises nothing: only the
sync does, and it is told of errors that came before it.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_WRITE = 2  # SYNC_FILE_RANGE_WRITE


def _call() -> Any:
    """The system's call, None where there is none."""
    found: Any = getattr(ctypes.CDLL(None), "sync_file_range", None) if sys.platform == "linux" else None
    if found is not None:
        found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return found


_sync_file_range = _call()


def begin_writeback(descriptor: int) -> None:
    """Have the kernel begin to write what is dirty of this file, without waiting; nothing where it cannot."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, 0, 0, _WRITE)
