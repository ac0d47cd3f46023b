"""Everything that can go wrong while keeping or finding instances.

StorageError
 +-- ObjectStoreError
 |    +-- ObjectMissing        no object under this key
 |    +-- ObjectExists         a key is written once only
 |    +-- ObjectDamaged        fewer or other bytes than the index promises
 |    +-- ObjectStoreFull      no space, quota or inodes left
 |    +-- SpoolBusy            too much is being received; a retry may succeed
 |    +-- ObjectStoreUnavailable   down, too slow, refuses our credentials; a retry may succeed
 |         +-- ObjectStoreBroken   its disk failed to keep what was written: nothing more until the next start
 |         +-- ObjectStoreStalled  its disk does not answer: nothing more until it does
 +-- IndexStoreError
 |    +-- IndexFull            no space left for the index
 |    +-- IndexUnavailable     down, locked, too slow; a retry may succeed
 |    |    +-- IndexBroken      its disk failed to keep what was written: nothing more until the next start
 |    |    +-- IndexStalled     its disk does not answer: nothing more until it does
 |    +-- IndexBusy            another process owns this index
 |    +-- IndexDamaged         its file is no longer a database
 |    +-- RebuildPending       the index does not know all stored objects
 |    +-- IndexBehind          the index is older than the objects: a backup of it was restored
 |    +-- SchemaRefused        a migration cannot or may not run; names the step
 +-- DuplicateConflict         other bytes are stored under this SOP Instance UID
 +-- QueryRefused              a matching value that PS3.4 C.2.2.2 does not allow for its VR; names the key

Drivers' own exceptions never leave the backend's file: they are wrapped there, with the cause kept.
"""

from __future__ import annotations


class StorageError(Exception):
    """Base of all errors of this package. `reason` is a stable word for logs and probes."""

    reason = "storage_error"


class ObjectStoreError(StorageError):
    """The object store could not do what was asked."""


class ObjectMissing(ObjectStoreError):
    """No object under this key."""


class ObjectExists(ObjectStoreError):
    """The key holds an object already; keys are never reused."""


class ObjectDamaged(ObjectStoreError):
    """The object is not what was stored: its length or digest differs."""


class ObjectStoreFull(ObjectStoreError):
    """No space, quota or inodes left."""

    reason = "full"


class SpoolBusy(ObjectStoreError):
    """More bytes are being received than the gateway takes at a time."""


class ObjectStoreUnavailable(ObjectStoreError):
    """The store did not answer in time, refused the connection or our credentials."""

    reason = "unavailable"


class ObjectStoreBroken(ObjectStoreUnavailable):
    """The disk failed to keep what was written. Nothing more is taken until the next start (F-13)."""

    reason = "io_error"


class ObjectStoreStalled(ObjectStoreUnavailable):
    """The disk does not answer. Nothing more is taken until it does: who waits cannot be called back (F-19)."""

    reason = "stalled"


class IndexStoreError(StorageError):
    """The index could not do what was asked."""


class IndexFull(IndexStoreError):
    """No space left for the index."""

    reason = "full"


class IndexUnavailable(IndexStoreError):
    """The index did not answer in time, or refused; a retry may succeed."""

    reason = "unavailable"


class IndexTooSlow(IndexUnavailable):
    """A statement took longer than it may; the same one will, too."""

    reason = "too_slow"


class IndexBroken(IndexUnavailable):
    """The disk failed to keep what was written. Nothing more is taken until the next start (F-13)."""

    reason = "io_error"


class IndexStalled(IndexUnavailable):
    """The disk of the index does not answer. Nothing more is taken until it does (F-19)."""

    reason = "stalled"


class IndexBusy(IndexStoreError):
    """Another process owns this index."""


class IndexDamaged(IndexStoreError):
    """The file of the index is damaged: a backup has to be restored, or the index rebuilt."""


class RebuildPending(IndexStoreError):
    """The index has to be rebuilt before it may be served: it is empty, or half filled, over a store with objects."""


class IndexBehind(IndexStoreError):
    """The index lacks what was stored after `since` (seconds since the epoch): nothing may be swept until it is
    reconciled. All else goes on.
    """

    reason = "index_behind"

    def __init__(self, since: float) -> None:
        super().__init__("the index is older than the stored objects; run `gantry index reconcile`")
        self.since = since


class SchemaRefused(IndexStoreError):
    """The index has a schema this version cannot use, or a migration failed."""


class DuplicateConflict(StorageError):
    """Other bytes are stored under this SOP Instance UID, or it belongs to another study.

    `reason` is a stable word for logs and metrics: `different_bytes` or `uid_reuse_across_study`.
    """

    def __init__(self, sop_uid: str, reason: str) -> None:
        super().__init__(f"SOP Instance UID {sop_uid} is stored already: {reason.replace('_', ' ')}")
        self.sop_uid = sop_uid
        self.reason = reason


class QueryRefused(StorageError):
    """A matching value is not allowed for its attribute. `key` names the attribute."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"{key}: {why}")
        self.key = key
        self.why = why
