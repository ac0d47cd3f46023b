"""What rendering reads of a stored instance: its header with long tables, and bytes wherever they lie."""

from __future__ import annotations

from collections.abc import Callable

from gateway import retrieve
from gateway.dicom.header import Header
from gateway.render.parameters import load_tables
from storage.archive import Archive
from storage.records import Located


def header_of(archive: Archive, located: Located) -> Header:
    """The header, with the long tables that a reader of headers leaves out: 65,536 entries have 131,072 bytes."""
    header = retrieve.header(archive, located)
    load_tables(header, reader(archive, located, header))
    return header


def reader(archive: Archive, located: Located, header: Header) -> Callable[[int, int], bytes]:
    """Gives bytes of the instance by offset and length, as the elements of `header` name them."""

    def read(offset: int, length: int) -> bytes:
        if header.inflated is not None:
            header.inflated.seek(offset)
            return header.inflated.read(length)
        with retrieve.reading():
            return archive.read(located, offset, length)

    return read
