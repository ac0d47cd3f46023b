"""How many studies, series and instances there are, kept up to date by triggers: whatever changes a study counts."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "total",
        sa.Column("slot", sa.BigInteger(), nullable=False),
        sa.Column("modalities", TEXT, nullable=False),
        sa.Column("studies", sa.BigInteger(), nullable=False),
        sa.Column("series", sa.BigInteger(), nullable=False),
        sa.Column("instances", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("slot", "modalities", name="pk_total"),
    )
    connection = op.get_bind()
    # triggers first: from then on other gateways, of any version, wait until what is there has been counted
    for statement in POSTGRES if connection.dialect.name == "postgresql" else SQLITE:
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql(FIRST)


FIRST = """INSERT INTO total (slot, modalities, studies, series, instances)
SELECT 0, modalities, sum(studies), sum(series), sum(instances) FROM (
 SELECT modalities_in_study AS modalities, count(*) AS studies, sum(number_of_study_related_series) AS series,
 sum(number_of_study_related_instances) AS instances FROM study GROUP BY modalities_in_study
 UNION ALL SELECT '', 0, 0, 0) AS counted GROUP BY modalities"""

_ADD = """ON CONFLICT (slot, modalities) DO UPDATE SET
 studies = t.studies + excluded.studies, series = t.series + excluded.series,
 instances = t.instances + excluded.instances"""
_ROWS = """SELECT modalities_in_study AS modalities, {sign}1 AS studies, {sign}number_of_study_related_series AS series,
 {sign}number_of_study_related_instances AS instances FROM {table}"""
_BEFORE, _AFTER = _ROWS.format(sign="-", table="before"), _ROWS.format(sign="", table="after")


def _counted(rows: str) -> str:
    # a row for each connection: no two transactions wait for each other
    return f"""INSERT INTO total AS t (slot, modalities, studies, series, instances)
 SELECT pg_backend_pid(), modalities, sum(studies), sum(series), sum(instances) FROM ({rows}) AS changed
 GROUP BY modalities HAVING sum(studies) <> 0 OR sum(series) <> 0 OR sum(instances) <> 0
 {_ADD};"""


def _trigger(event: str, tables: str) -> str:
    return f"""CREATE TRIGGER study_{event.lower()}_total AFTER {event} ON study REFERENCING {tables}
 FOR EACH STATEMENT EXECUTE FUNCTION count_studies()"""


POSTGRES = (
    f"""CREATE FUNCTION count_studies() RETURNS trigger LANGUAGE plpgsql AS $count$ BEGIN
 IF TG_OP = 'INSERT' THEN {_counted(_AFTER)}
 ELSIF TG_OP = 'DELETE' THEN {_counted(_BEFORE)}
 ELSE {_counted(f"{_BEFORE} UNION ALL {_AFTER}")}
 END IF;
 RETURN NULL;
END $count$""",
    _trigger("INSERT", "NEW TABLE AS after"),
    _trigger("DELETE", "OLD TABLE AS before"),
    _trigger("UPDATE", "OLD TABLE AS before NEW TABLE AS after"),
)

# no alias: versions of SQLite that tools for backups have could not read the schema
_PLUS = f"""INSERT INTO total (slot, modalities, studies, series, instances)
 VALUES (0, NEW.modalities_in_study, 1, NEW.number_of_study_related_series, NEW.number_of_study_related_instances)
 {_ADD.replace("= t.", "= total.")};"""
_MINUS = """UPDATE total SET studies = studies - 1, series = series - OLD.number_of_study_related_series,
 instances = instances - OLD.number_of_study_related_instances
 WHERE slot = 0 AND modalities = OLD.modalities_in_study;"""
_COUNTED = ("modalities_in_study", "number_of_study_related_series", "number_of_study_related_instances")
_CHANGED = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in _COUNTED)
SQLITE = (
    f"CREATE TRIGGER study_insert_total AFTER INSERT ON study BEGIN {_PLUS} END",
    f"CREATE TRIGGER study_delete_total AFTER DELETE ON study BEGIN {_MINUS} END",
    f"""CREATE TRIGGER study_update_total AFTER UPDATE OF {", ".join(_COUNTED)} ON study WHEN {_CHANGED}
 BEGIN {_MINUS} {_PLUS} END""",
)
