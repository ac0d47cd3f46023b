"""Data sets byte by byte, lawful or not, for the tests of the reader."""

from __future__ import annotations

import struct

from gateway.dicom.part10 import FileMeta, build_head
from gateway.dicom.uids import EXPLICIT_LITTLE_ENDIAN

UNDEFINED = 0xFFFFFFFF
CLASS = "1.2.840.10008.5.1.4.1.1.2"
INSTANCE = "1.2.3.4.5"
JPEG_2000 = "1.2.840.10008.1.2.4.90"
LONG = frozenset(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"])


def tag_bytes(tag: int, order: str = "<") -> bytes:
    return struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)


def explicit(tag: int, vr: str, value: bytes = b"", length: int | None = None, order: str = "<") -> bytes:
    """An element in Explicit VR; `length` overrides the true one."""
    size = len(value) if length is None else length
    head = tag_bytes(tag, order) + vr.encode()
    return head + (struct.pack(order + "HI", 0, size) if vr in LONG else struct.pack(order + "H", size)) + value


def implicit(tag: int, value: bytes = b"", length: int | None = None) -> bytes:
    """An element in Implicit VR Little Endian."""
    return tag_bytes(tag) + struct.pack("<I", len(value) if length is None else length) + value


def item(content: bytes = b"", undefined: bool = False, order: str = "<") -> bytes:
    if undefined:
        return tag_bytes(0xFFFEE000, order) + struct.pack(order + "I", UNDEFINED) + content + item_end(order)
    return tag_bytes(0xFFFEE000, order) + struct.pack(order + "I", len(content)) + content


def item_end(order: str = "<") -> bytes:
    return tag_bytes(0xFFFEE00D, order) + bytes(4)


def sequence_end(order: str = "<") -> bytes:
    return tag_bytes(0xFFFEE0DD, order) + bytes(4)


def sequence(tag: int, *items: bytes, undefined: bool = False, vr: str = "SQ", order: str = "<") -> bytes:
    """A sequence in Explicit VR."""
    content = b"".join(items)
    if undefined:
        return explicit(tag, vr, content + sequence_end(order), UNDEFINED, order)
    return explicit(tag, vr, content, None, order)


def fragments(*values: bytes, table: bytes = b"") -> bytes:
    """Encapsulated Pixel Data."""
    content = b"".join(map(item, (table, *values)))
    return explicit(0x7FE00010, "OB", content + sequence_end(), UNDEFINED)


def identity() -> bytes:
    return (
        explicit(0x00080016, "UI", CLASS.encode() + b"\0" * (len(CLASS) % 2))
        + explicit(0x00080018, "UI", INSTANCE.encode() + b"\0" * (len(INSTANCE) % 2))
    )  # fmt: skip


def part10(data_set: bytes, syntax: str = EXPLICIT_LITTLE_ENDIAN) -> bytes:
    return build_head(FileMeta(CLASS, INSTANCE, syntax)) + data_set
