"""How large tests of faults are, and where they leave their figures.

`make test` runs small sizes. `make torture` sets GANTRY_TORTURE and names a file by GANTRY_TORTURE_FIGURES, to which
each test adds a line; this module then makes the report of them:

    python -m tests.parts.torture FIGURES REPORT
"""

from __future__ import annotations

import json
import os
import platform
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

LARGE, FIGURES, SEED = "GANTRY_TORTURE", "GANTRY_TORTURE_FIGURES", "GANTRY_TORTURE_SEED"


def is_large() -> bool:
    """Whether this is `make torture`."""
    return os.environ.get(LARGE, "") not in ("", "0")


def size(small: int, large: int) -> int:
    """How often, or how many; GANTRY_TORTURE is a percentage of the large size when it is a number above 1."""
    if not is_large():
        return small
    with suppress(ValueError):
        share = int(os.environ[LARGE])
        return large if share <= 1 else max(small, large * share // 100)
    return large


def patience() -> float:
    """How many times longer than usual to wait for what should come soon: what runs for hours shares its machine."""
    return 10.0 if is_large() else 1.0


def seed() -> int:
    """The seed of what is random: another one each time in `make torture`, always the same in `make test`."""
    if SEED in os.environ:
        return int(os.environ[SEED])
    return random.SystemRandom().randrange(1 << 32) if is_large() else 6


def record(what: str, **figures: object) -> None:
    """Leave the figures of a test."""
    if name := os.environ.get(FIGURES):
        with Path(name).open("a") as file:
            file.write(json.dumps({"what": what, **figures}, default=str) + "\n")


def report(lines: list[dict[str, object]]) -> Iterator[str]:
    """The report, as Markdown."""
    yield "# Torture\n"
    yield f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC\n"
    yield "| | |\n|---|---|"
    for name, value in machine().items():
        yield f"| {name} | {value} |"
    yield ""
    for line in lines:
        yield f"## {line.pop('what')}\n"
        yield "| | |\n|---|---|"
        for name, figure in line.items():
            yield f"| {name.replace('_', ' ')} | {figure} |"
        yield ""


def machine() -> dict[str, str]:
    """What this machine is, and what runs on it."""
    sqlite = sqlite3.sqlite_version
    with suppress(ImportError):
        from pysqlite3 import dbapi2

        sqlite = dbapi2.sqlite_version
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}",
        "Gantry": f"{version('gantry')} ({commit.stdout.strip() or 'no commit'})",
        "Python": platform.python_version(),
        "SQLite": sqlite,
        "load at the end": " ".join(f"{one:.1f}" for one in os.getloadavg()),
    }


if __name__ == "__main__":
    found = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    Path(sys.argv[2]).write_text("\n".join(report(found)) + "\n")
