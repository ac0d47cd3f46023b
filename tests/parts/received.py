"""What a gateway on a folder is receiving at the moment, as its disk shows it."""

from __future__ import annotations

from pathlib import Path


def received(spool: Path) -> list[Path]:
    """Files that have begun to come: in the spool, and at the entrance of the objects beside it. There an empty one is
    a name made ahead, and one that is an object as well has come."""
    arrivals = spool.parent / "objects" / ".arrivals"
    found = [path for path in spool.iterdir() if path.is_file()] if spool.exists() else []
    for path in arrivals.iterdir() if arrivals.exists() else ():
        try:
            facts = path.stat()
        except FileNotFoundError:
            continue
        if facts.st_size and facts.st_nlink == 1:
            found.append(path)
    return found
