"""Storage Commitment Push over real sockets (PS3.4 Annex J)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.association import Association

from gateway.dimse import n_action
from gateway.dimse.limits import Limits
from gateway.dimse.report import Reports
from gateway.settings import Settings
from gateway.tasks import COMMITMENT as KIND
from gateway.workers import Workers
from storage import open_archive
from storage.tasks import FAILED, RUNNING, WAITING
from tests.gateway.dimse.conftest import Door, OpenDoor
from tests.gateway.dimse.peers import keep, peer
from tests.gateway.dimse.wire import CT, EXPLICIT, P_DATA, command, element, pdv
from tests.parts.datasets import ct_slice, series_of
from tests.parts.machine import free_port

COMMITMENT, INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
QUICK = Limits(send_seconds=1.0, response_seconds=1.0, connect_seconds=1.0)


@dataclass
class Report:
    """One N-EVENT-REPORT."""

    event_type: int
    ds: Dataset

    @property
    def committed(self) -> list[str]:
        """SOP Instance UIDs."""
        return [one.ReferencedSOPInstanceUID for one in self.ds.get("ReferencedSOPSequence", [])]

    @property
    def failed(self) -> dict[str, int]:
        """Failure Reason by SOP Instance UID."""
        failed = self.ds.get("FailedSOPSequence", [])
        return {one.ReferencedSOPInstanceUID: one.FailureReason for one in failed}


@dataclass
class Asker:
    """A node that asks for commitment, and gets reports on the association or on its own port."""

    reports: list[Report] = field(default_factory=list)
    answer: int = 0
    came: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def take(self, event: evt.Event) -> tuple[int, None]:
        """N-EVENT-REPORT handler."""
        if not self.answer:
            request: Any = event.request
            self.reports.append(Report(request.EventTypeID, event.event_information))
            self.came.set()
        return self.answer, None

    def associate(self, door: Door, aet: str = "ASKER") -> Association:
        """An association for N-ACTION."""
        ae = AE(aet)
        ae.add_requested_context(COMMITMENT)
        handlers = [(evt.EVT_N_EVENT_REPORT, self.take)]
        association = ae.associate(*door.address, ae_title="GANTRY", evt_handlers=handlers)  # type: ignore[arg-type]
        assert association.is_established
        return association

    @contextmanager
    def listening(self, port: int = 0) -> Iterator[None]:
        """Take reports on a port of its own."""
        ae = AE("ASKER")
        ae.add_supported_context(COMMITMENT, scu_role=False, scp_role=True)
        handlers = [(evt.EVT_N_EVENT_REPORT, self.take)]
        server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)  # type: ignore[arg-type]
        assert server is not None
        self.port = server.socket.getsockname()[1]  # type: ignore[union-attr]
        try:
            yield
        finally:
            server.shutdown()


def wanted(*instances: Dataset, transaction: str = "", **changes: str) -> Dataset:
    """Action Information."""
    ds = Dataset()
    ds.TransactionUID = transaction or generate_uid()
    ds.ReferencedSOPSequence = []
    for one in instances:
        item = Dataset()
        item.ReferencedSOPClassUID = changes.get("sop_class", one.SOPClassUID)
        item.ReferencedSOPInstanceUID = one.SOPInstanceUID
        ds.ReferencedSOPSequence.append(item)
    return ds


def ask(association: Association, ds: Dataset | None, action: int = 1, instance: str = INSTANCE) -> Dataset:
    """The answer to an N-ACTION."""
    status, _ = association.send_n_action(ds, action, COMMITMENT, instance)
    return status


@contextmanager
def workers(door: Door, settings: Settings) -> Iterator[Workers]:
    """Workers for reports."""
    made = Workers(door.archive, {KIND: Reports(door.archive, settings, QUICK)}, poll=0.02)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def settings(*peers: Any) -> Settings:
    """Settings with these peers."""
    return Settings(peers=peers)


def test_the_report_comes_on_the_same_association(open_door: OpenDoor) -> None:
    """SC-01, SC-02: exactly what was asked for, and the task is over."""
    door, asker = open_door(), Asker()
    slices = series_of(3, "one")
    keep(door, *slices)
    association = asker.associate(door)
    ds = wanted(*slices)
    assert ask(association, ds).Status == 0
    assert asker.came.wait(5)
    association.release()
    (report,) = asker.reports
    assert (report.event_type, report.ds.TransactionUID) == (1, ds.TransactionUID)
    assert report.committed == [one.SOPInstanceUID for one in slices]
    assert not report.failed
    gone(door)


def gone(door: Door) -> None:
    """Wait until no task is left."""
    end = time.monotonic() + 5
    while door.archive.index.tasks() and time.monotonic() < end:
        time.sleep(0.01)
    assert door.archive.index.tasks() == []


def test_what_is_not_kept_as_it_was_is_not_committed(open_door: OpenDoor) -> None:
    """SC-02, SC-03, SC-04: absent 0112, another class 0119, damaged 0110; the rest is committed."""
    door, asker = open_door(), Asker()
    good, damaged, classless, absent = series_of(4, "one")
    keep(door, good, damaged, classless)
    located = door.archive.find(damaged.SOPInstanceUID)
    assert located is not None
    path = next(door.spool.parent.glob(f"objects/**/*{located.version}*"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    ds = wanted(good, damaged, classless, absent)
    ds.ReferencedSOPSequence[2].ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    association = asker.associate(door)
    assert ask(association, ds).Status == 0
    assert asker.came.wait(5)
    association.release()
    (report,) = asker.reports
    assert report.event_type == 2
    assert report.committed == [good.SOPInstanceUID]
    assert report.failed == {
        damaged.SOPInstanceUID: 0x0110,
        classless.SOPInstanceUID: 0x0119,
        absent.SOPInstanceUID: 0x0112,
    }


def test_a_peer_that_released_gets_its_report_on_a_new_association(open_door: OpenDoor) -> None:
    """SC-02, NET-08, F-62: the requester's port, from the settings."""
    asker = Asker()
    with asker.listening():
        kept = settings(peer("ASKER", asker.port))
        door = open_door(peers=kept.peers)
        slices = series_of(40, "one", rows=256, columns=256)
        keep(door, *slices)
        asker.answer = 0x0110  # on the same association, should it come there
        association = asker.associate(door)
        ds = wanted(*slices)
        assert ask(association, ds).Status == 0
        association.release()
        asker.answer = 0
        with workers(door, kept):
            assert asker.came.wait(5)
            gone(door)
        assert asker.reports[-1].committed == [one.SOPInstanceUID for one in slices]


