"""dcmjs-dimse, the DIMSE client of Node.js, as its npm package ships it.

`fetch` installs what tests/clients/node/package-lock.json pins and bundles it with tests/clients/node/dimse.js. Run as
a script by `make test`, so that the tests themselves download nothing.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.parts.browser_clients import ROOT, NotFetched, installed, made_once, run

SOURCES = ROOT / "tests" / "clients" / "node"
PROGRAM = "dimse.cjs"
BUNDLE = ("dimse.js", "--bundle", "--platform=node", "--format=cjs", f"--outfile=bundle/{PROGRAM}", "--log-level=error")


def fetch() -> Path:
    """The program, made once for these sources. Raises NotFetched."""
    return made_once("dimse-client", SOURCES, Path(__file__), build) / PROGRAM


def build(target: Path, sources: Sequence[Path]) -> None:
    """Install and bundle; `target` appears in one step, and the packages themselves are not kept."""
    with installed(sources) as work:
        run(["node_modules/.bin/esbuild", *BUNDLE], work)
        shutil.move(work / "bundle", target)


if __name__ == "__main__":
    try:
        fetch()
    except NotFetched as error:
        sys.exit(f"The DIMSE client of Node.js could not be fetched, so its tests will fail: {error}")
