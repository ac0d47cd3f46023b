"""Orthanc as a peer of a gateway: it asks, retrieves, stores, and has the gateway take responsibility for instances;
the gateway sends to it. Both are in a network of their own.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from tests.parts import orthanc
from tests.parts.datasets import color, ct_slice, mr_slice, part10_bytes, series_of, uid, write_all
from tests.parts.gateway import GatewayProcess, clean_environment
from tests.parts.machine import free_ports, need
from tests.parts.namespace import private_network
from tests.parts.orthanc import Orthanc


@dataclass(frozen=True, slots=True)
class Pair:
    """Both archives; each knows the other."""

    gateway: GatewayProcess
    orthanc: Orthanc
    settings: Path

    def gantry(self, *arguments: object) -> str:
        """What a `gantry` command on the gateway's data prints."""
        command = [*self.orthanc.network, sys.executable, "-m", "gateway", *map(str, arguments)]
        command += ["--data", str(self.gateway.data), "--config", str(self.settings)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=clean_environment())
        assert done.returncode == 0, done.stderr
        return done.stdout

    def keep(self, *datasets: Dataset, folder: Path) -> None:
        """Bring instances into the gateway."""
        write_all(folder, datasets)
        self.gantry("import", folder)

    def held(self) -> dict[str, str]:
        """Orthanc's instances: its name for each by SOP Instance UID."""
        return {one["MainDicomTags"]["SOPInstanceUID"]: one["ID"] for one in self.orthanc.get("/instances?expand")}

    def ask(self, level: str, **query: str) -> tuple[str, list[dict[str, Any]]]:
        """A query of Orthanc's to the gateway: its path, and the answers."""
        body = {"Level": level, "Query": query}
        path = self.orthanc.post("/modalities/gantry/query", body)["Path"]
        return path, self.orthanc.get(f"{path}/answers?expand&simplify")

    def gateway_file(self, ds: Dataset) -> bytes:
        """An instance as the gateway gives it by WADO-RS."""
        path = f"studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
        command = [*self.orthanc.network, need("curl"), "-sS", "--fail", "-H"]
        command += ["Accept: application/dicom; transfer-syntax=*", f"{self.gateway.dicomweb_url}/{path}"]
        return subprocess.run(command, capture_output=True, timeout=60, check=True).stdout


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """The two of them."""
    need("Orthanc")
    folder = tmp_path_factory.mktemp("orthanc")
    http, dicom = free_ports(2)
    settings = folder / "gantry.toml"
    settings.write_text(f'[[peers]]\naet = "ORTHANC"\nhost = "127.0.0.1"\nport = {dicom}\n')
    with ExitStack() as running:
        network = running.enter_context(private_network())
        gateway = running.enter_context(
            GatewayProcess(folder / "data", arguments=["--config", str(settings)], network=network)
        )
        modalities = {"gantry": ("GANTRY", gateway.dimse_port)}
        server = running.enter_context(orthanc.run(folder, network, http, dicom, modalities))
        yield Pair(gateway, server, settings)


def same(one: bytes, other: bytes) -> bool:
    """Have both files the same elements, group 2 aside?"""
    return bool(dcmread(BytesIO(one)) == dcmread(BytesIO(other)))


def until(pair: Pair, sop_uids: set[str]) -> None:
    """Wait until Orthanc holds these."""
    end = time.monotonic() + 30
    while not sop_uids <= pair.held().keys():
        assert time.monotonic() < end, "they do not arrive"
        time.sleep(0.1)


def test_echo(pair: Pair) -> None:
    assert pair.orthanc.post("/modalities/gantry/echo", {}) == {}


def test_query_and_retrieve(pair: Pair, tmp_path: Path) -> None:
    """C-FIND at each level, then C-MOVE to Orthanc itself: it has the same data sets afterwards."""
    series = series_of(6, "asked")
    pair.keep(*series, mr_slice("other"), folder=tmp_path)
    path, studies = pair.ask("Study", PatientID="ID-ask*", NumberOfStudyRelatedInstances="")
    assert [one["StudyInstanceUID"] for one in studies] == [uid("study", "asked")]
    assert studies[0]["NumberOfStudyRelatedInstances"].strip() == "6"
    _, found = pair.ask("Series", StudyInstanceUID=uid("study", "asked"), Modality="CT")
    assert [one["SeriesInstanceUID"] for one in found] == [series[0].SeriesInstanceUID]
    keys = {"StudyInstanceUID": uid("study", "asked"), "SeriesInstanceUID": series[0].SeriesInstanceUID}
    _, images = pair.ask("Instance", **keys)
    assert {one["SOPInstanceUID"] for one in images} == {ds.SOPInstanceUID for ds in series}

    pair.orthanc.post(f"{path}/answers/0/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
    held = pair.held()
    for ds in series:
        assert same(pair.orthanc.file(f"/instances/{held[ds.SOPInstanceUID]}/file"), part10_bytes(ds))
    assert mr_slice("other").SOPInstanceUID not in held


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_orthanc_stores_and_has_the_gateway_commit(pair: Pair, syntax: str) -> None:
    """C-STORE, then Storage Commitment: N-ACTION, and the report by N-EVENT-REPORT on an association of ours."""
    sent = [ct_slice(f"from {syntax[-4:]}"), color(f"from {syntax[-4:]}", 2)]
    files = [part10_bytes(ds, syntax) for ds in sent]
    names = [pair.orthanc.post("/instances", file)["ID"] for file in files]
    told = pair.orthanc.post("/modalities/gantry/store", {"Resources": names, "StorageCommitment": True})
    assert told["FailedInstancesCount"] == 0
    for ds, file in zip(sent, files, strict=True):
        assert same(pair.gateway_file(ds), file)
    report = committed(pair, told["StorageCommitmentTransactionUID"])
    assert report["Status"] == "Success"
    assert {one["SOPInstanceUID"] for one in report["Success"]} == {ds.SOPInstanceUID for ds in sent}


def test_the_gateway_commits_to_nothing_that_it_has_not(pair: Pair) -> None:
    """The report says failure, with the reason 0112H: no such object instance."""
    ds = ct_slice("never sent")
    asked = {"DicomInstances": [{"SOPClassUID": ds.SOPClassUID, "SOPInstanceUID": ds.SOPInstanceUID}]}
    report = committed(pair, pair.orthanc.post("/modalities/gantry/storage-commitment", asked)["ID"])
    assert report["Status"] == "Failure"
    assert [one["FailureReason"] for one in report["Failures"]] == [0x0112]


def committed(pair: Pair, transaction_uid: str) -> dict[str, Any]:
    """The report of a transaction, once it is there."""
    end = time.monotonic() + 30
    while (report := pair.orthanc.get(f"/storage-commitment/{transaction_uid}"))["Status"] == "Pending":
        assert time.monotonic() < end, "no report comes"
        time.sleep(0.1)
    return dict(report)


def test_the_gateway_sends_to_orthanc(pair: Pair, tmp_path: Path) -> None:
    """`gantry send`: compressed instances arrive as they are, or in a syntax that Orthanc takes."""
    series = series_of(4, "sent on")
    pair.keep(*series, folder=tmp_path)
    pair.gantry("send", uid("study", "sent on"), "--to", "ORTHANC")
    until(pair, {ds.SOPInstanceUID for ds in series})
    held = pair.held()
    for ds in series:
        assert same(pair.orthanc.file(f"/instances/{held[ds.SOPInstanceUID]}/file"), part10_bytes(ds))
