"""A Part 10 file in memory with its header and frames, as the gateway would have them."""

from __future__ import annotations

from io import BytesIO

from pydicom.dataset import Dataset

from gateway.dicom.frames import FrameTable
from gateway.dicom.header import Header, read_header
from tests.parts.datasets import part10_bytes

EXPLICIT = "1.2.840.10008.1.2.1"


class Opened:
    """A file's header, and its frames by number (1-based). Look-up tables of any length are kept."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.header: Header = read_header(BytesIO(data), len(data), keep=1 << 18)
        self.stream = self.header.inflated or BytesIO(data)
        self.table = FrameTable.read(self.stream, self.header)

    @property
    def syntax_uid(self) -> str:
        return self.header.meta.transfer_syntax_uid

    def frame(self, number: int = 1) -> bytes:
        assert self.table is not None, "the file has no frames"
        offset, length = self.table.span(number)
        self.stream.seek(offset)
        return self.table.extract(number, self.stream.read(length))


def opened(ds: Dataset, transfer_syntax: str = EXPLICIT) -> Opened:
    """The data set, written as a file."""
    return Opened(part10_bytes(ds, transfer_syntax))
