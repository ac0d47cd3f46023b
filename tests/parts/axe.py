"""axe-core, the checker of accessibility, as its npm package ships it (MPL-2.0): one script to be run in a page.

Run as a script by `make test`, so that the tests themselves download nothing.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.parts.debian import find

VERSION = "4.14.1"
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "node_modules" / f"axe-core-{VERSION}.js"


class NotFetched(Exception):
    """The package could not be had; the message says why."""


def fetch() -> Path:
    """The script, downloaded once. Raises NotFetched."""
    SCRIPT.parent.mkdir(exist_ok=True)
    with (SCRIPT.parent / "axe-core.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not SCRIPT.exists():
            download()
    return SCRIPT


def download() -> None:
    """Fetch the package and take the script out of it, in one step."""
    npm = find("npm")
    if npm is None:
        raise NotFetched("npm is missing: install Debian's package npm")
    with tempfile.TemporaryDirectory(dir=SCRIPT.parent, prefix="axe-core-") as work:
        command = [npm, "pack", "--silent", f"axe-core@{VERSION}"]
        for attempt in (1, 2):
            done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode == 0:
                break
            if attempt == 2:
                raise NotFetched(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        (package,) = Path(work).glob("*.tgz")
        with tarfile.open(package) as archive:
            archive.extract("package/axe.min.js", work, filter="data")
        (Path(work) / "package" / "axe.min.js").rename(SCRIPT)


if __name__ == "__main__":
    try:
        fetch()
    except NotFetched as error:
        sys.exit(f"axe-core could not be fetched, so its tests will fail: {error}")
