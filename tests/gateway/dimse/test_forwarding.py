"""Forwarding rules, notifications and the workers that do them, with real nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from gateway import metrics
from gateway.app import handlers
from gateway.caller import Caller
from gateway.delete import delete
from gateway.dicom.part10 import parse_head
from gateway.errors import BadRequest, NotFound
from gateway.forwarding import Feed, send
from gateway.settings import BadSettings, Settings, load
from gateway.store import receive, store
from gateway.tasks import FORWARD, NOTIFICATION, Outcome, next_attempt
from gateway.workers import Workers
from storage import open_archive
from storage.archive import Archive
from storage.tasks import FAILED, WAITING, NewTask, Task
from tests.gateway.dimse.peers import MR, node, peer
from tests.gateway.dimse.wire import CT, EXPLICIT, IMPLICIT
from tests.parts.datasets import ct_slice, mr_slice, part10_bytes, series_of, uid
from tests.parts.machine import free_port
from tests.parts.waiting import until

RLE = "1.2.840.10008.1.2.5"


class Site:
    """An archive with rules, and workers that can be started and stopped."""

    def __init__(self, folder: Any, **settings: Any) -> None:
        self.settings = load({"data": folder, **settings})
        self.archive = self._open()
        self.feed = Feed(self.archive, self.settings)
        self.feed.start()

    def _open(self) -> Archive:
        kept = self.settings
        return open_archive(kept.objects_url, kept.index_url, kept.spool)

    def keep(self, *datasets: Dataset, source: str = "", syntax: str = EXPLICIT) -> None:
        """Store, as if `source` had sent it by C-STORE."""
        for ds in datasets:
            with receive(self.archive, max_bytes=1 << 24) as incoming:
                data = part10_bytes(ds, syntax)
                if source:
                    head = parse_head(data)
                    assert head is not None
                    incoming.begin(head[0], source)
                    incoming.write(data[head[1] :])
                else:
                    incoming.write(data)
                store(self.archive, incoming, Caller("test", "cli"))

    @contextmanager
    def working(self) -> Iterator[Workers]:
        """Workers that do what is due."""
        workers = Workers(self.archive, handlers(self.archive, self.settings), self.feed.advance, poll=0.02)
        workers.start()
        try:
            yield workers
        finally:
            workers.stop()

    def tasks(self) -> list[tuple[str, str, str]]:
        """Target, state and error of all tasks."""
        return [(task.target, task.state, task.error) for task in self.archive.index.tasks()]


@pytest.fixture
def site(tmp_path: Any) -> Iterator[Callable[..., Site]]:
    """A function that opens sites."""
    opened: list[Site] = []

    def make(**settings: Any) -> Site:
        opened.append(Site(tmp_path / f"site{len(opened)}", **settings))
        return opened[-1]

    yield make
    for one in opened:
        one.archive.close()


def test_what_is_stored_is_sent_on_by_the_rules(site: Callable[..., Site]) -> None:
    """Each condition narrows; what was there before the rules is left alone; one association takes many."""
    with node() as every, node() as some:
        peers = (every.peer("ALL"), some.peer("SOME"))
        rules = (
            {"to": "ALL"},
            {"to": "SOME", "modality": ["MR"]},
            {"to": "SOME", "calling_aet": ["CT1", "CT2"], "sop_class": [CT]},
        )
        here = site(peers=peers, forward=rules)
        slices, mr, sent = series_of(20, "one"), mr_slice("one", 2), ct_slice("two")
        here.keep(*slices, mr)
        here.keep(sent, source="CT2")
        with here.working():
            until(lambda: not here.archive.index.tasks() and here.archive.index.note("forwarding") == "22")
        assert every.received.keys() == {one.SOPInstanceUID for one in [*slices, mr, sent]}
        assert some.received.keys() == {mr.SOPInstanceUID, sent.SOPInstanceUID}
        assert every.connections <= 4


def test_rules_begin_with_what_is_stored_under_them(site: Callable[..., Site], tmp_path: Any) -> None:
    with node() as destination:
        before = site()
        before.keep(ct_slice("old"))
        before.archive.close()
        here = Site(before.settings.data, peers=(destination.peer(),), forward=({"to": "NODE"},))
        here.keep(ct_slice("new"))
        with here.working():
            until(lambda: destination.received)
            until(lambda: not here.archive.index.tasks())
        assert list(destination.received) == [ct_slice("new").SOPInstanceUID]
        here.archive.close()


def test_a_crash_between_store_and_forwarding_loses_nothing(site: Callable[..., Site]) -> None:
    """Nothing was entered when the process ended, or all of it and the mark: both are read from the change feed."""
    with node() as destination:
        here = site(peers=(destination.peer(),), forward=({"to": "NODE"},))
        here.keep(*series_of(3, "one"))
        here.archive.close()
        again = Site(here.settings.data, peers=here.settings.peers, forward=({"to": "NODE"},))
        again.feed.advance()
        again.archive.close()
        third = Site(here.settings.data, peers=here.settings.peers, forward=({"to": "NODE"},))
        third.feed.advance()
        assert len(third.tasks()) == 3
        with third.working():
            until(lambda: len(destination.received) == 3 and not third.archive.index.tasks())
        third.archive.close()


def test_a_peer_that_is_away_gets_all_when_it_is_back(site: Callable[..., Site]) -> None:
    """F-62: kept, with a growing delay; at once after the first success."""
    port = free_port()
    here = site(peers=(peer("NODE", port),), forward=({"to": "NODE"},))
    here.keep(*series_of(3, "one"))
    with here.working():
        until(lambda: here.tasks() == [("NODE", WAITING, "unreachable")] * 3)
        tasks = here.archive.index.tasks()
        assert all(5 < task.due_at - time.time() < 15 and task.attempts == 1 for task in tasks)
        with node(port=port) as destination:
            here.archive.index.retry_tasks([tasks[0].id], time.time())
            until(lambda: not here.archive.index.tasks())
            assert len(destination.received) == 3


def test_what_a_peer_refuses_for_good_is_given_up_and_the_rest_is_sent(site: Callable[..., Site]) -> None:
    with node(classes=(CT,)) as destination:
        destination.answer = lambda count: {1: 0xC000, 2: 0xA700}.get(count, 0)
        here = site(peers=(destination.peer(),), forward=({"to": "NODE"},))
        here.keep(*series_of(3, "one"), mr_slice("one", 2))
        with here.working():
            until(lambda: len(here.tasks()) == 3 and all(error for _, _, error in here.tasks()))
        states = sorted((state, error) for _, state, error in here.tasks())
        assert states == [(FAILED, "no_context"), (FAILED, "status_C000"), (WAITING, "status_A700")]


def test_what_was_deleted_meanwhile_is_not_sent(site: Callable[..., Site]) -> None:
    with node() as destination:
        here = site(peers=(destination.peer(),), forward=({"to": "NODE"},))
        here.keep(ct_slice("gone"), ct_slice("stays"))
        here.feed.advance()
        delete(here.archive, Caller("test", "cli"), uid("study", "gone"))
        with here.working():
            until(lambda: not here.archive.index.tasks())
        assert list(destination.received) == [ct_slice("stays").SOPInstanceUID]


@pytest.mark.parametrize(("syntaxes", "expected"), [((RLE,), RLE), ((IMPLICIT,), IMPLICIT)])
def test_the_stored_syntax_or_one_that_the_peer_reads(
    site: Callable[..., Site], syntaxes: Sequence[str], expected: str
) -> None:
    """NET-05"""
    with node(syntaxes=syntaxes) as destination:
        here = site(peers=(destination.peer(),), forward=({"to": "NODE"},))
        here.keep(ct_slice("one"), syntax=RLE)
        with here.working():
            until(lambda: destination.syntaxes)
        assert list(destination.syntaxes.values()) == [expected]


def test_a_study_is_sent_by_hand_as_often_as_asked(site: Callable[..., Site]) -> None:
    """`gantry send`: only to targets of the settings (S-13)."""
    with node() as destination:
        here = site(peers=(destination.peer(),))
        here.keep(*series_of(2, "one"), ct_slice("one", 2))
        caller = Caller("test", "cli")
        assert send(here.archive, here.settings, caller, "NODE", uid("study", "one"), uid("series", "one", 1)) == 2
        with here.working():
            until(lambda: not here.archive.index.tasks())
            assert len(destination.received) == 2
            assert send(here.archive, here.settings, caller, "NODE", uid("study", "one")) == 3
            until(lambda: len(destination.received) == 3 and not here.archive.index.tasks())
        for target in ("EVIL", "http://127.0.0.1:1/", "127.0.0.1"):
            with pytest.raises(BadRequest):
                send(here.archive, here.settings, caller, target, uid("study", "one"))
        with pytest.raises(NotFound):
            send(here.archive, here.settings, caller, "NODE", "1.2.3")


class Listener:
    """A node that takes notifications."""

    def __init__(self) -> None:
        self.notices: list[Dataset] = []
        ae = AE("TOLD")
        ae.add_supported_context("1.2.840.10008.5.1.4.33")
        handlers = [(evt.EVT_N_CREATE, self._take)]
        self.server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)  # type: ignore[arg-type]
        self.port = self.server.socket.getsockname()[1]  # type: ignore[union-attr]

    def _take(self, event: evt.Event) -> tuple[int, None]:
        self.notices.append(event.attribute_list)
        return 0, None


def test_a_peer_is_told_of_a_study_that_went_quiet(site: Callable[..., Site]) -> None:
    """IAN-01: once for a study, though its instances came one by one; and again when more come."""
    listener = Listener()
    try:
        here = site(peers=(peer("TOLD", listener.port, notify=True),), study_quiet=0.5)
        with here.working():
            for number in range(1, 4):
                here.keep(ct_slice("one", 1, number))
                time.sleep(0.2)
            here.keep(mr_slice("one", 2, 1))
            assert not listener.notices, "it is still coming"
            until(lambda: listener.notices and not here.archive.index.tasks())
            (notice,) = listener.notices
            assert notice.StudyInstanceUID == uid("study", "one")
            items = references(notice)
            assert [one.ReferencedSOPClassUID for one in items] == [CT, CT, CT, MR]
            assert {one.ReferencedSOPInstanceUID for one in items} == {
                *(one.SOPInstanceUID for one in series_of(3, "one")),
                mr_slice("one", 2, 1).SOPInstanceUID,
            }
            assert {(one.InstanceAvailability, one.RetrieveAETitle) for one in items} == {("ONLINE", "GANTRY")}
            here.keep(ct_slice("one", 1, 4))
            until(lambda: len(listener.notices) == 2)
    finally:
        listener.server.shutdown()  # type: ignore[union-attr]


def test_a_peer_is_told_of_what_was_deleted(site: Callable[..., Site]) -> None:
    """IAN-01: UNAVAILABLE, with the classes of instances that no row names any more; where they can be had before."""
    listener = Listener()
    try:
        here = site(
            peers=(peer("TOLD", listener.port, notify=True),), study_quiet=0.0, public_url="https://pacs.example/"
        )
        with here.working():
            here.keep(ct_slice("one", 1, 1), ct_slice("one", 1, 2), mr_slice("one", 2, 1))
            index = here.archive.index
            until(lambda: index.note("forwarding") == "3" and listener.notices and not index.tasks())
            listed = [item for one in listener.notices for item in references(one)]
            path = f"/studies/{uid('study', 'one')}/series/{uid('series', 'one', 2)}/instances/"
            assert f"https://pacs.example/dicomweb{path}{mr_slice('one', 2, 1).SOPInstanceUID}" in {
                one.RetrieveURL for one in listed
            }
            listener.notices.clear()
            here.archive.delete(uid("study", "one"), uid("series", "one", 1))
            until(lambda: listener.notices and not index.tasks())
        (notice,) = listener.notices
        assert notice.StudyInstanceUID == uid("study", "one")
        assert {one.ReferencedSOPInstanceUID for one in references(notice)} == {
            ct_slice("one", 1, number).SOPInstanceUID for number in (1, 2)
        }
        assert {(one.ReferencedSOPClassUID, one.InstanceAvailability) for one in references(notice)} == {
            (CT, "UNAVAILABLE")
        }
    finally:
        listener.server.shutdown()  # type: ignore[union-attr]


def references(notice: Dataset) -> list[Dataset]:
    """The items of a notice that name instances."""
    return [one for series in notice.ReferencedSeriesSequence for one in series.ReferencedSOPSequence]


def test_a_fault_in_one_task_is_tried_again_later_and_stops_no_other(site: Callable[..., Site]) -> None:
    here = site()
    done: list[str] = []

    def broken(tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        yield Outcome(tasks[0])
        raise ValueError

    def works(tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        for task in tasks:
            done.append(task.key)
            yield Outcome(task)

    here.archive.index.enqueue(
        [
            NewTask(FORWARD, "A", "a", "", 0.0),
            NewTask(FORWARD, "A", "b", "", 0.0),
            NewTask(NOTIFICATION, "B", "c", "", 0.0),
        ],
        time.time(),
    )
    workers = Workers(here.archive, {FORWARD: broken, NOTIFICATION: works}, poll=0.02, count_every=0.02)
    workers.start()
    until(lambda: done and here.tasks() == [("A", WAITING, "ValueError")])
    until(lambda: [shown(kind) for kind in (FORWARD, NOTIFICATION)] == [1, 0])
    workers.stop()
    assert done == ["c"]


def shown(kind: str) -> float:
    """The tasks that wait, as `/metrics` has them: what is over is none, and not what was told last."""
    return metrics.registry().get_sample_value("gantry_tasks", {"kind": kind, "state": WAITING}) or 0


def test_delays_grow_to_a_day_and_patience_ends_after_a_week() -> None:
    """F-62"""
    now = 1e9
    delays = []
    for attempts in range(20):
        due = next_attempt(Task(1, "", "", "", "", "", attempts, 0.0, now, ""), now)
        assert due is not None
        delays.append(due - now)
    assert all(9 * 2**n <= delay <= 11 * 2**n for n, delay in enumerate(delays[:12]))
    assert all(0.9 * 86400 <= delay <= 1.1 * 86400 for delay in delays[14:])
    assert next_attempt(Task(1, "", "", "", "", "", 3, 0.0, now - 8 * 86400, ""), now) is None


def test_a_rule_for_nobody_is_a_bad_setting() -> None:
    with pytest.raises(BadSettings, match="forward"):
        load({"forward": ({"to": "NOBODY"},)})
    rule = {"to": "https://a.example/dicomweb", "token": "secret-secret"}
    assert "secret-secret" not in repr(load({"forward": (rule,)}))
    assert isinstance(load({"forward": (rule,)}), Settings)
