"""dcmjs-dimse, the DIMSE library of Node.js, as a client of a gateway: its own associations, commands and data sets."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from tests.end_to_end.doors import Doors
from tests.gateway.dimse.peers import Node, node
from tests.parts.browser_clients import NotFetched
from tests.parts.datasets import ct_slice, mr_slice, part10_bytes, series_of, uid
from tests.parts.dimse_client import fetch
from tests.parts.fix_gateway import BackendEnvironment, starter
from tests.parts.gateway import GatewayProcess, Launch
from tests.parts.machine import cannot_run, need

SUCCESS, DESTINATION_UNKNOWN, WARNING, OUT_OF_RESOURCES = 0, 0xA801, 0xB000, 0xA702
STUDY, SERIES = uid("study", "dcmjs"), uid("series", "dcmjs", 1)


class Client:
    """Runs the client's program against one gateway."""

    def __init__(self, program: Path, gateway: GatewayProcess) -> None:
        self._command = [need("node"), str(program)]
        self._gateway = gateway

    def ask(self, *wishes: list[Any], called: str = "GANTRY", calling: str = "DCMJS") -> dict[str, Any]:
        """What came of these requests on one association: final statuses in order, matches, instances, errors."""
        where = {"host": self._gateway.host, "port": self._gateway.dimse_port, "called": called, "calling": calling}
        done = subprocess.run(
            [*self._command, json.dumps({**where, "ask": wishes})],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told


@pytest.fixture(scope="module")
def destination() -> Iterator[Node]:
    """A node that C-MOVE can send to."""
    with node() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, backend_environment: BackendEnvironment, launch: Launch, destination: Node
) -> Iterator[GatewayProcess]:
    """One for all tests, with two studies in it, that knows the node."""
    folder = tmp_path_factory.mktemp("gateway")
    settings = folder / "gantry.toml"
    settings.write_text(f'[[peers]]\naet = "NODE"\nhost = "127.0.0.1"\nport = {destination.port}\n')
    with ExitStack() as running:
        one = starter(running, folder, backend_environment, launch)(arguments=["--config", str(settings)])
        files = [part10_bytes(ds) for ds in (*series_of(5, "dcmjs"), mr_slice("other", PatientName="Ångström^Åsa"))]
        with Doors(one) as doors:
            assert doors.stow(*files).status == 200
        yield one


@pytest.fixture(scope="module")
def client(gateway: GatewayProcess) -> Client:
    """The client."""
    try:
        return Client(fetch(), gateway)
    except NotFetched as error:
        cannot_run(str(error))


def test_echo(client: Client) -> None:
    assert client.ask(["echo"])["statuses"] == [SUCCESS]


def test_rejection_of_another_called_ae_title(client: Client) -> None:
    """NET-02: unknown called AE (1,1,7), as the client reads it."""
    assert client.ask(["echo"], called="ANOTHER")["errors"] == [["rejected", 1, 1, 7]]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless])
def test_store(client: Client, gateway: GatewayProcess, tmp_path: Path, syntax: str) -> None:
    """Several files on one association, in the syntax they have; the pixels are kept as they are."""
    name = f"sent {syntax[-4:]}"
    slices = series_of(3, name)
    for number, ds in enumerate(slices):
        (tmp_path / f"{number}.dcm").write_bytes(part10_bytes(ds, syntax))
    told = client.ask(*(["store", str(path)] for path in sorted(tmp_path.iterdir())))
    assert (told["statuses"], told["errors"]) == ([SUCCESS] * 3, [])
    with Doors(gateway) as doors:
        for number, ds in enumerate(slices):
            (file,) = doors.retrieve(ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
            sent = dcmread(tmp_path / f"{number}.dcm")
            assert (dcmread(BytesIO(file)).pixel_array == sent.pixel_array).all()


def test_a_file_that_is_already_there_in_other_bytes_is_told_so(client: Client, tmp_path: Path) -> None:
    """The status comes through: 0111H."""
    for number, comment in enumerate(("one", "another")):
        (tmp_path / f"{number}.dcm").write_bytes(part10_bytes(ct_slice("twice", ImageComments=comment)))
    wishes = [["store", str(path)] for path in sorted(tmp_path.iterdir())]
    assert client.ask(*wishes)["statuses"] == [SUCCESS, 0x0111]


def test_find(client: Client) -> None:
    """At each level, with wild cards, and a name in another character set."""
    keys = {"PatientID": "ID-dcm*", "StudyInstanceUID": "", "NumberOfStudyRelatedInstances": ""}
    told = client.ask(["findStudies", keys])
    assert told["statuses"] == [SUCCESS]
    (study,) = told["matches"]
    assert (study["StudyInstanceUID"], int(study["NumberOfStudyRelatedInstances"])) == (STUDY, 5)
    series = client.ask(["findSeries", {"StudyInstanceUID": STUDY, "SeriesInstanceUID": "", "Modality": ""}])
    assert [(one["SeriesInstanceUID"], one["Modality"]) for one in series["matches"]] == [(SERIES, "CT")]
    images = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "SOPInstanceUID": "", "InstanceNumber": ""}
    found = client.ask(["findImages", images])["matches"]
    assert sorted(int(one["InstanceNumber"]) for one in found) == [1, 2, 3, 4, 5]
    by_name = {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Ångström*", "StudyInstanceUID": ""}
    (other,) = client.ask(["findStudies", by_name])["matches"]
    assert other["StudyInstanceUID"] == uid("study", "other")
    assert "Ångström^Åsa" in json.dumps(other["PatientName"], ensure_ascii=False)


def test_get(client: Client) -> None:
    """A study, and one image of it, on the association that asks."""
    told = client.ask(["getStudy", STUDY])
    assert (told["statuses"], told["counts"], told["errors"]) == ([SUCCESS], [5, 0, 0], [])
    expected = series_of(5, "dcmjs")
    assert sorted((one["sop"], one["pixels"]) for one in told["received"]) == sorted(
        (ds.SOPInstanceUID, len(ds.PixelData)) for ds in expected
    )
    one = expected[2].SOPInstanceUID
    assert [got["sop"] for got in client.ask(["getImage", STUDY, SERIES, one])["received"]] == [one]


def test_move(client: Client, destination: Node) -> None:
    """To a known destination; an unknown one is refused with A801H."""
    told = client.ask(["moveStudy", "NODE", STUDY])
    assert (told["statuses"], told["counts"]) == ([SUCCESS], [5, 0, 0])
    assert set(destination.received) >= {ds.SOPInstanceUID for ds in series_of(5, "dcmjs")}
    assert client.ask(["moveSeries", "NOBODY", STUDY, SERIES])["statuses"] == [DESTINATION_UNKNOWN]
