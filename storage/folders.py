"""Folders that are there after a power cut: a name is on the disk only once the folder that holds it was synced."""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make a folder and those above it as needed, and see that the names of all are on the disk (F-02).

    Also of those that are there already, since whoever made them may not have. Raises OSError.
    """
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    device = path.stat().st_dev
    for above in path.resolve().parents:
        if above.stat().st_dev != device:  # what a file system is mounted on is not ours
            return
        try:
            folder = os.open(above, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:  # nor what we may not even look at
            return
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
