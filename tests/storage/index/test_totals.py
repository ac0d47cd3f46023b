"""Totals that no search has to count: they are right whatever changes the rows, and whoever does."""

from __future__ import annotations

import random
import threading

import sqlalchemy as sa

from storage import open_index
from storage.attributes import BY_KEYWORD, Level
from storage.index import Index, totals
from storage.index.sql import SqlIndex
from storage.query import Query, condition
from storage.records import InstanceRecord
from tests.storage.index.test_migrations import connected, migrate
from tests.storage.records import record

LEVELS = (Level.STUDY, Level.SERIES, Level.IMAGE)


def asked(index: Index, modality: str | None = None) -> tuple[int, ...]:
    """X-Total-Count of searches for a page, at the three levels."""
    one = None if modality is None else condition(BY_KEYWORD["ModalitiesInStudy"], modality)
    conditions = () if one is None else (one,)
    return tuple(index.search(Query(level, conditions, limit=0)).total for level in LEVELS)


def found(index: Index, modality: str | None = None) -> tuple[int, ...]:
    """How many matches there are of the same searches, without a limit."""
    one = None if modality is None else condition(BY_KEYWORD["ModalitiesInStudy"], modality)
    conditions = () if one is None else (one,)
    return tuple(len(index.search(Query(level, conditions)).matches) for level in LEVELS)


def test_totals_follow_stores_replacements_and_deletes(index: Index) -> None:
    """QIDO-17"""
    seed, number = random.Random(5), 0
    live: list[InstanceRecord] = []
    assert asked(index) == index.count() == (0, 0, 0)
    for _ in range(60):
        if live and seed.random() < 0.3:
            gone = live.pop(seed.randrange(len(live)))
            index.delete(gone.study_uid, [gone.version], cleanup_after=0.0)
        else:
            number += 1
            study, series = seed.randrange(4), seed.randrange(3)
            modality = ("CT", "MR", "SR")[series] if study else "CT"
            made = record(f"1.2.{study}.{series}.{number}", f"1.2.{study}", f"1.2.{study}.{series}", Modality=modality)
            index.add(made)
            live.append(made)
        for one in (None, "CT", "SR", "C", "CT\\MR"):
            assert asked(index, one) == found(index, one), one
    index.add(record(live[0].sop_uid, live[0].study_uid, live[0].series_uid, Modality="PT"), replace=True)
    assert asked(index) == index.count() == found(index)
    index.clear()
    assert asked(index) == asked(index, "CT") == index.count() == (0, 0, 0)


def test_totals_are_right_with_several_writers_that_settle_meanwhile(index_url: str) -> None:
    """F-35: gateways on one PostgreSQL; or the threads of one process on SQLite."""
    first = open_index(index_url)
    others = [first, first] if index_url.startswith("sqlite") else [open_index(index_url) for _ in range(2)]

    def write(index: Index, place: int) -> None:
        for number in range(25):
            made = record(f"1.2.{number}.{place}.1", f"1.2.{number}", f"1.2.{number}.{place}", Modality="CT")
            index.add(made)
            if number % 5 == 0:
                index.delete(made.study_uid, [made.version], cleanup_after=0.0)

    def settle() -> None:
        while any(thread.is_alive() for thread in writers):
            assert isinstance(first, SqlIndex)
            first._write(totals._settle)
            assert first.recount()

    writers = [threading.Thread(target=write, args=(index, place)) for place, index in enumerate(others * 2)]
    settler = threading.Thread(target=settle)
    for thread in (*writers, settler):
        thread.start()
    for thread in (*writers, settler):
        thread.join()
    assert asked(first) == found(first) == first.count() == (20, 80, 80)
    assert asked(first, "CT") == (20, 80, 80)
    assert first.recount()
    for index in {id(one): one for one in (first, *others)}.values():
        index.close()


def test_what_many_connections_counted_is_added_up(index_url: str) -> None:
    open_index(index_url).close()
    with connected(index_url) as connection:
        for slot in range(1, totals.SLOTS + 2):
            connection.execute(sa.text(f"INSERT INTO total VALUES ({slot}, 'CT', 2, 3, 4)"))
    index = open_index(index_url)
    number = totals.SLOTS + 1
    index.settle()
    assert index.count() == (2 * number, 3 * number, 4 * number)
    index.close()
    with connected(index_url) as connection:
        assert connection.execute(sa.text("SELECT slot FROM total WHERE studies <> 0")).scalars().all() == [0]


def test_wrong_totals_are_put_right(index_url: str) -> None:
    """F-45: by `gantry index verify`, and at the end of a rebuild."""
    index = open_index(index_url)
    index.add(record("1.2.3.1.1", Modality="CT"))
    index.add(record("1.2.3.1.2", Modality="CT"))
    assert index.recount()
    index.close()
    with connected(index_url) as connection:
        connection.execute(sa.text("UPDATE total SET studies = studies + 7, instances = 0"))
    index = open_index(index_url)
    assert index.count() != (1, 1, 2)
    assert not index.recount()
    assert index.count() == asked(index, "CT") == (1, 1, 2)
    assert index.recount()
    index.close()


def test_what_was_there_before_there_were_totals_is_counted(index_url: str) -> None:
    """F-45: and what a gateway of the version before goes on to store."""
    migrate(index_url, "0007")
    row = (
        "INSERT INTO study (study_instance_uid, modalities_in_study, number_of_study_related_series, "
        "number_of_study_related_instances, described_by, updated_at) VALUES ('1.2.{}', 'CT\\SR', 2, {}, 'v', 0)"
    )
    with connected(index_url) as connection:
        for number in range(3):
            connection.exec_driver_sql(row.format(number, number))
    open_index(index_url).close()
    with connected(index_url) as connection:
        connection.exec_driver_sql(row.format(3, 10))
        connection.exec_driver_sql("UPDATE study SET number_of_study_related_instances = 5, modalities_in_study = 'SR'")
        connection.exec_driver_sql("DELETE FROM study WHERE study_instance_uid = '1.2.0'")
    index = open_index(index_url)
    assert index.count() == asked(index, "SR") == (3, 6, 15)
    assert asked(index, "CT") == (0, 0, 0)
    assert index.recount()
    index.close()
