"""JavaScript clients as their npm packages ship them: Cornerstone3D's image loader and dcmjs's dicomweb-client.

`fetch` installs what tests/clients/browser/package-lock.json pins and bundles it for a page with esbuild. Run as a
script by `make test`, so that the tests themselves download nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.parts.debian import find

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "tests" / "clients" / "browser"
MODULES = ROOT / "node_modules"

LOADER = "node_modules/@cornerstonejs/dicom-image-loader"
BUNDLE = (
    *("clients.js", f"decodeImageFrameWorker=./{LOADER}/dist/esm/decodeImageFrameWorker.js"),
    *("--bundle", "--format=esm", "--outdir=bundle", "--log-level=error", "--alias:xmlbuilder2=./nothing.js"),
    *(f"--external:{name}" for name in ("crypto", "fs", "module", "path")),
)
"""What esbuild is asked. Codecs ask for modules of Node.js that a browser never comes to."""

CODECS = {
    "codec-charls/decodewasm": "codec-charls/dist/charlswasm_decode.wasm",
    "codec-libjpeg-turbo-8bit/decodewasm": "codec-libjpeg-turbo-8bit/dist/libjpegturbowasm_decode.wasm",
    "codec-libjxl/decodewasm": "codec-libjxl/dist/jpegxlwasm_decode.wasm",
    "codec-openjpeg/decodewasm": "codec-openjpeg/dist/openjpegwasm_decode.wasm",
    "codec-openjph/wasm": "codec-openjph/dist/openjphjs.wasm",
}
"""Where the bundle looks for WebAssembly, below @cornerstonejs/, and where the packages have it."""


class NotFetched(Exception):
    """The packages could not be had; the message says why."""


def fetch() -> Path:
    """The folder of the bundle, made once for these sources. Raises NotFetched."""
    return made_once("browser-clients", SOURCES, Path(__file__), build)


def made_once(name: str, sources: Path, maker: Path, make: Callable[[Path, Sequence[Path]], None]) -> Path:
    """The folder that `make` makes of the files in `sources`, once for these and for the module `maker` as they are."""
    files = [path for path in sorted(sources.iterdir()) if path.is_file()]
    digest = hashlib.sha256(b"".join([*(path.read_bytes() for path in files), maker.read_bytes()]))
    target = MODULES / f"{name}-{digest.hexdigest()[:16]}"
    MODULES.mkdir(exist_ok=True)
    with (MODULES / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            make(target, files)
    return target


def build(target: Path, sources: Sequence[Path]) -> None:
    """Install and bundle; `target` appears in one step, and the packages themselves are not kept."""
    with installed(sources) as work:
        run(["node_modules/.bin/esbuild", *BUNDLE], work)
        codecs = work / "bundle" / "@cornerstonejs"
        for asked, packed in CODECS.items():
            (codecs / asked).parent.mkdir(parents=True)
            shutil.copy(work / "node_modules" / "@cornerstonejs" / packed, codecs / asked)
        shutil.move(work / "bundle", target)


@contextmanager
def installed(sources: Sequence[Path]) -> Iterator[Path]:
    """A folder with copies of the files and the packages that their package-lock.json pins. Raises NotFetched."""
    npm = find("npm")
    if npm is None:
        raise NotFetched("npm is missing: install Debian's package npm")
    with tempfile.TemporaryDirectory(dir=MODULES, prefix="npm-") as folder:
        work = Path(folder)
        for path in sources:
            shutil.copy(path, work)
        run([npm, "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund"], work, attempts=2)
        yield work


def run(command: Sequence[str], work: Path, attempts: int = 1) -> None:
    """Run a command in the folder. Raises NotFetched."""
    for attempt in range(1, attempts + 1):
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode == 0:
            return
        if attempt == attempts:
            raise NotFetched(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    try:
        fetch()
    except NotFetched as error:
        sys.exit(f"JavaScript clients could not be fetched, so their tests will fail: {error}")
