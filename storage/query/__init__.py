"""A search, and what each of its conditions means (PS3.4 C.2.2.2): the one matcher.

`condition` turns the text of a matching key into a typed condition, by VR, once. `matches` applies it to values in
memory; `storage.index.search` turns the same condition into SQL; a shared table of cases holds the two together.
"""

from storage.query.conditions import (
    LITERAL,
    TIMEZONE,
    AnyOf,
    Between,
    Condition,
    Empty,
    Equals,
    Every,
    How,
    MomentBetween,
    Name,
    OneOf,
    Query,
    Simple,
    Untyped,
    Wildcard,
    Within,
    Words,
    Zone,
)
from storage.query.matcher import fulfils, glob, lies_within, matches
from storage.query.names import fold, name_groups
from storage.query.reading import MATCHABLE_COMPUTED, MAX_LIST, combined_range, condition, one_of
from storage.query.times import time_key

__all__ = [
    "LITERAL",
    "MATCHABLE_COMPUTED",
    "MAX_LIST",
    "TIMEZONE",
    "AnyOf",
    "Between",
    "Condition",
    "Empty",
    "Equals",
    "Every",
    "How",
    "MomentBetween",
    "Name",
    "OneOf",
    "Query",
    "Simple",
    "Untyped",
    "Wildcard",
    "Within",
    "Words",
    "Zone",
    "combined_range",
    "condition",
    "fold",
    "fulfils",
    "glob",
    "lies_within",
    "matches",
    "name_groups",
    "one_of",
    "time_key",
]
