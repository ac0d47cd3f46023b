"""Forwarding rules and notifications: what has to follow when something is stored.

The change feed is the source: tasks and the mark of how far it was read are written in one transaction, so that a
crash loses nothing and enters nothing twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import orjson

from gateway.caller import Caller
from gateway.changes import since
from gateway.dicom.header import Header
from gateway.dicom.part10 import parse_head, source_aet
from gateway.errors import BadRequest, GatewayError, NotFound, Unavailable
from gateway.logs import get_logger
from gateway.retrieve import find, header, reading
from gateway.settings import Forward, Settings
from gateway.tasks import FORWARD, NOTIFICATION, enter, payload
from gateway.tasks import find as find_task
from storage.archive import Archive
from storage.errors import StorageError
from storage.records import Change, Located
from storage.tasks import NewTask, Task

log = get_logger(__name__)

MARK = "forwarding"
_CALLER = Caller("forwarding", "tasks")
PAGE = 500
_MODALITY = 0x00080060
_HEAD = 1024
"""Bytes that hold the File Meta Information that we write."""


class Feed:
    """Turns changes of the archive into tasks, by the settings."""

    def __init__(self, archive: Archive, settings: Settings) -> None:
        self._archive = archive
        self._rules = settings.forward
        self._told = tuple(peer.aet for peer in settings.peers if peer.notify)
        self._quiet = settings.study_quiet

    def start(self) -> None:
        """Take up where the last process ended; what was stored before there was any rule is left alone.

        Call it before anything can be stored. Raises IndexStoreError.
        """
        index = self._archive.index
        if not self._rules and not self._told:
            index.set_note(MARK, None)
        elif index.note(MARK) is None:
            index.enqueue([], time.time(), (MARK, None, str(index.horizon())))

    def advance(self) -> None:
        """Enter tasks for all that is new. Raises IndexStoreError, GatewayError."""
        if not self._rules and not self._told:
            return
        index = self._archive.index
        while True:
            mark = index.note(MARK) or "0"
            changes = since(self._archive, _CALLER, int(mark), PAGE)
            if not changes:
                return
            tasks = [*self._forwards(changes), *self._notifications(changes), *self._removals(changes)]
            index.enqueue(tasks, time.time(), (MARK, mark, str(changes[-1].sequence)))

    def _forwards(self, changes: Iterable[Change]) -> Iterator[NewTask]:
        if not self._rules:
            return
        now = time.time()
        for change in changes:
            if change.action == "delete":
                continue
            with reading():
                located = self._archive.find(change.sop_uid)
            if located is None or located.version != change.version:  # gone, or another change tells of it
                continue
            facts = _Facts(self._archive, located)
            for rule in self._rules:
                if _applies(rule, facts):
                    yield NewTask(FORWARD, rule.to, f"{FORWARD}:{rule.to}:{located.version}", _payload(located), now)

    def _notifications(self, changes: Iterable[Change]) -> Iterator[NewTask]:
        """One task for each study and peer, due when the study has been quiet for a while."""
        due = time.time() + self._quiet
        studies = dict.fromkeys(change.study_uid for change in changes if change.action != "delete")
        for study_uid in studies:
            for aet in self._told:
                key = f"{NOTIFICATION}:{aet}:{study_uid}"
                yield NewTask(NOTIFICATION, aet, key, payload(study=study_uid), due, postpone=True)

    def _removals(self, changes: Iterable[Change]) -> Iterator[NewTask]:
        """One task for each study that instances were taken from and each peer, due at once."""
        if not self._told:
            return
        gone: dict[str, list[tuple[str, str, str]]] = {}
        for change in changes:
            if change.action == "delete" and (class_uid := self._class_of_removed(change)):
                gone.setdefault(change.study_uid, []).append((change.series_uid, class_uid, change.sop_uid))
        now = time.time()
        for study_uid, instances in gone.items():
            for aet in self._told:
                key = f"{NOTIFICATION}:{aet}:{study_uid}:{time.time_ns()}"
                yield NewTask(NOTIFICATION, aet, key, payload(study=study_uid, gone=instances), now)

    def _class_of_removed(self, change: Change) -> str:
        """The SOP Class UID of an instance whose row has left, by its object, which waits to go; "" when that is gone
        too, or the instance was stored again."""
        with reading():
            if self._archive.find(change.sop_uid) is not None:
                return ""
        try:
            objects, key = self._archive.objects, self._archive.key(change.sop_uid, change.version)
            parsed = parse_head(objects.read(key, 0, min(objects.size(key), _HEAD)))
        except (StorageError, GatewayError) as error:
            log.warning("removal_not_told", sop_uid=change.sop_uid, error=type(error).__name__)
            return ""
        return parsed[0].sop_class_uid if parsed is not None else ""


class _Facts:
    """What rules ask of an instance; its head is read when one does."""

    def __init__(self, archive: Archive, located: Located) -> None:
        self.located = located
        self._archive = archive
        self._header: Header | None = None

    @property
    def modality(self) -> str:
        """Modality (0008,0060)."""
        if self._header is None:
            self._header = header(self._archive, self.located)
        return self._header.text(_MODALITY) or ""

    @property
    def source_aet(self) -> str:
        """The AE title that sent it by C-STORE; empty for what came by the web."""
        with reading():
            return source_aet(self._archive.read(self.located, 0, min(self.located.size, _HEAD)))


def _applies(rule: Forward, facts: _Facts) -> bool:
    if rule.sop_class and facts.located.sop_class_uid not in rule.sop_class:
        return False
    try:
        if rule.modality and facts.modality not in rule.modality:
            return False
        return not rule.calling_aet or facts.source_aet in rule.calling_aet
    except Unavailable:
        raise
    except GatewayError as error:  # of no use to anyone, and no reason to hold up the others
        log.error("not_forwarded", sop_uid=facts.located.sop_uid, reason=error.reason)
        return False


def send(
    archive: Archive,
    settings: Settings,
    caller: Caller,
    to: str,
    study_uid: str,
    series_uid: str | None = None,
    sop_uid: str | None = None,
) -> int:
    """Enter tasks to send these instances to a peer or a web server of the settings; returns how many.

    Raises BadRequest for a target that is not in the settings, NotFound, Unavailable.
    """
    check_target(settings, to)
    found = find(archive, caller, study_uid, series_uid, sop_uid)
    return enter(archive, _sendings(found, to, time.time()))


def send_here(
    archive: Archive, settings: Settings, caller: Caller, to: str, uids: Sequence[str | None], seconds: float
) -> list[Task]:
    """As `send`, but the tasks are the caller's own for `seconds`: to be done by itself, where no gateway runs."""
    check_target(settings, to)
    study_uid, series_uid, sop_uid = uids
    new = _sendings(find(archive, caller, str(study_uid), series_uid, sop_uid), to, time.time() + seconds, claimed=True)
    enter(archive, new)
    entered = [find_task(archive, one.key) for one in new]
    return [task for task in entered if task is not None]


