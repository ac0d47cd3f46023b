"""OHIF, the viewer, beside the page: its built files, installed under the data folder from what the user gives.

The package (npm `@ohif/app`, MIT) is built to lie at the root of a host. What names that root in it, in `index.html`,
the style sheets and the loader of its scripts, is changed to `ROOT`, and `app-config.js` is written anew: its one data
source is the gateway that serves it.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

ROOT = "/viewer/"
FOLDER = "viewer"
INDEX, CONFIG, BUNDLE = "index.html", "app-config.js", "app.bundle"
MAX_BYTES, MAX_FILES = 1 << 30, 5_000
LEFT_OUT = frozenset({"_headers", "_redirects", "serve.json", "google.js", "sw.js", "init-service-worker.js", CONFIG})
"""For other hosts, or a service worker: what that keeps would outlive the gateway's version of things."""

_TOP = re.compile(r"""((?:href|src|content)=["'])/(?!/|viewer/)""")
_PUBLIC_URL = re.compile(r"""(window\.PUBLIC_URL\s*=\s*)(["'])/\2""")
_PUBLIC_PATH = re.compile(r"""(\b(?:__webpack_require__|[A-Za-z_$])\.p\s*=\s*)"/"(?=[;,})\s])""")
_STYLE_URL = re.compile(r"""(url\(\s*["']?)/(?!/|viewer/)""")
_WORKER_SCRIPT = re.compile(r"""<script\b[^>]*init-service-worker\.js[^>]*></script>""")


class NotInstalled(Exception):
    """What was given is no build of OHIF; the message says what is missing."""


def folder(data: Path) -> Path:
    """Where the viewer of this data folder lies, when there is one."""
    return data / FOLDER


def installed(data: Path) -> bool:
    """Whether there is one."""
    return (folder(data) / INDEX).is_file()


def install(given: Path, data: Path) -> int:
    """Install the viewer from a package file (.tgz as npm packs it) or a folder; the number of files.

    One that was there is replaced in one step, once the new one is whole. Raises NotInstalled, OSError.
    """
    data.mkdir(parents=True, exist_ok=True)
    with _unpacked(given, data) as source, tempfile.TemporaryDirectory(dir=data, prefix=".viewer-") as work:
        new, old = Path(work) / "new", Path(work) / "old"
        count = _copy(source, new)
        _adapt(new)
        target = folder(data)
        if target.exists():
            target.rename(old)
        new.rename(target)
    return count


def remove(data: Path) -> bool:
    """Take the viewer away; whether there was one."""
    target = folder(data)
    if not target.exists():
        return False
    shutil.rmtree(target)
    return True


@contextmanager
def _unpacked(given: Path, data: Path) -> Iterator[Path]:
    """The folder that holds `index.html`."""
    if given.is_dir():
        yield _build(given)
        return
    if not given.is_file():
        raise NotInstalled(f"there is no file or folder {given}")
    with tempfile.TemporaryDirectory(dir=data, prefix=".viewer-") as work:
        try:
            with tarfile.open(given) as archive:
                members = [member for member in archive if member.isfile()]
                if len(members) > MAX_FILES or sum(member.size for member in members) > MAX_BYTES:
                    raise NotInstalled(f"{given} is too large to be a viewer: it has more than {MAX_BYTES >> 30} GiB")
                archive.extractall(work, members, filter="data")
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise NotInstalled(f"{given} is no package file (.tgz) and no folder") from error
        yield _build(Path(work))


def _build(below: Path) -> Path:
    """The built viewer in a folder, in a package, or in what `npm pack` made of it."""
    for place in (below, below / "dist", below / "package" / "dist", below / "package"):
        if (place / INDEX).is_file() and (place / CONFIG).is_file() and any(place.glob(f"{BUNDLE}*.js")):
            return place
    raise NotInstalled(f"no built OHIF there: {INDEX}, {CONFIG} and {BUNDLE}.*.js are looked for, also below dist")


def _copy(source: Path, target: Path) -> int:
    """Plain files only: a link could lead out of the folder that is served."""
    count = size = 0
    for place, _, names in os.walk(source):
        for name in names:
            path = Path(place) / name
            about = path.lstat()
            relative = path.relative_to(source)
            if not stat.S_ISREG(about.st_mode) or relative.as_posix() in LEFT_OUT or path.suffix == ".map":
                continue
            count, size = count + 1, size + about.st_size
            if count > MAX_FILES or size > MAX_BYTES:
                raise NotInstalled(f"{source} is too large to be a viewer")
            (target / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / relative)
    return count


