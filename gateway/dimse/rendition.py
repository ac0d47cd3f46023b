"""An instance in the transfer syntax of a presentation context."""

from __future__ import annotations

from gateway.dicom.uids import IMPLICIT_LITTLE_ENDIAN
from gateway.implicit import implicit
from gateway.retrieve import Blob, part10
from storage.archive import Archive
from storage.records import Located


def rendition(archive: Archive, located: Located, syntax_uid: str) -> Blob:
    """The Part 10 file of an instance in this syntax. Raises NotAcceptable, Damaged, Unavailable.

    Implicit VR Little Endian leaves by this door only: the web forbids it (PS3.18 8.7.3).
    """
    if syntax_uid == IMPLICIT_LITTLE_ENDIAN != located.transfer_syntax_uid:
        return implicit(archive, located)
    return part10(archive, located, syntax_uid)
