"""Damaged objects behind a running gateway: told at every door, never served as good, repaired when sent again."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelGet,
)

from storage.versions import object_key
from tests.end_to_end.conftest import Site
from tests.end_to_end.doors import AS_STORED, Doors, resource
from tests.parts import once
from tests.parts.command import gantry
from tests.parts.datasets import ct_slice, part10_bytes, series_of
from tests.parts.files import dataset_bytes
from tests.parts.fix_gateway import StartGateway

GET = StudyRootQueryRetrieveInformationModelGet


def uids(ds: Dataset) -> tuple[str, str, str]:
    """Study, series and instance."""
    return ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID


def stored_file(data: Path, sop_uid: str) -> Path:
    """Where the folder keeps the newest version of an instance."""
    prefix = object_key(sop_uid, "").removesuffix(".dcm")
    *_, path = sorted((data / "objects").glob(f"{prefix}*"))
    path.chmod(0o600)
    return path


def flip(path: Path, position: int) -> None:
    """Turn a bit around in place."""
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def listed(doors: Doors) -> dict[str, str]:
    """Reason by instance, as `/integrity` tells."""
    answer = once.get(f"{doors.gateway.http_url}/integrity")
    assert answer.status_code == 200
    return {one["instance"]: one["reason"] for one in answer.json()["damaged"]}


def wait_for(doors: Doors, wanted: dict[str, str], seconds: float = 30.0) -> None:
    """Wait until exactly this is known to be damaged."""
    end = time.monotonic() + seconds
    while listed(doors) != wanted:
        assert time.monotonic() < end, listed(doors)
        time.sleep(0.1)


def metrics(doors: Doors) -> str:
    """What is counted."""
    return once.get(f"{doors.gateway.http_url}/metrics").text


def c_get(doors: Doors, study_uid: str) -> tuple[int, int, int]:
    """The final status of a C-GET of a study, and its numbers of completed and failed sub-operations."""
    got: list[str] = []

    def keep(event: evt.Event) -> int:
        got.append(str(event.assoc.name))
        return 0

    ae = AE("GETTER")
    ae.add_requested_context(GET)
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = ae.associate(
        doors.gateway.host,
        doors.gateway.dimse_port,
        ae_title=doors.gateway.aet,
        ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, keep)],
    )
    assert association.is_established
    wanted = Dataset()
    wanted.QueryRetrieveLevel = "STUDY"
    wanted.StudyInstanceUID = study_uid
    try:
        *_, (status, _) = association.send_c_get(wanted, GET)
    finally:
        association.release()
    assert len(got) == status.NumberOfCompletedSuboperations
    return status.Status, status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations


def test_damage_is_found_told_and_repaired(start_gateway: StartGateway) -> None:
    """F-16, F-17, F-18, F-44: by readers and by the scrubber, at both doors and from the command line."""
    gateway = start_gateway(environment={"GANTRY_SCRUB_DAYS": "0.00001"})
    with Doors(gateway) as doors:
        flipped, gone, short, good = slices = series_of(4, "damage")
        files = [part10_bytes(ds) for ds in slices]
        assert doors.stow(*files).status == 200
        assert listed(doors) == {}
        flip(stored_file(gateway.data, flipped.SOPInstanceUID), 2000)
        stored_file(gateway.data, gone.SOPInstanceUID).unlink()
        stored_file(gateway.data, short.SOPInstanceUID).write_bytes(b"")
        wanted = {flipped.SOPInstanceUID: "digest", gone.SOPInstanceUID: "missing", short.SOPInstanceUID: "size"}
        wait_for(doors, wanted)

        for ds in (flipped, gone, short):
            for view in ("", "/metadata", "/frames/1", "/rendered", "/bulkdata/7FE00010"):
                answer = doors.get(resource(*uids(ds)) + view)
                assert answer.status_code == 500, (ds.InstanceNumber, view)
                assert answer.json()["type"] == "urn:gantry:problem:damaged"
        assert dataset_bytes(doors.retrieve(*uids(good))[0]) == dataset_bytes(files[3])
        # a study is never answered without some of its instances, as if there were fewer
        assert doors.get(resource(good.StudyInstanceUID), AS_STORED).status_code == 500
        assert doors.get(resource(good.StudyInstanceUID) + "/metadata").status_code == 500
        assert len(doors.qido("/instances")) == 4
        assert c_get(doors, good.StudyInstanceUID) == (0xB000, 1, 3)
        assert 'gantry_scrubbed_total{outcome="digest"}' in metrics(doors)
        end = time.monotonic() + 20
        while "gantry_damaged_instances 3.0" not in metrics(doors):
            assert time.monotonic() < end
            time.sleep(0.1)
        told = gantry("index", "damaged", "--data", gateway.data)
        assert (told.returncode, "3 damaged instances" in told.stdout) == (1, True)
        assert all(ds.SOPInstanceUID in told.stdout for ds in (flipped, gone, short))

        assert doors.c_store(files[:2]) == [0, 0]
        assert doors.stow(files[2]).stored == [short.SOPInstanceUID]
        wait_for(doors, {})
        kept = {dataset_bytes(one) for one in doors.retrieve(good.StudyInstanceUID)}
        assert kept == {dataset_bytes(one) for one in files}
        assert c_get(doors, good.StudyInstanceUID) == (0, 4, 0)
        assert "Traceback" not in gateway.log()

        # a backup of the object cures it as well
        path = stored_file(gateway.data, good.SOPInstanceUID)
        data = path.read_bytes()
        flip(path, 2000)
        wait_for(doors, {good.SOPInstanceUID: "digest"})
        path.write_bytes(data)
        wait_for(doors, {})
        assert dataset_bytes(doors.retrieve(*uids(good))[0]) == dataset_bytes(files[3])
        assert once.post(f"{gateway.http_url}/integrity/scrub").status_code == 200
        assert once.get(f"{gateway.http_url}/integrity?after=../x").status_code == 400

    assert gateway.stop() == 0
    clean = gantry("index", "verify", "--deep", "--data", gateway.data)
    assert (clean.returncode, clean.stdout) == (0, "4 instances, 0 damaged, 0 objects without a row\n")
    flip(stored_file(gateway.data, good.SOPInstanceUID), 3000)
    assert gantry("index", "verify", "--data", gateway.data).returncode == 0
    found = gantry("index", "verify", "--deep", "--data", gateway.data)
    assert found.returncode == 1
    assert f"digest: {good.SOPInstanceUID}" in found.stderr


@pytest.mark.parametrize("transfer_syntax", ["*", "1.2.840.10008.1.2.1"])
def test_a_long_answer_whose_end_is_damaged_is_cut(folder_site: Site, transfer_syntax: str) -> None:
    """F-16: what has begun with 200 never looks complete; nor does a study with it."""
    ds = ct_slice("cut", rows=2048, columns=1024)
    assert folder_site.doors.stow(part10_bytes(ds)).status == 200
    path = stored_file(folder_site.gateway.data, ds.SOPInstanceUID)
    flip(path, path.stat().st_size - 1)
    for place in (uids(ds), uids(ds)[:1]):
        accept = f'multipart/related; type="application/dicom"; transfer-syntax={transfer_syntax}'
        try:
            answer = folder_site.doors.get(resource(*place), accept)
        except httpx.RemoteProtocolError:  # the connection ended before the answer did
            continue
        assert answer.status_code == 500
    assert listed(folder_site.doors) == {ds.SOPInstanceUID: "digest"}
