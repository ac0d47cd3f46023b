"""Store: accept one instance, by whichever door it came (PS3.4 B, PS3.18 10.5).

A wing opens an `Incoming`, writes what it receives, and calls `store`. The bytes of the data set are kept as they came,
unless a rule of the settings coerces some; the File Meta Information is rebuilt and the preamble zeroed. Success means
that object and index row are durable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import BinaryIO, Self

from gateway import foreground, metrics
from gateway.caller import Caller
from gateway.coerce import Coercer
from gateway.describe import Digester, Digests, Identity, describe, identity
from gateway.dicom.edit import Editor
from gateway.dicom.element_writer import Sink
from gateway.dicom.header import Header, read_header
from gateway.dicom.part10 import MAX_HEAD, FileMeta, build_head, parse_head
from gateway.dicom.uids import STORAGE_CLASSES, is_uid, syntax
from gateway.errors import (
    ClassMismatch,
    ClassNotSupported,
    Duplicate,
    InvalidInstance,
    NotUnderstood,
    OutOfResources,
    Refused,
    TooLarge,
)
from gateway.permission import permit_store
from gateway.validate import Fault, validate
from storage.archive import Archive
from storage.crashpoints import reached
from storage.errors import DuplicateConflict, IndexFull, ObjectStoreFull, SpoolBusy, StorageError
from storage.records import InstanceRecord
from storage.spool import spool_error

GATHERED = 1 << 18
"""Bytes of smaller pieces that are written and digested together: each of these steps lets go of the interpreter, and
where several associations receive, it has to be waited for again."""
HEAD = 4096
"""Bytes in which File Meta Information mostly has room."""
DUPLICATE = "duplicate"
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, slots=True)
class Stored:
    """One instance that is safe. `outcome` is `stored`, `duplicate` (the same data set was there) or `replaced`.

    `faults` are values that break the rules of their VR, where they were looked for: kept as they came, but to be told.
    `coerced` are the tags of what the settings had changed in the one that was stored now.
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class_uid: str
    outcome: str
    faults: tuple[Fault, ...] = ()
    coerced: tuple[int, ...] = ()


