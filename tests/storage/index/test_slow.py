"""Searches that take too long are ended, on both databases, and nothing else is (S-56)."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from storage import open_index
from storage.attributes import BY_KEYWORD, Level
from storage.errors import IndexTooSlow
from storage.index import Index
from storage.index.sql import SqlIndex
from storage.query import Query, condition
from tests.storage.records import record

ENDLESS = text("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n")
SECONDS = 0.3


@pytest.fixture
def sql(index: Index) -> SqlIndex:
    assert isinstance(index, SqlIndex)
    return index


@pytest.fixture
def locked(sql: SqlIndex, index_url: str) -> Iterator[SqlIndex]:
    """One whose search cannot go on: its table is locked, or it has many rows and no time at all."""
    if index_url.startswith("postgresql:"):
        other = open_index(index_url)
        assert isinstance(other, SqlIndex)
        with other._writers.connect() as connection, connection.begin():
            connection.execute(text("LOCK TABLE study IN ACCESS EXCLUSIVE MODE"))
            sql.search_seconds = SECONDS
            yield sql
        other.close()
    else:
        for number in range(60):
            sql.add(record(f"1.2.{number}.1.1", f"1.2.{number}", f"1.2.{number}.1"))
        sql.search_seconds = -1.0
        yield sql


def test_an_endless_statement_is_ended_and_the_connection_goes_on(sql: SqlIndex) -> None:
    """S-56: it is the statement that ends, and the limit goes with its transaction."""
    for _ in range(2):
        begun = time.monotonic()
        with pytest.raises(IndexTooSlow), sql._reading() as connection, sql._dialect.limited(connection, SECONDS):
            connection.execute(ENDLESS)
        assert time.monotonic() - begun < 30
    sql.check()
    with sql._reading() as connection:
        begun = time.monotonic()
        while time.monotonic() - begun < 2 * SECONDS:
            connection.execute(text("SELECT 1"))


def test_a_search_has_a_limit(locked: SqlIndex) -> None:
    """S-56."""
    names = condition(BY_KEYWORD["PatientName"], "*x*")
    assert names is not None
    with pytest.raises(IndexTooSlow):
        locked.search(Query(Level.STUDY, (names,)))
