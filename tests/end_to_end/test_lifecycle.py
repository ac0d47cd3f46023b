"""The gateway as an operator meets it: wrong settings, a lost index, files from media."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Site
from tests.end_to_end.doors import Doors, resource
from tests.gateway.dicomweb.service import STOW_TYPE, stow_body
from tests.parts import once
from tests.parts.command import gantry
from tests.parts.datasets import color, ct_slice, part10_bytes, report, series_of, uid, write_all
from tests.parts.files import dataset_bytes, dicomdirs
from tests.parts.fix_gateway import BackendEnvironment, StartGateway
from tests.parts.machine import free_port

TOKEN = "a token of the tests, long enough"
TWO = ["folder+sqlite", "seaweedfs+postgres"]


def test_a_second_gateway_on_the_same_folder_ends_with_status_4(folder_site: Site) -> None:
    """F-40: and leaves the first one alone."""
    address = ("--http", "127.0.0.1:0", "--dimse", "127.0.0.1:0")
    done = gantry("serve", "--data", folder_site.gateway.data, *address)
    assert (done.returncode, done.stdout) == (4, "")
    assert "another process" in done.stderr
    assert folder_site.doors.stow(part10_bytes(ct_slice("first"))).status == 200


BAD = [
    # flags, environment, TOML file, the key that must be named
    (["--workers", "0"], {}, "", "workers"),
    (["--http", "nonsense"], {}, "", "http"),
    (["--insecure", "--dimse", "192.0.2.7:104"], {}, "", "dimse"),
    (["--aet", "SEVENTEEN_LETTERS"], {}, "", "aet"),
    ([], {"GANTRY_TOKEN": "short"}, "", "token"),
    ([], {"GANTRY_BODY_TIMEOUT": "soon"}, "", "body_timeout"),
    (["--objects", "ftp://somewhere"], {}, "", "objects"),
    ([], {}, "colour = 'green'", "colour"),
    ([], {}, "[[peers]]\naet = 'PACS'\nhost = 'pacs'\nport = 0", "peers.0.port"),
    ([], {}, "this is no TOML", "config"),
    (["--config", "/nowhere/gantry.toml"], {}, "", "config"),
    (["--http", "0.0.0.0:0"], {}, "", "token"),
    (["--dimse", "0.0.0.0:0"], {}, "", "calling_aets"),
]


@pytest.mark.parametrize(("flags", "environment", "toml", "key"), BAD)
def test_bad_settings_end_with_status_2_and_name_the_key(
    flags: list[str], environment: dict[str, str], toml: str, key: str, tmp_path: Path
) -> None:
    """F-71, S-70: nothing listens beyond this machine without authentication. No traceback."""
    if toml:
        (tmp_path / "gantry.toml").write_text(toml)
        flags = ["--config", str(tmp_path / "gantry.toml")]
    free = ["--http", "127.0.0.1:0", "--dimse", "127.0.0.1:0"]
    done = gantry("serve", "--data", tmp_path / "data", *free, *flags, environment=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert key in done.stderr
    assert "Traceback" not in done.stderr
    assert "short" not in done.stderr  # no value of a secret


@pytest.mark.parametrize("door", ["http", "dimse"])
def test_an_address_in_use_is_a_bad_setting(folder_site: Site, door: str, tmp_path: Path) -> None:
    ports = {"http": folder_site.gateway.http_url.rpartition(":")[2], "dimse": folder_site.gateway.dimse_port}
    addresses = {"http": f"127.0.0.1:{free_port()}", "dimse": f"127.0.0.1:{free_port()}"}
    addresses[door] = f"127.0.0.1:{ports[door]}"
    flags = ["--http", addresses["http"], "--dimse", addresses["dimse"]]
    done = gantry("serve", "--data", tmp_path / "data", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{door}: {addresses[door]}" in done.stderr


def test_beyond_loopback_it_starts_when_told_that_it_may(start_gateway: StartGateway) -> None:
    """With a token for HTTP and known callers for DIMSE, or with --insecure."""
    wide = ["--http", "0.0.0.0:0", "--dimse", "0.0.0.0:0"]
    insecure = start_gateway(arguments=[*wide, "--insecure"])
    assert once.get(f"{insecure.dicomweb_url}/studies").status_code == 204
    assert insecure.stop() == 0
    closed = start_gateway(arguments=wide, environment={"GANTRY_TOKEN": TOKEN, "GANTRY_CALLING_AETS": "CT1,CT2"})
    assert once.get(f"{closed.dicomweb_url}/studies").status_code == 401
    assert closed.stop() == 0


def test_with_a_token_nothing_is_answered_without_it(start_gateway: StartGateway) -> None:
    """SC-401; probes and the page itself are open, data are not."""
    gateway = start_gateway(environment={"GANTRY_TOKEN": TOKEN})
    body = stow_body([part10_bytes(ct_slice("token"))])
    right = {"Authorization": f"Bearer {TOKEN}"}
    with once.client(base_url=gateway.http_url) as web:
        for wrong in ({}, {"Authorization": "Bearer something else"}, {"Authorization": f"Basic {TOKEN}"}):
            for path in ("/dicomweb/studies", "/dicomweb/instances", "/metrics"):
                refused = web.get(path, headers=wrong)
                assert refused.status_code == 401, path
                assert refused.headers["www-authenticate"].startswith("Bearer")
            refused = web.post("/dicomweb/studies", content=body, headers={"Content-Type": STOW_TYPE, **wrong})
            assert refused.status_code == 401
        assert web.get("/dicomweb/studies", headers=right).status_code == 204
        stored = web.post("/dicomweb/studies", content=body, headers={"Content-Type": STOW_TYPE, **right})
        assert stored.status_code == 200
        assert len(web.get("/dicomweb/studies", headers=right).json()) == 1
        assert [web.get(path).status_code for path in ("/healthz", "/readyz", "/")] == [200, 200, 200]
    assert TOKEN not in gateway.log()


def every_instance(doors: Doors) -> list[dict[str, Any]]:
    """All matches of an instance search, page by page."""
    found: list[dict[str, Any]] = []
    while page := doors.qido("/instances", offset=len(found), limit=200):
        found += page
    return found


# ---------------------------------------------------------------- a lost index


SEARCHES = [
    "/studies?includefield=all",
    "/studies?PatientName=test*&includefield=StudyDescription",
    "/series?includefield=all",
    "/instances?includefield=all",
    f"/studies/{uid('study', 'kept')}/instances?InstanceNumber=2",
    "/studies?ModalitiesInStudy=SR",
]


@pytest.mark.parametrize("backend", TWO)
def test_a_lost_index_is_made_again_from_the_objects(
    backend: str, start_gateway: StartGateway, backend_environment: BackendEnvironment
) -> None:
    """F-42: served it is not, and after a rebuild the answers are the same; what was deleted stays so."""
    environment = backend_environment(backend)
    gateway = start_gateway(environment=environment)
    with Doors(gateway) as doors:
        files = [
            part10_bytes(ds) for ds in (*series_of(4, "kept"), report("kept", 2), color("other"), ct_slice("gone"))
        ]
        assert doors.stow(*files).status == 200
        assert doors.delete(uid("study", "gone")) in (200, 204)
        assert doors.delete(*resource_uids("kept", 4)) in (200, 204)
        before = answers(doors)
        kept = {uid("study", name): sorted(doors.retrieve(uid("study", name))) for name in ("kept", "other")}
    assert gateway.stop() == 0

    if backend == "folder+sqlite":
        for file in gateway.data.glob("index.db*"):
            file.unlink()
    else:
        environment["GANTRY_INDEX"] = backend_environment("folder+postgres")["GANTRY_INDEX"]
    command = ("--data", gateway.data)
    refused = gantry("serve", *command, "--http", "127.0.0.1:0", "--dimse", "127.0.0.1:0", environment=environment)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "gantry index rebuild" in refused.stderr
    rebuilt = gantry("index", "rebuild", *command, environment=environment)
    assert (rebuilt.returncode, rebuilt.stdout) == (0, "5 instances in 3 series of 2 studies\n")

    with Doors(start_gateway(data=gateway.data, environment=environment)) as doors:
        assert answers(doors) == before
        assert {study: sorted(doors.retrieve(study)) for study in kept} == kept
        assert doors.stow(part10_bytes(ct_slice("gone"))).status == 200


def resource_uids(study: str, number: int) -> tuple[str, str, str]:
    """Of a slice of the first series."""
    ds = ct_slice(study, 1, number)
    return ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID


def answers(doors: Doors) -> list[str]:
    """What the gateway answers to SEARCHES, without its own address."""
    return [doors.get(path).text.replace(str(doors.web.base_url), "") for path in SEARCHES]


# ---------------------------------------------------------------- files from media


@pytest.fixture
def medley(tmp_path: Path) -> Path:
    """A folder: four instances, one of them twice, a broken one, and what is no DICOM."""
    folder = tmp_path / "medley"
    (folder / "deep" / "down").mkdir(parents=True)
    paths = write_all(folder, [*series_of(3, "import"), color("import", 2)])
    (folder / "deep" / "again").write_bytes(paths[0].read_bytes())
    (folder / "deep" / "down" / "broken.dcm").write_bytes(part10_bytes(ct_slice("broken"))[:-1000])
    (folder / "README.txt").write_text("pictures of a phantom")
    return folder


def imported(*arguments: object, environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Exit status, summary and messages of `gantry import`."""
    done = gantry("import", *arguments, environment=environment)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def test_a_folder_is_imported_into_a_stopped_gateway(medley: Path, start_gateway: StartGateway, tmp_path: Path) -> None:
    data = tmp_path / "archive"
    status, summary, refused = imported("--data", data, medley)
    assert summary == "7 files: 4 stored, 1 duplicate, 1 refused, 1 skipped (no DICOM files)"
    assert status == 1  # since something was refused
    assert refused.startswith(f"refused {medley / 'deep' / 'down' / 'broken.dcm'}: ")
    assert "(C000H)" in refused
    (medley / "deep" / "down" / "broken.dcm").unlink()
    assert imported("--data", data, medley)[:2] == (
        0,
        "6 files: 5 duplicate, 0 refused, 1 skipped (no DICOM files)",
    )
    with Doors(start_gateway(data=data)) as doors:
        (study,) = doors.qido("/studies")
        assert study["NumberOfStudyRelatedInstances"] == 4
        stored = {dataset_bytes(file) for file in doors.retrieve(study["StudyInstanceUID"])}
    assert stored == {dataset_bytes(path.read_bytes()) for path in medley.glob("*.dcm")}


