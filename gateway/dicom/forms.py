"""How element headers are laid out in each form of encoding (PS3.5 7.1.2, 7.1.3, 7.3)."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any


class Form:
    """Unpackers of one form: `header` gives group, element, VR (Explicit only) and a length; `long` the length of the
    long form; `item` group, element and length of an item or delimiter, which has no VR (PS3.5 7.5)."""

    __slots__ = ("header", "implicit", "item", "little_endian", "long")

    def __init__(self, implicit: bool, little_endian: bool) -> None:
        order = "<" if little_endian else ">"
        self.implicit = implicit
        self.little_endian = little_endian
        self.header: Callable[..., tuple[Any, ...]] = Struct(order + ("HHI" if implicit else "HH2sH")).unpack_from
        self.long: Callable[..., tuple[Any, ...]] = Struct(order + "I").unpack_from
        self.item: Callable[..., tuple[Any, ...]] = Struct(order + "HHI").unpack_from


IMPLICIT = Form(True, True)
EXPLICIT = Form(False, True)
FORMS = {(True, True): IMPLICIT, (False, True): EXPLICIT, (False, False): Form(False, False)}
"""By whether VRs are implicit and whether the byte order is little endian."""
