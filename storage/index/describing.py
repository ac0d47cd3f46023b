"""What the rows of studies and series say: the values of their earliest live instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from storage.attributes import Attribute
from storage.index.lookups import SERIES_ROW, STUDY_ROW, AnyRow
from storage.index.schema import (
    INSTANCE_ATTRIBUTES,
    NAME_GROUPS,
    SERIES_ATTRIBUTES,
    STUDY_ATTRIBUTES,
    UIDS,
    instance,
    request,
    series,
    study,
)
from storage.query.names import name_groups, words
from storage.records import InstanceRecord, Value


def describe(connection: Connection, record: InstanceRecord) -> None:
    """See `Index.describe`."""
    study_row = connection.execute(STUDY_ROW, {"uid": record.study_uid}).one_or_none()
    if study_row is None:
        return
    series_row = connection.execute(SERIES_ROW, {"study": study_row.id, "uid": record.series_uid}).one_or_none()
    if series_row is not None and not series_row.described_by:
        earliest = select(func.min(instance.c.version)).where(instance.c.series == series_row.id)
        if connection.execute(earliest).scalar() == record.version:
            describe_series(connection, record, series_row.id)
            connection.execute(
                update(study)
                .where(study.c.id == study_row.id)
                .values(modalities_in_study=modalities_of(connection, study_row.id))
            )
    if not study_row.described_by:
        earliest = select(func.min(instance.c.version)).where(instance.c.study == study_row.id)
        if connection.execute(earliest).scalar() == record.version:
            describe_study(connection, record, study_row.id)


def row_values(attributes: Sequence[Attribute], record: InstanceRecord) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for attribute in attributes:
        if attribute.keyword in UIDS:
            continue
        value: Value | None = record.attributes.get(attribute.keyword)
        values[attribute.column] = value
        if attribute.vr == "PN":
            groups = name_groups(str(value)) if value is not None else ("", "", "")
            for group, text in zip(NAME_GROUPS, groups, strict=True):
                values[f"{attribute.column}_{group}"] = text or None
            values[f"{attribute.column}_words"] = words(str(value)) or None if value is not None else None
    return values


def instance_values(record: InstanceRecord) -> Mapping[str, Any]:
    return {
        "sop_class_uid": record.sop_class_uid,
        "transfer_syntax_uid": record.transfer_syntax_uid,
        "version": record.version,
        "object_key": record.key,
        "size": record.size,
        "digest": record.digest,
        "dataset_digest": record.dataset_digest,
        "header_size": record.header_size,
        "frames": record.frames,
        **row_values(INSTANCE_ATTRIBUTES, record),
    }


def is_earlier(record: InstanceRecord, row: AnyRow) -> bool:
    """Does `record` describe the row from now on: an empty `described_by` waits for the maintenance instead."""
    return bool(row.described_by) and record.version < row.described_by


def describe_study(connection: Connection, record: InstanceRecord, row: int) -> None:
    values = {**row_values(STUDY_ATTRIBUTES, record), "described_by": record.version}
    connection.execute(update(study).where(study.c.id == row).values(**values))


def describe_series(connection: Connection, record: InstanceRecord, row: int) -> None:
    values = {**row_values(SERIES_ATTRIBUTES, record), "described_by": record.version}
    connection.execute(update(series).where(series.c.id == row).values(**values))
    connection.execute(delete(request).where(request.c.series == row))
    insert_requests(connection, record, row)


def insert_requests(connection: Connection, record: InstanceRecord, row: int) -> None:
    if record.requests:
        connection.execute(
            insert(request),
            [
                {
                    "series": row,
                    "position": position,
                    "scheduled_procedure_step_id": item.get("ScheduledProcedureStepID"),
                    "requested_procedure_id": item.get("RequestedProcedureID"),
                }
                for position, item in enumerate(record.requests)
            ],
        )


def modalities_of(connection: Connection, row: int) -> str:
    statement = select(series.c.modality).where(series.c.study == row, series.c.modality.is_not(None)).distinct()
    return "\\".join(sorted(connection.execute(statement).scalars()))
