"""The transactions that change the index; each function runs inside one (`reliability` rules of the store order).

Locks are taken in one order, study, series, instance, so that two writers never wait for each other crosswise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Insert, Row, Select, Table, bindparam, delete, func, insert, select, update

from storage.attributes import Attribute
from storage.errors import DuplicateConflict
from storage.index import Added
from storage.index.schema import (
    INSTANCE_ATTRIBUTES,
    NAME_GROUPS,
    SERIES_ATTRIBUTES,
    STUDY_ATTRIBUTES,
    UIDS,
    change,
    garbage,
    instance,
    request,
    series,
    study,
)
from storage.query import name_groups
from storage.records import InstanceRecord, Located, Value

AnyRow = Row[*tuple[Any, ...]]

InsertNew = Callable[[Table], Insert]
"""INSERT that does nothing when a unique key is taken, in the database's own words."""


class Raced(Exception):
    """Another writer was first; the transaction has to be run again."""


GARBAGE_DELAY = 3600.0
"""Seconds until the object of a duplicate or replaced instance is removed: longer than any request may read it."""


def add(
    connection: Connection, record: InstanceRecord, insert_new: InsertNew, *, replace: bool, tomb: str, announce: bool
) -> Added:
    """See `Index.add`. Raises DuplicateConflict before anything is written, Raced when another writer was first."""
    now = time.time()
    live = connection.execute(_LIVE, {"uid": record.sop_uid}).one_or_none()
    if live is not None:
        return _again(connection, record, live, now, replace=replace, tomb=tomb, announce=announce)
    study_row = _study(connection, record, insert_new, now)
    series_row = _series(connection, record, study_row.id, insert_new, now)
    made = connection.execute(
        insert_new(instance)
        .values(study=study_row.id, series=series_row.id, sop_instance_uid=record.sop_uid, **_instance_values(record))
        .returning(instance.c.id)
    ).one_or_none()
    if made is None:
        raise Raced
    first = series_row.number_of_series_related_instances == 0
    redescribed = _is_earlier(record, series_row) or first
    connection.execute(
        _COUNT_SERIES, {"row": series_row.id, "number": series_row.number_of_series_related_instances + 1, "now": now}
    )
    if _is_earlier(record, series_row):
        _describe_series(connection, record, series_row.id)
    if _is_earlier(record, study_row):
        _describe_study(connection, record, study_row.id)
    values: dict[str, Any] = {
        "row": study_row.id,
        "series": study_row.number_of_study_related_series + (1 if first else 0),
        "instances": study_row.number_of_study_related_instances + 1,
        "now": now,
        "modalities": _modalities(connection, study_row.id) if redescribed else study_row.modalities_in_study,
    }
    connection.execute(_COUNT_STUDY, values)
    if announce:
        _announce(connection, "create", [_uids(record)], now)
    return Added.STORED


def remove(
    connection: Connection, study_uid: str, versions: Collection[str], *, cleanup_after: float, tomb: str
) -> list[Located]:
    """See `Index.delete`."""
    now = time.time()
    study_row = connection.execute(_STUDY, {"uid": study_uid}).one_or_none()
    if study_row is None:
        return []
    gone = [one for one in located(connection, study_uid) if one.version in versions]
    if not gone:
        return []
    removed = {one.version for one in gone}
    connection.execute(
        insert(garbage),
        [{"version": one.version, "object_key": one.key, "cleanup_after": cleanup_after, "tomb": tomb} for one in gone],
    )
    connection.execute(delete(instance).where(instance.c.version == bindparam("v")), [{"v": v} for v in removed])
    _recount(connection, study_row, {one.series_uid for one in gone}, removed, now)
    _announce(connection, "delete", [(o.study_uid, o.series_uid, o.sop_uid, o.version) for o in gone], now)
    return gone


def describe(connection: Connection, record: InstanceRecord) -> None:
    """See `Index.describe`."""
    study_row = connection.execute(_STUDY, {"uid": record.study_uid}).one_or_none()
    if study_row is None:
        return
    series_row = connection.execute(_SERIES, {"study": study_row.id, "uid": record.series_uid}).one_or_none()
    if series_row is not None and not series_row.described_by:
        earliest = select(func.min(instance.c.version)).where(instance.c.series == series_row.id)
        if connection.execute(earliest).scalar() == record.version:
            _describe_series(connection, record, series_row.id)
            connection.execute(
                update(study)
                .where(study.c.id == study_row.id)
                .values(modalities_in_study=_modalities(connection, study_row.id))
            )
    if not study_row.described_by:
        earliest = select(func.min(instance.c.version)).where(instance.c.study == study_row.id)
        if connection.execute(earliest).scalar() == record.version:
            _describe_study(connection, record, study_row.id)


def undescribed(connection: Connection) -> list[Located]:
    """See `Index.undescribed`."""
    versions = set(
        connection.execute(
            select(func.min(instance.c.version))
            .join(series, instance.c.series == series.c.id)
            .where(series.c.described_by == "")
            .group_by(series.c.id)
        ).scalars()
    ) | set(
        connection.execute(
            select(func.min(instance.c.version))
            .join(study, instance.c.study == study.c.id)
            .where(study.c.described_by == "")
            .group_by(study.c.id)
        ).scalars()
    )
    statement = _located().where(instance.c.version == bindparam("version"))
    found = [connection.execute(statement, {"version": version}).one() for version in sorted(versions)]
    return [_as_located(row) for row in found]


