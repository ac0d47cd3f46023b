"""C-MOVE over real sockets (PS3.4 C.4.2)."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE

from gateway.dimse.limits import Limits
from tests.gateway.dimse.conftest import Door, OpenDoor
from tests.gateway.dimse.peers import MR, keep, node, peer
from tests.gateway.dimse.test_get import identifier, stored
from tests.gateway.dimse.wire import CT, EXPLICIT, IMPLICIT
from tests.parts.certificates import Authority
from tests.parts.datasets import ct_slice, mr_slice, series_of, uid
from tests.parts.machine import free_port, need

PATIENT_MOVE, STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.1.2", "1.2.840.10008.5.1.4.1.2.2.2"
COMPOSITE_MOVE = "1.2.840.10008.5.1.4.1.2.4.2"
RLE = "1.2.840.10008.1.2.5"
QUICK = Limits(send_seconds=1.0, response_seconds=1.0, connect_seconds=1.0)


class Mover:
    """The responses to one C-MOVE."""

    def __init__(self, door: Door, ds: Dataset, destination: str = "NODE", model: str = STUDY_MOVE) -> None:
        ae = AE("MOVER")
        ae.add_requested_context(model)
        association = ae.associate(*door.address, ae_title="GANTRY")
        assert association.is_established
        self.failed: list[str] = []
        self.statuses = []
        for status, answer in association.send_c_move(ds, destination, model, msg_id=77):
            self.statuses.append(status)
            if answer is not None:
                uids = answer.get("FailedSOPInstanceUIDList", [])
                self.failed = [uids] if isinstance(uids, str) else [str(one) for one in uids]
        association.release()

    @property
    def status(self) -> int:
        """The final status."""
        return int(self.statuses[-1].Status)

    @property
    def counts(self) -> tuple[Any, ...]:
        """Remaining, completed, failed, warning of the final response."""
        last = self.statuses[-1]
        return tuple(
            last.get(f"NumberOf{kind}Suboperations") for kind in ("Remaining", "Completed", "Failed", "Warning")
        )


def study(name: str) -> Dataset:
    """An identifier."""
    return identifier("STUDY", StudyInstanceUID=uid("study", name))


def test_a_study_goes_to_its_destination(open_door: OpenDoor) -> None:
    """MOVE-03, MOVE-04, MOVE-06, NET-05: every byte as stored, over one association, saying who asked."""
    with node() as destination:
        door = open_door(peers=(destination.peer(),))
        slices = series_of(5, "one")
        keep(door, *slices)
        moved = Mover(door, study("one"))
        assert (moved.status, moved.counts) == (0, (None, 5, 0, 0))
        assert destination.received == {one.SOPInstanceUID: stored(door, one.SOPInstanceUID) for one in slices}
        assert destination.originators == {("MOVER", 77)}
        assert destination.connections == 1
        for one in moved.statuses[:-1]:
            assert one.Status == 0xFF00
            assert one.NumberOfRemainingSuboperations + one.NumberOfCompletedSuboperations == 5


@pytest.mark.parametrize(
    ("model", "ds"),
    [
        (PATIENT_MOVE, identifier("PATIENT", PatientID="ID-one")),
        (
            PATIENT_MOVE,
            identifier(
                "SERIES",
                PatientID="ID-one",
                StudyInstanceUID=uid("study", "one"),
                SeriesInstanceUID=uid("series", "one", 1),
            ),
        ),
        (COMPOSITE_MOVE, identifier("IMAGE", SOPInstanceUID=ct_slice("one").SOPInstanceUID)),
    ],
)
def test_other_models_and_levels(open_door: OpenDoor, model: str, ds: Dataset) -> None:
    """MOVE-03, GET-02."""
    with node() as destination:
        door = open_door(peers=(destination.peer(),))
        keep(door, ct_slice("one"))
        moved = Mover(door, ds, model=model)
        assert (moved.status, moved.counts) == (0, (None, 1, 0, 0))
        assert list(destination.received) == [ct_slice("one").SOPInstanceUID]


def test_an_unknown_destination_is_refused(open_door: OpenDoor) -> None:
    """MOVE-02, S-13: whatever is asked, and no connection is made to anyone."""
    with node() as destination, listening() as (elsewhere, connections):
        door = open_door(peers=(destination.peer(),))
        keep(door, ct_slice("one"))
        for title in ("EVIL", "node", f"{elsewhere}"[:16], "127.0.0.1", "NODE2"):
            moved = Mover(door, study("one"), title)
            assert (moved.status, moved.counts) == (0xA801, (None, 0, 0, 0))
            assert moved.statuses[-1].ErrorComment
        assert destination.connections == 0 and not connections


def test_nothing_to_move_is_a_success_without_a_connection(open_door: OpenDoor) -> None:
    """MOVE-07."""
    with node() as destination:
        door = open_door(peers=(destination.peer(),))
        moved = Mover(door, study("none"))
        assert (moved.status, moved.counts) == (0, (None, 0, 0, 0))
        assert destination.connections == 0


def test_bad_identifiers_are_refused(open_door: OpenDoor) -> None:
    """MOVE-01."""
    with node() as destination:
        door = open_door(peers=(destination.peer(),))
        keep(door, ct_slice("one"))
        for ds in (identifier("STUDY"), identifier("STUDY", StudyInstanceUID=uid("study", "one"), Modality="CT")):
            assert Mover(door, ds).status == 0xA900
        assert destination.connections == 0


def test_a_destination_that_is_down(open_door: OpenDoor) -> None:
    """F-61, MOVE-03, MOVE-05: A702, all of them failed, and soon."""
    door = open_door(peers=(peer("NODE", free_port()),), limits=QUICK)
    slices = series_of(3, "one")
    keep(door, *slices)
    moved = Mover(door, study("one"))
    assert (moved.status, moved.counts) == (0xA702, (None, 0, 3, 0))
    assert moved.failed == [one.SOPInstanceUID for one in slices]


def test_a_destination_that_refuses_some(open_door: OpenDoor) -> None:
    """MOVE-03, MOVE-05: B000 and which; warnings count for themselves; a class it does not take fails."""
    with node(classes=(CT,)) as destination:
        destination.answer = lambda count: {2: 0xA700, 3: 0xB007}.get(count, 0)
        door = open_door(peers=(destination.peer(),))
        slices = series_of(4, "one")
        mr = mr_slice("one", 2, 1)
        keep(door, *slices, mr)
        moved = Mover(door, study("one"))
        assert (moved.status, moved.counts) == (0xB000, (None, 2, 2, 1))
        assert moved.failed == [slices[1].SOPInstanceUID, mr.SOPInstanceUID]


@pytest.mark.parametrize(
    ("syntaxes", "sent"), [((RLE, EXPLICIT), RLE), ((EXPLICIT,), EXPLICIT), ((IMPLICIT,), IMPLICIT)]
)
def test_compressed_instances(open_door: OpenDoor, syntaxes: tuple[str, ...], sent: str) -> None:
    """NET-05: as stored where that is accepted, else native."""
    with node(syntaxes=syntaxes) as destination:
        door = open_door(peers=(destination.peer(),))
        ds = ct_slice("rle")
        keep(door, ds, syntax=RLE)
        assert Mover(door, study("rle")).status == 0
        assert destination.syntaxes == {ds.SOPInstanceUID: sent}


def test_small_pdus_are_respected(open_door: OpenDoor) -> None:
    """NET-05: fragments as small as the destination wants, and the bytes are the same."""
    with node(max_pdu=4096) as destination:
        door = open_door(peers=(destination.peer(),))
        ds = ct_slice("one", rows=256, columns=257)
        keep(door, ds)
        assert Mover(door, study("one")).status == 0
        assert destination.received[ds.SOPInstanceUID] == stored(door, ds.SOPInstanceUID)


def test_a_destination_that_goes_away_in_the_middle(open_door: OpenDoor) -> None:
    """F-61: what it had counts, the rest failed."""
    with node() as destination:
        door = open_door(peers=(destination.peer(),), limits=QUICK)
        slices = series_of(6, "one")
        keep(door, *slices)

        def answer(count: int) -> int:
            if count == 4:
                time.sleep(2.0)  # longer than we wait
            return 0

        destination.answer = answer
        started = time.monotonic()
        moved = Mover(door, study("one"))
        assert (moved.status, moved.counts) == (0xB000, (None, 3, 3, 0))
        assert moved.failed == [one.SOPInstanceUID for one in slices[3:]]
        assert time.monotonic() - started < 5


def test_a_destination_that_stops_reading_holds_up_nobody_else(open_door: OpenDoor, tmp_path: Path) -> None:
    """F-61: dcmtk's storescp is stopped; the move to it ends in time with true counts, another goes on meanwhile."""
    with storescp(tmp_path / "came") as (process, port), node() as other:
        peers = (peer("STOPPED", port), other.peer())
        door = open_door(peers=peers, limits=Limits(send_seconds=2.0, response_seconds=2.0, connect_seconds=2.0))
        slices = series_of(20, "one", rows=512, columns=512)
        keep(door, *slices)
        process.send_signal(signal.SIGSTOP)
        results: list[Mover] = []
        thread = threading.Thread(target=lambda: results.append(Mover(door, study("one"), "STOPPED")))
        thread.start()
        moved = Mover(door, study("one"))
        assert moved.status == 0 and thread.is_alive()
        thread.join(10)
        assert not thread.is_alive()
        assert results[0].status == 0xA702
        assert results[0].counts == (None, 0, 20, 0)
        assert results[0].failed == [one.SOPInstanceUID for one in slices]
        process.send_signal(signal.SIGCONT)


