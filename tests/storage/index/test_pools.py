"""More callers than connections: some are told soon, readers go on, and all is well after it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg

from storage import open_index
from storage.errors import IndexUnavailable
from tests.parts.postgres import Postgres
from tests.storage.records import record

WRITERS = 24
"""More than the pool of writers has."""


def test_writers_beyond_the_pool_are_told_soon_and_readers_go_on(postgres: Postgres) -> None:
    """F-36: IndexUnavailable, which is A700 and 503, after two seconds or so; not a queue without end."""
    url = postgres.database()
    index = open_index(url)
    try:
        index.add(record())

        def write(number: int) -> float:
            started = time.monotonic()
            try:
                index.set_note(f"note {number}", "x")
            except IndexUnavailable:
                return time.monotonic() - started
            return 0.0

        with psycopg.connect(url) as holder, ThreadPoolExecutor(WRITERS) as threads:
            holder.execute("LOCK TABLE note IN EXCLUSIVE MODE")
            waits = [threads.submit(write, number) for number in range(WRITERS)]
            end = time.monotonic() + 30
            while not (told := [one for one in waits if one.done()]):
                assert index.count() == (1, 1, 1)
                assert time.monotonic() < end
                time.sleep(0.1)
            holder.rollback()
            results = [one.result() for one in waits]
        assert told
        assert any(result for result in results)
        assert not all(results), "those that had a connection are done"
        index.set_note("after", "x")
        assert index.note("after") == "x"
    finally:
        index.close()
