"""The oracle of all tests of faults: a ledger of what was sent and what was answered, and what has to be true after.

L1  what was acknowledged is there: one row, the right bytes at each door, one `create` in the change feed
L2  what was not acknowledged is there just as well, or not at all
L3  a re-send of it succeeds
L4  nothing is there that was not sent, and each row has its object, of the right size and digest
L5  objects that no row names: at most one for each attempt that failed or was not answered; none after a sweep
L6  storage commitment says the same
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import httpx
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelGet,
)

from gateway.dicom.part10 import FileMeta, build_head
from storage.archive import Archive
from storage.versions import OBJECTS
from tests.end_to_end.doors import Doors, Instance, send
from tests.gateway.dimse.wire import Wire, echo_command, pdv
from tests.parts import once
from tests.parts.datasets import ct_slice, part10_bytes, uid
from tests.parts.files import dataset_bytes
from tests.parts.gateway import GatewayProcess
from tests.parts.received import received
from tests.parts.sealed import sealed
from tests.parts.torture import patience

UNKNOWN = -1
"""What stands in the ledger for an answer that never came."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One instance to be sent: a small CT slice."""

    study_uid: str
    series_uid: str
    sop_uid: str
    data: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the data set."""
        return hashlib.sha256(self.data).hexdigest()

    def instance(self) -> Instance:
        """As a C-STORE sends it."""
        return Instance(CTImageStorage, self.sop_uid, ExplicitVRLittleEndian, self.data)

    def file(self) -> bytes:
        """As a Part 10 file."""
        return build_head(FileMeta(CTImageStorage, self.sop_uid, ExplicitVRLittleEndian)) + self.data


@cache
def _template(side: int) -> tuple[bytes, tuple[bytes, ...]]:
    marks = tuple(f"2.25.{digit * 39}" for digit in "123")
    ds = ct_slice(
        "ledger",
        rows=side,
        columns=side,
        StudyInstanceUID=marks[0],
        SeriesInstanceUID=marks[1],
        SOPInstanceUID=marks[2],
    )
    return dataset_bytes(part10_bytes(ds)), tuple(mark.encode() for mark in marks)


def make_piece(study: object, number: object, *, content: int = 0, side: int = 16) -> Piece:
    """The instance of these names; another `content` gives other pixels under the same UIDs."""
    # all of one length, so that they can be put into an encoded data set
    uids = (_long(uid(study)), _long(uid(study, "series")), _long(uid(study, number)))
    data, marks = _template(side)
    for mark, one in zip(marks, uids, strict=True):
        data = data.replace(mark, one.encode())
    if content:
        data = data[:-8] + content.to_bytes(8, "little")
    return Piece(*uids, data)


def _long(short: str) -> str:
    number = short.removeprefix("2.25.")
    return "2.25." + "9" * (39 - len(number)) + number


class Ledger:
    """What was sent, and what was answered: the last answer to each instance, a status of DIMSE (0 is success).

    Each line is in the file `path` before the next thing happens. Shared by threads.
    """

    def __init__(self, path: Path) -> None:
        self.pieces: dict[str, Piece] = {}
        self.answers: dict[str, int] = {}
        self.attempts = Counter[str]()
        self._lock = threading.Lock()
        self._file = path.open("a", buffering=1)
        self._answered = threading.Condition(self._lock)

    def sent(self, piece: Piece) -> None:
        """An instance is about to be sent."""
        with self._lock:
            self._file.write(f"SENT {piece.sop_uid} {piece.digest} {time.time():.6f}\n")
            self.pieces[piece.sop_uid] = piece
            self.attempts[piece.sop_uid] += 1
            self.answers.setdefault(piece.sop_uid, UNKNOWN)

    def answered(self, sop_uid: str, status: int) -> None:
        """It was answered. What was acknowledged once stays so."""
        with self._lock:
            self._file.write(f"ACK {sop_uid} {status:04X} {time.time():.6f}\n")
            if self.answers.get(sop_uid) != 0:
                self.answers[sop_uid] = status
            self._answered.notify_all()

    def acknowledged(self) -> set[str]:
        """SOP Instance UIDs that are safe, as was said."""
        with self._lock:
            return {sop_uid for sop_uid, status in self.answers.items() if status == 0}

    def open_ones(self) -> list[Piece]:
        """Instances that were refused or not answered."""
        with self._lock:
            return [self.pieces[sop_uid] for sop_uid, status in self.answers.items() if status != 0]

    def counts(self) -> dict[str, int]:
        """How many were acknowledged, refused, and never answered."""
        with self._lock:
            ok = sum(1 for status in self.answers.values() if status == 0)
            unknown = sum(1 for status in self.answers.values() if status == UNKNOWN)
            return {"ok": ok, "failed": len(self.answers) - ok - unknown, "unknown": unknown}

    def wait_for(self, count: int, seconds: float = 60.0) -> None:
        """Return once so many are acknowledged."""
        with self._answered:
            done = self._answered.wait_for(
                lambda: sum(1 for s in self.answers.values() if s == 0) >= count, seconds * patience()
            )
        assert done, f"no {count} acknowledgements in {seconds} s"

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# ---------------------------------------------------------------- senders


def by_c_store(ledger: Ledger, address: tuple[str, int], pieces: Iterable[Piece], seconds: float = 30.0) -> None:
    """Send on one association until the peer is gone, or the pieces are."""
    with suppress(OSError, AssertionError), Wire(address, seconds * patience()) as wire:
        wire.associate([(1, CTImageStorage, (ExplicitVRLittleEndian,))])
        for piece in pieces:
            ledger.sent(piece)
            ledger.answered(piece.sop_uid, send(wire, piece.instance()))
        wire.release()


def by_stow(ledger: Ledger, gateway: GatewayProcess, pieces: Iterable[Piece], batch: int = 2) -> None:
    """Send some in each request until the gateway is gone, or the pieces are."""
    with suppress(httpx.HTTPError), Doors(gateway, seconds=30 * patience()) as doors:
        waiting: list[Piece] = []
        for piece in pieces:
            waiting.append(piece)
            if len(waiting) == batch:
                stow(ledger, doors, waiting)
                waiting = []
        if waiting:
            stow(ledger, doors, waiting)


def stow(ledger: Ledger, doors: Doors, pieces: Sequence[Piece]) -> int:
    """One request, each of its answers written down; its status."""
    for piece in pieces:
        ledger.sent(piece)
    answer = doors.stow(*(piece.file() for piece in pieces))
    if answer.status in (200, 202, 409, 503, 507) and answer.text.startswith("{"):
        for sop_uid in answer.stored:
            ledger.answered(sop_uid, 0)
        for sop_uid, reason in answer.failed.items():
            ledger.answered(sop_uid, reason)
        left = [piece.sop_uid for piece in pieces if piece.sop_uid not in {*answer.stored, *answer.failed}]
        for sop_uid, reason in zip(left, answer.others, strict=True):  # refused before it was read
            ledger.answered(sop_uid, reason)
    return answer.status


@contextmanager
def senders(ledger: Ledger, gateway: GatewayProcess, name: object, most: int = 100_000) -> Iterator[Callable[[], None]]:
    """Four senders, two at each door, each into a study of its own. Yields a function that waits for their end."""
    stop = threading.Event()

    def pieces(study: object) -> Iterator[Piece]:
        for number in range(most):
            if stop.is_set():
                return
            yield make_piece(study, number)

    address = (gateway.host, gateway.dimse_port)
    work: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
        (by_c_store, (ledger, address, pieces((name, "a")))),
        (by_c_store, (ledger, address, pieces((name, "b")))),
        (by_stow, (ledger, gateway, pieces((name, "c")))),
        (by_stow, (ledger, gateway, pieces((name, "d")))),
    ]
    threads = [threading.Thread(target=function, args=arguments, daemon=True) for function, arguments in work]
    for thread in threads:
        thread.start()

    def join() -> None:
        for thread in threads:
            thread.join(60 * patience())
            assert not thread.is_alive(), "a sender hangs"

    try:
        yield join
    finally:
        stop.set()
        for thread in threads:
            thread.join(60 * patience())


# ---------------------------------------------------------------- what has to be true


def verify(ledger: Ledger, gateway: GatewayProcess, studies: Iterable[str] | None = None) -> None:
    """L1, L2 and the first half of L4, at the web's door; in all studies of the ledger or these."""
    wanted = set(studies) if studies is not None else {piece.study_uid for piece in ledger.pieces.values()}
    acknowledged = ledger.acknowledged()
    with Doors(gateway) as doors:
        for study in sorted(wanted):
            sent = {sop: piece for sop, piece in ledger.pieces.items() if piece.study_uid == study}
            rows = _rows(doors, study)
            found = Counter(rows)
            assert all(count == 1 for count in found.values()), "an instance has two rows"
            assert found.keys() <= sent.keys(), "L4: something was never sent"
            lost = (acknowledged & sent.keys()) - found.keys()
            assert not lost, (
                f"L1: {len(lost)} of {len(acknowledged)} acknowledged instances are lost: {sorted(lost)[:3]}"
            )
            files = [dataset_bytes(file) for file in doors.retrieve(study)] if found else []
            bytes_there = sorted(hashlib.sha256(data).hexdigest() for data in files)
            assert bytes_there == sorted(sent[sop].digest for sop in found), "L1, L2: other bytes than were sent"