def located(
    connection: Connection, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None
) -> list[Located]:
    """See `Index.locate`."""
    statement = _located().where(study.c.study_instance_uid == study_uid)
    if series_uid is not None:
        statement = statement.where(series.c.series_instance_uid == series_uid)
    if sop_uid is not None:
        statement = statement.where(instance.c.sop_instance_uid == sop_uid)
    statement = statement.order_by(
        series.c.series_number.nulls_last(),
        series.c.series_instance_uid,
        series.c.id,
        instance.c.instance_number.nulls_last(),
        instance.c.sop_instance_uid,
    )
    return [_as_located(row) for row in connection.execute(statement)]


def found(connection: Connection, sop_uid: str) -> Located | None:
    """See `Index.find`."""
    row = connection.execute(_located().where(instance.c.sop_instance_uid == sop_uid)).one_or_none()
    return None if row is None else _as_located(row)


# ---------------------------------------------------------------- statements

_LIVE = (
    select(
        instance.c.id,
        instance.c.version,
        instance.c.object_key,
        instance.c.dataset_digest,
        study.c.id.label("study_row"),
        series.c.id.label("series_row"),
        study.c.study_instance_uid,
        series.c.series_instance_uid,
        study.c.described_by.label("study_by"),
        series.c.described_by.label("series_by"),
    )
    .join(series, instance.c.series == series.c.id)
    .join(study, instance.c.study == study.c.id)
    .where(instance.c.sop_instance_uid == bindparam("uid"))
    .with_for_update()
)
_STUDY = (
    select(
        study.c.id,
        study.c.described_by,
        study.c.modalities_in_study,
        study.c.number_of_study_related_series,
        study.c.number_of_study_related_instances,
    )
    .where(study.c.study_instance_uid == bindparam("uid"))
    .with_for_update()
)
_SERIES = (
    select(series.c.id, series.c.described_by, series.c.number_of_series_related_instances)
    .where(series.c.study == bindparam("study"), series.c.series_instance_uid == bindparam("uid"))
    .with_for_update()
)
_COUNT_SERIES = (
    update(series)
    .where(series.c.id == bindparam("row"))
    .values(number_of_series_related_instances=bindparam("number"), updated_at=bindparam("now"))
)
_COUNT_STUDY = (
    update(study)
    .where(study.c.id == bindparam("row"))
    .values(
        number_of_study_related_series=bindparam("series"),
        number_of_study_related_instances=bindparam("instances"),
        modalities_in_study=bindparam("modalities"),
        updated_at=bindparam("now"),
    )
)


def _located() -> Select[Any]:
    return (
        select(
            study.c.study_instance_uid,
            series.c.series_instance_uid,
            instance.c.sop_instance_uid,
            instance.c.sop_class_uid,
            instance.c.transfer_syntax_uid,
            instance.c.version,
            instance.c.object_key,
            instance.c.size,
            instance.c.digest,
            instance.c.dataset_digest,
            instance.c.header_size,
            instance.c.number_of_frames,
            instance.c.frames,
        )
        .join(series, instance.c.series == series.c.id)
        .join(study, instance.c.study == study.c.id)
    )


def _as_located(row: AnyRow) -> Located:
    return Located(*tuple(row))


def _uids(record: InstanceRecord) -> tuple[str, str, str, str]:
    return record.study_uid, record.series_uid, record.sop_uid, record.version


def _announce(connection: Connection, action: str, uids: Sequence[tuple[str, str, str, str]], now: float) -> None:
    names = ("study_uid", "series_uid", "sop_uid", "version")
    connection.execute(
        insert(change), [{"action": action, "at": now, **dict(zip(names, one, strict=True))} for one in uids]
    )


# ---------------------------------------------------------------- values


def _values(attributes: Sequence[Attribute], record: InstanceRecord) -> dict[str, Any]:
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
    return values


def _instance_values(record: InstanceRecord) -> Mapping[str, Any]:
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
        **_values(INSTANCE_ATTRIBUTES, record),
    }


def _is_earlier(record: InstanceRecord, row: AnyRow) -> bool:
    """Does `record` describe the row from now on: an empty `described_by` waits for the maintenance instead."""
    return bool(row.described_by) and record.version < row.described_by


def _describe_study(connection: Connection, record: InstanceRecord, row: int) -> None:
    values = {**_values(STUDY_ATTRIBUTES, record), "described_by": record.version}
    connection.execute(update(study).where(study.c.id == row).values(**values))


def _describe_series(connection: Connection, record: InstanceRecord, row: int) -> None:
    values = {**_values(SERIES_ATTRIBUTES, record), "described_by": record.version}
    connection.execute(update(series).where(series.c.id == row).values(**values))
    connection.execute(delete(request).where(request.c.series == row))
    _insert_requests(connection, record, row)