def test_a_cancel_stops_it(open_door: OpenDoor) -> None:
    """MOVE-03: FE00, soon after it was asked for, with what remains."""
    with node() as destination:
        door = open_door(peers=(destination.peer(),))
        keep(door, *series_of(30, "one"))
        ae = AE("MOVER")
        ae.add_requested_context(STUDY_MOVE)
        association = ae.associate(*door.address, ae_title="GANTRY")

        def answer(count: int) -> int:
            if count == 5:
                association.send_c_cancel(1, query_model=STUDY_MOVE)
            time.sleep(0.02)
            return 0

        destination.answer = answer
        statuses = [status for status, _ in association.send_c_move(study("one"), "NODE", STUDY_MOVE)]
        association.release()
        last = statuses[-1]
        assert last.Status == 0xFE00
        assert last.NumberOfRemainingSuboperations + last.NumberOfCompletedSuboperations == 30
        assert 5 <= last.NumberOfCompletedSuboperations < 20


def test_a_cancel_need_not_wait_for_a_slow_destination(open_door: OpenDoor) -> None:
    """MOVE-03, F-61: FE00 while an instance is still under way; so it is when the one who asked goes away."""
    with node() as destination:
        door = open_door(peers=(destination.peer(),))
        keep(door, *series_of(3, "one"))
        ae = AE("MOVER")
        ae.add_requested_context(STUDY_MOVE)
        association = ae.associate(*door.address, ae_title="GANTRY")
        release = threading.Event()

        def answer(count: int) -> int:
            if count == 2:
                association.send_c_cancel(1, query_model=STUDY_MOVE)
                release.wait(10)
            return 0

        destination.answer = answer
        started = time.monotonic()
        statuses = [status for status, _ in association.send_c_move(study("one"), "NODE", STUDY_MOVE)]
        assert time.monotonic() - started < 5
        release.set()
        association.release()
        last = statuses[-1]
        assert (last.Status, last.NumberOfRemainingSuboperations, last.NumberOfCompletedSuboperations) == (0xFE00, 2, 1)


