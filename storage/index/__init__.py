"""What finds the objects: rows of studies, series and instances, in SQLite or PostgreSQL.

The rows hold nothing that could not be read from the objects again. Both databases pass one contract,
`tests/storage/index/`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from storage.credentials import Credential
from storage.query import Query, Within
from storage.records import Change, Damage, Deleted, InstanceRecord, Located, Page
from storage.tasks import NewTask, Task

Mark = tuple[str, str | None, str]
"""A note to be moved: its name, the value that it has to have, and the new one."""


class Added(Enum):
    """How an instance came into the index."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # the same data set is there already; the new object is garbage
    REPLACED = "replaced"
    OUTDATED = "outdated"  # nothing was written: the live version is another than the caller has seen
    REPAIRED = "repaired"  # the same data set, in the place of an object that was missing or damaged


@dataclass(frozen=True, slots=True)
class Garbage:
    """An object that no row names any more, to be removed once `cleanup_after` (seconds since the epoch) is past.

    `tomb` is the key of the object that says so to a rebuild; empty when none is needed.
    """

    version: str
    key: str
    cleanup_after: float
    tomb: str = ""


class Index(Protocol):
    """Rows by UID, blocking, shared by all threads. Every method may raise IndexUnavailable; writes also IndexFull.

    `syncs_later` says that additions may be made durable `later`, by `sync`.
    """

    syncs_later: bool

    def add(
        self,
        record: InstanceRecord,
        *,
        replace: bool = False,
        tomb: str = "",
        announce: bool = True,
        until: float | None = None,
        repairs: str = "",
        instead: str | None = None,
        later: bool = False,
    ) -> Added:
        """Make one instance findable: its row, its series' and study's, counters and change feed in one transaction.

        A row with the same data set digest makes it a duplicate: the record's own object, if it is another one, goes
        to the garbage. Other bytes, or another study or series, raise DuplicateConflict and change nothing, unless
        `replace` allows other bytes within the same series; `tomb` then is the key of the object that tells a rebuild
        that the old version is gone. `instead`, where it is given, is the version that may be replaced (empty: none),
        and OUTDATED the answer when another one lives. `repairs` names a live version with the same data set digest
        whose object is damaged: the record takes its place. `announce` False writes no change: for a rebuild.
        After `until` (seconds since the epoch) it is too late: IndexUnavailable, for a sweep may take the object for
        an orphan (F-54). With `later` the next `sync` makes it durable, where the index does that.
        """

    def sync(self) -> None:
        """Return once all is durable that was committed before, by this process or another."""

    def find(self, sop_uid: str) -> Located | None:
        """The live instance of this SOP Instance UID."""

    def locate(
        self,
        study_uid: str,
        series_uid: str | None = None,
        sop_uid: str | None = None,
        within: Within | None = None,
    ) -> list[Located]:
        """The live instances below this study, series or instance, by series number, instance number and UID; none
        where the study is not one of those that `within` means."""

    def was_deleted(self, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None) -> bool:
        """Whether instances below this study, series or instance were deleted, as far as the change feed goes back."""

    def deleted(
        self, since: float = 0.0, study_uid: str | None = None, before: int | None = None, limit: int = 1000
    ) -> list[Deleted]:
        """Instances that were deleted at `since` (seconds since the epoch) or later and whose objects are still there;
        the last to be deleted first, from below the sequence number `before` on. None that was stored again since.
        """

    def search(self, query: Query) -> Page:
        """Answer one query (PS3.4 C.4.1.1.3.2)."""

    def delete(
        self,
        study_uid: str,
        versions: Collection[str],
        *,
        cleanup_after: float,
        tomb: str = "",
        until: float | None = None,
    ) -> list[Located]:
        """Take those of `versions` that live in the study away in one transaction, before `until` as in `add`.

        Their objects go to the garbage; empty series and an empty study leave too. Returns what was removed.
        """

    def undescribed(self) -> list[Located]:
        """Instances to be read again, since the one that described their study or series left."""

    def describe(self, record: InstanceRecord) -> None:
        """Let `record` describe its study and series where they are undescribed and it is their earliest."""

    def garbage(self, now: float, limit: int = 100) -> list[Garbage]:
        """Objects that may be removed at `now`, claimed by this caller for some minutes."""

    def collected(self, version: str) -> bool:
        """The object of this garbage is gone. Returns True when its tomb has no other garbage."""

    def live_versions(self, versions: Sequence[str]) -> set[str]:
        """Those of `versions` that an instance has."""

    def garbage_versions(self, versions: Sequence[str]) -> set[str]:
        """Those of `versions` that the garbage names."""

    def bury(self, waste: Garbage) -> None:
        """Put an object that no row names into the garbage: what a rebuild finds under a tomb."""

    def strike(self, key: str, now: float) -> float:
        """Note that no row names the object `key`; returns when that was noted first."""

    def pardon(self, key: str) -> None:
        """Forget a strike."""

    def walk(self, after: str = "", limit: int = 100) -> list[Located]:
        """The live instances with a version above `after`, in the order of their versions."""

    def report_damage(self, version: str, reason: str, now: float) -> bool:
        """Note that the object of this live instance is not what was stored; returns whether that is new."""

    def clear_damage(self, version: str) -> None:
        """The object of this instance is good again."""

    def damaged(self, after: str = "", limit: int = 1000) -> list[Damage]:
        """The live instances with damaged objects and a version above `after`, in the order of their versions."""

    def changes(self, since: int = 0, limit: int = 1000, within: Within | None = None) -> list[Change]:
        """The change feed after sequence number `since`, in commit order; of studies that are there and lie `within`,
        unless that is None.
        """

    def count(self) -> tuple[int, int, int]:
        """Numbers of studies, series and instances, as they were counted when those came and went."""

    def settle(self) -> None:
        """Add up what many connections counted; to be done from time to time."""

    def recount(self) -> bool:
        """Count all studies, and put right what `count` says; whether it was right."""

    def note(self, name: str) -> str | None:
        """A remark kept in the index, such as how far a rebuild came."""

    def notes(self, prefix: str) -> dict[str, str]:
        """All remarks whose names begin with `prefix`."""

    def set_note(self, name: str, value: str | None) -> None:
        """Keep or (None) drop a remark."""

    def add_credential(self, new: Credential) -> None:
        """Keep a credential; its `id` is new."""

    def credential(self, id: str) -> Credential | None:
        """The credential of this id, whether it is alive or not."""

    def credentials(self, kind: str, name: str | None = None) -> list[Credential]:
        """All credentials of a kind, or those with a name, the oldest first."""

    def revoke_credential(self, id: str, now: float) -> bool:
        """From now on it is not accepted; False when there was none that was."""

    def expire_credentials(self, before: float) -> int:
        """Forget credentials that ended before then; returns how many."""

    def enqueue(self, tasks: Sequence[NewTask], now: float, mark: Mark | None = None) -> int | None:
        """Enter tasks whose keys are not there yet; returns how many were.

        `mark` (a note's name, its value now, the new one) is moved in the same transaction; when another process moved
        it before, nothing happens and the answer is None.
        """

    def claim(self, now: float, lease: float, limit: int = 100, busy: Collection[tuple[str, str]] = ()) -> list[Task]:
        """Some tasks that are due, all of one kind and target and none of those in `busy`; the longest due first.

        They are the caller's for `lease` seconds; then they are due again. Fewer come where payloads are large.
        """

    def done(self, ids: Sequence[int]) -> None:
        """These claimed tasks are done: forget them, but for those that were entered again meanwhile."""

    def fail(self, ids: Sequence[int], error: str, due_at: float | None) -> None:
        """An attempt at claimed tasks failed: wait until `due_at`, or (None) give up."""

    def release(self, ids: Sequence[int], due_at: float) -> None:
        """Give claimed tasks back, to wait until `due_at`, without counting an attempt."""

    def hurry(self, kind: str, target: str, now: float) -> None:
        """The target is there again: tasks that wait for another attempt are due at once."""

    def tasks(
        self, *, kind: str | None = None, state: str | None = None, after: int = 0, limit: int = 1000
    ) -> list[Task]:
        """The tasks with an id above `after`, in the order they were entered; without their payloads."""

    def task(self, key: str) -> Task | None:
        """The task of this key."""

    def task_counts(self, target: str | None = None) -> dict[tuple[str, str], int]:
        """How many tasks there are, for one target or all, by kind and state."""

    def expire_tasks(self, before: float) -> int:
        """Forget tasks that were entered before this moment and given up; returns how many."""

    def next_due(self) -> float | None:
        """When the next task is due that was not given up."""

    def retry_tasks(self, ids: Sequence[int] | None, now: float) -> int:
        """Make tasks due at once, given up or not (None: all that failed before); returns how many."""

    def drop_tasks(self, ids: Sequence[int] | None) -> int:
        """Forget tasks (None: those given up); returns how many."""

    def horizon(self) -> int:
        """The change feed's sequence number up to which no entry can appear any more."""

    def skip_numbers(self) -> None:
        """Go on far beyond in the change feed: entries that were lost may have been read; a number means one thing."""

    def state(self) -> int | None:
        """A number that is another one after every change that was committed, by any process: while it stays, all
        answers stay. None where that cannot be told, or not without waiting."""

    def clear(self) -> None:
        """Drop all rows but the change feed and the remarks: before a rebuild."""

    def distrust(self, reason: str) -> None:
        """Write nothing more until the next start, in any process that shares this index: the disk failed (F-13)."""

    def check_writable(self) -> None:
        """Raise IndexBroken when it is known that nothing can be written any more. Costs nothing."""

    def share(self) -> tuple[int, ...]:
        """Let other processes of ours use the index as well, each opened `beside` this one.

        Returns the descriptors that they have to hold meanwhile. Raises IndexStoreError where only one process may.
        """

    def timeline(self) -> int:
        """Grows when another server takes over, or an earlier state is recovered; 0 where nothing tells."""

    def facts(self) -> Mapping[str, str]:
        """What there is to know of the database, for people.

        `clock` is its time, in seconds since the epoch; `trouble` says what is wrong with its files.
        """

    def check(self) -> None:
        """Return when the index answers; else raise."""

    def close(self) -> None:
        """Give back connections and locks."""
