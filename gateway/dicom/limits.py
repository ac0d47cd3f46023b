"""How much of a file the reader believes before it calls the file hostile."""

from __future__ import annotations

from dataclasses import dataclass

KEEP = 65536
"""Values longer than this many bytes are not loaded by default; they are read where they lie."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one reading; a file beyond them is NotUnderstood.

    `depth` of nested sequences; `elements` of data elements and items, at all levels together; `fragments` of
    encapsulated Pixel Data; `kept` bytes of values held in memory (further values are left in the file, which is no
    error). A deflated data set may be `inflated` bytes long at most, and beyond `inflated_freely` bytes no longer than
    `inflate_ratio` times the file.
    """

    depth: int = 64
    elements: int = 200_000
    fragments: int = 2_000_000
    kept: int = 64 * 1024 * 1024
    inflated: int = 2 * 1024 * 1024 * 1024
    inflated_freely: int = 16 * 1024 * 1024
    inflate_ratio: int = 200


DEFAULT = Limits()
