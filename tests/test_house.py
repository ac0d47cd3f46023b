"""The house: what is packed, what it needs, what is pinned; and that it runs where it was installed."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from email.message import Message
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.parts.gateway import GatewayProcess, clean_environment, program

ROOT = Path(__file__).resolve().parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def required(names: list[str]) -> dict[str, Requirement]:
    """The requirements that apply to this machine, by normalised name."""
    found = (Requirement(name) for name in names)
    return {canonicalize_name(one.name): one for one in found if one.marker is None or one.marker.evaluate()}


def closure(names: list[str]) -> set[str]:
    """Normalised names of these requirements and all that they require, as installed here."""
    seen: set[tuple[str, str]] = set()
    todo = [(one, extra) for one in map(Requirement, names) for extra in (one.extras or {""})]
    while todo:
        one, extra = todo.pop()
        name = canonicalize_name(one.name)
        if (name, extra) in seen or (one.marker and not one.marker.evaluate()):
            continue
        seen.add((name, extra))
        for text in distribution(name).requires or ():
            below = Requirement(text)
            if below.marker is None or below.marker.evaluate({"extra": extra}):
                below.marker = None
                todo += [(below, deeper) for deeper in (below.extras or {""})]
    return {name for name, _ in seen}


def pins() -> dict[str, str]:
    """Version by normalised name, of constraints.txt."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    pairs = (line.split("==") for line in lines if line)
    return {canonicalize_name(name): version for name, version in pairs}


def sources() -> list[Path]:
    """Every file of the two packages, relative to the project's folder."""
    files = (path for package in ("gateway", "storage") for path in (ROOT / package).rglob("*") if path.is_file())
    return sorted(path.relative_to(ROOT) for path in files if "__pycache__" not in path.parts)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution, built from a copy, so that nothing is left beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "source"
    for path in (*sources(), Path("pyproject.toml"), Path("LICENSE"), Path("README.md")):
        if (ROOT / path).exists():
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            (copy / path).write_bytes((ROOT / path).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "-w", str(folder), str(copy)], check=True, timeout=100)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """The wheel's metadata."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def test_the_wheel_holds_every_file_of_both_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name and not name.endswith("/")}
    assert packed == {path.as_posix() for path in sources()}


def test_migrations_and_the_browser_page_are_packed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert any(name.startswith("storage/index/migrations/versions/") for name in names)
    assert any(name.startswith("gateway/ui/") and name.endswith((".html", ".js")) for name in names)


def test_the_metadata_names_version_licence_and_python(metadata: Message) -> None:
    assert metadata["Name"] == "gantry"
    assert metadata["Version"] == PROJECT["version"]
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"


def test_it_runs_from_where_it_was_installed(wheel: Path, tmp_path: Path) -> None:
    """`pip install .`, then `gantry serve` from any folder: the page, the migrations and the command are there."""
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target"]
    subprocess.run([*pip, str(site), str(wheel)], check=True, timeout=100)
    environment = {"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    where = subprocess.run(
        [sys.executable, "-c", "import gateway, storage; print(gateway.__file__, storage.__file__)"],
        env=clean_environment(environment),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert all(Path(file).is_relative_to(site) for file in where)
    version = subprocess.run(
        [site / "bin" / "gantry", "--version"],
        env=clean_environment(environment),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert version == f"gantry {PROJECT['version']}\n"
    with GatewayProcess(tmp_path / "data", environment=environment, launch=program) as gateway:
        assert gateway.version == PROJECT["version"]
        for path in ("/", "/readyz", "/dicomweb/studies"):
            with urlopen(gateway.http_url + path, timeout=10) as response:
                assert response.status in {200, 204}


def imports(package: str) -> Iterator[str]:
    """Top-level names of what a package's modules import at run time."""
    for path in sources():
        if path.parts[0] != package or path.suffix != ".py":
            continue
        tree = ast.parse((ROOT / path).read_text())
        for_types = [
            node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        ]
        never_run = {id(below) for node in for_types for below in ast.walk(node)}
        for node in ast.walk(tree):
            if id(node) in never_run:
                continue
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