def _rows(doors: Doors, study: str) -> list[str]:
    rows: list[str] = []
    while page := doors.qido(f"/studies/{study}/instances", offset=len(rows), limit=200):
        rows += [str(one["SOPInstanceUID"]) for one in page]
    return rows


def resend(ledger: Ledger, gateway: GatewayProcess) -> int:
    """L3: what was not acknowledged is sent again, and is now; returns how many."""
    again = ledger.open_ones()
    for door, pieces in ((by_c_store, again[::2]), (by_stow, again[1::2])):
        target: Any = (gateway.host, gateway.dimse_port) if door is by_c_store else gateway
        if pieces:
            door(ledger, target, pieces)
    left = {ledger.answers[piece.sop_uid] for piece in again} - {0}
    assert not left, f"L3: a re-send was answered {left}"
    return len(again)


def check_archive(ledger: Ledger, archive: Archive, *, orphans: int | None = None) -> None:
    """L1 (change feed), L4 and L5, past the gateway; `orphans` is how many may be there, else what L5 allows."""
    live = [row for study in {p.study_uid for p in ledger.pieces.values()} for row in archive.locate(study)]
    assert archive.index.count()[2] == len(live), "L4: there are rows of studies that were never sent"
    created: Counter[str] = Counter()
    since = 0
    while page := archive.changes(since):
        created.update(change.sop_uid for change in page if change.action == "create")
        since = page[-1].sequence
    for row in live:
        piece = ledger.pieces[row.sop_uid]
        assert created[row.sop_uid] == 1, "L1: not one `create` in the change feed"
        file = archive.read(row)
        assert len(file) == row.size and row.digest in (hashlib.sha256(file).hexdigest(), sealed(file)), (
            "L4: the object is another"
        )
        assert row.dataset_digest == piece.digest and dataset_bytes(file) == piece.data
    assert created.keys() == {row.sop_uid for row in live}, "L1: changes without rows"
    keys = {info.key for info in archive.objects.keys(OBJECTS)}
    spare = keys - {row.key for row in live}
    allowed = sum(ledger.attempts.values()) - len(live) if orphans is None else orphans
    assert len(spare) <= allowed, f"L5: {len(spare)} objects without a row, {allowed} allowed"
    sweep(archive)
    assert {info.key for info in archive.objects.keys(OBJECTS)} == {row.key for row in live}, "L5: after a sweep"
    assert [info.key for info in archive.objects.keys("tomb/")] == []


