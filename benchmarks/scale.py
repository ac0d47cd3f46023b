"""An index of any size, written straight into the database: what a store would have written, without the objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Table

from benchmarks.workload import described, uid
from storage import open_index
from storage.index.describing import instance_values, row_values
from storage.index.schema import SERIES_ATTRIBUTES, STUDY_ATTRIBUTES, instance, series, study
from storage.index.sqlite import driver
from storage.records import InstanceRecord

SERIES, INSTANCES = 2, 5
"""Series of a study, and instances of each."""
CHUNK = 1000
Row = dict[str, Any]


def fill(url: str, studies: int) -> None:
    """Make the index at `url` and put `studies` studies of 10 instances into it; then let the database look at them."""
    open_index(url).close()
    write = _into_sqlite if url.startswith("sqlite") else _into_postgres
    write(url, _rows(studies))


def _rows(studies: int) -> Iterator[tuple[Table, list[Row]]]:
    """Rows by table, those of some studies at a time, parents first."""
    for start in range(0, studies, CHUNK):
        rows: dict[Table, list[Row]] = {study: [], series: [], instance: []}
        for number in range(start, min(start + CHUNK, studies)):
            _study(number, rows)
        yield from rows.items()


def _study(number: int, rows: dict[Table, list[Row]]) -> None:
    facts = described(number)
    values: dict[str, str | int] = {
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
        "Modality": facts.modality,
        "SeriesDescription": "GENERATED SERIES",
        "Rows": 512,
        "Columns": 512,
    }
    for at in range(SERIES):
        for place in range(INSTANCES):
            row = number * SERIES * INSTANCES + at * INSTANCES + place + 1
            sop = uid("tiny", number, at, place)
            record = InstanceRecord(
                facts.study,
                uid("tiny", number, at),
                sop,
                "1.2.840.10008.5.1.4.1.1.2",
                "1.2.840.10008.1.2.1",
                f"{row:032x}",
                f"obj/{row % 256:02x}/{row:032x}.dcm",
                530_000,
                f"{row:064x}",
                f"{row:064x}",
                5000,
                None,
                f"{row:032x}",
                {**values, "SeriesNumber": at + 1, "InstanceNumber": place + 1},
            )
            if not place:
                of_series = number * SERIES + at + 1
                own = {"series_instance_uid": record.series_uid, "number_of_series_related_instances": INSTANCES}
                common = {"described_by": record.version, "updated_at": 0.0}
                if not at:
                    rows[study].append(
                        {"id": number + 1, "study_instance_uid": facts.study, "modalities_in_study": facts.modality}
                        | {"number_of_study_related_series": SERIES}
                        | {"number_of_study_related_instances": SERIES * INSTANCES}
                        | common
                        | row_values(STUDY_ATTRIBUTES, record)
                    )
                rows[series].append(
                    {"id": of_series, "study": number + 1} | own | common | row_values(SERIES_ATTRIBUTES, record)
                )
            ids = {"id": row, "study": number + 1, "series": of_series, "sop_instance_uid": sop}
            rows[instance].append(ids | dict(instance_values(record)))


def _into_sqlite(url: str, rows: Iterator[tuple[Table, list[Row]]]) -> None:
    path = Path(url.removeprefix("sqlite:///"))
    with closing(driver().connect(path, isolation_level=None)) as connection:
        for pragma in ("synchronous=OFF", "cache_size=-200000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        for table, some in rows:
            names = list(some[0])
            marks = ", ".join("?" * len(names))
            connection.executemany(
                f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})", [tuple(row.values()) for row in some]
            )
        connection.execute("COMMIT")
        connection.execute("PRAGMA analysis_limit=1000")
        connection.execute("ANALYZE")


def _into_postgres(url: str, rows: Iterator[tuple[Table, list[Row]]]) -> None:
    with psycopg.connect(url) as connection:
        for table, some in rows:
            _copy(connection, table.name, list(some[0]), [tuple(row.values()) for row in some])
        for table in (study, series, instance):
            place = sql.Identifier(table.name)
            connection.execute(
                sql.SQL("SELECT setval(pg_get_serial_sequence({}, 'id'), max(id)) FROM {}").format(table.name, place)
            )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def _copy(connection: psycopg.Connection[Any], table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), columns)
    with connection.cursor() as cursor, cursor.copy(command) as copy:
        for row in rows:
            copy.write_row(row)
