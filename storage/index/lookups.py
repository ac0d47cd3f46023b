"""Stored instances looked up by UID or version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, bindparam, func, select, text

from storage.index.schema import change, garbage, instance, series, study
from storage.index.session import AnyRow as AnyRow
from storage.index.session import Session, Statement
from storage.records import Deleted, Located

_IN_ORDER = (
    series.c.series_number.nulls_last(),
    series.c.series_instance_uid,
    series.c.id,
    instance.c.instance_number.nulls_last(),
    instance.c.sop_instance_uid,
)


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
    statement = located_columns().where(instance.c.version == bindparam("version"))
    found = [connection.execute(statement, {"version": version}).one() for version in sorted(versions)]
    return [as_located(row) for row in found]


def located(
    session: Session, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None
) -> list[Located]:
    """See `Index.locate`."""
    statement = _BELOW[series_uid is not None, sop_uid is not None]
    rows = session.rows(statement, {"study_uid": study_uid, "series_uid": series_uid, "sop_uid": sop_uid})
    return [as_located(row) for row in rows]


def located_within(
    connection: Connection,
    study_uid: str,
    series_uid: str | None,
    sop_uid: str | None,
    seen: Sequence[ColumnElement[bool]],
) -> list[Located]:
    """As `located`; `seen` is what the study has to fulfil."""
    statement = located_columns().where(study.c.study_instance_uid == study_uid, *seen)
    if series_uid is not None:
        statement = statement.where(series.c.series_instance_uid == series_uid)
    if sop_uid is not None:
        statement = statement.where(instance.c.sop_instance_uid == sop_uid)
    return [as_located(row) for row in connection.execute(statement.order_by(*_IN_ORDER))]


def was_deleted(
    connection: Connection, study_uid: str, series_uid: str | None = None, sop_uid: str | None = None
) -> bool:
    """See `Index.was_deleted`."""
    # as text, not bound: only then do the databases see that the partial index serves
    statement = select(change.c.sequence).where(text("action = 'delete'"), change.c.study_uid == study_uid)
    if series_uid is not None:
        statement = statement.where(change.c.series_uid == series_uid)
    if sop_uid is not None:
        statement = statement.where(change.c.sop_uid == sop_uid)
    return connection.execute(statement.limit(1)).first() is not None


def deleted(
    connection: Connection, since: float, study_uid: str | None, before: int | None, limit: int
) -> list[Deleted]:
    """See `Index.deleted`."""
    alive = select(instance.c.id).where(instance.c.sop_instance_uid == change.c.sop_uid).exists()
    statement = (
        select(
            change.c.sequence,
            change.c.study_uid,
            change.c.series_uid,
            change.c.sop_uid,
            change.c.version,
            garbage.c.object_key,
            change.c.at,
        )
        .join(garbage, garbage.c.version == change.c.version)
        .where(text("action = 'delete'"), change.c.at >= since, ~alive)
        .order_by(change.c.sequence.desc())
        .limit(limit)
    )
    if study_uid is not None:
        statement = statement.where(change.c.study_uid == study_uid)
    if before is not None:
        statement = statement.where(change.c.sequence < before)
    return [Deleted(*row) for row in connection.execute(statement)]


def found(session: Session, sop_uid: str) -> Located | None:
    """See `Index.find`."""
    row = session.row(_FOUND, {"uid": sop_uid})
    return None if row is None else as_located(row)


def by_version(connection: Connection, versions: Sequence[str]) -> dict[str, Located]:
    """The live instances of these versions, by version; at most some hundred."""
    rows = connection.execute(located_columns().where(instance.c.version.in_(versions)))
    return {found.version: found for found in map(as_located, rows)}


def known(connection: Connection, table: Table, versions: Sequence[str]) -> set[str]:
    """Those of `versions` that a row of `table` has."""
    seen: set[str] = set()
    for start in range(0, len(versions), 500):
        some = list(versions[start : start + 500])
        seen.update(connection.execute(select(table.c.version).where(table.c.version.in_(some))).scalars())
    return seen


def located_columns() -> Select[Any]:
    """All live instances, as `as_located` takes them."""
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
            instance.c.checksum,
        )
        .join(series, instance.c.series == series.c.id)
        .join(study, instance.c.study == study.c.id)
    )


def as_located(row: AnyRow) -> Located:
    """A row of `located_columns`."""
    return Located(*tuple(row))


def _below(*, of_series: bool, of_instance: bool) -> Statement:
    def made(_: object) -> Select[Any]:
        statement = located_columns().where(study.c.study_instance_uid == bindparam("study_uid"))
        if of_series:
            statement = statement.where(series.c.series_instance_uid == bindparam("series_uid"))
        if of_instance:
            return statement.where(instance.c.sop_instance_uid == bindparam("sop_uid"))
        return statement.order_by(*_IN_ORDER)

    return Statement(made)


_BELOW = {(one, other): _below(of_series=one, of_instance=other) for one in (False, True) for other in (False, True)}
"""The instances below a study, by whether a series and an instance are named."""
_FOUND = Statement(lambda _: located_columns().where(instance.c.sop_instance_uid == bindparam("uid")))
STUDY_ROW = Statement(
    lambda _: (
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
)
SERIES_ROW = Statement(
    lambda _: (
        select(series.c.id, series.c.described_by, series.c.number_of_series_related_instances)
        .where(series.c.study == bindparam("study"), series.c.series_instance_uid == bindparam("uid"))
        .with_for_update()
    )
)
