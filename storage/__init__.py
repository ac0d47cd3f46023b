"""What is kept and how it is found: objects and their index. Knows no protocol.

`open_archive` is the only place where a backend is chosen, by the scheme of its URL.
"""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

from storage.archive import DERIVED_BYTES, LEASE, Archive
from storage.crashpoints import reached
from storage.derived import Derived
from storage.encryption import Encryption
from storage.errors import IndexStoreError
from storage.index import Index
from storage.objects import ObjectStore
from storage.spool import Spool
from storage.stalls import Stalls
from storage.versions import new_version

__all__ = ["Archive", "open_archive", "open_index", "open_objects"]


PATIENCE = 10.0
DISK_PATIENCE = 2.0
"""How many times longer a local disk is waited for than a server: it may have others' bytes to write first."""


def open_objects(
    url: str,
    *,
    endpoint: str | None = None,
    region: str | None = None,
    encryption: Encryption | None = None,
    patience: float = PATIENCE,
    stalls: Stalls | None = None,
) -> ObjectStore:
    """The object store at `url`: `file:///folder`, `s3://bucket/prefix` or `memory:`. Raises ValueError.

    `patience` is in seconds: how long a server may say nothing. `stalls` are the process's waits for its disks.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        from storage.objects.filesystem import FolderStore

        return FolderStore(Path(unquote(parts.path)), stalls=stalls)
    if parts.scheme == "s3" and parts.netloc:
        from storage.objects.s3 import S3Store

        where = parts.netloc, parts.path.strip("/")
        return S3Store(*where, endpoint=endpoint, region=region, read_timeout=patience, encryption=encryption)
    if parts.scheme == "memory":
        from storage.objects.memory import MemoryStore

        return MemoryStore()
    raise ValueError(f"no object store for {url!r}: use file:///folder or s3://bucket/prefix")


def open_index(url: str, *, beside: bool = False, patience: float = PATIENCE, stalls: Stalls | None = None) -> Index:
    """The index at `url`: `sqlite:////file` or `postgresql://user@host/name`, migrated. Raises ValueError.

    `beside`: another process of ours has it open, and shares it. `patience` and `stalls` as for `open_objects`.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/"):
        from storage.index.sqlite import SqliteIndex

        return SqliteIndex(Path(unquote(rest[1:])), beside=beside, stalls=stalls)
    if scheme in {"postgresql", "postgres"}:
        from storage.index.postgres import PostgresIndex

        return PostgresIndex(f"postgresql://{rest}", patience=patience)
    raise ValueError("no index for this URL: use sqlite:////file or postgresql://user@host/name")


def open_archive(
    objects: str,
    index: str,
    spool: Path,
    *,
    endpoint: str | None = None,
    region: str | None = None,
    encryption: Encryption | None = None,
    replace: bool = False,
    delete_delay: float = 3 * 86400.0,
    reserve: int = 0,
    budget: int = 0,
    derived_max_bytes: int = DERIVED_BYTES,
    lease: float = LEASE,
    patience: float = PATIENCE,
    beside: bool = False,
) -> Archive:
    """The archive over these two URLs, receiving into the folder `spool`; what a crash left there is removed.

    `delete_delay` (seconds) keeps the bytes of deleted instances; `reserve` bytes of the spool's disk stay free;
    `budget` bounds what is being received.
    What is derived from objects takes at most `derived_max_bytes` of it, in the folder `derived` beside the spool.
    `patience` is as for `open_objects`.
    `beside`: another process of ours has it open, shares it, and has seen to what a crash left.
    Raises ValueError for a URL that names no backend, StorageError when a backend cannot be opened.
    """
    stalls = Stalls(DISK_PATIENCE * patience)
    store = open_objects(
        objects, endpoint=endpoint, region=region, encryption=encryption, patience=patience, stalls=stalls
    )
    found: Index | None = None
    try:
        found = open_index(index, beside=beside, patience=patience, stalls=stalls)
        entrance = store.entrance if found.syncs_later else None
        receiving = Spool(
            spool, reserve=reserve, budget=budget, entrance=entrance, distrust=found.distrust, stalls=stalls
        )
        if not beside:
            _belong_together(store, found)
            receiving.clean()
        derived = Derived(spool.parent / "derived", derived_max_bytes, reserve=reserve)
        archive = Archive(
            store, found, receiving, derived=derived, replace=replace, delete_delay=delete_delay, lease=lease
        )
        if not beside:
            archive.high_water.look()
        return archive
    except BaseException:
        if found is not None:
            found.close()
        store.close()
        raise


STORE_ID = "store-id"
_MARKS = "store-id/"


def _belong_together(objects: ObjectStore, index: Index) -> None:
    """Refuse an index over a store that is not its own, and an empty index over a store that has objects.

    The first happens when a disk is not mounted, the second when the index was lost: serving would look like an empty
    archive, and storing would begin a second history (F-14, F-42).
    """
    known = index.note(STORE_ID)
    marks = [info.key.removeprefix(_MARKS) for info in objects.keys(_MARKS)]
    if known is None and not marks:
        fresh = new_version()
        objects.put_bytes(_MARKS + fresh, b"")
        reached("M4")
        if index.enqueue([], time.time(), (STORE_ID, None, fresh)) is None and index.note(STORE_ID) != fresh:
            objects.delete(_MARKS + fresh)  # another gateway that started at the same time was first
        reached("M5")
    elif known is None:
        if index.count()[2] == 0 and next(iter(objects.keys("obj/")), None) is not None:
            index.set_note("rebuild", "needed")
        index.enqueue([], time.time(), (STORE_ID, None, marks[0]))
    elif known not in marks:
        raise IndexStoreError(
            "the index belongs to another object store: is the right folder mounted, the bucket right?"
        )
