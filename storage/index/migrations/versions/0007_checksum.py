"""A checksum of every stored object that costs next to nothing to compare; rows from before have none."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("instance", sa.Column("checksum", TEXT, nullable=True))
