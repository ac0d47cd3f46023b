"""The frames of an instance in another encoding, one after the other, and what that changes in the data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy
from numpy.typing import NDArray

from gateway.dicom import compress
from gateway.dicom.codecs import DECODED
from gateway.dicom.description import PixelDescription
from gateway.dicom.element_writer import ElementWriter, exactly
from gateway.dicom.elements import PIXEL_DATA
from gateway.dicom.encoders import ENCODERS, MAX_VALUE, encode_frame
from gateway.dicom.fragment_writer import write_frames
from gateway.dicom.frames import FrameTable
from gateway.dicom.header import Header
from gateway.dicom.pixels import decode_frame
from gateway.errors import NotAcceptable, NotRenderable

_PHOTOMETRIC, _PLANAR, _HIGH_BIT = 0x00280004, 0x00280006, 0x00280102
_LOSSY, LOSSY_RATIO, _LOSSY_METHOD = 0x00282110, 0x00282112, 0x00282114
_RATIO_WIDTH = 10

Changes = dict[int, tuple[str, bytes]]


class Recoded:
    """The frames of the instance in `source`, decoded, and encoded in `syntax_uid` where that is encapsulated.

    Raises NotAcceptable, here or later, where a frame cannot be decoded, told apart, or encoded; Damaged.
    """

    def __init__(self, source: BinaryIO, header: Header, syntax_uid: str, basic_limit: int) -> None:
        self._source = source
        self._header = header
        self._stored = header.meta.transfer_syntax_uid
        self._syntax_uid = syntax_uid
        self._encoder = ENCODERS.get(syntax_uid)
        if header.syntax.encapsulated and self._stored not in DECODED:
            raise self._refusal(f"transfer syntax {self._stored} cannot be decoded")
        try:
            self._description = PixelDescription.from_header(header)
        except NotRenderable as error:
            raise self._refusal(str(error)) from error
        table = FrameTable.read(source, header)
        if table is None:
            raise self._refusal("the frames cannot be told apart")
        self._table = table
        self._first = self._frame(1)
        description = self._description
        bits = description.rows * description.columns
        if description.bits_allocated > 1:
            bits *= description.samples_per_pixel * description.bits_allocated
        self._native_size = (bits * table.count + 7) // 8
        self._extended = self._native_size > basic_limit
        if self._encoder is None and self._native_size > MAX_VALUE - 1:
            raise self._refusal("the decoded pixel data is longer than 4 GiB")

    def _refusal(self, why: str) -> NotAcceptable:
        return NotAcceptable(why, stored=self._stored)

    def _frame(self, number: int) -> tuple[bytes, str]:
        """Frame `number` in its new encoding, and its Photometric Interpretation."""
        offset, length = self._table.span(number)
        self._source.seek(offset)
        data = self._table.extract(number, exactly(self._source, length))
        try:
            frame = decode_frame(data, self._description, self._stored)
        except NotRenderable as error:
            raise self._refusal(str(error)) from error
        if self._encoder is None:
            return compress.native(frame, self._description), frame.photometric_interpretation
        return encode_frame(frame, self._description, self._syntax_uid)

    def changes(self) -> Changes:
        """Elements that become different. The ratio of lossy compression is filled in by `write`."""
        description = self._description
        changes: Changes = {_PHOTOMETRIC: ("CS", _padded(self._first[1]))}
        if description.samples_per_pixel > 1:
            changes[_PLANAR] = ("US", b"\0\0")
        if description.high_bit != description.bits_stored - 1:  # decoders and encoders move the stored bits down
            changes[_HIGH_BIT] = ("US", (description.bits_stored - 1).to_bytes(2, "little"))
        method = self._encoder.method if self._encoder is not None else None
        if method is not None:
            changes[_LOSSY] = ("CS", b"01")
            changes[LOSSY_RATIO] = ("DS", _padded(self._appended(LOSSY_RATIO, " " * _RATIO_WIDTH), left=True))
            changes[_LOSSY_METHOD] = ("CS", _padded(self._appended(_LOSSY_METHOD, method)))
        elif self._header.syntax.lossy and self._header.text(_LOSSY) is None:
            changes[_LOSSY] = ("CS", b"01")
        return changes

    def _appended(self, tag: int, value: str) -> str:
        before = self._header.text(tag)
        return value if before is None else f"{before}\\{value}"

    def write(self, writer: ElementWriter, out: BinaryIO, ratio_end: int) -> None:
        """Pixel Data, one frame at a time. `ratio_end` is where the value of the lossy ratio ends in `out`, else 0."""
        if self._encoder is None:
            self._write_native(writer)
            return
        frames = (data for data, _ in self._frames())
        length = write_frames(out, frames, self._table.count, extended=self._extended)
        if ratio_end:
            end = out.tell()
            out.seek(ratio_end - _RATIO_WIDTH)
            out.write(f"{self._native_size / max(length, 1):.4f}"[:_RATIO_WIDTH].ljust(_RATIO_WIDTH).encode("ascii"))
            out.seek(end)

    def _write_native(self, writer: ElementWriter) -> None:
        size = self._native_size
        writer.head(PIXEL_DATA, "OW" if self._description.bits_allocated > 8 else "OB", size + size % 2)
        for piece in self._packed() if self._description.bits_allocated == 1 else self._natives():
            writer.out.write(piece)
        if size % 2:
            writer.out.write(b"\0")

    def _frames(self) -> Iterator[tuple[bytes, str]]:
        for number in range(1, self._table.count + 1):
            data, photometric = self._first if number == 1 else self._frame(number)
            if photometric != self._first[1]:
                raise self._refusal("the frames differ in their encoding")
            yield data, photometric

    def _natives(self) -> Iterator[bytes]:
        for data, _ in self._frames():
            if len(data) != len(self._first[0]):
                raise self._refusal("the frames differ in their encoding")
            yield data

    def _packed(self) -> Iterable[bytes]:
        """1-bit frames follow each other without a gap, whether or not they fill bytes (PS3.5 8.1.1)."""
        pixels = self._description.rows * self._description.columns
        rest: NDArray[numpy.uint8] = numpy.zeros(0, numpy.uint8)
        for data in self._natives():
            bits = numpy.unpackbits(numpy.frombuffer(data, numpy.uint8), count=pixels, bitorder="little")
            bits = numpy.concatenate((rest, bits))
            whole = len(bits) // 8 * 8
            yield numpy.packbits(bits[:whole], bitorder="little").tobytes()
            rest = bits[whole:]
        yield numpy.packbits(rest, bitorder="little").tobytes()


def _padded(text: str, *, left: bool = False) -> bytes:
    space = " " * (len(text) % 2)
    return (space + text if left else text + space).encode("ascii")
