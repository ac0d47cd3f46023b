"""The change feed: what became of instances, in the order of commits, from any point on again.

An entry is written in the transaction that changes the row; so there is none without its change, nor the reverse.
"""

from __future__ import annotations

from typing import Any

from gateway.caller import Caller
from gateway.rights import Action
from storage.archive import Archive
from storage.records import Change

PAGE = 1000


def since(archive: Archive, caller: Caller, sequence: int, limit: int = PAGE) -> list[Change]:
    """The changes after this sequence number, at most `limit`; none that another could still come before.

    A caller that may not see every study is told of those that are there and that it may see. Raises Forbidden,
    IndexStoreError.
    """
    index, within = archive.index, caller.rights.within(Action.SEARCH)
    if not index.changes(sequence, 1, within):
        return []
    # numbers are given before commits: up to here all is there
    upto = index.horizon()
    return [one for one in index.changes(sequence, limit, within) if one.sequence <= upto]


def shown(change: Change) -> dict[str, Any]:
    """A change as JSON, for `/changes` and webhooks."""
    return {
        "sequence": change.sequence,
        "action": change.action,
        "study": change.study_uid,
        "series": change.series_uid,
        "instance": change.sop_uid,
        "version": change.version,
        "at": change.at,
    }
