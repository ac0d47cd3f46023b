"""Bring the schema to what this version needs; run at every start.

Each step lies in `migrations/versions` and is never edited once released. An index that a newer version has migrated
is refused: expand first, contract a release later.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from storage.crashpoints import reached
from storage.errors import SchemaRefused

FOLDER = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 0x67616E74  # "gant": one gateway migrates, the others wait


def upgrade(engine: Engine) -> None:
    """Migrate to the newest step. Raises SchemaRefused, naming the step that failed or is unknown."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    script = ScriptDirectory.from_config(config)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))  # an index of a large table takes its time
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
        current = MigrationContext.configure(connection).get_current_revision()
        if current == script.get_current_head():
            return
        reached("M1")
        if current is not None and current not in {step.revision for step in script.walk_revisions()}:
            raise SchemaRefused(f"the index has schema {current}, which is newer than this version of Gantry")
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except SQLAlchemyError as error:
            raise SchemaRefused(f"migration from {current or 'nothing'} failed: {type(error).__name__}") from error
        reached("M2")
    reached("M3")
