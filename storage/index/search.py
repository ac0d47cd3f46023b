"""A `Query` as SQL, and its rows as matches (PS3.4 C.4.1.1.3.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, func, select, union
from sqlalchemy.sql.elements import BooleanClauseList

from storage.attributes import ATTRIBUTES, BY_KEYWORD, SEQUENCES, Attribute, Level
from storage.index import totals
from storage.index.conditions import REQUEST, Glob, column, in_studies, where
from storage.index.lookups import AnyRow, by_version
from storage.index.schema import instance, request, series, study
from storage.query import Condition, Equals, Name, OneOf, Query, matches
from storage.records import Located, Match, Page, Table, Value


def run(connection: Connection, query: Query, glob: Glob) -> Page:
    """Answer `query` on this connection, within the connection's transaction."""
    if query.level is Level.PATIENT:
        return _patients(connection, query, glob)
    conditions = where(query.conditions, glob) + in_studies(query.within, glob)
    statement, shown = page(query, conditions)
    rows = connection.execute(_windowed(statement, query)).all()
    number = total(query, len(rows), lambda: connection.execute(counted(query, conditions)).scalar_one())
    found = as_matches(shown, rows, _extras(connection, query, rows, glob))
    return Page(tuple(_located(connection, found, rows) if query.located else found), number)


def page(query: Query, conditions: Sequence[ColumnElement[bool]]) -> tuple[Select[Any], tuple[Attribute, ...]]:
    """SELECT of the matches in their order, without limit and offset; and the attributes in its columns."""
    base, shown = _base(query.level, query.shown, query.located)
    return base.where(*conditions).order_by(*_order(query)), shown


def _windowed(statement: Select[Any], query: Query) -> Select[Any]:
    if query.limit is not None:
        statement = statement.limit(query.limit)
    return statement.offset(query.offset) if query.offset else statement


# ---------------------------------------------------------------- totals


def total(query: Query, found: int, count: Callable[[], int]) -> int:
    """All matches: known from the page itself when it is the last one, else counted."""
    if (found or not query.offset) and (query.limit is None or found < query.limit):
        return query.offset + found
    return int(count())


def counted(query: Query, conditions: Sequence[ColumnElement[bool]]) -> Select[Any]:
    """SELECT of the number of all matches, from the counters of the lowest level that the conditions look at.

    Of everything, and of a modality, there are totals.
    """
    known = totals.number_of(query.level, query.conditions) if query.within is None else None
    if known is not None:
        return known
    groups = _groups(query, conditions)
    if groups:
        ids = union(*(select(study.c.id).where(group) for group in groups))
        return select(func.count()).select_from(ids.subquery())
    lowest = max((single.attribute.level for single in query.conditions), default=Level.STUDY)
    table: FromClause = study
    number: ColumnElement[Any] = func.count()
    if lowest <= Level.STUDY:
        if query.level is not Level.STUDY:
            of_series = query.level is Level.SERIES
            number = func.sum(
                study.c.number_of_study_related_series if of_series else study.c.number_of_study_related_instances
            )
    elif lowest is Level.SERIES:
        table = _source(Level.SERIES)
        if query.level is Level.IMAGE:
            number = func.sum(series.c.number_of_series_related_instances)
    else:
        table = _source(query.level)
    return select(func.coalesce(number, 0)).select_from(table).where(*conditions)


def _groups(query: Query, conditions: Sequence[ColumnElement[bool]]) -> Sequence[ColumnElement[bool]]:
    """The alternatives of a search for studies by a name alone: an index of each group tells, without the rows."""
    if query.level is not Level.STUDY or query.within is not None or len(query.conditions) != 1:
        return ()
    (single,), (found,) = query.conditions, conditions
    if isinstance(single, Name) and len(single.patterns) == 1 and isinstance(found, BooleanClauseList):
        return tuple(found.clauses)
    return ()


# ---------------------------------------------------------------- statements


def _source(level: Level) -> FromClause:
    if level is Level.STUDY:
        return study
    upper = series.join(study, series.c.study == study.c.id)
    if level is Level.SERIES:
        return upper
    return instance.join(series, instance.c.series == series.c.id).join(study, series.c.study == study.c.id)


_PATIENTS = (study.c.patient_id.nulls_last(), study.c.issuer_of_patient_id.nulls_last(), study.c.id)
_STUDIES = (study.c.study_date.desc().nulls_last(), study.c.study_time.desc().nulls_last(), study.c.study_instance_uid)
_SERIES = (series.c.series_number.nulls_last(), series.c.series_instance_uid, series.c.id)
_INSTANCES = (*_SERIES, instance.c.instance_number.nulls_last(), instance.c.sop_instance_uid)
_PLACES = frozenset({"StudyInstanceUID", "SeriesInstanceUID"})


