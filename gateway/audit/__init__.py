"""Who did what, to which study, by which door, and with what outcome: one event for each operation (PS3.15 A.5).

Events go into a log that shows tampering (`storage.chain`), and from there to an audit record repository, by syslog or
as FHIR AuditEvents: while one of these is down, the log is what waits. No patient data is in it but Patient IDs.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway import metrics
from gateway.caller import Caller
from gateway.errors import Unavailable
from gateway.logs import get_logger
from gateway.trail import patient_of
from storage.archive import Archive
from storage.chain import Chain, Head, remove_before
from storage.errors import StorageError

log = get_logger(__name__)

HEADS = "audit:"
"""Prefix of the notes in the index that tell the head of each chain."""

WAITING = 20_000
"""Events that may wait to be written; where the audit is not required, further ones are lost, and their number told."""

TOGETHER = 500
GATHERED = 0.05
"""Seconds for which events are gathered before they are written, where the audit is not required: waking a thread for
each of them would cost more than many a request does."""

TOLD_EVERY = 10.0
DAY = 86_400.0
SUCCESS, REFUSED, FAILED = "success", "refused", "failed"


@dataclass(frozen=True, slots=True)
class Event:
    """One operation. `action` is what it needed, in the words of the policy, or `start`, `stop`, `login`; `begin` of
    a transfer to another node, `send` of one that nobody waits for; `import`, `export`; `node`, one that may not come.

    `operation` names it: method and route, or DIMSE service. `status` is the HTTP or DIMSE status. `studies` are Study
    Instance UIDs with Patient IDs; `count` is of results or instances; `keys` are keywords that were searched for.
    """

    action: str
    operation: str
    outcome: str
    status: str = ""
    who: str = ""
    door: str = ""
    address: str = ""
    request_id: str = ""
    studies: tuple[tuple[str, str | None], ...] = ()
    keys: tuple[str, ...] = ()
    count: int = 0
    at: float = 0.0

    def entry(self) -> dict[str, Any]:
        """As an entry of the log; what is empty is left out."""
        named = {name: getattr(self, name) for name in self.__slots__ if name != "studies" and getattr(self, name)}
        studies = [{"study": study, "patient": patient} for study, patient in self.studies]
        return {**named, "studies": studies} if studies else named


def event_of(caller: Caller, action: str, operation: str, outcome: str, status: str = "") -> Event:
    """The event of a caller's operation that is over: what it touched is on the caller's trail."""
    trail = caller.trail
    return Event(
        action,
        operation,
        outcome,
        status,
        caller.name,
        caller.door,
        caller.address,
        caller.request_id,
        tuple(trail.studies.items()),
        tuple(trail.keys),
        trail.count,
        time.time(),
    )


class Audit:
    """Takes events from all threads and writes them in one of its own. `start` and `stop` once.

    With `required`, nothing is served while they cannot be written (`check`), and none is ever dropped.
    """

    def __init__(self, folder: Path, archive: Archive, *, required: bool = False, days: float = 0.0) -> None:
        self.folder = folder
        self._archive = archive
        self._required = required
        self._days = days
        self._chain = Chain(folder, f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(4)}")
        self._queue: queue.Queue[Event | None] = queue.Queue(WAITING)
        self._lost = 0
        self._failing = False
        self._told = 0.0
        self._gateway = True
        self._patients: OrderedDict[str, str | None] = OrderedDict()
        self._written: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self, *, gateway: bool = True) -> None:
        """Begin to write; for a command, which is no `gateway`, without an event of its own."""
        self._thread.start()
        self._gateway = gateway
        if gateway:
            self.record(Event("start", "gateway", SUCCESS, at=time.time()))

    def stop(self) -> None:
        """Write what waits, and end."""
        if self._thread.is_alive():
            if self._gateway:
                self.record(Event("stop", "gateway", SUCCESS, at=time.time()))
            self._queue.put(None)
            self._thread.join(10.0)

    def when_written(self, call: Callable[[], None]) -> None:
        """Have `call` told, in the writing thread, whenever there is something new in the log."""
        self._written.append(call)

    def record(self, event: Event) -> None:
        """Take an event; waits for room where the audit is required."""
        if not self.offer(event):
            self._queue.put(event)

    def offer(self, event: Event) -> bool:
        """Take an event without waiting; False where it has to be waited for, by `record`."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            if self._required:
                return False
            self._lost += 1
            metrics.AUDIT_LOST.inc()
        return True

    def check(self) -> None:
        """Raises Unavailable when nothing may be done because nobody could tell afterwards."""
        if self._required and (self._failing or not self._thread.is_alive()):
            raise Unavailable("the audit log cannot be written")

    def _run(self) -> None:
        while True:
            events, ended = self._next()
            if self._lost:
                events.append(Event("audit", f"lost {self._lost} events", FAILED, at=time.time()))
                self._lost = 0
            self._learn(events)
            self._write([replace(one, studies=self._named(one)) for one in events])
            if ended or time.monotonic() - self._told > TOLD_EVERY:
                self._tell()
            if ended:
                self._chain.close()
                return

    def _next(self) -> tuple[list[Event], bool]:
        """Events that wait, at least one; and whether it was said to end."""
        first = self._queue.get()
        found = [first] if first is not None else []
        ended = first is None
        if not ended and not self._required:
            time.sleep(GATHERED)
        while not ended and len(found) < TOGETHER:
            try:
                one = self._queue.get_nowait()
            except queue.Empty:
                break
            ended = one is None
            if one is not None:
                found.append(one)
        return found, ended

    def _write(self, events: list[Event]) -> None:
        """Write events; while that fails they are tried again, if the audit is required."""
        while events:
            try:
                self._chain.append((one.entry() for one in events), sync=self._required)
            except OSError as error:
                if not self._failing:
                    log.error("audit_not_written", error=type(error).__name__)
                self._failing = True
                self._chain.close()
                if not self._required:
                    self._lost += len(events)
                    metrics.AUDIT_LOST.inc(len(events))
                    return
                time.sleep(1.0)
                continue
            self._failing = False
            metrics.AUDIT_EVENTS.inc(len(events))
            for call in self._written:
                call()
            return

    def _learn(self, events: list[Event]) -> None:
        """Remember Patient IDs that were at hand: a study may be gone when an event of before is written."""
        for event in events:
            for study_uid, patient in event.studies:
                if patient:
                    self._know(study_uid, patient)

    def _know(self, study_uid: str, patient: str) -> None:
        self._patients[study_uid] = patient
        if len(self._patients) > 10_000:
            self._patients.popitem(last=False)

    def _named(self, event: Event) -> tuple[tuple[str, str | None], ...]:
        """The studies of an event, with the Patient IDs that were not at hand."""
        return tuple((study, patient or self._patient(study)) for study, patient in event.studies)

    def _patient(self, study_uid: str) -> str | None:
        if study_uid in self._patients:
            self._patients.move_to_end(study_uid)
            return self._patients[study_uid]
        found = patient_of(self._archive, study_uid)
        if found is not None:
            self._know(study_uid, found)
        return found

    def _tell(self) -> None:
        """Leave the head of the chain in the index, and remove what is too old."""
        self._told = time.monotonic()
        head = self._chain.head
        try:
            self._chain.sync()  # the index must not know of an end that a power cut takes away
            self._archive.index.set_note(HEADS + self._chain.name, f"{head.number} {head.hash}")
            if self._days:
                remove_before(self.folder, time.time() - self._days * DAY)
        except (StorageError, OSError) as error:
            log.warning("audit_head_not_told", error=type(error).__name__)


def heads(archive: Archive) -> dict[str, Head]:
    """What the index knows of each chain. Raises StorageError."""
    found: dict[str, Head] = {}
    for name, value in archive.index.notes(HEADS).items():
        number, _, hash = value.partition(" ")
        found[name.removeprefix(HEADS)] = Head(int(number), hash)
    return found
