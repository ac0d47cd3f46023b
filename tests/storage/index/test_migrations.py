"""Migrations: they make the tables that the program describes, keep what is there, and let the last version's code run.

A process of the version before goes on beside the first one of the new: nothing that it names may go or change.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from storage import open_index
from storage.index.migrate import FOLDER
from storage.index.schema import metadata
from storage.index.sqlite import driver
from tests.storage.records import record

STEPS = [step.revision for step in ScriptDirectory(str(FOLDER)).walk_revisions()][::-1]


@contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    """A connection to the database of an index, past it."""
    if url.startswith("sqlite"):
        engine = sa.create_engine(url.replace("sqlite:", "sqlite+pysqlite:"), module=driver())
    else:
        engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def migrate(url: str, step: str) -> None:
    """Bring the schema to this step."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    with connected(url) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, step)


def columns(url: str) -> dict[tuple[str, str], dict[str, Any]]:
    """What there is to know of each column, by table and name."""
    with connected(url) as connection:
        inspector = sa.inspect(connection)
        return {
            (table, column["name"]): {
                "type": str(column["type"]),
                "nullable": column["nullable"],
                "default": column["default"],
            }
            for table in inspector.get_table_names()
            for column in inspector.get_columns(table)
        }


def test_the_migrations_make_the_tables_that_the_program_describes(index_url: str) -> None:
    """F-45: no table, column, type or index is there in one and not in the other."""
    open_index(index_url).close()
    with connected(index_url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
        found = compare_metadata(context, metadata)
    # expressions and orders of an index cannot be read back from every database
    left = [one for one in found if not (isinstance(one, tuple) and one[0] in {"add_index", "remove_index"})]
    assert left == []


def test_an_upgraded_index_equals_a_fresh_one(index_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """F-45: step by step, with rows in it from the first step on."""
    migrate(index_url, STEPS[0])
    with connected(index_url) as connection:
        connection.execute(
            sa.text(
                "INSERT INTO study (study_instance_uid, patient_name, patient_name_alphabetic, modalities_in_study, "
                "number_of_study_related_series, number_of_study_related_instances, described_by, updated_at) "
                "VALUES ('1.2.3', 'Old^Name', 'OLD^NAME', 'CT', 0, 0, 'v', 1.0)"
            )
        )
    for step in STEPS[1:]:
        migrate(index_url, step)
    upgraded = columns(index_url)
    fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
    if not index_url.startswith("sqlite"):
        fresh = str(request.getfixturevalue("postgres").database())
    open_index(fresh).close()
    assert columns(fresh) == upgraded
    index = open_index(index_url)
    try:
        assert index.count()[0] == 1
        assert index.add(record()).value == "stored"
    finally:
        index.close()


@pytest.mark.parametrize(("before", "after"), list(pairwise(STEPS)))
def test_a_step_leaves_room_for_the_code_before_it(index_url: str, before: str, after: str) -> None:
    """F-45: what it reads and writes stays as it is, and what is new need not be given."""
    migrate(index_url, before)
    old = columns(index_url)
    migrate(index_url, after)
    new = columns(index_url)
    for column, facts in old.items():
        assert column in new, f"{after} takes {column} away"
        assert new[column]["type"] == facts["type"], f"{after} changes {column}"
        assert new[column]["nullable"] or not facts["nullable"], f"{after} wants a value in {column}"
    tables = {table for table, _ in old}
    for column in new.keys() - old.keys():
        if column[0] in tables:
            assert new[column]["nullable"] or new[column]["default"] is not None, f"{after} wants a value in {column}"


def test_a_newer_schema_than_this_program_knows_is_refused(index_url: str) -> None:
    """F-06: it is named; nothing is touched."""
    open_index(index_url).close()
    with connected(index_url) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Exception, match="9999"):
        open_index(index_url)
