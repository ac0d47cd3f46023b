"""What a search is made of: a query, and typed conditions (PS3.4 C.2.2.2)."""

from __future__ import annotations

from dataclasses import dataclass

from storage.attributes import Attribute, Level
from storage.records import Value

TIMEZONE = "TimezoneOffsetFromUTC"


@dataclass(frozen=True, slots=True)
class Zone:
    """The time zone in which dates and times of a key are meant (PS3.4 C.2.2.2.1.2): minutes east of UTC.

    `unknown` is that of stored dates and times which do not say theirs; None takes them to be in the zone of the key.
    """

    asked: int
    unknown: int | None = None


@dataclass(frozen=True, slots=True)
class How:
    """Matching that has to be asked for: fuzzy of names, empty values (C.2.2.2.7), multiple values (C.2.2.2.8)."""

    fuzzy: bool = False
    empty: bool = False
    multiple: bool = False


LITERAL = How()


@dataclass(frozen=True, slots=True)
class Equals:
    """Single value matching, case-sensitive (C.2.2.2.1); for a multi-valued attribute, one value equals."""

    attribute: Attribute
    value: Value | float


@dataclass(frozen=True, slots=True)
class OneOf:
    """List of UID matching (C.2.2.2.2), used for any list of plain values."""

    attribute: Attribute
    values: tuple[Value | float, ...]


@dataclass(frozen=True, slots=True)
class Wildcard:
    """Wild card matching (C.2.2.2.4): `*` any characters, `?` one; case-sensitive."""

    attribute: Attribute
    pattern: str


@dataclass(frozen=True, slots=True)
class Name:
    """Matching of a person name: folded for case and accents, wild cards allowed.

    One pattern matches any of the three component groups; several match group by group (alphabetic, ideographic,
    phonetic), where an empty pattern matches everything.
    """

    attribute: Attribute
    patterns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """Fuzzy matching of a person name: each word begins a word of the name, or sounds like one; see `names.words`."""

    attribute: Attribute
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Between:
    """Range matching (C.2.2.2.5) of DA, TM or DT, both ends inclusive; None is an open end.

    `zone` is that of a TM whose date does not matter. Ends of a DT are in UTC.
    """

    attribute: Attribute
    low: str | None
    high: str | None
    zone: Zone | None = None


@dataclass(frozen=True, slots=True)
class Empty:
    """Empty value matching (C.2.2.2.7): the attribute is absent or has no value."""

    attribute: Attribute


@dataclass(frozen=True, slots=True)
class MomentBetween:
    """A date and a time attribute matched together (C.2.2.2.5.4): one interval, ends `YYYYMMDDHHMMSS.FFFFFF`.

    A date without a time counts as its beginning. With a `zone`, it is compared as it is.
    """

    date: Attribute
    time: Attribute
    low: str | None
    high: str | None
    zone: Zone | None = None

    @property
    def attribute(self) -> Attribute:
        """The date attribute, which gives the level."""
        return self.date


Simple = Equals | OneOf | Wildcard | Name | Words | Between | Empty


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of several conditions on one attribute."""

    attribute: Attribute
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Every:
    """All of several conditions on one attribute, each by any of its values: multiple value matching (C.2.2.2.8)."""

    attribute: Attribute
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Untyped:
    """A key of an attribute whose VR only a data set tells, such as a private one; read when that is known."""

    attribute: Attribute
    text: str
    how: How = LITERAL


Condition = Simple | MomentBetween | AnyOf | Every | Untyped

Within = tuple[tuple[Condition, ...], ...]
"""Some of the studies: those that fulfil all conditions of at least one alternative. No alternative: no study.

Conditions are on indexed attributes; one on a series or an instance is fulfilled by a study that has such a one.
"""


@dataclass(frozen=True, slots=True)
class Query:
    """One search at one level; all conditions hold.

    `wanted` names computed attributes that are returned only when asked, since they cost a look at other rows; `shown`
    the keywords that results hold besides the unique keys of their level and those above (None: all there are).
    `within` leaves out, also from totals and counts, what lies in other studies; None leaves out none.
    `limit` None means all. Results come in a total order: studies newest first, series and instances of a study by
    number, those of no one study by UID.

    `beyond` are attributes to be returned that the index does not hold. They, and conditions on such attributes, are
    the business of `gateway.search`, which reads data sets; the index refuses them. `located` asks for the instance
    that each match was described by.
    """

    level: Level
    conditions: tuple[Condition, ...] = ()
    limit: int | None = None
    offset: int = 0
    wanted: frozenset[str] = frozenset()
    shown: frozenset[str] | None = None
    beyond: tuple[Attribute, ...] = ()
    located: bool = False
    within: Within | None = None