def test_a_damaged_object_costs_no_other(open_door: OpenDoor) -> None:
    """F-16, MOVE-05: it is never sent as good."""
    with node() as destination:
        door = open_door(peers=(destination.peer(),))
        small, large, last = (
            ct_slice("one", 1, 1),
            ct_slice("one", 1, 2, rows=1024, columns=1024),
            ct_slice("one", 1, 3),
        )
        keep(door, small, large, last)
        for ds in (small, large):
            located = door.archive.find(ds.SOPInstanceUID)
            assert located is not None
            path = next(door.spool.parent.glob(f"objects/**/*{located.version}*"))
            data = bytearray(path.read_bytes())
            data[-5] ^= 1
            path.chmod(0o600)
            path.write_bytes(data)
        moved = Mover(door, study("one"))
        assert (moved.status, moved.counts) == (0xB000, (None, 1, 2, 0))
        assert moved.failed == [small.SOPInstanceUID, large.SOPInstanceUID]
        assert list(destination.received) == [last.SOPInstanceUID]


def test_dcmtk_moves_to_dcmtk(open_door: OpenDoor, tmp_path: Path) -> None:
    """MOVE-03, MOVE-04 with movescu and storescp; its own counters agree."""
    came = tmp_path / "came"
    with storescp(came) as (_, port):
        door = open_door(peers=(peer("STORESCP", port),))
        slices = [*series_of(12, "one"), mr_slice("one", 2, 1)]
        keep(door, *slices)
        told = subprocess.run(
            [
                need("movescu"), "-v", "-S", "-aec", "GANTRY", "-aem", "STORESCP", "127.0.0.1", str(door.address[1]),
                "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={uid('study', 'one')}",
            ],
            check=True, timeout=30, capture_output=True, text=True,
        )  # fmt: skip
        assert "Received Final Move Response (Success)" in told.stderr + told.stdout
        assert sorted(dcmread(path).SOPInstanceUID for path in came.iterdir()) == sorted(
            one.SOPInstanceUID for one in slices
        )
        assert dcmread(next(came.glob(f"MR.{slices[-1].SOPInstanceUID}"))).SOPClassUID == MR