def _order(query: Query) -> tuple[ColumnElement[Any], ...]:
    """A total order. What lies in one place is sorted by number; over the whole archive an index gives the order."""
    if query.level is Level.STUDY:
        return _STUDIES
    placed = any(
        isinstance(single, Equals | OneOf) and single.attribute.keyword in _PLACES for single in query.conditions
    )
    if query.level is Level.SERIES:
        return _SERIES if placed else (series.c.series_instance_uid, series.c.id)
    return _INSTANCES if placed else (instance.c.sop_instance_uid,)


_OF_PATIENT = ("NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances")
_SKIPPED = frozenset({"SOPClassesInStudy", *_OF_PATIENT})


@lru_cache(maxsize=256)
def _base(level: Level, shown: frozenset[str] | None, located: bool) -> tuple[Select[Any], tuple[Attribute, ...]]:
    """SELECT of the columns that are shown, then the row numbers of the study and of the series; and what is shown.

    Last, where asked for, the version of the instance that describes the row.
    """
    there = tuple(a for a in ATTRIBUTES if a.level <= level and not a.sequence and a.keyword not in _SKIPPED)
    if shown is not None:
        there = tuple(a for a in there if a.keyword in shown or (a.unique and a.level >= Level.STUDY))
    columns: list[ColumnElement[Any]] = [_shown(attribute) for attribute in there]
    columns.append(study.c.id.label("study_row"))
    if level >= Level.SERIES:
        columns.append(series.c.id.label("series_row"))
    if located:
        columns.append(_version(level).label("version"))
    return select(*columns).select_from(_source(level)), there


def _shown(attribute: Attribute) -> ColumnElement[Any]:
    """Its column; a study without any modality has an empty list of them, which is no value."""
    stored = column(attribute)
    return (func.nullif(stored, "") if attribute.keyword == "ModalitiesInStudy" else stored).label(attribute.keyword)


def _version(level: Level) -> ColumnElement[str]:
    """The version that describes a row: the earliest, where that was taken away and is not yet described anew."""
    if level is Level.IMAGE:
        return instance.c.version
    table, own = (study, instance.c.study) if level is Level.STUDY else (series, instance.c.series)
    earliest = select(func.min(instance.c.version)).where(own == table.c.id).scalar_subquery()
    return func.coalesce(func.nullif(table.c.described_by, ""), earliest)


# ---------------------------------------------------------------- results


def as_matches(
    shown: Sequence[Attribute], rows: Sequence[AnyRow], extras: Mapping[str, Mapping[int, Any]]
) -> Iterator[Match]:
    """Rows of `_base` as matches; what is unknown is left out. The row numbers stand behind the values."""
    table = Table(tuple(attribute.keyword for attribute in shown), rows)
    places = [(keyword, len(shown) + (keyword == REQUEST), found) for keyword, found in extras.items()]
    for row in rows:
        values = table.values(row)
        for keyword, place, found in places:
            more = found.get(row[place])
            if more is not None:
                values[keyword] = more
        yield Match(values)


def _located(connection: Connection, found: Iterable[Match], rows: Sequence[AnyRow]) -> Iterator[Match]:
    instances: dict[str, Located] = {}
    for some in _chunks([row[-1] for row in rows]):
        instances.update(by_version(connection, some))
    for match, row in zip(found, rows, strict=True):
        yield Match(match.values, instances.get(row[-1]))


def shows_requests(query: Query) -> bool:
    """Whether matches show items of Request Attributes Sequence."""
    shown = query.shown is None or any(keyword.startswith(REQUEST) for keyword in query.shown)
    return shown and query.level >= Level.SERIES


def _extras(connection: Connection, query: Query, rows: Sequence[AnyRow], glob: Glob) -> dict[str, dict[int, Any]]:
    """What stands in other rows: items of sequences, and the computed attributes that were asked for."""
    extras: dict[str, dict[int, Any]] = {}
    if rows and shows_requests(query):
        conditions = [single for single in query.conditions if single.attribute.sequence == REQUEST]
        extras[REQUEST] = _requests(connection, sorted({row._mapping["series_row"] for row in rows}), conditions)
    if "SOPClassesInStudy" in query.wanted and rows:
        extras["SOPClassesInStudy"] = _classes(connection, sorted({row._mapping["study_row"] for row in rows}))
    if rows and any(keyword in query.wanted for keyword in _OF_PATIENT):
        seen = in_studies(query.within, glob)
        counts = _patients_of(connection, sorted({row._mapping["study_row"] for row in rows}), seen)
        for place, keyword in enumerate(_OF_PATIENT):
            extras[keyword] = {row: numbers[place] for row, numbers in counts.items()}
    return extras


