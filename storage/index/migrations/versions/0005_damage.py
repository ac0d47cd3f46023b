"""Stored objects that were found missing or damaged."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "damage",
        sa.Column("version", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("found_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_damage"),
    )