def _adapt(viewer: Path) -> None:
    """Make it lie at ROOT, and know this gateway."""
    index = viewer / INDEX
    text = _WORKER_SCRIPT.sub("", index.read_text("utf-8"))
    text = _PUBLIC_URL.sub(rf"\1\2{ROOT}\2", text)
    index.write_text(_TOP.sub(rf"\1{ROOT}", text), "utf-8")
    for path in viewer.rglob("*.css"):
        path.write_text(_STYLE_URL.sub(rf"\1{ROOT}", path.read_text("utf-8")), "utf-8")
    changed = 0
    for path in viewer.glob("*.js"):  # each worker's script has a loader of its own
        script, found = _PUBLIC_PATH.subn(rf'\1"{ROOT}"', path.read_text("utf-8"))
        if path.name.startswith(BUNDLE):
            changed += found or script.count(ROOT)
        if found:
            path.write_text(script, "utf-8")
    if not changed:
        raise NotInstalled(f"{BUNDLE}.*.js does not say where its other scripts lie; is this OHIF 3?")
    (viewer / CONFIG).write_text(CONFIGURATION, "utf-8")


CONFIGURATION = """// Written by `gantry viewer install`: the gateway that serves this file is the one data source.
(() => {
  const home = new URL("../", document.currentScript.src);
  // A part of the viewer takes its own address from Node's word for it, unless it is run while a script's element is at
  // work; should the last file to come be a style sheet, none is, and the viewer would stay black.
  window.__filename ??= new URL("viewer/app.bundle.js", home).href;
  const root = new URL("dicomweb", home).href;
  const token = () => sessionStorage.getItem("gantry.token");
  const ours = (url) => new URL(url, location.href).href.startsWith(root);

  // Who is not known yet signs in at the page, and comes back.
  let leaving = false;
  const refused = (status, url) => {
    if (status !== 401 || leaving || !ours(url)) return;
    leaving = true;
    sessionStorage.setItem("gantry.viewer", location.href);
    location.assign(home);
  };

  // The token that the page at / asked for goes with each request to the gateway, and with no other.
  const { fetch } = window;
  window.fetch = (what, how = {}) => {
    const url = what instanceof Request ? what.url : String(what);
    const headers = new Headers(how.headers ?? (what instanceof Request ? what.headers : undefined));
    if (token() && ours(url)) headers.set("Authorization", `Bearer ${token()}`);
    const asked = token() && ours(url) ? fetch(what, { ...how, headers }) : fetch(what, how);
    return asked.then((answer) => (refused(answer.status, url), answer));
  };
  const { open } = XMLHttpRequest.prototype;
  XMLHttpRequest.prototype.open = function (method, url, ...more) {
    open.call(this, method, url, ...(more.length ? more : [true]));
    if (token() && ours(url)) this.setRequestHeader("Authorization", `Bearer ${token()}`);
    this.addEventListener("load", () => refused(this.status, url));
  };

  window.config = {
    routerBasename: "/viewer",
    extensions: [],
    modes: [],
    showStudyList: true,
    showWarningMessageForCrossOrigin: false,
    showCPUFallbackMessage: false,
    showLoadingIndicator: true,
    strictZSpacingForVolumeViewport: true,
    maxNumberOfWebWorkers: 3,
    investigationalUseDialog: { option: "never" },
    defaultDataSourceName: "gantry",
    dataSources: [
      {
        namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
        sourceName: "gantry",
        configuration: {
          friendlyName: "Gantry",
          name: "gantry",
          qidoRoot: root,
          wadoRoot: root,
          wadoUriRoot: new URL("wado", home).href,
          imageRendering: "wadors",
          thumbnailRendering: "wadors",
          qidoSupportsIncludeField: true,
          supportsReject: false,
          supportsStow: true,
          supportsFuzzyMatching: true,
          supportsWildcard: true,
          dicomUploadEnabled: true,
          omitQuotationForMultipartRequest: true,
          bulkDataURI: { enabled: true, relativeResolution: "studies" },
        },
      },
    ],
  };
})();
"""


def find(data: Path, path: str) -> Path | None:
    """The file at `path` below ROOT: one of the viewer's, or its start page for a place in it, such as
    `viewer?StudyInstanceUIDs=`; None for a file that is not there.
    """
    viewer = folder(data)
    parts = PurePosixPath(path).parts
    if any(part in ("..", "/") or part.startswith(".") or "\0" in part for part in parts):
        return None
    wanted = viewer.joinpath(*parts)
    if parts and wanted.is_file():
        return wanted
    return viewer / INDEX if not PurePosixPath(path).suffix else None
