"""What becomes of the parts of a Store request while it arrives: spooled, and nothing else (PS3.18 10.5.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.compose import BulkFile, Model, from_json, from_xml
from gateway.dicom.model import MAX_BYTES
from gateway.dicom.model.bulk_parts import BulkPart
from gateway.dicomweb.media_types import parse_content_type
from gateway.errors import BadRequest, NotUnderstood, Refused, TooLarge
from gateway.store import Incoming, receive
from storage.archive import Archive

JSON_TYPES = frozenset({"application/dicom+json", "application/json"})
XML_TYPES = frozenset({"application/dicom+xml", "application/xml", "text/xml"})
MAX_METADATA = MAX_BYTES
"""Bytes of all metadata of one request together (S-64)."""


@dataclass(slots=True)
class Received:
    """One instance as it came: its spool file, or its metadata, or why it has neither."""

    incoming: Incoming | None = None
    model: Model | None = None
    refused: Refused | None = None

    def refuse(self, refused: Refused) -> None:
        """It will not be stored: its spool file goes now."""
        self.refused = refused
        if self.incoming is not None:
            self.incoming.close()
            self.incoming = None


class FileParts:
    """Spools Part 10 files, each by itself: what one of them lacks is no harm to the others."""

    def __init__(self, archive: Archive, max_bytes: int) -> None:
        self._archive = archive
        self._max_bytes = max_bytes
        self._received: list[Received] = []
        self.bulk: dict[str, list[BulkPart]] = {}

    def begin(self, headers: Mapping[str, str]) -> None:
        """A part begins. One that says it is something else than a Part 10 file is not looked into."""
        self._received.append(Received())
        media_type, _ = parse_content_type(headers.get("content-type", "application/dicom"))
        if media_type not in ("application/dicom", "application/octet-stream"):
            self._received[-1].refused = NotUnderstood("the part is no application/dicom")

    def data(self, piece: memoryview | bytes) -> None:
        """More bytes of the part."""
        part = self._received[-1]
        if part.refused is not None:
            return
        try:
            if part.incoming is None:
                part.incoming = receive(self._archive, max_bytes=self._max_bytes)
            part.incoming.write(piece)
        except Refused as refused:
            part.refuse(refused)

    def end(self) -> None:
        """The part is complete."""
        part = self._received[-1]
        try:
            if part.incoming is not None:
                part.incoming.park()
            elif part.refused is None:
                part.refused = NotUnderstood("the part is empty")
        except Refused as refused:
            part.refuse(refused)

    def instances(self) -> list[Received]:
        """What came, once all of it is here."""
        return self._received

    def close(self) -> None:
        """Remove the spool files of what was not stored."""
        for part in self._received:
            if part.incoming is not None:
                part.incoming.close()


@dataclass(slots=True)
class _Bulk:
    names: list[str]
    media_type: str
    transfer_syntax_uid: str | None
    file: BulkFile


@dataclass(slots=True)
class ModelParts:
    """Collects metadata, in JSON or XML, and spools the bulk data that they name (STOW-03)."""

    archive: Archive
    max_bytes: int
    types: frozenset[str]
    bulk: dict[str, list[BulkPart]] = field(default_factory=dict)
    _texts: list[bytearray] = field(default_factory=list)
    _files: list[BulkFile] = field(default_factory=list)
    _current: _Bulk | None = None
    _size: int = 0

    def begin(self, headers: Mapping[str, str]) -> None:
        """A part begins: metadata, or bulk data, which has a Content-Location or a Content-ID."""
        media_type, parameters = parse_content_type(headers.get("content-type", "application/octet-stream"))
        self._current = None
        if media_type in self.types:
            self._texts.append(bytearray())
            return
        names = [headers["content-location"]] if "content-location" in headers else []
        if "content-id" in headers:
            names.append("cid:" + headers["content-id"].strip("<> "))
        if not names:
            raise BadRequest(
                "Content-Location", "a part of bulk data has the Content-Location that a BulkDataURI names"
            )
        file = BulkFile(self.archive, self.max_bytes)
        self._files.append(file)
        self._current = _Bulk(names, media_type, parameters.get("transfer-syntax"), file)

    def data(self, piece: memoryview | bytes) -> None:
        """More bytes of the part. Raises TooLarge, OutOfResources: without its bulk data no instance is whole."""
        if self._current is not None:
            self._current.file.write(piece)
            return
        self._size += len(piece)
        if self._size > MAX_METADATA:
            raise TooLarge(f"the metadata are longer than the limit of {MAX_METADATA} bytes")
        self._texts[-1] += piece

    def end(self) -> None:
        """The part is complete."""
        if self._current is None:
            return
        part = self._current.file.end(self._current.media_type, self._current.transfer_syntax_uid)
        for name in self._current.names:
            self.bulk.setdefault(name, []).append(part)

    def instances(self) -> list[Received]:
        """The instances of all metadata. Raises NotUnderstood where they are none, and BadRequest."""
        if not self._texts:
            raise BadRequest("body", "the request holds no metadata")
        found: list[Received] = []
        for text in self._texts:
            for one in from_json(bytes(text)) if self.types is JSON_TYPES else from_xml(bytes(text)):
                found.append(Received(refused=one) if isinstance(one, NotUnderstood) else Received(model=one))
        if not found:
            raise BadRequest("body", "the metadata hold no instance")
        return found

    def close(self) -> None:
        """Remove the spool files."""
        for file in self._files:
            file.close()