def test_a_zip_archive_is_imported_into_a_running_gateway(medley: Path, folder_site: Site, tmp_path: Path) -> None:
    """The one that has the folder open is told; it keeps on running."""
    archive = tmp_path / "medley.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(medley.rglob("*")):
            packed.write(path, path.relative_to(medley))
    status, summary, refused = imported("--data", folder_site.gateway.data, archive)
    assert summary == "7 files: 5 stored, 1 refused, 1 skipped (no DICOM files)"
    assert status == 1
    assert refused.startswith(f"refused {archive}:deep/down/broken.dcm: ")
    (study,) = folder_site.doors.qido("/studies")
    assert study["NumberOfStudyRelatedInstances"] == 4


@pytest.mark.parametrize("backend", TWO)
def test_a_dicomdir_stands_for_what_it_lists(
    backend: str, backend_environment: BackendEnvironment, start_gateway: StartGateway, tmp_path: Path
) -> None:
    environment = backend_environment(backend)
    medium = next(path for path in dicomdirs() if path.parent.name == "dicomdirtests")
    done = imported("--data", tmp_path / "archive", medium, environment=environment)
    assert done == (0, "31 files: 31 stored, 0 refused, 0 skipped (no DICOM files)", "")
    with Doors(start_gateway(data=tmp_path / "archive", environment=environment)) as doors:
        assert len(every_instance(doors)) == 31
        assert doors.delete(doors.qido("/studies")[0]["StudyInstanceUID"]) in (200, 204)
        again = imported("--data", tmp_path / "archive", medium, environment=environment)
        assert again[0] == 0
        assert len(every_instance(doors)) == 31


