"""OHIF installed from package files and folders: what is taken, what is changed in it, what is refused."""

from __future__ import annotations

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from gateway import ohif
from tests.parts.command import gantry

INDEX = """<!doctype html><script>window.PUBLIC_URL = '/';</script><link href="/app.bundle.css" rel="stylesheet">
<script src="/app-config.js"></script><script type="module" src="/init-service-worker.js"></script>
<script src="/app.bundle.0123456789abcdef.js"></script><a href="//example.org/">elsewhere</a>"""
FILES = {
    "index.html": INDEX,
    "app-config.js": "window.config = {};",
    "app.bundle.0123456789abcdef.js": '__webpack_require__.p = "/"; other.p="";',
    "app.bundle.css": "@font-face { src: url(/letters.woff2) } a { background: url(data:,) url('/a.svg') }",
    "app.bundle.css.map": "{}",
    "init-service-worker.js": "",
    "_headers": "",
    "assets/icon.png": "png",
}


def build(folder: Path, files: dict[str, str] | None = None) -> Path:
    for name, text in (FILES if files is None else files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def package(path: Path, files: dict[str, str]) -> Path:
    """A .tgz with these members."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, BytesIO(text.encode()))
    return path


def names(data: Path) -> set[str]:
    viewer = ohif.folder(data)
    return {path.relative_to(viewer).as_posix() for path in viewer.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["folder", "dist", "package"])
def test_a_build_is_installed_from_a_folder_and_from_a_package_file(tmp_path: Path, kind: str) -> None:
    data = tmp_path / "data"
    given = {
        "folder": lambda: build(tmp_path / "given"),
        "dist": lambda: build(tmp_path / "given" / "dist").parent,
        "package": lambda: package(
            tmp_path / "app.tgz", {f"package/dist/{name}": text for name, text in FILES.items()}
        ),
    }[kind]()
    assert not ohif.installed(data)
    assert ohif.install(given, data) == 4
    assert ohif.installed(data)
    assert names(data) == {
        "index.html",
        "app-config.js",
        "app.bundle.0123456789abcdef.js",
        "app.bundle.css",
        "assets/icon.png",
    }
    assert [path.name for path in data.iterdir()] == ["viewer"]


def test_what_names_the_root_of_the_host_names_the_viewers_place(tmp_path: Path) -> None:
    ohif.install(build(tmp_path / "given"), tmp_path / "data")
    viewer = ohif.folder(tmp_path / "data")
    index = (viewer / "index.html").read_text()
    assert "window.PUBLIC_URL = '/viewer/'" in index
    assert 'href="/viewer/app.bundle.css"' in index
    assert 'src="/viewer/app-config.js"' in index
    assert 'href="//example.org/"' in index
    assert "service-worker" not in index
    assert (viewer / "app.bundle.0123456789abcdef.js").read_text() == '__webpack_require__.p = "/viewer/"; other.p="";'
    style = (viewer / "app.bundle.css").read_text()
    assert "url(/viewer/letters.woff2)" in style
    assert "url('/viewer/a.svg')" in style
    assert "url(data:,)" in style
    assert "dicomweb" in (viewer / "app-config.js").read_text()


def test_a_build_that_lies_at_viewer_already_is_taken_as_it_is(tmp_path: Path) -> None:
    files = FILES | {
        "index.html": INDEX.replace('="/', '="/viewer/').replace("'/'", "'/viewer/'"),
        "app.bundle.0123456789abcdef.js": 'r.p="/viewer/";',
    }
    ohif.install(build(tmp_path / "given", files), tmp_path / "data")
    viewer = ohif.folder(tmp_path / "data")
    assert "/viewer/viewer/" not in (viewer / "index.html").read_text()
    assert (viewer / "app.bundle.0123456789abcdef.js").read_text() == 'r.p="/viewer/";'


def test_another_version_replaces_the_whole_of_the_first(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ohif.install(build(tmp_path / "first", FILES | {"first.js": ""}), data)
    ohif.install(build(tmp_path / "second", FILES | {"second.js": ""}), data)
    assert "second.js" in names(data)
    assert "first.js" not in names(data)
    assert ohif.remove(data)
    assert not ohif.remove(data)
    assert not ohif.installed(data)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"readme.txt": "no viewer"}, "no built OHIF there"),
        ({**FILES, "app.bundle.0123456789abcdef.js": "no loader"}, "does not say where its other scripts lie"),
    ],
)
def test_what_is_no_ohif_is_refused_and_the_one_that_is_there_stays(
    tmp_path: Path, files: dict[str, str], says: str
) -> None:
    data = tmp_path / "data"
    ohif.install(build(tmp_path / "good"), data)
    before = names(data)
    with pytest.raises(ohif.NotInstalled, match=says):
        ohif.install(build(tmp_path / "bad", files), data)
    assert names(data) == before
    assert [path.name for path in data.iterdir()] == ["viewer"]


def test_files_that_are_no_package_are_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.tgz"
    text.write_text("no archive")
    with pytest.raises(ohif.NotInstalled, match="no package file"):
        ohif.install(text, tmp_path / "data")
    with pytest.raises(ohif.NotInstalled, match="there is no file or folder"):
        ohif.install(tmp_path / "none.tgz", tmp_path / "data")


def test_nothing_outside_is_written_or_served(tmp_path: Path) -> None:
    """S-20: members that climb out of the package, and links that lead out of the folder."""
    data = tmp_path / "data"
    climbing = package(
        tmp_path / "bad.tgz", {"../../escaped": "x", **{f"dist/{name}": text for name, text in FILES.items()}}
    )
    with pytest.raises(ohif.NotInstalled):
        ohif.install(climbing, data)
    assert not list(tmp_path.rglob("escaped"))
    given = build(tmp_path / "given")
    secret = tmp_path / "secret.js"
    secret.write_text("secret")
    (given / "link.js").symlink_to(secret)
    ohif.install(given, data)
    assert "link.js" not in names(data)
    assert ohif.find(data, "app-config.js") is not None
    for path in ("../gateway.json", "..", "/etc/passwd", ".hidden", "a/../../x.js", "none.js", "a\0.js"):
        assert ohif.find(data, path) is None, path
    for path in ("", "viewer", "viewer/deep/link"):
        assert ohif.find(data, path) == ohif.folder(data) / "index.html"


def test_the_command_installs_and_removes(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return gantry("viewer", *arguments, "--data", tmp_path / "data")

    done = run("install", str(build(tmp_path / "given")))
    assert (done.returncode, done.stdout) == (0, "OHIF installed, 4 files; it is at /viewer/\n")
    failed = run("install", str(tmp_path / "none.tgz"))
    assert failed.returncode == 1
    assert "there is no file or folder" in failed.stderr
    assert run("remove").stdout == "OHIF removed\n"
    assert run("remove").stdout == "there is no OHIF installed\n"
