"""All benchmarks, or some: `make bench ARGS="--only qido,stow --keep DIR"`.

A word after `--only` is a benchmark (dimse, rendered, scale, scroll, tokens, web) or a part of the one of DICOMweb.
With `--keep`, the data of the servers and what was measured stay in a folder: all of it can be measured in pieces.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.bench_web import PARTS

TAKES = {
    "dimse": ("size", "out"),
    "rendered": ("size", "out"),
    "scale": ("size", "out", "keep", "postgres", "sqlite"),
    "scroll": ("size",),
    "tokens": ("size",),
    "web": ("size", "out", "keep", "newest", "only"),
}
"""The options of each benchmark."""


def commands(arguments: list[str]) -> list[list[str]]:
    """What is to be run, with its options. Raises SystemExit for an option or a word that there is not."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", help=f"of {', '.join((*TAKES, *PARTS))}, with commas between them")
    parser.add_argument("--size", choices=("small", "full"))
    for name in ("out", "keep", "newest"):
        parser.add_argument(f"--{name}", type=Path)
    for name in ("postgres", "sqlite"):
        parser.add_argument(f"--{name}", type=int)
    asked = parser.parse_args(arguments)
    words = asked.only.split(",") if asked.only else list(TAKES)
    unknown = [word for word in words if word not in TAKES and word not in PARTS]
    if unknown:
        parser.error(f"there is no {unknown[0]}; there are {', '.join((*TAKES, *PARTS))}")
    parts = [word for word in words if word in PARTS]
    asked.only = None if "web" in words else ",".join(parts)
    found = []
    for name, options in TAKES.items():
        if name in words or (name == "web" and parts):
            given = [(option, getattr(asked, option)) for option in options]
            more = [f"--{option}={value}" for option, value in given if value]
            found.append([sys.executable, str(Path(__file__).with_name(f"bench_{name}.py")), *more])
    return found


def main() -> None:
    """Run them one after the other, up to the first that fails."""
    for command in commands(sys.argv[1:]):
        print("==", *command[1:], flush=True)
        if code := subprocess.run(command, check=False).returncode:
            sys.exit(code)


if __name__ == "__main__":
    main()
