"""Softcopy presentation states: the images that one refers to, as it shows them (PS3.3 A.33, PS3.4 N.2)."""

from __future__ import annotations

from gateway.render.presentation.picture import Region, present
from gateway.render.presentation.state import Reference, State
from gateway.render.presentation.stored import Members, laid_over, members, through

__all__ = ["Members", "Reference", "Region", "State", "laid_over", "members", "present", "through"]
