"""A `Query` as SQL, and its rows as matches (PS3.4 C.2.2.2, C.4.1.1.3.2).

Values are always parameters; columns come from the attribute table. What each condition means is said in
`storage.query`; a shared table of cases proves that both agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Select, and_, exists, func, literal, or_, select

from storage.attributes import ATTRIBUTES, BY_KEYWORD, SEQUENCES, Attribute, Level
from storage.index.lookups import AnyRow
from storage.index.schema import NAME_GROUPS, TABLES, instance, request, series, study
from storage.query import AnyOf, Between, Condition, Equals, MomentBetween, Name, OneOf, Query, Simple, Wildcard
from storage.records import Match, Page, Value

Glob = Callable[[ColumnElement[Any], str], ColumnElement[bool]]
"""Case-sensitive match of a column with `*` and `?`, in the database's own terms."""

_REQUEST = "RequestAttributesSequence"


def run(connection: Connection, query: Query, glob: Glob) -> Page:
    """Answer `query` on this connection, within the connection's transaction."""
    if query.level is Level.PATIENT:
        return _patients(connection, query, glob)
    where = _where(query.conditions, glob)
    source = _source(query.level)
    shown = _shown(query)
    statement = _windowed(select(*_columns(query.level, shown)).select_from(source).where(*where), query)
    rows = connection.execute(statement.order_by(*_ORDER[query.level])).all()
    total = _total(query, len(rows), lambda: _count(connection, source, where))
    return Page(tuple(_matches(shown, rows, _extras(connection, query, rows))), total)


def _windowed(statement: Select[Any], query: Query) -> Select[Any]:
    if query.limit is not None:
        statement = statement.limit(query.limit)
    return statement.offset(query.offset) if query.offset else statement


def _total(query: Query, found: int, count: Callable[[], int]) -> int:
    """All matches: known from the page itself when it is the last one, else counted."""
    if (found or not query.offset) and (query.limit is None or found < query.limit):
        return query.offset + found
    return count()


def _count(connection: Connection, source: FromClause, where: Sequence[ColumnElement[bool]]) -> int:
    return int(connection.execute(select(func.count()).select_from(source).where(*where)).scalar_one())


def _source(level: Level) -> FromClause:
    if level is Level.STUDY:
        return study
    upper = series.join(study, series.c.study == study.c.id)
    if level is Level.SERIES:
        return upper
    return instance.join(series, instance.c.series == series.c.id).join(study, series.c.study == study.c.id)


_ORDER: dict[Level, tuple[ColumnElement[Any], ...]] = {
    Level.PATIENT: (study.c.patient_id.nulls_last(), study.c.issuer_of_patient_id.nulls_last(), study.c.id),
    Level.STUDY: (
        study.c.study_date.desc().nulls_last(),
        study.c.study_time.desc().nulls_last(),
        study.c.study_instance_uid,
    ),
    Level.SERIES: (series.c.series_number.nulls_last(), series.c.series_instance_uid, series.c.id),
    Level.IMAGE: (
        series.c.series_number.nulls_last(),
        series.c.series_instance_uid,
        series.c.id,
        instance.c.instance_number.nulls_last(),
        instance.c.sop_instance_uid,
    ),
}


def _column(attribute: Attribute) -> ColumnElement[Any]:
    if attribute.keyword == "AvailableTransferSyntaxUID":
        return instance.c.transfer_syntax_uid
    table = request if attribute.sequence else TABLES[attribute.level]
    return table.c[attribute.column]


_SKIPPED = frozenset(
    {
        "SOPClassesInStudy",
        "NumberOfPatientRelatedStudies",
        "NumberOfPatientRelatedSeries",
        "NumberOfPatientRelatedInstances",
    }
)


def _shown(query: Query) -> list[Attribute]:
    """Attributes that stand in the rows of a level, its own and those above, as far as they are asked for."""
    there = [a for a in ATTRIBUTES if a.level <= query.level and not a.sequence and a.keyword not in _SKIPPED]
    if query.shown is None:
        return there
    return [a for a in there if a.keyword in query.shown or (a.unique and a.level >= Level.STUDY)]


def _columns(level: Level, shown: Sequence[Attribute]) -> list[ColumnElement[Any]]:
    """The columns of `shown`, then the row numbers of the study and, below it, of the series."""
    columns: list[ColumnElement[Any]] = [_column(attribute).label(attribute.keyword) for attribute in shown]
    columns.append(study.c.id.label("study_row"))
    if level >= Level.SERIES:
        columns.append(series.c.id.label("series_row"))
    return columns


# ---------------------------------------------------------------- conditions


def _where(conditions: Iterable[Condition], glob: Glob) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    items: list[ColumnElement[bool]] = []  # one item of the sequence has to fulfil them all (C.2.2.2.6)
    for single in conditions:
        if single.attribute.sequence == _REQUEST:
            items.append(_sql(single, glob))
        else:
            where.append(_sql(single, glob))
    if items:
        where.append(exists().where(request.c.series == series.c.id, *items))
    return where


def _sql(single: Condition, glob: Glob) -> ColumnElement[bool]:
    if isinstance(single, AnyOf):
        return or_(*(_sql(one, glob) for one in single.conditions))
    if isinstance(single, MomentBetween):
        return _within(
            _column(single.date) + _time_key(func.coalesce(_column(single.time), "")), single.low, single.high
        )
    if single.attribute.keyword == "ModalitiesInStudy":
        inner = series.alias()
        return exists().where(inner.c.study == study.c.id, _compare(inner.c.modality, single, glob))
    if single.attribute.keyword == "SOPClassesInStudy":
        other = instance.alias()
        return exists().where(other.c.study == study.c.id, _compare(other.c.sop_class_uid, single, glob))
    if isinstance(single, Name):
        return _name(single, glob)
    return _compare(_column(single.attribute), single, glob)


