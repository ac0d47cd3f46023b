"""What was deleted can be looked up by study: it is gone, not unknown (PS3.18 8.5)."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    deleted = sa.text("action = 'delete'")
    op.create_index(
        "ix_change_deleted",
        "change",
        ["study_uid", "series_uid", "sop_uid"],
        unique=False,
        postgresql_where=deleted,
        sqlite_where=deleted,
    )
