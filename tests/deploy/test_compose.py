"""compose.yaml: two gateways, a balancer, a database and an object store, none with a default password (S-70, S-71)."""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings import BadSettings, check_exposure, load
from tests.parts import seaweedfs

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?:(?P<rule>:?[-?])(?P<text>[^}]*))?\}")
VALUES = {
    "GANTRY_TOKEN": "a-token-of-some-length",
    "GANTRY_CALLING_AETS": "CT1,MR1",
    "GANTRY_PUBLIC_URL": "https://images.example.org",
    "POSTGRES_PASSWORD": "postgres-secret",
    "S3_ACCESS_KEY": "access",
    "S3_SECRET_KEY": "s3-secret",
}


def filled(node: Any, values: dict[str, str]) -> Any:
    """The document with its variables replaced as Compose does. Raises KeyError for one that must be set and is not."""

    def replace(match: re.Match[str]) -> str:
        value = values.get(match["name"], "")
        if value:
            return value
        if match["rule"] == ":-":
            return str(match["text"])
        raise KeyError(match["name"])

    if isinstance(node, dict):
        return {key: filled(value, values) for key, value in node.items()}
    if isinstance(node, list):
        return [filled(value, values) for value in node]
    return VARIABLE.sub(replace, node).replace("$$", "$") if isinstance(node, str) else node


def written() -> dict[str, Any]:
    """The file as it is."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return document


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file, with every secret filled in."""
    document: dict[str, Any] = filled(written(), VALUES)
    return document


@pytest.mark.parametrize("name", VALUES)
def test_nothing_starts_while_a_secret_is_not_set(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        filled(written(), {**VALUES, name: ""})


def test_no_value_that_must_be_secret_stands_in_the_file() -> None:
    for service in written()["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|ACCESS_KEY", name):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), name


def test_the_example_names_every_variable_and_no_secret() -> None:
    used = {match["name"] for match in VARIABLE.finditer((ROOT / "compose.yaml").read_text())}
    example = dict(re.findall(r"^#?(\w+)=(.*)$", (ROOT / "deploy" / "env.example").read_text(), re.MULTILINE))
    assert example.keys() == used
    assert {name for name, value in example.items() if not value} >= VALUES.keys()


def test_two_gateways_share_one_image_one_bucket_and_one_database(compose: dict[str, Any]) -> None:
    one, two = compose["services"]["gateway1"], compose["services"]["gateway2"]
    assert one["image"] == two["image"]
    assert one["environment"] == two["environment"]
    assert one["volumes"] != two["volumes"], "a data folder has one owner"


@pytest.mark.parametrize("name", ["gateway1", "gateway2"])
def test_a_gateway_may_do_nothing_that_it_need_not(compose: dict[str, Any], name: str) -> None:
    """S-85."""
    service = compose["services"][name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "USER 10001:10001" in (ROOT / "deploy" / "Dockerfile").read_text()


def test_every_service_that_stays_has_a_health_check(compose: dict[str, Any]) -> None:
    gateway = (ROOT / "deploy" / "Dockerfile").read_text()
    for name, service in compose["services"].items():
        healthy = "healthcheck" in service or ("build" in service and "HEALTHCHECK" in gateway)
        assert healthy == (name != "bucket"), name


def test_every_dependency_network_and_volume_is_there(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert service.get("depends_on", {}).keys() <= compose["services"].keys()
        assert set(service["networks"]) <= compose["networks"].keys()
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in compose["volumes"], source


def test_only_the_balancer_can_be_reached_from_outside(compose: dict[str, Any]) -> None:
    published = {name for name, service in compose["services"].items() if "ports" in service}
    assert published == {"balancer"}
    assert all(port.startswith("127.0.0.1:") for port in compose["services"]["balancer"]["ports"])
    assert compose["networks"]["back"]["internal"] is True
    assert all(compose["services"][name]["networks"] == ["back"] for name in ("postgres", "seaweedfs", "bucket"))


def test_a_gateway_takes_these_settings_and_is_not_open(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-70: others can reach the listeners, so without its token or its list of titles it refuses to start."""
    for name, value in compose["services"]["gateway1"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = load({"http": "0.0.0.0:8080", "dimse": "0.0.0.0:11112"})
    check_exposure(settings)
    assert settings.objects_url == "s3://gantry/objects"
    assert settings.index_url == "postgresql://gantry:postgres-secret@postgres:5432/gantry"
    assert settings.calling_aets == ("CT1", "MR1")
    for key in ("GANTRY_TOKEN", "GANTRY_CALLING_AETS"):
        with monkeypatch.context() as without:
            without.delenv(key)
            with pytest.raises(BadSettings, match=key):
                check_exposure(load({"http": "0.0.0.0:8080", "dimse": "0.0.0.0:11112"}))


def test_the_balancer_is_told_every_address_that_its_file_asks_for(compose: dict[str, Any]) -> None:
    asked = set(re.findall(r"\$\{(\w+)\}", (ROOT / "deploy" / "haproxy.cfg").read_text()))
    assert compose["services"]["balancer"]["environment"].keys() == asked


def test_the_bucket_is_made_once_and_found_the_second_time(compose: dict[str, Any], tmp_path: Path) -> None:
    """The script of the service `bucket`, run as it is but for the address, against a real SeaweedFS."""
    folder = tmp_path / "weed"
    folder.mkdir()
    with seaweedfs.run(folder) as server:
        command = Path(f"/proc/{server.pid}/cmdline").read_text().split("\0")
        options = dict(word.removeprefix("-").split("=", 1) for word in command if "=" in word)
        master = f"127.0.0.1:{options['master.port']}.{options['master.port.grpc']}"
        (script,) = compose["services"]["bucket"]["command"]
        scripts = sysconfig.get_path("scripts")
        for _ in range(2):
            subprocess.run(
                [*compose["services"]["bucket"]["entrypoint"], script.replace("seaweedfs:9333", master)],
                env={"PATH": f"{scripts}:/usr/bin:/bin", "HOME": str(folder)},
                cwd=folder,
                check=True,
                timeout=60,
            )
        with server.client() as client:
            assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]] == ["gantry"]


def test_the_image_is_built_from_files_that_exist() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied: set[str] = set()
    for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE):
        copied |= set(line.split()[:-1])
    assert copied == allowed
    assert not [name for name in copied if not (ROOT / name).exists()]