def _compare(column: ColumnElement[Any], single: Simple, glob: Glob) -> ColumnElement[bool]:
    if isinstance(single, Equals):
        return column == single.value
    if isinstance(single, OneOf):
        return column.in_(single.values)
    if isinstance(single, Wildcard):
        return glob(column, single.pattern)
    if isinstance(single, Between):
        key = _time_key(column) if single.attribute.vr == "TM" else column
        return _within(key, single.low, single.high)
    raise TypeError(f"{type(single).__name__} has no column of its own")


def _name(single: Name, glob: Glob) -> ColumnElement[bool]:
    table = TABLES[single.attribute.level]
    columns = [table.c[f"{single.attribute.column}_{group}"] for group in NAME_GROUPS]

    def one(column: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
        return glob(column, pattern) if "*" in pattern or "?" in pattern else column == pattern

    if len(single.patterns) == 1:
        return or_(*(one(column, single.patterns[0]) for column in columns))
    pairs = zip(columns, single.patterns, strict=False)
    return and_(literal(True), *(one(column, pattern) for column, pattern in pairs if pattern))


def _time_key(column: ColumnElement[Any]) -> ColumnElement[str]:
    """`storage.query.time_key` in SQL."""
    return column.concat(func.substr("000000", func.length(column) + 1))


def _within(key: ColumnElement[Any], low: str | None, high: str | None) -> ColumnElement[bool]:
    ends = [key >= low] if low is not None else []
    if high is not None:
        ends.append(key <= high)
    return and_(*ends) if ends else key.is_not(None)


# ---------------------------------------------------------------- results


def _matches(
    shown: Sequence[Attribute], rows: Sequence[AnyRow], extras: Mapping[str, Mapping[int, Any]]
) -> Iterator[Match]:
    """Rows of `_columns` as matches; what is unknown is left out. The row numbers stand behind the values."""
    keywords = [attribute.keyword for attribute in shown]
    places = [(keyword, len(shown) + (keyword == _REQUEST), found) for keyword, found in extras.items()]
    for row in rows:
        values = {keyword: value for keyword, value in zip(keywords, row, strict=False) if value not in (None, "")}
        for keyword, place, found in places:
            more = found.get(row[place])
            if more is not None:
                values[keyword] = more
        yield Match(values)


def _extras(connection: Connection, query: Query, rows: Sequence[AnyRow]) -> dict[str, dict[int, Any]]:
    """What stands in other rows: items of sequences, and the computed attributes that were asked for."""
    extras: dict[str, dict[int, Any]] = {}
    items_shown = query.shown is None or any(keyword.startswith(_REQUEST) for keyword in query.shown)
    if query.level >= Level.SERIES and rows and items_shown:
        extras[_REQUEST] = _requests(connection, sorted({row._mapping["series_row"] for row in rows}))
    if "SOPClassesInStudy" in query.wanted and rows:
        extras["SOPClassesInStudy"] = _classes(connection, sorted({row._mapping["study_row"] for row in rows}))
    return extras


def _requests(connection: Connection, rows: Sequence[int]) -> dict[int, tuple[dict[str, Value], ...]]:
    assert _REQUEST in SEQUENCES
    keywords = [a for a in ATTRIBUTES if a.sequence == _REQUEST]
    found: dict[int, tuple[dict[str, Value], ...]] = {}
    for some in _chunks(rows):
        statement = select(request).where(request.c.series.in_(some)).order_by(request.c.series, request.c.position)
        for row in connection.execute(statement):
            values = {a.keyword.rpartition(".")[2]: row._mapping[a.column] for a in keywords}
            item = {keyword: value for keyword, value in values.items() if value}
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


def _chunks(rows: Sequence[int], size: int = 500) -> Iterable[Sequence[int]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


# ---------------------------------------------------------------- patients


def _patients(connection: Connection, query: Query, glob: Glob) -> Page:
    """Patients are the distinct (Patient ID, issuer) of the studies; the newest study row speaks for the patient."""
    where = _where(query.conditions, glob)
    key = (study.c.patient_id, study.c.issuer_of_patient_id)
    newest = select(func.max(study.c.id)).where(*where).group_by(*key)
    shown = [a for a in ATTRIBUTES if a.level is Level.PATIENT and not a.computed]
    columns = _columns(Level.PATIENT, shown)
    statement = _windowed(select(*columns).where(study.c.id.in_(newest)), query)
    rows = connection.execute(statement.order_by(*_ORDER[Level.PATIENT])).all()
    total = _total(query, len(rows), lambda: _count(connection, newest.subquery(), []))
    counts = {keyword for keyword in query.wanted if keyword.startswith("NumberOfPatientRelated")}
    matches = tuple(_matches(shown, rows, {}))
    if counts:
        matches = tuple(Match({**match.values, **_patient_counts(connection, match)}) for match in matches)
    return Page(matches, total)


def _patient_counts(connection: Connection, match: Match) -> dict[str, int]:
    def same(keyword: str) -> ColumnElement[bool]:
        column = study.c[BY_KEYWORD[keyword].column]
        return column == match.values[keyword] if keyword in match.values else column.is_(None)

    row = connection.execute(
        select(
            func.count(),
            func.sum(study.c.number_of_study_related_series),
            func.sum(study.c.number_of_study_related_instances),
        ).where(same("PatientID"), same("IssuerOfPatientID"))
    ).one()
    return {
        "NumberOfPatientRelatedStudies": int(row[0]),
        "NumberOfPatientRelatedSeries": int(row[1] or 0),
        "NumberOfPatientRelatedInstances": int(row[2] or 0),
    }
