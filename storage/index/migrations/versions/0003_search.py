"""Search: words of names for fuzzy matching, the order of results in an index, the other groups of names in theirs."""

import sqlalchemy as sa
from alembic import op

from storage.query.names import words

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NAMES = ("patient_name", "referring_physician_name")
BATCH = 1000


def upgrade() -> None:
    for name in NAMES:
        op.add_column("study", sa.Column(f"{name}_words", TEXT, nullable=True))
    _fill()
    op.drop_index("ix_study_study_date_study_time", "study")
    nulls = " NULLS LAST" if op.get_bind().dialect.name == "postgresql" else ""
    newest = [sa.text(f"{column} DESC{nulls}") for column in ("study_date", "study_time")]
    op.create_index("ix_study_newest", "study", [*newest, "study_instance_uid"], unique=False)
    for group in ("ideographic", "phonetic"):
        column = f"patient_name_{group}"
        there = sa.text(f"{column} IS NOT NULL")
        op.create_index(f"ix_study_{column}", "study", [column], postgresql_where=there, sqlite_where=there)


def _fill() -> None:
    connection = op.get_bind()
    study = sa.table("study", sa.column("id"), *(sa.column(f"{name}{end}") for name in NAMES for end in ("", "_words")))
    page = sa.select(study.c.id, *(study.c[name] for name in NAMES)).where(study.c.id > sa.bindparam("after"))
    page = page.order_by(study.c.id).limit(BATCH)
    change = (
        sa.update(study)
        .where(study.c.id == sa.bindparam("row"))
        .values({f"{name}_words": sa.bindparam(f"of_{name}") for name in NAMES})
    )
    after = -1
    while rows := connection.execute(page, {"after": after}).all():
        after = rows[-1].id
        connection.execute(
            change,
            [
                {"row": row.id, **{f"of_{name}": words(row._mapping[name] or "") or None for name in NAMES}}
                for row in rows
            ],
        )
