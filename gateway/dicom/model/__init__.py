"""A data set on its way in from the DICOM JSON Model or the Native DICOM Model, before it is a file.

Both readers (`json_reader`, `xml_reader`) make the same: an ordinary mapping from tag to element, with values already
as Explicit VR Little Endian has them, so that what cannot be encoded is found where it stands. `writer` makes the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.dicom.vr import WIDTH
from gateway.errors import NotUnderstood

MAX_BYTES = 16 * 1024 * 1024
"""Longest JSON or XML text that is read by default (S-64). Pixel data is bulk data, and no part of it."""

SOP_CLASS_UID, SOP_INSTANCE_UID = 0x00080016, 0x00080018


@dataclass(slots=True)
class ModelElement:
    """One data element: a value, or items, or where its bulk data is.

    `value` is the encoded value, text in UTF-8, without the padding to even length. `items` are those of a sequence.
    `bulk_uri` is a BulkDataURI: a name for a part of the same request, never an address to fetch from (S-63).
    """

    vr: str
    value: bytes = b""
    items: list[Model] | None = None
    bulk_uri: str | None = None


Model = dict[int, ModelElement]
"""The elements of a data set or item by tag ((group << 16) | element), in any order."""


def bulk_uris(model: Model) -> Iterator[tuple[int, str]]:
    """Tag and BulkDataURI of every element that has one, sequences included."""
    for tag, element in model.items():
        if element.bulk_uri is not None:
            yield tag, element.bulk_uri
        for item in element.items or ():
            yield from bulk_uris(item)


def text(model: Model, tag: int) -> str | None:
    """The first value of an element of a text VR, without padding; None where it is absent, empty or elsewhere."""
    element = model.get(tag)
    if element is None or element.vr in WIDTH:
        return None
    return element.value.partition(b"\\")[0].decode("utf-8", "replace").strip(" \0") or None


def number(model: Model, tag: int) -> int | None:
    """The first value of US, UL, SS, SL or IS; None where it is absent, empty or no number."""
    element = model.get(tag)
    if element is None:
        return None
    width = WIDTH.get(element.vr)
    if width is not None:
        return int.from_bytes(element.value[:width], "little", signed=element.vr[0] == "S") if element.value else None
    digits = text(model, tag) or ""
    try:
        return int(digits) if len(digits) <= 16 else None
    except ValueError:
        return None


def not_understood(model: Model, error: NotUnderstood) -> NotUnderstood:
    """The error with the instance's UIDs, where they are known, for the answer (PS3.18 I.2.2)."""
    error.sop_uid = text(model, SOP_INSTANCE_UID)
    error.sop_class_uid = text(model, SOP_CLASS_UID)
    return error
