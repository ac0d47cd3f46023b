"""Which picture stands for many."""

from __future__ import annotations

from collections.abc import Sequence

from gateway import retrieve
from gateway.errors import NotRenderable
from gateway.render.kinds import Kind, kind_of
from storage.records import Located


def representative(found: Sequence[Located]) -> tuple[Located, int]:
    """The instance and the frame (1-based) whose picture stands for all of them. Raises NotRenderable.

    The frame in the middle of the instance with frames that is nearest to the middle.
    """
    middle = len(found) // 2
    for position in sorted(range(len(found)), key=lambda position: abs(position - middle)):
        located = found[position]
        if kind_of(located) is Kind.FRAMES:
            return located, (retrieve.frame_table(located).count + 1) // 2
    raise NotRenderable("nothing here has a picture")
