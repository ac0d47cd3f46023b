"""Credentials that the gateway hands out: API keys, links, users, sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "credential",
        sa.Column("id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("secret", TEXT, nullable=False),
        sa.Column("limits", TEXT, nullable=False),
        sa.Column("made_by", TEXT, nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float()),
        sa.Column("revoked_at", sa.Float()),
        sa.PrimaryKeyConstraint("id", name="pk_credential"),
    )
    op.create_index("ix_credential_kind_name", "credential", ["kind", "name"], unique=False)
    op.create_index("ix_credential_expires_at", "credential", ["expires_at"], unique=False)