@pytest.mark.parametrize("package", ["gateway", "storage"])
def test_every_library_that_is_imported_is_declared(package: str) -> None:
    ours = {"gateway", "storage"}
    outside = set(imports(package)) - sys.stdlib_module_names - ours
    providers = packages_distributions()
    unknown = {name for name in outside if name not in providers}
    assert not unknown
    declared = {canonicalize_name(Requirement(name).name) for name in PROJECT["dependencies"]}
    undeclared = {
        name for name in outside if not declared & {canonicalize_name(provider) for provider in providers[name]}
    }
    assert not undeclared


def test_every_direct_dependency_has_a_floor() -> None:
    for text in [*PROJECT["dependencies"], *EXTRAS["test"], *EXTRAS["check"]]:
        assert [one.operator for one in Requirement(text).specifier] == [">="], text


def test_everything_that_is_installed_is_pinned_and_every_pin_is_needed() -> None:
    direct = [*PROJECT["dependencies"], *EXTRAS["test"], *EXTRAS["check"]]
    elsewhere = {canonicalize_name(Requirement(text).name) for text in direct if ";" in text} - required(direct).keys()
    assert closure(direct) | elsewhere == pins().keys()


def test_every_pin_is_at_or_above_its_floor() -> None:
    for name, one in required([*PROJECT["dependencies"], *EXTRAS["test"], *EXTRAS["check"]]).items():
        assert one.specifier.contains(pins()[name]), name


def test_pins_name_no_address() -> None:
    assert "://" not in (ROOT / "constraints.txt").read_text()


def test_nothing_that_is_installed_with_gantry_is_under_the_gpl() -> None:
    for name in closure(PROJECT["dependencies"]):
        about = distribution(name).metadata
        licences = [text for field in ("License-Expression", "License") for text in about.get_all(field, [])]
        licences += [text for text in about.get_all("Classifier", []) if text.startswith("License ::")]
        for licence in licences:
            # The Lesser GPL of psycopg asks nothing of those who only use the library.
            first = licence.strip().partition("\n")[0]
            strict = first.replace("LGPL", "").replace("Lesser General Public", "")
            assert not re.search("GPL|General Public", strict), f"{name}: {first}"


def test_no_test_runs_an_event_loop_in_the_main_thread() -> None:
    """The browser that all tests share has one there; see `tests.parts.asynchronous`."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        assert "asyncio.run" not in {ast.unparse(call.func) for call in calls}, path.name


FLOORS = {"starlette": "1.3.1", "python-multipart": "0.0.22", "pydicom": "3.0.2", "pyjwt": "2.13", "pillow": "12.1.1"}
"""Versions below which these have known vulnerabilities that a gateway would show to strangers."""


def test_no_floor_lies_below_a_version_that_is_known_to_be_vulnerable() -> None:
    """S-83: neither the floor in pyproject.toml nor the pin."""
    direct = required(PROJECT["dependencies"])
    for name, safe in FLOORS.items():
        if name in direct:
            (floor,) = direct[name].specifier
            assert Version(floor.version) >= Version(safe), f"{name}: the floor {floor.version} is below {safe}"
        if name in pins():
            assert Version(pins()[name]) >= Version(safe), f"{name}: the pin {pins()[name]} is below {safe}"
    assert direct.keys() & FLOORS.keys() >= {"starlette", "pydicom", "pillow"}


def test_the_bill_of_materials_names_what_others_wrote_of_the_page(tmp_path: Path) -> None:
    """S-83: each vendored folder, in the version that its own files say; a second time adds nothing."""
    bill = tmp_path / "sbom.json"
    bill.write_text('{"bomFormat": "CycloneDX"}')
    for _ in range(2):
        subprocess.run([sys.executable, ROOT / "deploy" / "vendored.py", bill], check=True, capture_output=True)
    found = {one["name"]: one["version"] for one in json.loads(bill.read_text())["components"]}
    static = ROOT / "gateway" / "ui" / "static"
    folders = {"openseadragon": static / "openseadragon", "pdfjs-dist": static / "pdfjs"}
    assert found.keys() == folders.keys()
    assert {path for path in static.iterdir() if path.is_dir()} == set(folders.values())
    for name, folder in folders.items():
        scripts = [path for path in folder.iterdir() if path.suffix in (".js", ".mjs")]
        assert all(found[name] in path.read_text("utf-8") for path in scripts), name