def test_a_report_outlives_a_restart_and_a_peer_that_is_down(open_door: OpenDoor) -> None:
    """F-62: the task is kept, tried again, and delivered once the peer is back; the UIDs are those of the request."""
    port = free_port()
    kept = settings(peer("ASKER", port))
    door, asker = open_door(peers=kept.peers), Asker(answer=0x0110)
    one = ct_slice("one")
    keep(door, one)
    association = asker.associate(door)
    ds = wanted(one)
    assert ask(association, ds).Status == 0
    association.release()
    door.server.stop(0)
    door.archive.close()
    data = door.spool.parent
    again = Settings(data=data)
    door.archive = open_archive(again.objects_url, again.index_url, again.spool)
    asker.answer = 0
    with workers(door, kept):
        end = time.monotonic() + 5
        while not any(task.attempts for task in door.archive.index.tasks()) and time.monotonic() < end:
            time.sleep(0.01)
        (task,) = door.archive.index.tasks()
        assert (task.state, task.attempts, task.error) == (WAITING, 1, "unreachable")
        assert task.due_at > time.time() + 5
        with asker.listening(port):
            assert door.archive.index.retry_tasks([task.id], time.time()) == 1
            assert asker.came.wait(5)
            gone(door)
    (report,) = asker.reports
    assert report.ds.TransactionUID == ds.TransactionUID
    assert report.committed == [one.SOPInstanceUID]


