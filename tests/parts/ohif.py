"""OHIF, the viewer, as its npm package ships it: built, to be served as it is beside a configuration of our own.

Run as a script by `make test`, so that the tests themselves download nothing.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.parts.debian import find

VERSION = "3.12.10"
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "node_modules" / f"ohif-app-{VERSION}"


class NotFetched(Exception):
    """The package could not be had; the message says why."""


def fetch() -> Path:
    """The folder of the built viewer (MIT), downloaded once. Raises NotFetched."""
    FOLDER.parent.mkdir(exist_ok=True)
    with (FOLDER.parent / "ohif.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not FOLDER.exists():
            download(FOLDER)
    return FOLDER


def download(target: Path) -> None:
    """Fetch the package and unpack its `dist` to `target`, which appears in one step."""
    npm = find("npm")
    if npm is None:
        raise NotFetched("npm is missing: install Debian's package npm")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="ohif-") as work:
        # Without --silent its progress goes to our terminal; with it, errors are still printed.
        command = [npm, "pack", "--silent", f"@ohif/app@{VERSION}"]
        for attempt in (1, 2):
            done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode == 0:
                break
            if attempt == 2:
                raise NotFetched(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        (archive,) = Path(work).glob("*.tgz")
        subprocess.run(["tar", "-xzf", archive, "-C", work, "package/dist"], check=True, timeout=100)
        shutil.move(Path(work) / "package" / "dist", target)


def configuration(dicomweb_url: str) -> str:
    """An app-config.js that knows one data source, our gateway."""
    source = {
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": "gantry",
        "configuration": {
            "friendlyName": "Gantry",
            "name": "gantry",
            "qidoRoot": dicomweb_url,
            "wadoRoot": dicomweb_url,
            "wadoUriRoot": dicomweb_url.removesuffix("/dicomweb") + "/wado",
            "imageRendering": "wadors",
            "thumbnailRendering": "wadors",
            "qidoSupportsIncludeField": True,
            "supportsReject": False,
            "supportsStow": True,
            "supportsFuzzyMatching": False,
            "supportsWildcard": True,
            "dicomUploadEnabled": True,
            "omitQuotationForMultipartRequest": True,
            "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
        },
    }
    config = {
        "routerBasename": "/",
        "extensions": [],
        "modes": [],
        "showStudyList": True,
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": False,
        "showLoadingIndicator": True,
        "strictZSpacingForVolumeViewport": True,
        "maxNumberOfWebWorkers": 2,
        "investigationalUseDialog": {"option": "never"},
        "defaultDataSourceName": "gantry",
        "dataSources": [source],
    }
    # Without the first line its start may fail where a style sheet comes later than the scripts: see `gateway.ohif`.
    return f"window.__filename ??= location.origin + '/app.bundle.js';\nwindow.config = {json.dumps(config)};\n"


if __name__ == "__main__":
    try:
        fetch()
    except NotFetched as error:
        sys.exit(f"OHIF could not be fetched, so its tests will fail: {error}")
