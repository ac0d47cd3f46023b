"""The tables, made from the one table of indexed attributes.

`study` carries the patient's attributes too; counts and modalities are kept up to date in the store transaction, so a
search reads one narrow row a result. `described_by` names the version whose data set gave the row its values: always
the earliest live one, so a rebuild comes to the same rows; it is empty while that has to be looked up again.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text
from sqlalchemy.types import TypeEngine

from storage.attributes import Attribute, Level, at_level

NAME_GROUPS = ("alphabetic", "ideographic", "phonetic")

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column that is exactly INTEGER
_ID: TypeEngine[int] = BigInteger().with_variant(Integer, "sqlite")
# code point order in both databases, so that pages and prefixes agree
_TEXT: TypeEngine[str] = Text().with_variant(Text(collation="C"), "postgresql")


def _kept(*levels: Level) -> list[Attribute]:
    return [a for level in levels for a in at_level(level) if not a.computed and not a.sequence]


def _columns(attributes: list[Attribute], without: frozenset[str] = frozenset()) -> list[Column[object]]:
    columns: list[Column[object]] = []
    for attribute in attributes:
        if attribute.keyword in without:
            continue
        kind: TypeEngine[Any] = BigInteger() if attribute.vr in {"IS", "US"} else _TEXT
        columns.append(Column(attribute.column, kind))
        if attribute.vr == "PN":
            columns.extend(Column(f"{attribute.column}_{part}", _TEXT) for part in (*NAME_GROUPS, "words"))
    return columns


STUDY_ATTRIBUTES = tuple(_kept(Level.PATIENT, Level.STUDY))
SERIES_ATTRIBUTES = tuple(_kept(Level.SERIES))
INSTANCE_ATTRIBUTES = tuple(_kept(Level.IMAGE))
REQUEST_ATTRIBUTES = tuple(a for a in at_level(Level.SERIES) if a.sequence)
UIDS = frozenset({"StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"})

study = Table(
    "study",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("study_instance_uid", _TEXT, nullable=False, unique=True),
    *_columns(list(STUDY_ATTRIBUTES), UIDS),
    Column("modalities_in_study", _TEXT, nullable=False, server_default=""),
    Column("number_of_study_related_series", Integer, nullable=False, server_default="0"),
    Column("number_of_study_related_instances", Integer, nullable=False, server_default="0"),
    Column("described_by", _TEXT, nullable=False),
    Column("updated_at", Float, nullable=False),
)
Index(None, study.c.patient_id)
# the order of results, with what most searches look at besides; SQLite puts nulls last in a descending index by itself
Index(
    "ix_study_newest",
    study.c.study_date.desc().nulls_last(),
    study.c.study_time.desc().nulls_last(),
    study.c.study_instance_uid,
    study.c.modalities_in_study,
).ddl_if(dialect="postgresql")
Index(
    "ix_study_newest",
    study.c.study_date.desc(),
    study.c.study_time.desc(),
    study.c.study_instance_uid,
    study.c.modalities_in_study,
).ddl_if(dialect="sqlite")
Index(None, study.c.accession_number)
for _group in NAME_GROUPS:
    _column = study.c[f"patient_name_{_group}"]
    _there = None if _group == "alphabetic" else _column.is_not(None)
    Index(f"ix_study_patient_name_{_group}", _column, study.c.id, postgresql_where=_there, sqlite_where=_there)

series = Table(
    "series",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("study", _ID, ForeignKey("study.id"), nullable=False),
    Column("series_instance_uid", _TEXT, nullable=False),
    *_columns(list(SERIES_ATTRIBUTES), UIDS),
    Column("number_of_series_related_instances", Integer, nullable=False, server_default="0"),
    Column("described_by", _TEXT, nullable=False),
    Column("updated_at", Float, nullable=False),
)
Index(None, series.c.study, series.c.series_instance_uid, unique=True)
Index(None, series.c.series_instance_uid)
Index(None, series.c.modality, series.c.study)

request = Table(
    "request",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("series", _ID, ForeignKey("series.id"), nullable=False, index=True),
    Column("position", Integer, nullable=False),
    *[Column(attribute.column, _TEXT) for attribute in REQUEST_ATTRIBUTES],
)

instance = Table(
    "instance",
    metadata,
    Column("id", _ID, primary_key=True, autoincrement=True),
    Column("study", _ID, ForeignKey("study.id"), nullable=False),
    Column("series", _ID, ForeignKey("series.id"), nullable=False),
    Column("sop_instance_uid", _TEXT, nullable=False, unique=True),
    Column("sop_class_uid", _TEXT, nullable=False),
    Column("transfer_syntax_uid", _TEXT, nullable=False),
    Column("version", _TEXT, nullable=False, unique=True),
    Column("object_key", _TEXT, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("digest", _TEXT, nullable=False),
    Column("dataset_digest", _TEXT, nullable=False),
    Column("header_size", BigInteger, nullable=False),
    *_columns(list(INSTANCE_ATTRIBUTES), UIDS),
    Column("frames", LargeBinary),
    Column("checksum", _TEXT),
)
Index(None, instance.c.series, instance.c.instance_number)
Index(None, instance.c.study)

garbage = Table(
    "garbage",
    metadata,
    Column("version", _TEXT, primary_key=True),
    Column("object_key", _TEXT, nullable=False),
    Column("cleanup_after", Float, nullable=False, index=True),
    Column("tomb", _TEXT, nullable=False, server_default=""),
)
Index(None, garbage.c.tomb)

orphan = Table(
    "orphan",
    metadata,
    Column("object_key", _TEXT, primary_key=True),
    Column("first_seen", Float, nullable=False),
)

damage = Table(
    "damage",
    metadata,
    Column("version", _TEXT, primary_key=True),
    Column("reason", _TEXT, nullable=False),
    Column("found_at", Float, nullable=False),
)

change = Table(
    "change",
    metadata,
    Column("sequence", _ID, primary_key=True, autoincrement=True),
    Column("action", _TEXT, nullable=False),
    Column("study_uid", _TEXT, nullable=False),
    Column("series_uid", _TEXT, nullable=False),
    Column("sop_uid", _TEXT, nullable=False),
    Column("version", _TEXT, nullable=False),
    Column("at", Float, nullable=False),
    sqlite_autoincrement=True,
)
_DELETED = change.c.action == "delete"
Index(
    "ix_change_deleted",
    change.c.study_uid,
    change.c.series_uid,
    change.c.sop_uid,
    postgresql_where=_DELETED,
    sqlite_where=_DELETED,
)

total = Table(
    "total",
    metadata,
    Column("slot", BigInteger, primary_key=True, autoincrement=False),
    Column("modalities", _TEXT, primary_key=True),
    Column("studies", BigInteger, nullable=False),
    Column("series", BigInteger, nullable=False),
    Column("instances", BigInteger, nullable=False),
)

note = Table("note", metadata, Column("name", _TEXT, primary_key=True), Column("value", _TEXT, nullable=False))

TABLES = {Level.PATIENT: study, Level.STUDY: study, Level.SERIES: series, Level.IMAGE: instance}
"""Where the attributes of a level are."""
