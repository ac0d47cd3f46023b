"""What the index keeps of one instance: its header read, its identity checked, its record made.

Used by every store and by the rebuild, so both come to the same rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import BinaryIO

from xxhash import xxh3_128

from gateway.dicom.frames import FrameTable
from gateway.dicom.header import Header, ItemView, read_header
from gateway.dicom.uids import is_uid
from gateway.errors import NotUnderstood
from storage.attributes import ATTRIBUTES, SEQUENCES, Attribute
from storage.records import InstanceRecord, Value
from storage.seal import seal

IDENTITY = {
    0x00080016: "SOP Class UID",
    0x00080018: "SOP Instance UID",
    0x0020000D: "Study Instance UID",
    0x0020000E: "Series Instance UID",
}
_REQUESTS = "RequestAttributesSequence"
_OWN = tuple(one for one in ATTRIBUTES if not (one.computed or one.sequence))
_OF_REQUESTS = tuple(one for one in ATTRIBUTES if one.sequence == _REQUESTS)
TEXT_LIMIT = 1024
"""Characters of a value that the index keeps; no lawful value of an indexed VR is longer."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The UIDs that say which instance a data set is (PS3.3 C.12.1, C.7.2.1, C.7.3.1)."""

    sop_class_uid: str
    sop_uid: str
    study_uid: str
    series_uid: str


@dataclass(frozen=True, slots=True)
class Digests:
    """SHA-256 in hex: of the whole Part 10 file, plain or as its seal, and of the data set without group 0002; and the
    file's XXH3-128."""

    file: str
    dataset: str
    checksum: str


class Digester:
    """Works them out while the file goes by; where the file is to be `sealed`, without digesting it twice."""

    def __init__(self, *, sealed: bool) -> None:
        self._file = None if sealed else hashlib.sha256()
        self._dataset, self._checksum = hashlib.sha256(), xxh3_128()
        self._head = b""

    def head(self, data: bytes) -> None:
        """What comes before the data set."""
        self._head = data
        if self._file is not None:
            self._file.update(data)
        self._checksum.update(data)

    def dataset(self, data: bytes | bytearray | memoryview) -> None:
        """More bytes of the data set."""
        if self._file is not None:
            self._file.update(data)
        self._dataset.update(data)
        self._checksum.update(data)

    def digests(self) -> Digests:
        """Of all that went by."""
        file = self.seal() if self._file is None else self._file.hexdigest()
        return Digests(file, self._dataset.hexdigest(), self._checksum.hexdigest())

    def seal(self) -> str:
        """The seal of the file."""
        return seal(self._head, self._dataset.digest())


def identity(header: Header) -> Identity:
    """The data set's UIDs. Raises NotUnderstood when one is missing or malformed (S-21, S-41)."""
    found = []
    for tag, name in IDENTITY.items():
        uid = header.text(tag)
        if not uid:
            raise NotUnderstood(f"the data set has no {name}", tag)
        if not is_uid(uid):
            raise NotUnderstood(f"{name} is malformed: PS3.5 9.1 allows digits and dots, at most 64", tag)
        found.append(uid)
    return Identity(*found)


def describe(
    stream: BinaryIO, size: int, header: Header, digests: Digests, *, version: str, key: str
) -> InstanceRecord:
    """The record of the Part 10 file `stream` of `size` bytes. Raises NotUnderstood.

    Of a coerced instance, the digest of the data set is that of what was received: the same again is a duplicate.
    """
    who = identity(header)
    table = FrameTable.read(header.inflated or stream, header)
    values: dict[str, Value] = {}
    for attribute in _OWN:
        value = _value(header, attribute)
        if value is not None:
            values[attribute.keyword] = value
    return InstanceRecord(
        study_uid=who.study_uid,
        series_uid=who.series_uid,
        sop_uid=who.sop_uid,
        sop_class_uid=who.sop_class_uid,
        transfer_syntax_uid=header.meta.transfer_syntax_uid,
        version=version,
        key=key,
        size=size,
        digest=digests.file,
        checksum=digests.checksum,
        dataset_digest=header.meta.received_digest or digests.dataset,
        header_size=header.size,
        frames=table.to_bytes() if table is not None else None,
        attributes=values,
        requests=_requests(header),
    )


def read_and_describe(
    stream: BinaryIO, size: int, *, version: str, key: str, sealed: bool = False, kept: str = ""
) -> InstanceRecord:
    """As `describe`, reading the header and the digests first: for objects that were stored before.

    `kept` is the digest of the file that was kept with it, in whichever form; without one, `sealed` says which it is.
    """
    header = read_header(stream, size)
    digests = _digest(stream, header.dataset_offset, sealed=sealed, kept=kept)
    return describe(stream, size, header, digests, version=version, key=key)


def _digest(stream: BinaryIO, dataset_offset: int, *, sealed: bool, kept: str) -> Digests:
    digester = Digester(sealed=False)
    stream.seek(0)
    digester.head(stream.read(dataset_offset))
    while chunk := stream.read(1 << 20):
        digester.dataset(chunk)
    digests = digester.digests()
    if kept == digester.seal() or (sealed and kept != digests.file):
        return replace(digests, file=digester.seal())
    return digests


def _value(source: Header | ItemView, attribute: Attribute) -> Value | None:
    if attribute.vr in {"IS", "US"}:
        return source.number(attribute.tag)
    text = source.text(attribute.tag)
    if not text:
        return None
    # no database takes a NUL or half a surrogate pair (S-29)
    text = text.replace("\0", "").encode("utf-8", "replace").decode()[:TEXT_LIMIT]
    if attribute.vr == "DA":
        text = text.replace(".", "")  # ACR-NEMA wrote 1993.08.22
    elif attribute.vr == "TM":
        text = text.replace(":", "")
    return text or None


def _requests(header: Header) -> tuple[dict[str, str], ...]:
    items = []
    for item in header.sequence(SEQUENCES[_REQUESTS]):
        values = {a.keyword.rpartition(".")[2]: str(v) for a in _OF_REQUESTS if (v := _value(item, a)) is not None}
        if values:
            items.append(values)
    return tuple(items)