def _requests(
    connection: Connection, rows: Sequence[int], conditions: Sequence[Condition]
) -> dict[int, tuple[dict[str, Value], ...]]:
    """The items of each series; where items were searched for, those that match (PS3.18 10.6.1.2.3)."""
    assert REQUEST in SEQUENCES
    attributes = [a for a in ATTRIBUTES if a.sequence == REQUEST]
    found: dict[int, tuple[dict[str, Value], ...]] = {}
    for some in _chunks(rows):
        statement = select(request).where(request.c.series.in_(some)).order_by(request.c.series, request.c.position)
        for row in connection.execute(statement):
            values = {a.keyword: row._mapping[a.column] for a in attributes if row._mapping[a.column]}
            if all(matches(single, values) for single in conditions):
                item = {keyword.rpartition(".")[2]: value for keyword, value in values.items()}
                found[row.series] = (*found.get(row.series, ()), item)
    return found


def _classes(connection: Connection, rows: Sequence[int]) -> dict[int, str]:
    found: dict[int, list[str]] = {}
    for some in _chunks(rows):
        statement = (
            select(instance.c.study, instance.c.sop_class_uid)
            .where(instance.c.study.in_(some))
            .distinct()
            .order_by(instance.c.study, instance.c.sop_class_uid)
        )
        for row in connection.execute(statement):
            found.setdefault(row.study, []).append(row.sop_class_uid)
    return {row: "\\".join(classes) for row, classes in found.items()}


def _patients_of(
    connection: Connection, rows: Sequence[int], seen: Sequence[ColumnElement[bool]]
) -> dict[int, Sequence[int]]:
    """What is there of the patient of each study, where the patient has an ID, in studies that may be `seen`."""
    shown = study.alias()
    same = and_(
        study.c.patient_id == shown.c.patient_id,
        study.c.issuer_of_patient_id.is_not_distinct_from(shown.c.issuer_of_patient_id),
    )
    found: dict[int, Sequence[int]] = {}
    for some in _chunks(rows):
        statement = select(shown.c.id, *_patient_columns()).join(study, same).where(*seen)
        for row in connection.execute(statement.where(shown.c.id.in_(some)).group_by(shown.c.id)):
            found[row[0]] = [int(number) for number in row[1:]]
    return found


def _patient_columns() -> list[ColumnElement[Any]]:
    of_series, of_instances = study.c.number_of_study_related_series, study.c.number_of_study_related_instances
    return [func.count(), func.coalesce(func.sum(of_series), 0), func.coalesce(func.sum(of_instances), 0)]


def _chunks(rows: Sequence[Any], size: int = 500) -> Iterable[Sequence[Any]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


# ---------------------------------------------------------------- patients


def _patients(connection: Connection, query: Query, glob: Glob) -> Page:
    """Patients are the distinct (Patient ID, issuer) of the studies; the newest study row speaks for the patient."""
    seen = in_studies(query.within, glob)
    conditions = where(query.conditions, glob) + seen
    key = (study.c.patient_id, study.c.issuer_of_patient_id)
    newest = select(func.max(study.c.id)).where(*conditions).group_by(*key)
    shown = [a for a in ATTRIBUTES if a.level is Level.PATIENT and not a.computed]
    columns = [column(attribute).label(attribute.keyword) for attribute in shown]
    statement = _windowed(select(*columns).where(study.c.id.in_(newest)), query)
    rows = connection.execute(statement.order_by(*_PATIENTS)).all()
    number = total(
        query,
        len(rows),
        lambda: connection.execute(select(func.count()).select_from(newest.subquery())).scalar_one(),
    )
    found = tuple(as_matches(shown, rows, {}))
    if any(keyword in query.wanted for keyword in _OF_PATIENT):
        found = tuple(Match({**match.values, **_patient_counts(connection, match, seen)}) for match in found)
    return Page(found, number)


def _patient_counts(connection: Connection, match: Match, seen: Sequence[ColumnElement[bool]]) -> dict[str, int]:
    def same(keyword: str) -> ColumnElement[bool]:
        own = study.c[BY_KEYWORD[keyword].column]
        return own == match.values[keyword] if keyword in match.values else own.is_(None)

    of_patient = select(*_patient_columns()).where(same("PatientID"), same("IssuerOfPatientID"), *seen)
    row = connection.execute(of_patient).one()
    return dict(zip(_OF_PATIENT, map(int, row), strict=True))
