"""Indexes that hold all that counting the matches of a name, or of a modality within some days, has to look at."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    nulls = " NULLS LAST" if op.get_bind().dialect.name == "postgresql" else ""
    newest = [sa.text(f"{column} DESC{nulls}") for column in ("study_date", "study_time")]
    op.drop_index("ix_study_newest", "study")
    op.create_index("ix_study_newest", "study", [*newest, "study_instance_uid", "modalities_in_study"], unique=False)
    for group in ("alphabetic", "ideographic", "phonetic"):
        column = f"patient_name_{group}"
        there = None if group == "alphabetic" else sa.text(f"{column} IS NOT NULL")
        op.drop_index(f"ix_study_{column}", "study")
        op.create_index(f"ix_study_{column}", "study", [column, "id"], postgresql_where=there, sqlite_where=there)
