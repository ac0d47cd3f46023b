"""Data elements of a Part 10 file, found by a bounded reader that skips what is large (PS3.5 7)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Element:
    """One data element where it lies in the file.

    `tag` is (group << 16) | element; `vr` two letters, looked up for Implicit VR. `offset` and `length` are those of
    the value in the file, in bytes (`length` of an undefined-length value counts up to, without, its delimiter).
    `value` holds the raw bytes in the file's byte order, or None when they are longer than the reader was told to keep
    (then read them at `offset`), or when it is a sequence. `items` holds the items of a sequence, else None.
    `encapsulated` marks Pixel Data of undefined length: fragments (PS3.5 A.4).
    """

    tag: int
    vr: str
    offset: int
    length: int
    value: bytes | None = None
    items: list[list[Element]] | None = None
    encapsulated: bool = False