def test_a_running_gateway_with_a_token_is_told_by_one_who_has_it(medley: Path, start_gateway: StartGateway) -> None:
    """The command reads the same settings as the gateway."""
    environment = {"GANTRY_TOKEN": TOKEN}
    gateway = start_gateway(environment=environment)
    (medley / "deep" / "down" / "broken.dcm").unlink()
    assert imported("--data", gateway.data, medley, environment=environment)[:2] == (
        0,
        "6 files: 5 stored, 0 refused, 1 skipped (no DICOM files)",
    )


def test_an_odd_value_is_no_reason_not_to_import_into_a_running_gateway(folder_site: Site, tmp_path: Path) -> None:
    """STOW-08: the gateway answers 202 with a warning; the instance is stored."""
    odd = part10_bytes(ct_slice("odd value", StudyDate="20260304")).replace(b"20260304", b"2026-3-4", 1)
    (tmp_path / "odd.dcm").write_bytes(odd)
    done = imported("--data", folder_site.gateway.data, tmp_path / "odd.dcm")
    assert done == (0, "1 files: 1 stored, 0 refused, 0 skipped (no DICOM files)", "")


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    status, summary, message = imported("--data", tmp_path / "archive", tmp_path / "nothing here")
    assert (status, summary) == (2, "")
    assert "nothing here" in message


def test_resources_of_a_stored_instance_have_their_urls(folder_site: Site) -> None:
    """STOW-09: the Retrieve URLs in the response lead back to what was stored."""
    ds = ct_slice("urls")
    module = folder_site.doors.stow(part10_bytes(ds)).module
    url = module["00081199"]["Value"][0]["00081190"]["Value"][0]
    uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    assert url == f"{folder_site.gateway.dicomweb_url}{resource(*uids)}"
    assert once.get(url, headers={"Accept": "application/dicom"}).status_code == 200
