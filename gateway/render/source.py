"""What rendering reads of a stored instance: its header with long tables, and bytes wherever they lie."""

from __future__ import annotations

from collections.abc import Callable

from gateway import retrieve
from gateway.dicom.header import Header
from gateway.render.overlays import load_overlays
from gateway.render.parameters import load_tables
from gateway.render.profiles import load_profiles
from storage.archive import Archive
from storage.records import Located


def header_of(archive: Archive, located: Located, *, profiles: bool = False) -> Header:
    """The header, with what a reader of headers leaves out for its length: tables, overlays, and `profiles`."""
    header = retrieve.header(archive, located)
    read = reader(archive, located, header)
    load_tables(header, read)
    load_overlays(header, read)
    if profiles:
        load_profiles(header, read)
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
