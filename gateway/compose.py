"""Store from metadata and bulk data: instances are made of what came in JSON or XML, and kept (PS3.18 10.5.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from gateway.caller import Caller
from gateway.coerce import Coercer
from gateway.dicom.model import Model
from gateway.dicom.model.bulk_parts import BulkPart
from gateway.dicom.model.json_reader import read_json
from gateway.dicom.model.writer import write
from gateway.dicom.model.xml_reader import read_xml
from gateway.errors import NotUnderstood, OutOfResources, TooLarge
from gateway.render.imported import decode
from gateway.store import Stored, receive, store
from storage.archive import Archive
from storage.errors import ObjectStoreFull, StorageError
from storage.spool import Share, spool_error

__all__ = ["BulkFile", "Model", "compose", "from_json", "from_xml"]

IN_MEMORY = 4096
"""Bytes of a bulk part that are held in memory; a longer one goes to the spool. A request has 10 000 parts at most."""


def from_json(text: bytes) -> list[Model | NotUnderstood]:
    """The instances of an array of the DICOM JSON Model, or why one could not be read.

    Raises NotUnderstood, TooLarge when it is no such array at all.
    """
    return read_json(text)


def from_xml(text: bytes) -> list[Model | NotUnderstood]:
    """The one instance of a document of the Native DICOM Model, or why it could not be read. Raises TooLarge."""
    try:
        return [read_xml(text)]
    except NotUnderstood as refused:
        return [refused]


class BulkFile:
    """One part of bulk data on its way in. Raises TooLarge and OutOfResources from `write`."""

    def __init__(self, archive: Archive, max_bytes: int) -> None:
        self._archive = archive
        self._max_bytes = max_bytes
        self._memory = bytearray()
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._share: Share | None = None
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Take the next bytes."""
        self.size += len(data)
        if self.size > self._max_bytes:
            raise TooLarge(f"the bulk data are larger than the limit of {self._max_bytes} bytes")
        if self._file is None and self.size <= IN_MEMORY:
            self._memory += data
            return
        try:
            if self._share is None:
                self._share = self._archive.spool.admit()
            self._share.add(len(data))
            if self._file is None:
                self._path, self._file = self._archive.spool.create(self._archive.new_version())
                self._file.write(self._memory)
                self._memory.clear()
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        except StorageError as error:
            raise _out_of_resources(error) from error
        except OSError as error:
            raise _out_of_resources(spool_error(error)) from error

    def end(self, media_type: str, transfer_syntax_uid: str | None) -> BulkPart:
        """All bytes are here: the part, good until `close`."""
        if self._file is None or self._path is None:
            return BulkPart(bytes(self._memory), media_type, transfer_syntax_uid)
        self._file.close()
        return BulkPart(self._path, media_type, transfer_syntax_uid)

    def close(self) -> None:
        """Remove the spool file."""
        if self._share is not None:
            self._share.close()
        if self._file is not None and self._path is not None:
            self._file.close()
            with suppress(OSError):
                self._path.unlink(missing_ok=True)


def _out_of_resources(error: StorageError) -> OutOfResources:
    return OutOfResources("no space left", full=isinstance(error, ObjectStoreFull))


def compose(
    archive: Archive,
    model: Model,
    bulk: Mapping[str, Sequence[BulkPart]],
    caller: Caller,
    *,
    max_bytes: int,
    study_uid: str | None = None,
    accept_unknown_classes: bool = True,
    coercer: Coercer | None = None,
) -> Stored:
    """Make the instance and keep it; `bulk` are the parts of the request by BulkDataURI. Raises a Refused."""
    with receive(archive, max_bytes=max_bytes) as incoming:
        write(model, bulk, incoming, decode=decode)
        return store(
            archive,
            incoming,
            caller,
            study_uid=study_uid,
            accept_unknown_classes=accept_unknown_classes,
            check_values=True,
            coercer=coercer,
        )
