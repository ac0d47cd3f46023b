"""What the rows of studies and series say: the values of their earliest live instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from storage.attributes import Attribute
from storage.index.lookups import SERIES_ROW, STUDY_ROW
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
from storage.index.session import AnyRow, Session, Statement
from storage.query.names import name_groups, words
from storage.records import InstanceRecord, Value


def describe(session: Session, record: InstanceRecord) -> None:
    """See `Index.describe`."""
    study_row = session.row(STUDY_ROW, {"uid": record.study_uid})
    if study_row is None:
        return
    series_row = session.row(SERIES_ROW, {"study": study_row.id, "uid": record.series_uid})
    if series_row is not None and not series_row.described_by:
        earliest = session.row(_EARLIEST_OF_SERIES, {"row": series_row.id})
        if earliest is not None and earliest.version == record.version:
            describe_series(session, record, series_row.id)
            modalities = modalities_of(session, study_row.id)
            session.run(_SET_MODALITIES, {"row": study_row.id, "modalities": modalities})
    if not study_row.described_by:
        earliest = session.row(_EARLIEST_OF_STUDY, {"row": study_row.id})
        if earliest is not None and earliest.version == record.version:
            describe_study(session, record, study_row.id)


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
        "checksum": record.checksum,
        **row_values(INSTANCE_ATTRIBUTES, record),
    }


def is_earlier(record: InstanceRecord, row: AnyRow) -> bool:
    """Does `record` describe the row from now on: an empty `described_by` waits for the maintenance instead."""
    return bool(row.described_by) and record.version < row.described_by


def describe_study(session: Session, record: InstanceRecord, row: int) -> None:
    session.run(_DESCRIBE_STUDY, {**row_values(STUDY_ATTRIBUTES, record), "described_by": record.version, "row": row})


def describe_series(session: Session, record: InstanceRecord, row: int) -> None:
    session.run(_DESCRIBE_SERIES, {**row_values(SERIES_ATTRIBUTES, record), "described_by": record.version, "row": row})
    session.run(_DELETE_REQUESTS, {"row": row})
    insert_requests(session, record, row)


def insert_requests(session: Session, record: InstanceRecord, row: int) -> None:
    for position, item in enumerate(record.requests):
        values = {
            "series": row,
            "position": position,
            "scheduled_procedure_step_id": item.get("ScheduledProcedureStepID"),
            "requested_procedure_id": item.get("RequestedProcedureID"),
        }
        session.run(_INSERT_REQUEST, values)


def modalities_of(session: Session, row: int) -> str:
    return "\\".join(sorted(found.modality for found in session.rows(_MODALITIES, {"row": row})))


_NOTHING = InstanceRecord("", "", "", "", "", "", "", 0, "", "", 0)


def columns_of(attributes: Sequence[Attribute]) -> list[str]:
    """The columns that `row_values` gives values for."""
    return list(row_values(attributes, _NOTHING))


_EARLIEST_OF_SERIES = Statement(
    lambda _: select(func.min(instance.c.version).label("version")).where(instance.c.series == bindparam("row"))
)
_EARLIEST_OF_STUDY = Statement(
    lambda _: select(func.min(instance.c.version).label("version")).where(instance.c.study == bindparam("row"))
)
_SET_MODALITIES = Statement(
    lambda _: update(study).where(study.c.id == bindparam("row")).values(modalities_in_study=bindparam("modalities"))
)
_DESCRIBE_STUDY = Statement(
    lambda _: update(study).where(study.c.id == bindparam("row")), [*columns_of(STUDY_ATTRIBUTES), "described_by"]
)
_DESCRIBE_SERIES = Statement(
    lambda _: update(series).where(series.c.id == bindparam("row")), [*columns_of(SERIES_ATTRIBUTES), "described_by"]
)
_DELETE_REQUESTS = Statement(lambda _: delete(request).where(request.c.series == bindparam("row")))
_INSERT_REQUEST = Statement(
    lambda _: insert(request), ["series", "position", "scheduled_procedure_step_id", "requested_procedure_id"]
)
_MODALITIES = Statement(
    lambda _: (
        select(series.c.modality).where(series.c.study == bindparam("row"), series.c.modality.is_not(None)).distinct()
    )
)
