"""What the index keeps of one instance, and what it gives back.

Values are normalised once, at ingest: text without padding; multiple values joined with a backslash; IS and US as int;
PN as `Alphabetic=Ideographic=Phonetic` with empty trailing groups cut; nothing at all instead of an empty value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

Value = str | int
"""A normalised attribute value."""


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """One stored SOP Instance.

    `version` is a UUIDv7 in hex, fresh for each attempt to store; `key` is where the object store has the Part 10 file.
    `size` is in bytes. `digest` is the SHA-256 (hex) of the file, `dataset_digest` that of the data set without group
    0002 as it was received: two files are the same instance when the latter agree. `header_size` is the length of the
    file's head, up to and without the Pixel Data element (the whole file where there is none): one ranged read gives
    all the metadata. `frames` tells where each frame lies in the file, in the form of `gateway.dicom.frames`; None when
    there are none. `checksum` is the file's XXH3-128 (hex), compared at every read for a thirtieth of what the digest
    costs; None for what was stored before there was one. `attributes` holds the values of `storage.attributes` that are
    not computed, by keyword; `requests` the items of Request Attributes Sequence, by the keyword of the element.
    """

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    version: str
    key: str
    size: int
    digest: str
    dataset_digest: str
    header_size: int
    frames: bytes | None = None
    checksum: str | None = None
    attributes: Mapping[str, Value] = field(default_factory=dict)
    requests: tuple[Mapping[str, str], ...] = ()


def values_of(record: InstanceRecord) -> dict[str, Value]:
    """The values of one instance as a search would find them if its study held nothing else."""
    values: dict[str, Value] = {
        **record.attributes,
        "StudyInstanceUID": record.study_uid,
        "SeriesInstanceUID": record.series_uid,
        "SOPInstanceUID": record.sop_uid,
        "SOPClassUID": record.sop_class_uid,
        "SOPClassesInStudy": record.sop_class_uid,
    }
    if "Modality" in values:
        values["ModalitiesInStudy"] = values["Modality"]
    return values


@dataclass(frozen=True, slots=True)
class Located:
    """Where a stored instance lies: what a retrieve needs, and nothing else. Fields as in `InstanceRecord`."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    version: str
    key: str
    size: int
    digest: str
    dataset_digest: str
    header_size: int
    number_of_frames: int | None
    frames: bytes | None
    checksum: str | None = None


@dataclass(frozen=True, slots=True)
class Damage:
    """A live instance whose object is not what was stored.

    `reason` is `missing`, `size` or `digest`; `found_at` in seconds since the epoch.
    """

    instance: Located
    reason: str
    found_at: float


Item = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Match:
    """One search result: values by keyword. Sequences hold a tuple of items. Unknown values are absent.

    `instance` is the one that it was described by, where that was asked for. `data` holds elements that were read from
    that instance, in the DICOM JSON Model (PS3.18 Annex F).
    """

    values: Mapping[str, Value | tuple[Item, ...]]
    instance: Located | None = None
    data: Mapping[str, object] = field(default_factory=dict)


class Table(Sequence[Match]):
    """Matches as rows: `keywords` name the first values of each row, None is unknown, and what follows is no value.

    A match is made of a row when it is looked at; who writes thousands of them takes `rows`.
    """

    def __init__(self, keywords: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> None:
        self.keywords = keywords
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Match]:
        return map(self._match, self.rows)

    @overload
    def __getitem__(self, place: int) -> Match: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Match]: ...
    def __getitem__(self, place: int | slice) -> Match | Sequence[Match]:
        if isinstance(place, slice):
            return Table(self.keywords, self.rows[place])
        return self._match(self.rows[place])

    def _match(self, row: Sequence[Any]) -> Match:
        return Match(self.values(row))

    def values(self, row: Sequence[Any]) -> dict[str, Any]:
        """The values of a row by keyword; unknown ones are absent."""
        return {keyword: value for keyword, value in zip(self.keywords, row, strict=False) if value is not None}


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the matches, in a total order that does not change while the data do not. `total` counts them all.

    `unread` counts candidates that could not be looked at, since their stored object is missing or damaged.
    """

    matches: Sequence[Match]
    total: int
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Deleted:
    """An instance that was deleted and whose object is still there: `sequence` is that of the change feed's entry."""

    sequence: int
    study_uid: str
    series_uid: str
    sop_uid: str
    version: str
    key: str
    at: float


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the change feed: `sequence` grows by commit order.

    `action` is `create`; `replace`, other bytes took the place of the old ones; `repair`, the same data set took the
    place of a damaged object; or `delete`.
    """

    sequence: int
    action: str
    study_uid: str
    series_uid: str
    sop_uid: str
    version: str
    at: float