def sweep(archive: Archive) -> None:
    """Remove all that no row names, as if days had passed."""
    soon = time.time() + 100.0
    archive.sweep(soon, grace=50.0, most=None)
    archive.sweep(soon + 100.0, grace=50.0, most=None)
    while archive.collect(soon + 1e7):
        soon += 1e4


def commit(gateway: GatewayProcess, pieces: Sequence[Piece], seconds: float = 60.0) -> tuple[set[str], dict[str, int]]:
    """L6: what the gateway commits to, and what not, with its Failure Reason (PS3.4 J)."""
    reports: list[Dataset] = []
    came = threading.Event()

    def take(event: evt.Event) -> tuple[int, None]:
        reports.append(event.event_information)
        came.set()
        return 0, None

    action = Dataset()
    action.TransactionUID = generate_uid()
    action.ReferencedSOPSequence = []
    for piece in pieces:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, piece.sop_uid
        action.ReferencedSOPSequence.append(item)
    ae = AE("LEDGER")
    ae.add_requested_context(StorageCommitmentPushModel)
    handlers: Any = [(evt.EVT_N_EVENT_REPORT, take)]
    association = ae.associate(gateway.host, gateway.dimse_port, ae_title=gateway.aet, evt_handlers=handlers)
    assert association.is_established
    try:
        status, _ = association.send_n_action(action, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        assert status.Status == 0
        assert came.wait(seconds), "no report came"
    finally:
        association.release()
    done = {str(one.ReferencedSOPInstanceUID) for one in reports[0].get("ReferencedSOPSequence", [])}
    failed = reports[0].get("FailedSOPSequence", [])
    return done, {str(one.ReferencedSOPInstanceUID): int(one.FailureReason) for one in failed}


def c_get(gateway: GatewayProcess, study_uid: str) -> list[bytes]:
    """The data sets of a study, by C-GET."""
    received: list[bytes] = []

    def take(event: evt.Event) -> int:
        request: Any = event.request
        received.append(request.DataSet.getvalue())
        return 0

    ae = AE("LEDGER")
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    handlers: Any = [(evt.EVT_C_STORE, take)]
    association = ae.associate(
        gateway.host,
        gateway.dimse_port,
        ae_title=gateway.aet,
        ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=handlers,
    )
    assert association.is_established
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", study_uid
    try:
        statuses = [
            one.Status for one, _ in association.send_c_get(identifier, StudyRootQueryRetrieveInformationModelGet)
        ]
    finally:
        association.release()
    assert statuses[-1] == 0
    return received


def alive(ledger: Ledger, gateway: GatewayProcess, name: object, seconds: float = 5.0) -> None:
    """A: soon after a fault it is ready, and a canary passes: C-ECHO, C-STORE, STOW-RS, QIDO-RS, WADO-RS."""
    end = time.monotonic() + 4 * seconds * patience()  # a slow machine is no fault
    while once.get(f"{gateway.http_url}/readyz", timeout=10).status_code != 200:
        assert time.monotonic() < end, json.dumps(once.get(f"{gateway.http_url}/readyz", timeout=10).json())
        time.sleep(0.05)
    with Wire((gateway.host, gateway.dimse_port), 10) as wire:
        wire.associate()
        wire.send(4, pdv(1, 3, echo_command()))
        assert wire.status() == 0
        wire.release()
    first, second = make_piece(("canary", name), 1), make_piece(("canary", name), 2)
    by_c_store(ledger, (gateway.host, gateway.dimse_port), [first])
    by_stow(ledger, gateway, [second])
    assert {first.sop_uid, second.sop_uid} <= ledger.acknowledged(), "A: the canary was refused"
    verify(ledger, gateway, [first.study_uid])


def quiet(gateway: GatewayProcess) -> None:
    """Q and a part of N: the log is JSON without a traceback, and nothing lies in the spool."""
    assert "Traceback" not in gateway.log()
    gateway.events()
    assert [path.name for path in received(gateway.data / "spool")] == []
