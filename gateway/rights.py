"""What a caller may do, and with which studies.

Rights are worked out once, where somebody comes in; every use case asks them. Nothing is granted that is not listed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import product

from gateway.errors import Forbidden
from storage.query import Within


class Action(Enum):
    """What can be permitted. READ covers instances, metadata, frames, bulk data and pictures; SHARE is making links."""

    SEARCH = "search"
    READ = "read"
    STORE = "store"
    DELETE = "delete"
    SHARE = "share"
    ADMIN = "admin"
    MONITOR = "monitor"


@dataclass(frozen=True, slots=True)
class Rights:
    """The permitted actions, each with the studies that it is permitted for (None: all of them)."""

    granted: Mapping[Action, Within | None] = field(default_factory=dict)

    @classmethod
    def to(cls, actions: Iterable[Action], within: Within | None = None) -> Rights:
        """These actions, with these studies."""
        return cls(dict.fromkeys(actions, within))

    def may(self, action: Action) -> bool:
        """Is it permitted, with any study at all?"""
        return action in self.granted

    def within(self, action: Action) -> Within | None:
        """The studies that it is permitted for; None: all of them. Raises Forbidden."""
        if action not in self.granted:
            raise Forbidden(action.value)
        return self.granted[action]

    def __or__(self, other: Rights) -> Rights:
        """What one of both permits."""
        found = dict(self.granted)
        for action, within in other.granted.items():
            mine = found.get(action, ())
            found[action] = None if mine is None or within is None else (*mine, *(w for w in within if w not in mine))
        return Rights(found)

    def __and__(self, other: Rights) -> Rights:
        """What both permit."""
        return Rights(
            {
                action: _both(within, other.granted[action])
                for action, within in self.granted.items()
                if action in other.granted
            }
        )


def _both(one: Within | None, other: Within | None) -> Within | None:
    if one is None or other is None:
        return other if one is None else one
    return tuple((*first, *second) for first, second in product(one, other))


EVERYTHING = Rights.to(Action)
"""Of the program itself and its commands, and of everybody where the gateway runs open on loopback."""
NOTHING = Rights()