@contextmanager
def storescp(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """dcmtk's storescp on a free port, storing into `folder`."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    process = subprocess.Popen([need("storescp"), "-od", str(folder), "+xa", str(port)])
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield process, port
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(10)


@contextmanager
def listening() -> Iterator[tuple[str, list[Any]]]:
    """A listener that should not be called: its address, and who called."""
    calls: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        stop = threading.Event()

        def accept() -> None:
            while not stop.is_set():
                try:
                    connection, address = server.accept()
                except TimeoutError:
                    continue
                calls.append(address)
                connection.close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"127.0.0.1:{server.getsockname()[1]}", calls
        finally:
            stop.set()
            thread.join()


def test_a_destination_with_tls_and_one_that_is_not_who_it_should_be(open_door: OpenDoor, tmp_path: Path) -> None:
    """TLS-01, TLS-02, F-61: both sides show certificates; to another certificate nothing is sent."""
    (tmp_path / "authority").mkdir()
    authority = Authority(tmp_path / "authority")
    ours, theirs = authority.issue("front"), authority.issue("behind")
    behind = open_door(
        aet="BEHIND",
        dimse_tls="127.0.0.1:0",
        dimse_tls_cert=theirs.certificate,
        dimse_tls_key=theirs.key,
        dimse_tls_ca=authority.certificate,
    )
    assert behind.server.tls_address is not None
    port = behind.server.tls_address[1]
    front = open_door(
        dimse_tls_cert=ours.certificate,
        dimse_tls_key=ours.key,
        dimse_tls_ca=authority.certificate,
        peers=(
            peer("BEHIND", port, tls=True, certificate="behind"),
            peer("IMPOSTOR", port, tls=True, certificate="somebody else"),
            peer("PLAIN", port),
        ),
        limits=QUICK,
    )
    slices = [ct_slice("one", 1, number, rows=512, columns=512) for number in range(1, 4)]
    keep(front, *slices)
    for title in ("IMPOSTOR", "PLAIN"):
        moved = Mover(front, study("one"), title)
        assert (moved.status, moved.counts) == (0xA702, (None, 0, 3, 0))
    assert behind.archive.index.count() == (0, 0, 0)
    assert Mover(front, study("one"), "BEHIND").status == 0
    assert all(stored(behind, one.SOPInstanceUID) == stored(front, one.SOPInstanceUID) for one in slices)
