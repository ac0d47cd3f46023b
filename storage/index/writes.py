"""The transactions that change the index; each function runs inside one (`reliability` rules of the store order).

Locks are taken in one order, study, series, instance, so that two writers never wait for each other crosswise.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from storage.errors import DuplicateConflict
from storage.index import Added
from storage.index.describing import (
    columns_of,
    describe_series,
    describe_study,
    insert_requests,
    instance_values,
    is_earlier,
    modalities_of,
    row_values,
)
from storage.index.health import forget
from storage.index.lookups import SERIES_ROW, STUDY_ROW, located
from storage.index.schema import (
    INSTANCE_ATTRIBUTES,
    SERIES_ATTRIBUTES,
    STUDY_ATTRIBUTES,
    change,
    damage,
    garbage,
    instance,
    request,
    series,
    study,
)
from storage.index.session import AnyRow, Session, Statement
from storage.records import InstanceRecord, Located


class Raced(Exception):
    """Another writer was first; the transaction has to be run again."""


GARBAGE_DELAY = 3600.0
"""Seconds until the object of a duplicate or replaced instance is removed: longer than any request may read it."""


def add(
    session: Session,
    record: InstanceRecord,
    *,
    replace: bool,
    tomb: str,
    announce: bool,
    again: bool = False,
    repairs: str = "",
    instead: str | None = None,
) -> Added:
    """See `Index.add`. Raises DuplicateConflict before anything is written, Raced when another writer was first.

    `again` says that an attempt before this one may have been committed, though its answer was lost: then somebody may
    have deleted or replaced the instance since, and it must not come back with an object that is garbage.
    """
    now = time.time()
    live = session.row(_LIVE, {"uid": record.sop_uid})
    if again and (live is None or live.version != record.version) and _is_garbage(session, record.version):
        return Added.REPLACED if tomb else Added.STORED
    if live is not None:
        return _again(
            session, record, live, now, replace=replace, tomb=tomb, announce=announce, repairs=repairs, instead=instead
        )
    study_row = _study(session, record, now)
    series_row = _series(session, record, study_row.id, now)
    own = {"study": study_row.id, "series": series_row.id, "sop_instance_uid": record.sop_uid}
    if session.row(_INSERT_INSTANCE, {**own, **instance_values(record)}) is None:
        raise Raced
    if again and _is_garbage(session, record.version):
        raise Raced
    first = series_row.number_of_series_related_instances == 0
    redescribed = is_earlier(record, series_row) or first
    session.run(
        _COUNT_SERIES, {"row": series_row.id, "number": series_row.number_of_series_related_instances + 1, "now": now}
    )
    if is_earlier(record, series_row):
        describe_series(session, record, series_row.id)
    if is_earlier(record, study_row):
        describe_study(session, record, study_row.id)
    values: dict[str, Any] = {
        "row": study_row.id,
        "series": study_row.number_of_study_related_series + (1 if first else 0),
        "instances": study_row.number_of_study_related_instances + 1,
        "now": now,
        "modalities": modalities_of(session, study_row.id) if redescribed else study_row.modalities_in_study,
    }
    session.run(_COUNT_STUDY, values)
    if announce:
        _announce(session, "create", [_uids(record)], now)
    return Added.STORED


def remove(
    connection: Connection,
    session: Session,
    study_uid: str,
    versions: Collection[str],
    *,
    cleanup_after: float,
    tomb: str,
) -> list[Located]:
    """See `Index.delete`. `session` is one on this connection."""
    now = time.time()
    study_row = session.row(STUDY_ROW, {"uid": study_uid})
    if study_row is None:
        return []
    gone = [one for one in located(session, study_uid) if one.version in versions]
    if not gone:
        return []
    removed = {one.version for one in gone}
    connection.execute(
        insert(garbage),
        [{"version": one.version, "object_key": one.key, "cleanup_after": cleanup_after, "tomb": tomb} for one in gone],
    )
    connection.execute(delete(instance).where(instance.c.version == bindparam("v")), [{"v": v} for v in removed])
    forget(connection, sorted(removed))
    _recount(connection, session, study_row, {one.series_uid for one in gone}, removed, now)
    _announce(session, "delete", [(o.study_uid, o.series_uid, o.sop_uid, o.version) for o in gone], now)
    return gone


# ---------------------------------------------------------------- statements

_LIVE = Statement(
    lambda _: (
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
    )
)
_LOCK = Statement(lambda _: select(instance.c.version).where(instance.c.id == bindparam("row")).with_for_update())
_INSTANCE_VALUES = [
    *("sop_class_uid", "transfer_syntax_uid", "version", "object_key", "size", "digest", "dataset_digest"),
    *("header_size", "frames", "checksum"),
    *columns_of(INSTANCE_ATTRIBUTES),
]
_INSERT_STUDY = Statement(
    lambda insert_new: insert_new(study),
    ["study_instance_uid", "described_by", "updated_at", *columns_of(STUDY_ATTRIBUTES)],
)
_INSERT_SERIES = Statement(
    lambda insert_new: insert_new(series),
    ["study", "series_instance_uid", "described_by", "updated_at", *columns_of(SERIES_ATTRIBUTES)],
)
_INSERT_INSTANCE = Statement(
    lambda insert_new: insert_new(instance).returning(instance.c.id),
    ["study", "series", "sop_instance_uid", *_INSTANCE_VALUES],
)
_REPLACE_INSTANCE = Statement(lambda _: update(instance).where(instance.c.id == bindparam("row")), _INSTANCE_VALUES)
_UNDESCRIBE_STUDY = Statement(lambda _: update(study).where(study.c.id == bindparam("row")), ["described_by"])
_UNDESCRIBE_SERIES = Statement(lambda _: update(series).where(series.c.id == bindparam("row")), ["described_by"])
_COUNT_SERIES = Statement(
    lambda _: (
        update(series)
        .where(series.c.id == bindparam("row"))
        .values(number_of_series_related_instances=bindparam("number"), updated_at=bindparam("now"))
    )
)
_COUNT_STUDY = Statement(
    lambda _: (
        update(study)
        .where(study.c.id == bindparam("row"))
        .values(
            number_of_study_related_series=bindparam("series"),
            number_of_study_related_instances=bindparam("instances"),
            modalities_in_study=bindparam("modalities"),
            updated_at=bindparam("now"),
        )
    )
)
_INSERT_CHANGE = Statement(lambda _: insert(change), ["action", "at", "study_uid", "series_uid", "sop_uid", "version"])
_GARBAGE = Statement(lambda _: select(garbage.c.version).where(garbage.c.version == bindparam("version")))
_FORGET_DAMAGE = Statement(lambda _: delete(damage).where(damage.c.version == bindparam("version")))
_INSERT_GARBAGE = Statement(lambda _: insert(garbage), ["version", "object_key", "cleanup_after", "tomb"])


def _uids(record: InstanceRecord) -> tuple[str, str, str, str]:
    return record.study_uid, record.series_uid, record.sop_uid, record.version


def _announce(session: Session, action: str, uids: Sequence[tuple[str, str, str, str]], now: float) -> None:
    names = ("study_uid", "series_uid", "sop_uid", "version")
    for one in uids:
        session.run(_INSERT_CHANGE, {"action": action, "at": now, **dict(zip(names, one, strict=True))})


# ---------------------------------------------------------------- rows


def _study(session: Session, record: InstanceRecord, now: float) -> AnyRow:
    key = {"uid": record.study_uid}
    row = session.row(STUDY_ROW, key)
    if row is None:
        own = {"study_instance_uid": record.study_uid, "described_by": record.version, "updated_at": now}
        session.run(_INSERT_STUDY, own | row_values(STUDY_ATTRIBUTES, record))
        row = session.row(STUDY_ROW, key)
    if row is None:
        raise Raced
    return row


def _series(session: Session, record: InstanceRecord, study_row: int, now: float) -> AnyRow:
    key = {"study": study_row, "uid": record.series_uid}
    row = session.row(SERIES_ROW, key)
    if row is None:
        own = {
            "study": study_row,
            "series_instance_uid": record.series_uid,
            "described_by": record.version,
            "updated_at": now,
        }
        session.run(_INSERT_SERIES, own | row_values(SERIES_ATTRIBUTES, record))
        row = session.row(SERIES_ROW, key)
        if row is None:
            raise Raced
        insert_requests(session, record, row.id)
    return row


def _again(
    session: Session,
    record: InstanceRecord,
    live: AnyRow,
    now: float,
    *,
    replace: bool,
    tomb: str,
    announce: bool,
    repairs: str,
    instead: str | None,
) -> Added:
    """The SOP Instance UID is known: our own earlier commit, a duplicate, a replacement or a conflict."""
    if live.version == record.version:
        return Added.REPLACED if tomb else Added.STORED  # the answer to our own commit was lost
    if (live.study_instance_uid, live.series_instance_uid) != (record.study_uid, record.series_uid):
        raise DuplicateConflict(record.sop_uid, "uid_reuse_across_study")
    same = live.dataset_digest == record.dataset_digest
    if same and repairs != live.version:
        _discard(session, record.version, record.key, now)
        return Added.DUPLICATE
    if not same and not replace:
        raise DuplicateConflict(record.sop_uid, "different_bytes")
    if instead is not None and instead != live.version:
        return Added.OUTDATED
    _lock(session, live)
    _discard(session, live.version, live.object_key, now, tomb)
    session.run(_FORGET_DAMAGE, {"version": live.version})
    session.run(_REPLACE_INSTANCE, {**instance_values(record), "row": live.id})
    if live.study_by == live.version:
        session.run(_UNDESCRIBE_STUDY, {"row": live.study_row, "described_by": ""})
    if live.series_by == live.version:
        session.run(_UNDESCRIBE_SERIES, {"row": live.series_row, "described_by": ""})
    if announce:
        _announce(session, "repair" if same else "replace", [_uids(record)], now)
    return Added.REPAIRED if same else Added.REPLACED


def _lock(session: Session, live: AnyRow) -> None:
    """Hold an instance and its parents, in the order in which everybody takes them. Raises Raced when it changed."""
    session.row(STUDY_ROW, {"uid": live.study_instance_uid})
    session.row(SERIES_ROW, {"study": live.study_row, "uid": live.series_instance_uid})
    held = session.row(_LOCK, {"row": live.id})
    if held is None or held.version != live.version:
        raise Raced


def _is_garbage(session: Session, version: str) -> bool:
    return session.row(_GARBAGE, {"version": version}) is not None


def _discard(session: Session, version: str, key: str, now: float, tomb: str = "") -> None:
    values = {"version": version, "object_key": key, "cleanup_after": now + GARBAGE_DELAY, "tomb": tomb}
    session.run(_INSERT_GARBAGE, values)


def _recount(
    connection: Connection,
    session: Session,
    study_row: AnyRow,
    series_uids: set[str],
    versions: set[str],
    now: float,
) -> None:
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
        "modalities_in_study": modalities_of(session, study_row.id),
        "updated_at": now,
    }
    if study_row.described_by in versions:
        changed["described_by"] = ""
    connection.execute(update(study).where(study.c.id == study_row.id).values(**changed))
