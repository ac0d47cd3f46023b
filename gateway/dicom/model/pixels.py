"""Compressed bulk data as encapsulated Pixel Data: one fragment for each frame (PS3.5 A.4)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from gateway.dicom.elements import PIXEL_DATA
from gateway.dicom.model import Model, ModelElement
from gateway.dicom.model.bulk_parts import BulkPart, CompressedFrame, pieces, read_frame
from gateway.dicom.model.image_description import check_frames, complete, of_codestream, require
from gateway.dicom.model.video_header import read_video
from gateway.dicom.uids import TransferSyntax, syntax
from gateway.errors import ClassMismatch, TooLarge

MAX_FRAGMENT = 0xFFFFFFFE
"""Longest fragment, in bytes."""
MAX_OFFSET = 0xFFFFFFFF
"""Largest offset in a Basic Offset Table, in bytes; beyond, the Extended Offset Table takes its place."""

_ITEM = struct.Struct("<HHI")
_SEQUENCE_END = _ITEM.pack(0xFFFE, 0xE0DD, 0)
_EXTENDED_OFFSETS, _EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002


@dataclass(frozen=True, slots=True)
class Encapsulated:
    """The frames of one instance, each where its part has it, and the transfer syntax that is true of all."""

    frames: Sequence[CompressedFrame]
    syntax: TransferSyntax
    max_offset: int = MAX_OFFSET

    @classmethod
    def of(cls, parts: Sequence[BulkPart], model: Model) -> Encapsulated:
        """Look at every part, and complete the Image Pixel Description of `model` by what they say.

        Raises:
            NotUnderstood, SyntaxNotSupported: a part is not what it is called, or says too little of itself.
            ClassMismatch: the parts are of different kinds, or contradict the metadata.
            TooLarge: a frame does not fit a fragment.
        """
        frames = [read_frame(part) for part in parts]
        common = [uid for uid in frames[0].syntaxes if all(uid in frame.syntaxes for frame in frames)]
        if not common:
            raise ClassMismatch("the frames have no transfer syntax in common", PIXEL_DATA)
        found = cls(frames, syntax(common[0]))
        if found.syntax.video:
            found._complete_video(model)
            return found
        check_frames(model, len(frames))
        for frame in frames:
            if frame.length > MAX_FRAGMENT:
                raise TooLarge("a frame is too large for a fragment", PIXEL_DATA)
            if frame.stream is not None:
                complete(model, of_codestream(frame.stream, common[0]))
        require(model)
        return found

    def _complete_video(self, model: Model) -> None:
        """A video is one stream, in one fragment unless the syntax allows several (PS3.5 8.2.5 to 8.2.12)."""
        if len(self.frames) != 1:
            raise ClassMismatch("a video has one part", PIXEL_DATA)
        frame = self.frames[0]
        if frame.length > MAX_FRAGMENT and not self.syntax.fragmentable:
            raise TooLarge(
                "the video is too large for one fragment, and its transfer syntax allows no other", PIXEL_DATA
            )
        with frame.part.open() as stream:
            described = read_video(stream, frame.length, self.syntax.uid)
        if described is not None:
            complete(model, described)
        require(model)

    def extended_offset_table(self) -> Model:
        """Extended Offset Table and its lengths (PS3.3 C.7.6.3.1.8), where the Basic one does not reach far enough."""
        offsets = self._offsets()
        if self.syntax.video or offsets[-1] <= self.max_offset:
            return {}
        lengths = [frame.length + frame.length % 2 for frame in self.frames]
        return {
            _EXTENDED_OFFSETS: ModelElement("OV", struct.pack(f"<{len(offsets)}Q", *offsets)),
            _EXTENDED_LENGTHS: ModelElement("OV", struct.pack(f"<{len(lengths)}Q", *lengths)),
        }

    def fragments(self) -> Iterator[bytes]:
        """The value of Pixel Data: Basic Offset Table, a fragment for each frame, delimiter."""
        offsets = self._offsets()
        basic = not self.syntax.video and offsets[-1] <= self.max_offset
        table = struct.pack(f"<{len(offsets)}I", *offsets) if basic else b""
        yield _ITEM.pack(0xFFFE, 0xE000, len(table)) + table
        for frame in self.frames:
            for start in range(0, frame.length, MAX_FRAGMENT):
                length = min(frame.length - start, MAX_FRAGMENT)
                yield _ITEM.pack(0xFFFE, 0xE000, length + length % 2)
                yield from pieces(frame.part, frame.offset + start, length)
                if length % 2:
                    yield b"\0"
        yield _SEQUENCE_END

    def _offsets(self) -> list[int]:
        """Where each frame's item is, in bytes from the first one's."""
        sizes = (_ITEM.size + frame.length + frame.length % 2 for frame in self.frames[:-1])
        return list(accumulate(sizes, initial=0))