def _sendings(found: Iterable[Located], to: str, due: float, *, claimed: bool = False) -> list[NewTask]:
    stamp = time.time_ns()
    return [
        NewTask(FORWARD, to, f"send:{to}:{one.version}:{stamp}", _payload(one), due, claimed=claimed) for one in found
    ]


def check_target(settings: Settings, to: str) -> None:
    """Raises BadRequest unless `to` is the AE title of a peer, or the URL of a forwarding rule."""
    if to not in {peer.aet for peer in settings.peers} | {rule.to for rule in settings.forward}:
        raise BadRequest("to", "no such peer, and no forwarding rule with such a URL, is in the settings")


def is_web(target: str) -> bool:
    """Is it a DICOMweb server, by its URL?"""
    return target.startswith(("http://", "https://"))


def instances(archive: Archive, tasks: Sequence[Task]) -> list[tuple[Task, Located | None]]:
    """The instances that tasks want sent; None where they are gone, or replaced by others.

    Raises Unavailable.
    """
    found: list[tuple[Task, Located | None]] = []
    with reading():
        for task in tasks:
            wanted = orjson.loads(task.payload)
            located = archive.find(wanted["sop"])
            alive = located is not None and located.version == wanted["version"]
            found.append((task, located if alive else None))
    return found


def removed(task: Task) -> tuple[str, list[tuple[str, str, str]]]:
    """The study of a notification, and what it says was taken from it: series, SOP Class and SOP Instance UID of each.

    Nothing when it tells of a study that is available.
    """
    wanted = orjson.loads(task.payload)
    return str(wanted["study"]), [(str(one[0]), str(one[1]), str(one[2])) for one in wanted.get("gone", ())]


def study(archive: Archive, caller: Caller, task: Task) -> tuple[str, tuple[Located, ...]]:
    """The study that a notification tells of, and its instances; none when it is gone. Raises Unavailable."""
    study_uid = str(orjson.loads(task.payload)["study"])
    try:
        return study_uid, find(archive, caller, study_uid)
    except NotFound:
        return study_uid, ()


def _payload(located: Located) -> str:
    return payload(sop=located.sop_uid, version=located.version)
