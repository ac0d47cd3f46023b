"""The first schema: studies, series, instances, request attributes, garbage, orphans, changes, notes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "change",
        sa.Column("sequence", ID, autoincrement=True, nullable=False),
        sa.Column("action", TEXT, nullable=False),
        sa.Column("study_uid", TEXT, nullable=False),
        sa.Column("series_uid", TEXT, nullable=False),
        sa.Column("sop_uid", TEXT, nullable=False),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name="pk_change"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "garbage",
        sa.Column("version", TEXT, nullable=False),
        sa.Column("object_key", TEXT, nullable=False),
        sa.Column("cleanup_after", sa.Float(), nullable=False),
        sa.Column("tomb", TEXT, server_default="", nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_garbage"),
    )
    op.create_index("ix_garbage_cleanup_after", "garbage", ["cleanup_after"], unique=False)
    op.create_index("ix_garbage_tomb", "garbage", ["tomb"], unique=False)
    op.create_table(
        "note",
        sa.Column("name", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_note"),
    )
    op.create_table(
        "orphan",
        sa.Column("object_key", TEXT, nullable=False),
        sa.Column("first_seen", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("object_key", name="pk_orphan"),
    )
    op.create_table(
        "study",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("study_instance_uid", TEXT, nullable=False),
        sa.Column("patient_name", TEXT, nullable=True),
        sa.Column("patient_name_alphabetic", TEXT, nullable=True),
        sa.Column("patient_name_ideographic", TEXT, nullable=True),
        sa.Column("patient_name_phonetic", TEXT, nullable=True),
        sa.Column("patient_id", TEXT, nullable=True),
        sa.Column("issuer_of_patient_id", TEXT, nullable=True),
        sa.Column("patient_birth_date", TEXT, nullable=True),
        sa.Column("patient_sex", TEXT, nullable=True),
        sa.Column("study_date", TEXT, nullable=True),
        sa.Column("study_time", TEXT, nullable=True),
        sa.Column("accession_number", TEXT, nullable=True),
        sa.Column("referring_physician_name", TEXT, nullable=True),
        sa.Column("referring_physician_name_alphabetic", TEXT, nullable=True),
        sa.Column("referring_physician_name_ideographic", TEXT, nullable=True),
        sa.Column("referring_physician_name_phonetic", TEXT, nullable=True),
        sa.Column("study_id", TEXT, nullable=True),
        sa.Column("study_description", TEXT, nullable=True),
        sa.Column("timezone_offset_from_utc", TEXT, nullable=True),
        sa.Column("modalities_in_study", TEXT, server_default="", nullable=False),
        sa.Column("number_of_study_related_series", sa.Integer(), server_default="0", nullable=False),
        sa.Column("number_of_study_related_instances", sa.Integer(), server_default="0", nullable=False),
        sa.Column("described_by", TEXT, nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_study"),
        sa.UniqueConstraint("study_instance_uid", name="uq_study_study_instance_uid"),
    )
    op.create_index("ix_study_accession_number", "study", ["accession_number"], unique=False)
    op.create_index("ix_study_patient_id", "study", ["patient_id"], unique=False)
    op.create_index("ix_study_patient_name_alphabetic", "study", ["patient_name_alphabetic"], unique=False)
    op.create_index("ix_study_study_date_study_time", "study", ["study_date", "study_time"], unique=False)
    op.create_table(
        "series",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("study", ID, nullable=False),
        sa.Column("series_instance_uid", TEXT, nullable=False),
        sa.Column("modality", TEXT, nullable=True),
        sa.Column("series_number", sa.BigInteger(), nullable=True),
        sa.Column("series_description", TEXT, nullable=True),
        sa.Column("series_date", TEXT, nullable=True),
        sa.Column("series_time", TEXT, nullable=True),
        sa.Column("body_part_examined", TEXT, nullable=True),
        sa.Column("laterality", TEXT, nullable=True),
        sa.Column("station_name", TEXT, nullable=True),
        sa.Column("institution_name", TEXT, nullable=True),
        sa.Column("manufacturer", TEXT, nullable=True),
        sa.Column("performed_procedure_step_start_date", TEXT, nullable=True),
        sa.Column("performed_procedure_step_start_time", TEXT, nullable=True),
        sa.Column("number_of_series_related_instances", sa.Integer(), server_default="0", nullable=False),
        sa.Column("described_by", TEXT, nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["study"], ["study.id"], name="fk_series_study"),
        sa.PrimaryKeyConstraint("id", name="pk_series"),
    )
    op.create_index("ix_series_modality_study", "series", ["modality", "study"], unique=False)
    op.create_index("ix_series_series_instance_uid", "series", ["series_instance_uid"], unique=False)
    op.create_index("ix_series_study_series_instance_uid", "series", ["study", "series_instance_uid"], unique=True)
    op.create_table(
        "instance",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("study", ID, nullable=False),
        sa.Column("series", ID, nullable=False),
        sa.Column("sop_instance_uid", TEXT, nullable=False),
        sa.Column("sop_class_uid", TEXT, nullable=False),
        sa.Column("transfer_syntax_uid", TEXT, nullable=False),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("object_key", TEXT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("dataset_digest", TEXT, nullable=False),
        sa.Column("header_size", sa.BigInteger(), nullable=False),
        sa.Column("instance_number", sa.BigInteger(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("columns", sa.BigInteger(), nullable=True),
        sa.Column("bits_allocated", sa.BigInteger(), nullable=True),
        sa.Column("number_of_frames", sa.BigInteger(), nullable=True),
        sa.Column("content_date", TEXT, nullable=True),
        sa.Column("content_time", TEXT, nullable=True),
        sa.Column("frames", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["series"], ["series.id"], name="fk_instance_series"),
        sa.ForeignKeyConstraint(["study"], ["study.id"], name="fk_instance_study"),
        sa.PrimaryKeyConstraint("id", name="pk_instance"),
        sa.UniqueConstraint("sop_instance_uid", name="uq_instance_sop_instance_uid"),
        sa.UniqueConstraint("version", name="uq_instance_version"),
    )
    op.create_index("ix_instance_series_instance_number", "instance", ["series", "instance_number"], unique=False)
    op.create_index("ix_instance_study", "instance", ["study"], unique=False)
    op.create_table(
        "request",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("series", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("scheduled_procedure_step_id", TEXT, nullable=True),
        sa.Column("requested_procedure_id", TEXT, nullable=True),
        sa.ForeignKeyConstraint(["series"], ["series.id"], name="fk_request_series"),
        sa.PrimaryKeyConstraint("id", name="pk_request"),
    )
    op.create_index("ix_request_series", "request", ["series"], unique=False)
