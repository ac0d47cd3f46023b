"""What an object is held against: a digest of all its bytes, in one of two forms.

The plain one is the SHA-256 of the file. A seal is the SHA-256 of what comes before the data set followed by the data
set's own SHA-256, which every store works out anyway: so nothing is digested twice. Either tells any change. A server
that checks for itself what arrives is told the plain one; a folder with SQLite takes seals.
"""

from __future__ import annotations

import hashlib

_START, _LONGEST = 144, 1 << 17
_GROUP_LENGTH = b"DICM\x02\0\0\0UL\4\0"


def head_size(data: bytes | bytearray | memoryview) -> int:
    """Bytes before the data set of a Part 10 file that begins with `data`; 0 where it does not say so as ours do."""
    if len(data) < _START or bytes(data[128:140]) != _GROUP_LENGTH:
        return 0
    size = _START + int.from_bytes(data[140:_START], "little")
    return size if size <= _LONGEST else 0


def seal(head: bytes | bytearray, dataset: bytes) -> str:
    """The seal (hex) of a file, of its head and of the SHA-256 of its data set."""
    return hashlib.sha256(bytes(head) + dataset).hexdigest()


class Sealer:
    """Works out the seal of a file that goes by in pieces; like one of `hashlib`."""

    def __init__(self) -> None:
        self._begun = bytearray()
        self._head: bytes | None = None
        self._dataset = hashlib.sha256()

    def update(self, data: bytes | memoryview) -> None:
        """The next bytes."""
        if self._head is not None:
            self._dataset.update(data)
            return
        self._begun += data
        size = head_size(self._begun)
        if len(self._begun) >= max(size, _START):
            self._head = bytes(self._begun[:size])
            self._dataset.update(self._begun[size:])

    def hexdigest(self) -> str:
        """The seal of all that went by."""
        if self._head is None:
            return seal(b"", hashlib.sha256(self._begun).digest())
        return seal(self._head, self._dataset.digest())