def test_a_report_for_nobody_we_know_is_kept_to_be_looked_at(open_door: OpenDoor) -> None:
    """S-13: no connection is made to whoever asked; the task says why."""
    door, asker = open_door(), Asker(answer=0x0110)
    one = ct_slice("one")
    keep(door, one)
    association = asker.associate(door, "STRANGER")
    assert ask(association, wanted(one)).Status == 0
    association.release()
    with workers(door, settings()):
        end = time.monotonic() + 5
        while door.archive.index.task_counts() != {(KIND, FAILED): 1} and time.monotonic() < end:
            time.sleep(0.01)
    (task,) = door.archive.index.tasks()
    assert (task.state, task.error, task.target) == (FAILED, "no_such_peer", "STRANGER")


def test_the_same_request_again_is_the_same_task_and_another_one_is_told_apart(open_door: OpenDoor) -> None:
    """SC-01, SC-03: a Transaction UID that is still in use for other instances fails with 0131."""
    door, asker = open_door(), Asker(answer=0x0110)
    one, two = series_of(2, "one")
    keep(door, one, two)
    transaction = generate_uid()
    association = asker.associate(door)
    for _ in range(2):
        assert ask(association, wanted(one, transaction=transaction)).Status == 0
        time.sleep(0.2)
    assert len(door.archive.index.tasks()) == 1
    asker.answer = 0
    assert ask(association, wanted(two, transaction=transaction)).Status == 0
    assert asker.came.wait(5)
    association.release()
    assert asker.reports[-1].failed == {two.SOPInstanceUID: 0x0131}
    assert [task.state for task in door.archive.index.tasks()] in ([WAITING], [RUNNING])


@pytest.mark.parametrize(
    ("ds", "action", "instance", "status"),
    [
        (wanted(ct_slice()), 2, INSTANCE, 0x0123),
        (wanted(ct_slice()), 1, "1.2.3", 0x0112),
        (wanted(), 1, INSTANCE, 0x0115),
        (wanted(ct_slice(), transaction="1.2"), 1, INSTANCE, 0),
        (Dataset(), 1, INSTANCE, 0x0115),
    ],
)
def test_other_requests_are_refused(open_door: OpenDoor, ds: Dataset, action: int, instance: str, status: int) -> None:
    """SC-01."""
    door, asker = open_door(), Asker()
    if not ds:
        ds.PatientID = "none of its business"
    association = asker.associate(door)
    assert ask(association, ds, action, instance).Status == status
    if status == 0:
        asker.came.wait(5)
    association.release()
    if status:
        assert door.archive.index.tasks() == []


def test_too_many_references_are_refused_within_bounds(open_door: OpenDoor) -> None:
    """S-15: 0213, whether they are too many or too long; nothing is kept, and the association goes on."""
    door = open_door(limits=Limits(action=100_000))
    item = b"\xfe\xff\x00\xe0" + (16).to_bytes(4, "little") + element(0x1150, b"1.2\0", 8)[:12] + b"\0\0\0\0"
    action = command(
        {0x0003: COMMITMENT.encode(), 0x0100: 0x0130, 0x0110: 5, 0x0800: 1, 0x1001: INSTANCE.encode(), 0x1008: 1}
    )
    with door.wire((1, COMMITMENT, ("1.2.840.10008.1.2",)), (3, CT, (EXPLICIT,))) as wire:
        wire.send(P_DATA, pdv(1, 3, action))
        for number in range(100):
            wire.send(P_DATA, pdv(1, 2 if number == 99 else 0, item * 1000))
        assert wire.status() == 0x0213
        wire.release()
    assert door.archive.index.tasks() == []


def test_the_number_of_references_is_bounded(open_door: OpenDoor) -> None:
    """S-15: one more than are taken."""
    door, asker = open_door(limits=Limits(action=16 << 20)), Asker()
    association = asker.associate(door)
    one = Dataset()
    one.ReferencedSOPClassUID, one.ReferencedSOPInstanceUID = CT, "1.2"
    ds = Dataset()
    ds.TransactionUID = generate_uid()
    ds.ReferencedSOPSequence = [one] * (n_action.MOST_REFERENCES + 1)
    answer = ask(association, ds)
    association.release()
    assert answer.Status == 0x0213
    assert "references" in answer.ErrorComment
    assert door.archive.index.tasks() == []
