"""Keeping and finding instances: the one place where the order of writes is decided.

Store    object durable under a fresh key -> one index transaction -> success. A crash leaves an orphan object, which
         nothing names and the sweep removes; never a row without its object.
         Where the store has an entrance, and the index syncs later, one sync is enough: that of the bytes, under a name
         which the disk knew before. The name among the objects and the row are there at once for all who look, and
         on the disk a little later (`settling`). Until then the file stays at the entrance, where the next start finds
         it and does again what a power cut undid (`arrivals`, `rename`, `readmit`).
Delete   tomb object (so that a rebuild does not bring it back) -> one index transaction: rows leave, keys go to the
         garbage -> success. The objects go later, when no reader can still be on them.
Sweep    garbage that is due; then objects that no row or garbage names: noted at first sight, removed a day later.

Damage   an object that is missing, or is not what was stored, is noted in the index by whoever meets it: a reader,
         the scrubber, `gantry index verify`. Nothing of it is served. The same data set sent again repairs it: a
         duplicate is only a success once what is there was read and found good.

Everything destructive is late, claimed, and touches one version's key only, so it can never hit a successor.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, Literal

from storage.behind import Behind
from storage.crashpoints import reached
from storage.derived import Derived
from storage.errors import (
    DuplicateConflict,
    IndexBehind,
    IndexUnavailable,
    ObjectDamaged,
    ObjectExists,
    ObjectMissing,
    ObjectStoreBroken,
    ObjectStoreUnavailable,
    StorageError,
)
from storage.highwater import HighWater
from storage.index import Added, Garbage, Index
from storage.objects import Arrival, Entrance, ObjectInfo, ObjectStore
from storage.query import Query, Within
from storage.records import Change, Damage, Deleted, InstanceRecord, Located, Page
from storage.seal import Sealer
from storage.settling import Settler
from storage.spool import Spool
from storage.stalls import Stalls
from storage.versions import OBJECTS, instance_of, new_version, object_key, version_of, version_time
from storage.writeback import begin_writeback

TOMBS = "tomb/"
DAY = 86400.0
DERIVED_BYTES = 4 << 30
LEASE = DAY / 2
MOST_ORPHANS = 100
"""Objects without a row that a sweep takes for the rests of crashes. More look like stores that the index forgot."""
ATTEMPTS = 20
"""How often what others change at the same moment is looked at again."""
_ASIDE = "aside:"
MISSING, SIZE, DIGEST = "missing", "size", "digest"
"""What can be wrong with an object: there is none; it has another length; its bytes are others."""


class Archive:
    """Objects and their index. Blocking; shared by all threads.

    `replace` lets other bytes under a known SOP Instance UID take the place of the old ones instead of being refused.
    `delete_delay` is in seconds: how long the bytes of deleted instances stay. `lease` is the age in seconds at which
    an attempt to store is given up: well before a sweep may take its object for an orphan (F-54). `derived` (default: a
    folder beside the spool) keeps what was made from objects.
    """

    def __init__(
        self,
        objects: ObjectStore,
        index: Index,
        spool: Spool,
        *,
        derived: Derived | None = None,
        replace: bool = False,
        delete_delay: float = 3 * DAY,
        lease: float = LEASE,
    ) -> None:
        self.objects = objects
        self.index = index
        self.spool = spool
        self.high_water = HighWater(objects, index)
        self.derived = derived or Derived(spool.folder.parent / "derived", DERIVED_BYTES, reserve=spool.reserve)
        self.behind = Behind(self.derived)
        self._replace = replace
        self._delete_delay = delete_delay
        self._lease = lease
        self._quarantined: frozenset[str] = frozenset()
        self._settler = (
            Settler(objects.entrance, index, spool.stalls)
            if objects.entrance is not None and index.syncs_later
            else None
        )

    # ------------------------------------------------------------ store

    def add(self, record: InstanceRecord, source: Path, *, replace: bool | None = None) -> Added:
        """Keep the Part 10 file `source`, described by `record`; returns once both object and row are durable.

        `replace`, where it is given, decides instead of the archive's own. Raises DuplicateConflict, ObjectStoreError,
        IndexStoreError; then nothing became visible.
        """
        replace = self._replace if replace is None else replace
        predecessor = self._predecessor(record, replace)
        if predecessor is Added.DUPLICATE:
            return Added.DUPLICATE
        self.index.check_writable()  # else each attempt would leave an orphan
        return self._keep(record, source, predecessor, version_time(record.version) + self._lease, replace)

    def _keep(
        self,
        record: InstanceRecord,
        source: Path,
        predecessor: Literal[Added.DUPLICATE] | tuple[Located | None, str],
        until: float | None,
        replace: bool,
    ) -> Added:
        """Object, then row; see `add`."""
        try:
            later = self._put(record, source)
        except ObjectStoreBroken as error:
            self.index.distrust(str(error))
            raise
        reached("P5")
        try:
            for _ in range(ATTEMPTS):
                if predecessor is Added.DUPLICATE:
                    self._drop(record.key)
                    return Added.DUPLICATE
                added = self._enter(record, *predecessor, replace=replace, until=until, later=later)
                if added is not Added.OUTDATED:
                    if later:
                        self._settle_soon(record)
                    return added
                predecessor = self._predecessor(record, replace)
        except DuplicateConflict:
            # refused for certain, so nothing names this key; should this fail, the sweep finds it
            self._drop(record.key)
            raise
        except StorageError:
            if later:  # there may be a row all the same
                self._settle_soon(record)
            raise
        raise IndexUnavailable("others replaced the instance too often")

    def _put(self, record: InstanceRecord, source: Path) -> bool:
        """Keep the object; whether its name has to be settled."""
        digests = {"digest": record.digest, "dataset-digest": record.dataset_digest}
        waits = self._settler is not None and not self._settler.behind
        if waits and self._entrance is not None:
            with self.spool.stalls.wait(record.size):
                kept = self._entrance.keep(record.key, source, digests)
            if kept:
                return True
        sha256 = _plain(source) if self.seals else record.digest  # should it have to be copied
        self.objects.put(record.key, source, sha256=sha256, metadata=digests)
        return False

    def _settle_soon(self, record: InstanceRecord) -> None:
        if self._settler is not None:
            self._settler.add(record.version, record.key)

    @property
    def stalls(self) -> Stalls:
        """What this process waits for of its disks."""
        return self.spool.stalls

    @property
    def seals(self) -> bool:
        """Whether the digest of an object is its seal: where nobody else has to check it."""
        return self._settler is not None

    @property
    def _entrance(self) -> Entrance | None:
        return self.objects.entrance if self._settler is not None else None

    def hasten(self, file: BinaryIO) -> None:
        """All of a file that will be added is written: let the disk begin with it, where it is a disk that keeps it."""
        if self.objects.entrance is not None:
            begin_writeback(file.fileno())

    def needs(self, version: str) -> bool:
        """Whether the file in which this version came has to stay where it is."""
        return self._settler is not None and self._settler.holds(version)

    def settle(self) -> int:
        """Have the disk keep names and rows of all stores now, not soon; returns how many. Raises StorageError."""
        return self._settler.settle() if self._settler is not None else 0

    def arrivals(self) -> tuple[list[Arrival], list[Arrival]]:
        """What a crash left at the entrance, the oldest first: what the index has, and what it does not know."""
        found = self._entrance.left() if self._entrance is not None else []
        versions = [one.version for one in found]
        live = self.index.live_versions(versions)
        unknown = [one for one in found if one.version not in live]
        if unknown:
            gone = self.index.garbage_versions(versions).union(self.tombs())
            self.dismiss([one for one in unknown if one.version in gone])
            unknown = [one for one in unknown if one.version not in gone]
        return [one for one in found if one.version in live], unknown

    def dismiss(self, arrivals: Sequence[Arrival]) -> None:
        """Remove files from the entrance that are not needed there."""
        if self._entrance is not None and arrivals:
            self._entrance.forget(one.version for one in arrivals)

    def rename(self, sop_uid: str, arrival: Arrival) -> None:
        """See that an arrival that the index has got its name among the objects as well."""
        live = self.index.find(sop_uid)
        if live is None or live.version != arrival.version or self._settler is None or self._entrance is None:
            return
        digests = {"digest": live.digest, "dataset-digest": live.dataset_digest}
        with suppress(ObjectExists):  # a copy, where somebody brought the folder back file by file
            if not arrival.named and not self._entrance.keep(live.key, arrival.path, digests):
                return
        self._settler.add(live.version, live.key)

    def readmit(self, record: InstanceRecord, arrival: Arrival) -> Added:
        """Store an instance that had arrived before a crash. Raises as `add`."""
        predecessor = self._predecessor(record, self._replace)
        if predecessor is Added.DUPLICATE:
            self._drop(record.key)
            return Added.DUPLICATE
        return self._keep(record, arrival.path, predecessor, None, self._replace)

    def _predecessor(
        self, record: InstanceRecord, replace: bool
    ) -> Literal[Added.DUPLICATE] | tuple[Located | None, str]:
        """Whom the record would replace, and the same as a version where that is a repair. Raises DuplicateConflict."""
        live = self.index.find(record.sop_uid)
        if live is None:
            return None, ""
        if live.dataset_digest == record.dataset_digest and _same_place(live, record):
            # what a sender is told is safe, and may delete, is read at that moment
            reason = self.examine(live)
            if reason is None:
                return Added.DUPLICATE
            self.report(live, reason)
            return live, live.version
        if not (replace and _same_place(live, record)):
            reason = "different_bytes" if _same_place(live, record) else "uid_reuse_across_study"
            raise DuplicateConflict(record.sop_uid, reason)
        return live, ""

    def _enter(
        self,
        record: InstanceRecord,
        live: Located | None,
        repairs: str,
        *,
        replace: bool,
        until: float | None,
        later: bool,
    ) -> Added:
        """Let the index name the record's object, in place of that of `live`. Raises DuplicateConflict."""
        instead = live.version if live else ""
        tomb = self._mark([instead]) if instead else ""
        try:
            added = self.index.add(
                record,
                replace=replace,
                repairs=repairs,
                tomb=tomb,
                until=until,
                instead=instead,
                later=later and not instead,
            )
        except DuplicateConflict:
            self._drop(tomb)
            raise
        if added not in (Added.REPLACED, Added.REPAIRED):
            self._drop(tomb)  # nothing was replaced after all
        return added

    def new_version(self) -> str:
        """A name for one attempt to store."""
        return new_version()

    def key(self, sop_uid: str, version: str) -> str:
        """Where a version of an instance is kept."""
        return object_key(sop_uid, version)

    def _drop(self, key: str) -> None:
        if key:
            with suppress(StorageError):
                self.objects.delete(key)

    # ------------------------------------------------------------ find and read

    def find(self, sop_uid: str) -> Located | None:
        """The live instance of this SOP Instance UID."""
        return self.index.find(sop_uid)

    def locate(
        self,
        study_uid: str,
        series_uid: str | None = None,
        sop_uid: str | None = None,
        within: Within | None = None,
    ) -> list[Located]:
        """The live instances below, by series number, instance number and UID, if the study lies `within`."""
        return self.index.locate(study_uid, series_uid, sop_uid, within)

    def was_deleted(self, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None) -> bool:
        """Whether something below was deleted, as far as the change feed goes back."""
        return self.index.was_deleted(study_uid, series_uid, sop_uid)

    def deleted(
        self, since: float = 0.0, study_uid: str | None = None, before: int | None = None, limit: int = 1000
    ) -> list[Deleted]:
        """Deleted instances whose objects are still there, the last deleted first; see `Index.deleted`."""
        return self.index.deleted(since, study_uid, before, limit)

    def search(self, query: Query) -> Page:
        """Answer one query."""
        return self.index.search(query)

    def changes(self, since: int = 0, limit: int = 1000) -> list[Change]:
        """The change feed after `since`."""
        return self.index.changes(since, limit)

    def read(self, located: Located, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of the instance's Part 10 file, in one ranged read. Raises ObjectMissing, ObjectDamaged."""
        with self._watched(located):
            return self.objects.read(located.key, start, length)

    @contextmanager
    def stream(
        self, located: Located, start: int = 0, length: int | None = None
    ) -> Iterator[Iterator[memoryview | bytes]]:
        """As `read`, in chunks."""
        with self._watched(located), self.objects.stream(located.key, start, length) as chunks:
            yield chunks

    @contextmanager
    def _watched(self, located: Located) -> Iterator[None]:
        """Note damage that a reader meets, and keep readers from what is known to be damaged."""
        if located.version in self._quarantined:
            raise ObjectDamaged(f"{located.key}: found damaged before")
        try:
            yield
        except ObjectMissing:
            self.report(located, MISSING)
            raise
        except ObjectDamaged:
            self.report(located, SIZE)
            raise

    # ------------------------------------------------------------ damage

    def examine(self, located: Located, *, deep: bool = True) -> str | None:
        """What is wrong with the instance's object (`missing`, `size`, or when `deep` is set `digest`); None: nothing.

        Reads the whole object when `deep`, else asks for its length only. Raises ObjectStoreUnavailable.
        """
        try:
            if not deep:
                return None if self.objects.size(located.key) == located.size else SIZE
            for form in (Sealer, hashlib.sha256) if self.seals else (hashlib.sha256, Sealer):
                digest, size = form(), 0
                with self.objects.stream(located.key) as chunks:
                    for chunk in chunks:
                        digest.update(chunk)
                        size += len(chunk)
                if size != located.size:
                    return SIZE
                if digest.hexdigest() == located.digest:
                    return None
        except ObjectMissing:
            return MISSING
        except ObjectDamaged:
            return SIZE
        return DIGEST

    def report(self, located: Located, reason: str) -> None:
        """Note that a live instance's object is not what was stored. Never raises: its caller has worse to tell."""
        with suppress(StorageError):
            if self.index.report_damage(located.version, reason, time.time()) and reason == DIGEST:
                self._quarantined |= {located.version}

    def damaged(self, after: str = "", limit: int = 1000) -> list[Damage]:
        """The live instances whose objects were found missing or damaged, in the order of their versions."""
        return self.index.damaged(after, limit)

    def absolve(self, located: Located) -> None:
        """The instance's object was read and is good: it may be served again."""
        self.index.clear_damage(located.version)
        self._quarantined -= {located.version}

    def look_at_damage(self) -> list[Damage]:
        """Learn what other gateways found, so that it is not served here either; returns all that is known."""
        found: list[Damage] = []
        while page := self.index.damaged(found[-1].instance.version if found else ""):
            found += page
        self._quarantined = frozenset(one.instance.version for one in found if one.reason == DIGEST)
        return found

    # ------------------------------------------------------------ delete

    def delete(
        self,
        study_uid: str,
        series_uid: str | None = None,
        sop_uid: str | None = None,
        within: Within | None = None,
    ) -> list[Located]:
        """Take instances away, if the study lies `within`; returns which. Those that arrive meanwhile stay."""
        for _ in range(ATTEMPTS):
            doomed = [one.version for one in self.index.locate(study_uid, series_uid, sop_uid, within)]
            if not doomed:
                return []
            reached("D1")
            tomb = self._mark(doomed)
            reached("D2")
            gone = self.index.delete(
                study_uid,
                doomed,
                cleanup_after=time.time() + self._delete_delay,
                tomb=tomb,
                until=version_time(_tomb_version(tomb)) + self._lease,
            )
            reached("D4")
            if gone:
                return gone
            self._drop(tomb)  # others deleted or replaced all of them meanwhile: look again
        raise IndexUnavailable("others replaced the instances too often")

    def _mark(self, versions: list[str]) -> str:
        """Tell a rebuild that these versions are gone, before they are; returns the tomb's key.

        Their rows are on the disk by then: a version with a tomb and without a row is gone for certain.
        """
        self.index.sync()
        tomb = f"{TOMBS}{new_version()}.json"
        self.objects.put_bytes(tomb, json.dumps({"versions": versions}).encode())
        return tomb

    # ------------------------------------------------------------ sweep

    def collect(self, now: float | None = None, limit: int = 100) -> int:
        """Remove the objects of garbage that is due; returns how many."""
        waste = self.index.garbage(time.time() if now is None else now, limit)
        reached("G1")
        for one in waste:
            self.objects.delete(one.key)
            reached("G2")
            if self.index.collected(one.version) and one.tomb:
                reached("G3")
                self.objects.delete(one.tomb)
        return len(waste)

    def sweep(self, now: float | None = None, *, grace: float = DAY, most: int | None = MOST_ORPHANS) -> int:
        """Remove orphans: objects older than `grace` seconds that were seen unnamed twice, `grace` apart.

        Removes nothing and raises IndexBehind where the index is older than the objects, or more than `most` would go:
        then a human has to say, by a reconcile, that nothing of it was acknowledged.
        """
        now = time.time() if now is None else now
        if (since := self.high_water.look()) is not None:
            raise IndexBehind(since)
        doomed: list[str] = []
        tombs = self._old_tombs(now - grace)
        there: set[str] = set()
        for infos in _batches(self.objects.keys(OBJECTS)):
            there.update(tombs[version_of(i.key)] for i in infos if version_of(i.key) in tombs)
            old = {version_of(i.key): i.key for i in infos if version_time(version_of(i.key)) < now - grace}
            versions = list(old)
            named = self.index.live_versions(versions) | self.index.garbage_versions(versions)
            for version in versions:
                if version in named or self.is_set_aside(old[version]):
                    continue
                if self._is_orphan(old[version], now, grace):
                    doomed.append(old[version])
        if most is not None and len(doomed) > most:
            since = min(version_time(version_of(key)) for key in doomed)
            self.high_water.doubt(since)
            raise IndexBehind(since)
        for key in doomed:
            self.objects.delete(key)
            reached("G5")
            self.index.pardon(key)
            reached("G6")
        self._sweep_tombs(tombs, there)
        return len(doomed)

    def _is_orphan(self, key: str, now: float, grace: float) -> bool:
        first_seen = self.index.strike(key, now)
        reached("G4")
        return first_seen <= now - grace

    def _old_tombs(self, before: float) -> dict[str, str]:
        """Versions that a tomb made before this moment names, each with its key."""
        old = [info.key for info in self.objects.keys(TOMBS) if version_time(_tomb_version(info.key)) < before]
        return {version: key for key in old for version in self._tomb(key)}

    def _sweep_tombs(self, tombs: Mapping[str, str], there: Collection[str]) -> None:
        """Remove tombs whose delete never happened, which would make a rebuild forget live instances, and those that
        have outlived their objects; not those of `there`, which keep a rebuild from an object that waits to go."""
        versions = list(tombs)
        waiting = {tombs[version] for version in self.index.garbage_versions(versions)}
        live = {tombs[version] for version in self.index.live_versions(versions)}
        for tomb in set(tombs.values()) - waiting:
            if tomb in live or tomb not in there:
                self.objects.delete(tomb)

    # ------------------------------------------------------------ rebuild

    def tombs(self) -> dict[str, str]:
        """Versions that were deleted and whose object may still be there, each with the key of its tomb."""
        return {version: info.key for info in self.objects.keys(TOMBS) for version in self._tomb(info.key)}

    def tomb_time(self, tomb: str) -> float:
        """When a tomb was made, in seconds since the epoch."""
        return version_time(_tomb_version(tomb))

    def stored(self, after: str = "") -> Iterator[list[ObjectInfo]]:
        """All received objects after key `after`: one list an instance, its versions oldest first."""
        for _, versions in groupby(self.objects.keys(OBJECTS, after), key=lambda info: instance_of(info.key)):
            yield list(versions)

    def set_aside(self, key: str) -> None:
        """Keep an object that no row names, for a human to decide: the sweep leaves it alone."""
        self.index.set_note(_ASIDE + key, "")

    def is_set_aside(self, key: str) -> bool:
        """Was it set aside?"""
        return self.index.note(_ASIDE + key) is not None

    def bury(self, key: str, tomb: str) -> None:
        """Put an object under a tomb back into the garbage."""
        self.index.bury(Garbage(version_of(key), key, time.time() + self._delete_delay, tomb))

    def _tomb(self, key: str) -> list[str]:
        try:
            return [str(version) for version in json.loads(self.objects.read(key))["versions"]]
        except ObjectMissing:  # removed by a collector meanwhile
            return []

    def close(self) -> None:
        """Settle what waits; give back connections, files and locks."""
        if self._settler is not None:
            self._settler.close()
        self.behind.close()
        self.index.close()
        self.objects.close()


def _plain(source: Path) -> str:
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ObjectStoreUnavailable(f"the file to be stored cannot be read: {error.strerror}") from error


def _tomb_version(key: str) -> str:
    return key.removeprefix(TOMBS).removesuffix(".json")


def _same_place(live: Located, record: InstanceRecord) -> bool:
    return (live.study_uid, live.series_uid) == (record.study_uid, record.series_uid)


def _batches(infos: Iterator[ObjectInfo], size: int = 1000) -> Iterator[list[ObjectInfo]]:
    batch: list[ObjectInfo] = []
    for info in infos:
        batch.append(info)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
