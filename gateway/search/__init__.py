"""Search: answer one query, whoever asks by whichever door (PS3.4 C.4.1, PS3.18 10.6).

What the index holds is matched there. Any other attribute is matched, or returned, by reading the data sets of those
candidates that the index leaves; see docs/search.md.
"""

from __future__ import annotations

from dataclasses import replace

from gateway.caller import Caller
from gateway.errors import BadRequest, TooSlow, Unavailable
from gateway.rights import Action
from gateway.search import reading
from storage.archive import Archive
from storage.errors import IndexTooSlow, QueryRefused, StorageError
from storage.query import AnyOf, Condition, Empty, Query
from storage.records import Page

SCAN_LIMIT = 2000
"""Data sets that one search may read."""

REQUIRED_KEYS = frozenset(
    {
        *("PatientName", "PatientID", "StudyDate", "StudyTime", "AccessionNumber", "StudyID"),
        *("Modality", "SeriesNumber", "InstanceNumber"),
    }
)
"""Required keys of the Query/Retrieve information models that may be without a value (PS3.4 C.6.2.1)."""


def search(
    archive: Archive,
    query: Query,
    caller: Caller,
    *,
    scan_limit: int = SCAN_LIMIT,
    match_unknown: bool = False,
    root: str = "",
) -> Page:
    """The matches of `query`, in a total order.

    With `match_unknown`, a required key matches what has no value for it (PS3.4 C.2.2.1.2). BulkDataURIs of elements
    that had to be read lie below `root`. Raises BadRequest naming the key, TooBroad when more than `scan_limit` data
    sets had to be read, Unavailable, Forbidden. What the caller may not see is neither returned nor counted.
    """
    query = replace(query, within=caller.rights.within(Action.SEARCH))
    if match_unknown:
        query = replace(query, conditions=tuple(map(_or_unknown, query.conditions)))

    def ask(query: Query) -> Page:
        try:
            return archive.search(query)
        except QueryRefused as refused:
            raise BadRequest(refused.key, str(refused)) from refused
        except IndexTooSlow as error:
            raise TooSlow("the search took too long; narrow it") from error
        except StorageError as error:
            raise Unavailable("the index does not answer; try again") from error

    if not query.beyond and all(condition.attribute.indexed for condition in query.conditions):
        page = ask(query)
    else:
        page = reading.search(archive, ask, query, scan_limit, root)
    caller.trail.search((condition.attribute.keyword for condition in query.conditions), len(page.matches))
    return page


def _or_unknown(condition: Condition) -> Condition:
    if condition.attribute.keyword not in REQUIRED_KEYS or isinstance(condition, Empty):
        return condition
    return AnyOf(condition.attribute, (condition, Empty(condition.attribute)))
