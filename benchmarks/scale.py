"""An index of any size, written straight into the database: what a store would have written, without the objects.

The rows of studies are made here; those of series and instances by the database, out of them. PostgreSQL gets its
indexes and constraints when the rows are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Insert,
    Table,
    Text,
    cast,
    create_engine,
    func,
    insert,
    literal,
    make_url,
    select,
    text,
    union_all,
)

from benchmarks.workload import CT_CLASS, EXPLICIT, described
from storage import open_index
from storage.index.describing import instance_values, row_values
from storage.index.schema import SERIES_ATTRIBUTES, STUDY_ATTRIBUTES, instance, series, study
from storage.index.sqlite import driver
from storage.records import InstanceRecord

SERIES, INSTANCES = 2, 5
"""Series of a study, and instances of each."""
CHUNK = 10_000
TABLES = (study, series, instance)
Row = dict[str, Any]


def fill(url: str, studies: int) -> None:
    """Make the index at `url` and put `studies` studies of 10 instances into it; then let the database look at them."""
    open_index(url).close()
    (_into_sqlite if url.startswith("sqlite") else _into_postgres)(url, studies)


def _into_sqlite(url: str, studies: int) -> None:
    path = make_url(url).database
    engine = create_engine("sqlite+pysqlite://", module=driver(), creator=lambda: driver().connect(path))
    with engine.begin() as connection:
        for pragma in ("synchronous=OFF", "cache_size=-200000"):
            connection.exec_driver_sql(f"PRAGMA {pragma}")
        for rows in _studies(studies):
            connection.execute(insert(study), rows)
            _below(connection, rows[0]["id"], rows[-1]["id"])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("PRAGMA analysis_limit=1000")
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()


def _into_postgres(url: str, studies: int) -> None:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection, _without_indexes(connection):
        # else VACUUM may be too early to find that all rows are visible to everybody
        connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
        for rows in _studies(studies):
            _copy(connection, study, rows)
            _below(connection, rows[0]["id"], rows[-1]["id"])
        for table in TABLES:
            last = func.setval(func.pg_get_serial_sequence(table.name, "id"), func.max(table.c.id))
            connection.execute(select(last))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


# ---------------------------------------------------------------- rows


def _studies(studies: int) -> Iterator[list[Row]]:
    for start in range(0, studies, CHUNK):
        yield [_study(number) for number in range(start, min(start + CHUNK, studies))]


def _study(number: int) -> Row:
    facts = described(number)
    known: dict[str, str | int] = {
        "PatientName": facts.name,
        "PatientID": facts.patient_id,
        "PatientBirthDate": "19600102",
        "PatientSex": "F",
        "StudyDate": facts.date,
        "StudyTime": facts.time,
        "AccessionNumber": facts.accession,
        "StudyID": "1",
        "StudyDescription": "GENERATED STUDY",
        "ReferringPhysicianName": "REFERRING^DOC",
    }
    return {
        "id": number + 1,
        "study_instance_uid": facts.study,
        "modalities_in_study": facts.modality,
        "number_of_study_related_series": SERIES,
        "number_of_study_related_instances": SERIES * INSTANCES,
        "described_by": f"{number * SERIES * INSTANCES + 1:032x}",
        "updated_at": 0.0,
        **row_values(STUDY_ATTRIBUTES, _record(known)),
    }


def _record(known: dict[str, str | int]) -> InstanceRecord:
    return InstanceRecord("", "", "", CT_CLASS, EXPLICIT, "", "", 530_000, "", "", 5000, None, "", known)


def _below(connection: Connection, first: int, last: int) -> None:
    """Series and instances of these studies."""
    postgres = connection.dialect.name == "postgresql"

    def padded(number: ColumnElement[int], width: int) -> ColumnElement[str]:
        return func.lpad(cast(number, Text), width, "0") if postgres else func.printf(f"%0{width}d", number)

    def hexed(number: ColumnElement[int], width: int) -> ColumnElement[str]:
        return func.lpad(func.to_hex(number), width, "0") if postgres else func.printf(f"%0{width}x", number)

    place = _numbers(SERIES)
    at = place.c.number
    row = (study.c.id - 1) * SERIES + at
    own: dict[str, Any] = {
        **row_values(SERIES_ATTRIBUTES, _record({"SeriesDescription": "GENERATED SERIES"})),
        "id": row,
        "study": study.c.id,
        "series_instance_uid": study.c.study_instance_uid + ".1" + padded(at - 1, 2),
        "modality": study.c.modalities_in_study,
        "series_number": at,
        "number_of_series_related_instances": INSTANCES,
        "described_by": hexed((row - 1) * INSTANCES + 1, 32),
        "updated_at": 0.0,
    }
    connection.execute(_filled(series, own, study, place, row, study.c.id.between(first, last)))
    place = _numbers(INSTANCES)
    at = place.c.number
    row = (series.c.id - 1) * INSTANCES + at
    version = hexed(row, 32)
    own = {
        **instance_values(_record({"Rows": 512, "Columns": 512})),
        "id": row,
        "study": series.c.study,
        "series": series.c.id,
        "sop_instance_uid": series.c.series_instance_uid + ".1" + padded(at - 1, 5),
        "version": version,
        "object_key": literal("obj/") + hexed(row % 256, 2) + "/" + version + ".dcm",
        "digest": hexed(row, 64),
        "dataset_digest": hexed(row, 64),
        "checksum": version,
        "instance_number": at,
    }
    within = series.c.id.between((first - 1) * SERIES + 1, last * SERIES)
    connection.execute(_filled(instance, own, series, place, row, within))


def _numbers(count: int) -> FromClause:
    return union_all(*(select(literal(number + 1).label("number")) for number in range(count))).subquery()


def _filled(
    table: Table, own: Row, above: Table, place: FromClause, order: ColumnElement[int], within: ColumnElement[bool]
) -> Insert:
    there = {name: value for name, value in own.items() if value is not None}
    columns = [value if isinstance(value, ColumnElement) else literal(value) for value in there.values()]
    chosen = select(*columns).select_from(above.join(place, literal(True))).where(within).order_by(order)
    return insert(table).from_select(list(there), chosen)


# ---------------------------------------------------------------- PostgreSQL


@contextmanager
def _without_indexes(connection: Connection) -> Iterator[None]:
    """Secondary indexes and foreign keys are gone meanwhile; made at once, they take a fraction of the time."""
    names = {"tables": [table.name for table in TABLES]}
    constraints = connection.execute(text(_CONSTRAINTS), names).all()
    indexes = connection.execute(text(_INDEXES), names).all()
    for table, name, _ in constraints:
        connection.exec_driver_sql(f'ALTER TABLE "{table}" DROP CONSTRAINT "{name}"')
    for name, _ in indexes:
        connection.exec_driver_sql(f'DROP INDEX "{name}"')
    yield
    connection.exec_driver_sql("SET LOCAL maintenance_work_mem = '512MB'")
    connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    for _, definition in indexes:
        connection.exec_driver_sql(definition)
    for table, name, definition in reversed(constraints):
        connection.exec_driver_sql(f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}" {definition}')


_CONSTRAINTS = """SELECT c.conrelid::regclass::text, c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint c
 WHERE c.contype IN ('f', 'u') AND c.conrelid::regclass::text = ANY(:tables) ORDER BY c.contype"""
_INDEXES = """SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i
 WHERE i.indrelid::regclass::text = ANY(:tables)
 AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.indexrelid)"""


def _copy(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    driver_connection = connection.connection.driver_connection
    assert isinstance(driver_connection, psycopg.Connection)
    names = list(rows[0])
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table.name), columns)
    with driver_connection.cursor() as cursor, cursor.copy(command) as copy:
        for row in rows:
            copy.write_row(tuple(row.values()))