def _insert_requests(connection: Connection, record: InstanceRecord, row: int) -> None:
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


def _modalities(connection: Connection, row: int) -> str:
    statement = select(series.c.modality).where(series.c.study == row, series.c.modality.is_not(None)).distinct()
    return "\\".join(sorted(connection.execute(statement).scalars()))


# ---------------------------------------------------------------- rows


def _study(connection: Connection, record: InstanceRecord, insert_new: InsertNew, now: float) -> AnyRow:
    row = connection.execute(_STUDY, {"uid": record.study_uid}).one_or_none()
    if row is None:
        connection.execute(
            insert_new(study).values(
                study_instance_uid=record.study_uid,
                described_by=record.version,
                updated_at=now,
                **_values(STUDY_ATTRIBUTES, record),
            )
        )
        row = connection.execute(_STUDY, {"uid": record.study_uid}).one_or_none()
    if row is None:
        raise Raced
    return row


def _series(
    connection: Connection, record: InstanceRecord, study_row: int, insert_new: InsertNew, now: float
) -> AnyRow:
    key = {"study": study_row, "uid": record.series_uid}
    row = connection.execute(_SERIES, key).one_or_none()
    if row is None:
        connection.execute(
            insert_new(series).values(
                study=study_row,
                series_instance_uid=record.series_uid,
                described_by=record.version,
                updated_at=now,
                **_values(SERIES_ATTRIBUTES, record),
            )
        )
        row = connection.execute(_SERIES, key).one_or_none()
        if row is None:
            raise Raced
        _insert_requests(connection, record, row.id)
    return row


def _again(
    connection: Connection,
    record: InstanceRecord,
    live: AnyRow,
    now: float,
    *,
    replace: bool,
    tomb: str,
    announce: bool,
) -> Added:
    """The SOP Instance UID is known: our own earlier commit, a duplicate, a replacement or a conflict."""
    if live.version == record.version:
        return Added.STORED  # the answer to our own commit was lost
    if (live.study_instance_uid, live.series_instance_uid) != (record.study_uid, record.series_uid):
        raise DuplicateConflict(record.sop_uid, "uid_reuse_across_study")
    if live.dataset_digest == record.dataset_digest:
        _discard(connection, record.version, record.key, now)
        return Added.DUPLICATE
    if not replace:
        raise DuplicateConflict(record.sop_uid, "different_bytes")
    _discard(connection, live.version, live.object_key, now, tomb)
    connection.execute(update(instance).where(instance.c.id == live.id).values(**_instance_values(record)))
    if live.study_by == live.version:
        connection.execute(update(study).where(study.c.id == live.study_row).values(described_by=""))
    if live.series_by == live.version:
        connection.execute(update(series).where(series.c.id == live.series_row).values(described_by=""))
    if announce:
        _announce(connection, "replace", [_uids(record)], now)
    return Added.REPLACED


def _discard(connection: Connection, version: str, key: str, now: float, tomb: str = "") -> None:
    connection.execute(
        insert(garbage).values(version=version, object_key=key, cleanup_after=now + GARBAGE_DELAY, tomb=tomb)
    )


def _recount(connection: Connection, study_row: AnyRow, series_uids: set[str], versions: set[str], now: float) -> None:
    """Counters, descriptions and empty rows after instances left."""
    left = (
        select(series.c.id, series.c.described_by, func.count(instance.c.id).label("number"))
        .outerjoin(instance, instance.c.series == series.c.id)
        .where(series.c.study == study_row.id, series.c.series_instance_uid.in_(sorted(series_uids)))
        .group_by(series.c.id, series.c.described_by)
    )
    for row in connection.execute(left).all():
        if row.number == 0:
            connection.execute(delete(request).where(request.c.series == row.id))
            connection.execute(delete(series).where(series.c.id == row.id))
            continue
        values: dict[str, Any] = {"number_of_series_related_instances": row.number, "updated_at": now}
        if row.described_by in versions:
            values["described_by"] = ""
        connection.execute(update(series).where(series.c.id == row.id).values(**values))
    numbers = connection.execute(
        select(func.count(), func.coalesce(func.sum(series.c.number_of_series_related_instances), 0)).where(
            series.c.study == study_row.id
        )
    ).one()
    if numbers[0] == 0:
        connection.execute(delete(study).where(study.c.id == study_row.id))
        return
    changed: dict[str, Any] = {
        "number_of_study_related_series": numbers[0],
        "number_of_study_related_instances": numbers[1],
        "modalities_in_study": _modalities(connection, study_row.id),
        "updated_at": now,
    }
    if study_row.described_by in versions:
        changed["described_by"] = ""
    connection.execute(update(study).where(study.c.id == study_row.id).values(**changed))


def known(connection: Connection, table: Table, versions: Sequence[str]) -> set[str]:
    """Those of `versions` that a row of `table` has."""
    seen: set[str] = set()
    for start in range(0, len(versions), 500):
        some = list(versions[start : start + 500])
        seen.update(connection.execute(select(table.c.version).where(table.c.version.in_(some))).scalars())
    return seen
