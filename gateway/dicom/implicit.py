"""A whole instance from Explicit to Implicit VR Little Endian (PS3.5 A.1), for peers that read nothing else."""

from __future__ import annotations

import struct
from typing import BinaryIO

from gateway.dicom.elements import Element
from gateway.dicom.header import Header
from gateway.dicom.part10 import FileMeta, build_head
from gateway.dicom.uids import IMPLICIT_LITTLE_ENDIAN
from gateway.errors import Damaged

_BLOCK = 1 << 20
_HEAD = struct.Struct("<HHL")
_UNDEFINED = 0xFFFFFFFF
_ITEM = _HEAD.pack(0xFFFE, 0xE000, _UNDEFINED)
_ITEM_END = _HEAD.pack(0xFFFE, 0xE00D, 0)
_SEQUENCE_END = _HEAD.pack(0xFFFE, 0xE0DD, 0)


def to_implicit_little_endian(source: BinaryIO, header: Header, out: BinaryIO) -> None:
    """Write the instance as a Part 10 file in Implicit VR Little Endian to `out`; neither stream is closed.

    `source` is a native little-endian file and `header` its header, read with the whole structure checked; values stay
    as they are. Raises Damaged when `source` is shorter than its header says.
    """
    meta = FileMeta(header.meta.sop_class_uid, header.meta.sop_uid, IMPLICIT_LITTLE_ENDIAN)
    out.write(build_head(meta))
    elements = [*header.elements] if header.pixel is None else [*header.elements, header.pixel]
    for element in sorted(elements, key=_tag):
        _write(source, element, out)


def _write(source: BinaryIO, element: Element, out: BinaryIO) -> None:
    group, number = element.tag >> 16, element.tag & 0xFFFF
    if element.items is not None:
        out.write(_HEAD.pack(group, number, _UNDEFINED))
        for item in element.items:
            out.write(_ITEM)
            for inner in sorted(item, key=_tag):
                _write(source, inner, out)
            out.write(_ITEM_END)
        out.write(_SEQUENCE_END)
        return
    out.write(_HEAD.pack(group, number, element.length))
    if element.value is not None:
        out.write(element.value)
        return
    source.seek(element.offset)
    left = element.length
    while left:
        block = source.read(min(left, _BLOCK))
        if not block:
            raise Damaged("the stored object is shorter than its header says")
        out.write(block)
        left -= len(block)


def _tag(element: Element) -> int:
    return element.tag
