"""Search: answer one query, whoever asks by whichever door (PS3.4 C.4.1, PS3.18 10.6)."""

from __future__ import annotations

from gateway.caller import Caller
from gateway.errors import BadRequest, Unavailable
from storage.archive import Archive
from storage.errors import QueryRefused, StorageError
from storage.query import Query
from storage.records import Page


def search(archive: Archive, query: Query, caller: Caller) -> Page:
    """The matches of `query`, in a total order. Raises BadRequest naming the key, Unavailable."""
    try:
        return archive.search(query)
    except QueryRefused as refused:
        raise BadRequest(refused.key, str(refused)) from refused
    except StorageError as error:
        raise Unavailable("the index does not answer; try again") from error