class Incoming:
    """One Part 10 file on its way in: a spool file that is removed on leaving the context unless it was stored.

    Raises from `begin` and `write`: NotUnderstood when it cannot be a Part 10 file, TooLarge beyond `max_bytes`,
    OutOfResources when the spool is full.
    """

    def __init__(self, archive: Archive, max_bytes: int) -> None:
        self._archive = archive
        self._max_bytes = max_bytes
        self._head: bytearray | None = bytearray()
        self._enough = 512
        self._digester = Digester(sealed=archive.seals)
        self._gathered = bytearray()
        self.meta: FileMeta | None = None
        self.source_aet = ""
        self.size = 0
        try:
            self._share = archive.spool.admit()
            try:
                self.version, self.path, self._file = archive.spool.begin()
            except BaseException:
                self._share.close()
                raise
        except StorageError as error:
            raise _out_of_resources(error) from error

    def begin(self, meta: FileMeta, source_aet: str = "") -> None:
        """Say what data set follows, where the wire says so (C-STORE): only data set bytes are written then."""
        self._head = None
        self.meta = meta
        self.source_aet = source_aet
        head = build_head(meta, source_aet)
        self._digester.head(head)
        self._count(len(head))
        self._put(head)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes: of the data set after `begin`, else of a Part 10 file."""
        if self._head is None:
            self._dataset(data)
            return
        if not self._head and len(data) >= self._enough:  # the first piece, as mostly: it need not be copied
            found = parse_head(bytes(data[:HEAD]))
            if found is not None:
                self._begin_file(found[0])
                self._dataset(memoryview(data)[found[1] :])
                return
        self._head += data
        if len(self._head) >= self._enough:  # a sender of single bytes must not make us parse at each of them
            self._enough = 2 * len(self._head)
            self._parse_head()

    def finish(self) -> tuple[BinaryIO, Digests]:
        """The whole file, ready to be read, and its digests. Raises NotUnderstood when its head never ended."""
        if self.meta is None:
            self._parse_head()
        if self.meta is None:
            raise NotUnderstood("no DICOM file: it is empty or ends within its File Meta Information")
        self._flush()
        if not self._file.closed:
            self._archive.hasten(self._file)
        else:
            try:
                self._file = self.path.open("r+b", buffering=0)
            except OSError as error:
                raise _out_of_resources(spool_error(error)) from error
        return self._file, self._digester.digests()

    def park(self) -> None:
        """All bytes are here: let the spool file wait its turn without being open. Raises as `write` does."""
        if self.meta is None:
            self._parse_head()
        self._flush()
        self._archive.hasten(self._file)
        self._file.close()

    def restate(self, meta: FileMeta, write_dataset: Callable[[Sink], None]) -> tuple[BinaryIO, Digests]:
        """Write the file again: with other File Meta Information, and what `write_dataset` makes of the old file."""
        old_path, old = self.path, self._file
        self.version, self.path, self._file = self._archive.spool.begin()
        try:
            self._digester = Digester(sealed=self._archive.seals)
            self.size = 0
            self.begin(meta, self.source_aet)
            write_dataset(self)
        finally:
            old.close()
            old_path.unlink(missing_ok=True)
        return self.finish()

    def close(self) -> None:
        """Remove the spool file, unless the object store took it."""
        self._share.close()
        self._file.close()
        if self._archive.needs(self.version):
            return
        with suppress(OSError):  # a full or failing disk must not hide the error that led here
            self.path.unlink(missing_ok=True)

    def _parse_head(self) -> None:
        assert self._head is not None  # until `begin`
        found = parse_head(bytes(self._head))
        if found is not None:
            dataset = bytes(self._head[found[1] :])
            self._begin_file(found[0])
            self._dataset(dataset)

    def _begin_file(self, meta: FileMeta) -> None:
        self.begin(replace(meta, received_digest=""))  # what others say of that is not believed

    def _dataset(self, data: bytes | bytearray | memoryview) -> None:
        self._count(len(data))
        if len(self._gathered) + len(data) > GATHERED:
            self._flush()
        if len(data) < GATHERED:
            self._gathered += data
        else:
            self._put(data)
            self._digester.dataset(data)

    def _flush(self) -> None:
        """Write what was gathered."""
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            self._put(gathered)
            self._digester.dataset(gathered)

    def _count(self, size: int) -> None:
        self.size += size
        if self.size > self._max_bytes:
            raise TooLarge(f"the object is larger than the limit of {self._max_bytes} bytes")
        try:
            self._share.add(size)
        except SpoolBusy as error:
            raise _out_of_resources(error) from error

    def _put(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
                reached("P2")
        except OSError as error:
            raise _out_of_resources(spool_error(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def receive(archive: Archive, *, max_bytes: int) -> Incoming:
    """Begin to receive one instance of at most `max_bytes`. Raises OutOfResources."""
    foreground.busy()
    return Incoming(archive, max_bytes)


def store(
    archive: Archive,
    incoming: Incoming,
    caller: Caller,
    *,
    study_uid: str | None = None,
    affected: tuple[str, str] | None = None,
    accept_unknown_classes: bool = True,
    check_values: bool = False,
    coercer: Coercer | None = None,
) -> Stored:
    """Keep a received instance; returns once it is durable and findable.

    `study_uid` is the study that the URI names, `affected` the SOP Class and SOP Instance UID of the C-STORE command:
    the data set has to agree with them. `check_values` looks for values that break their VR, in what was received.
    Raises a Refused; its attributes `sop_uid` and `sop_class_uid` say which instance, where that could be read.
    """
    who: Identity | None = None
    try:
        header, stream, digests = _inspect(incoming)
        if header.meta.sop_class_uid == MEDIA_STORAGE_DIRECTORY:  # it has none of the UIDs of an instance
            raise _directory()
        who = identity(header)
        _check(who, study_uid, affected, accept_unknown_classes)
        faults = tuple(validate(header)) if check_values else ()
        received = digests.dataset
        edited = coercer.edit(stream, header, incoming.size, incoming.source_aet) if coercer is not None else None
        editor, coerced = edited or (None, ())
        meta = FileMeta(
            who.sop_class_uid, who.sop_uid, header.meta.transfer_syntax_uid, received if editor is not None else ""
        )
        if header.meta != meta:
            stream, digests = incoming.restate(meta, _rest(stream, header, editor))
            header = read_header(stream, incoming.size)
        key = archive.key(who.sop_uid, incoming.version)
        record = describe(stream, incoming.size, header, digests, version=incoming.version, key=key)
        permit_store(archive, caller, record)
        outcome = _add(archive, record, incoming, received)
    except Refused as refused:
        _failed(caller, refused, who)
        raise
    except DuplicateConflict as conflict:
        raise _failed(caller, Duplicate(str(conflict)), who) from conflict
    except StorageError as error:
        raise _failed(caller, _out_of_resources(error), who) from error
    except OSError as error:
        raise _failed(caller, _out_of_resources(spool_error(error)), who) from error
    caller.trail.study(who.study_uid, str(record.attributes.get("PatientID", "")))
    caller.trail.count += 1
    metrics.STORES.labels(door=caller.door, outcome=outcome).inc()
    metrics.STORED_BYTES.labels(door=caller.door).inc(incoming.size)
    changed = coerced if outcome != DUPLICATE else ()
    return Stored(who.study_uid, who.series_uid, who.sop_uid, who.sop_class_uid, outcome, faults, changed)


def _add(archive: Archive, record: InstanceRecord, incoming: Incoming, received: str) -> str:
    """Keep it; the outcome. Raises DuplicateConflict, StorageError."""
    try:
        return archive.add(record, incoming.path).value
    except DuplicateConflict:
        if not _is_kept_form(archive, record.sop_uid, received):
            raise
        return DUPLICATE


def _is_kept_form(archive: Archive, sop_uid: str, received: str) -> bool:
    """Whether what came is what is kept of a coerced instance: it went out from here, and comes back."""
    live = archive.find(sop_uid)
    head = parse_head(archive.read(live, 0, min(live.size, MAX_HEAD))) if live is not None else None
    if live is None or head is None or not head[0].received_digest:
        return False
    kept = hashlib.sha256()
    with archive.stream(live, head[1]) as chunks:
        for chunk in chunks:
            kept.update(chunk)
    return kept.hexdigest() == received


def _rest(stream: BinaryIO, header: Header, editor: Editor | None) -> Callable[[Sink], None]:
    """What writes the data set: edited, or as it is."""
    if editor is not None:
        return editor.write

    def copy(out: Sink) -> None:
        stream.seek(header.dataset_offset)
        while chunk := stream.read(1 << 20):
            out.write(chunk)

    return copy


def _inspect(incoming: Incoming) -> tuple[Header, BinaryIO, Digests]:
    stream, digests = incoming.finish()
    assert incoming.meta is not None  # finish() says so
    syntax(incoming.meta.transfer_syntax_uid)  # refuses what nobody could read again
    return read_header(stream, incoming.size), stream, digests


def _check(who: Identity, study_uid: str | None, affected: tuple[str, str] | None, accept_unknown: bool) -> None:
    if affected is not None:
        sop_class_uid, sop_uid = affected
        if not is_uid(sop_uid):
            raise InvalidInstance("Affected SOP Instance UID is malformed")
        if (sop_class_uid, sop_uid) != (who.sop_class_uid, who.sop_uid):
            raise ClassMismatch("the data set is not the instance that the command names")
    if study_uid is not None and study_uid != who.study_uid:
        raise ClassMismatch("the data set belongs to another study than the URI names", 0x0020000D)
    if who.sop_class_uid == MEDIA_STORAGE_DIRECTORY:
        raise _directory()
    if not accept_unknown and who.sop_class_uid not in STORAGE_CLASSES:
        raise ClassNotSupported("SOP Class is private or unknown, and the gateway is set to refuse those", 0x00080016)


def _directory() -> ClassNotSupported:
    return ClassNotSupported("a DICOMDIR is a directory of instances, none itself", 0x00080016)


def _out_of_resources(error: StorageError) -> Refused:
    if isinstance(error, ObjectStoreFull | IndexFull):
        return OutOfResources("no space left", full=True)
    if isinstance(error, SpoolBusy):
        return OutOfResources("more is being stored than the gateway takes at a time; try again")
    return OutOfResources("the archive cannot store at this time; try again")


def _failed(caller: Caller, refused: Refused, who: Identity | None) -> Refused:
    """Count a refusal and say which instance it was."""
    if who is not None:
        refused.sop_uid, refused.sop_class_uid = who.sop_uid, who.sop_class_uid
    metrics.STORES.labels(door=caller.door, outcome=refused.reason).inc()
    return refused
