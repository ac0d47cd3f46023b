"""How searches are answered: by indexes, counters and statements prepared once, on both databases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event, text

from storage import open_index
from storage.attributes import BY_KEYWORD, Level
from storage.index import Index
from storage.index.migrate import FOLDER
from storage.index.session import DriverSession, Session
from storage.index.sqlite import SqliteIndex, driver
from storage.query import How, Query, condition
from tests.storage.records import record

STUDIES = 20_000

_NUMBERS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) ",
    "postgresql": "WITH n(i) AS (SELECT generate_series(1, {count})) ",
}
_STUDIES = """INSERT INTO study (id, study_instance_uid, patient_id, patient_name, patient_name_alphabetic,
 patient_name_words, accession_number, study_date, study_time, modalities_in_study, number_of_study_related_series,
 number_of_study_related_instances, described_by, updated_at)
 {numbers} SELECT i, '1.2.' || i, 'P' || i, 'Doe' || i, 'doe' || i, ' doe' || i || ' ', 'A' || i,
 CAST(20100101 + (i % 12) * 100 + (i % 28) + (i % 15) * 10000 AS TEXT), '101500', 'CT', 2, 2, 'v' || i, 0 FROM n"""
_SERIES = """INSERT INTO series (id, study, series_instance_uid, modality, series_number,
 number_of_series_related_instances, described_by, updated_at)
 {numbers} SELECT i, (i + 1) / 2, '1.2.' || ((i + 1) / 2) || '.' || i, 'CT', i % 2, 1, 'v' || i, 0 FROM n"""
_INSTANCES = """INSERT INTO instance (id, study, series, sop_instance_uid, sop_class_uid, transfer_syntax_uid, version,
 object_key, size, digest, dataset_digest, header_size, instance_number)
 {numbers} SELECT i, (i + 1) / 2, i, '1.2.' || ((i + 1) / 2) || '.' || i || '.1', '1.2', '1.2', 'v' || i, 'k' || i, 1,
 'd', 'd', 1, 1 FROM n"""


@dataclass
class Large:
    """An index of many studies, each with two series of one instance; `engine` looks into its database."""

    index: Index
    engine: Engine

    def plans(self, query: Query, *, bitmaps: bool = True) -> list[str]:
        """How the database would run each statement of a search; without `bitmaps`, as if the tables were larger."""
        with statements(self.index) as seen:
            self.index.search(query)
        return [self._plan(*one, bitmaps) for one in seen]

    def _plan(self, statement: str, parameters: Any, bitmaps: bool) -> str:
        sqlite = self.engine.dialect.name == "sqlite"
        with self.engine.connect() as connection:
            if not sqlite and not bitmaps:
                connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
            found = connection.exec_driver_sql(
                f"EXPLAIN {'QUERY PLAN' if sqlite else '(ANALYZE)'} {statement}", parameters
            )
            return "\n".join(str(row[-1]) for row in found)


class Watched(SqliteIndex):
    """Notes the statements, with their values in them, that its searches give to the driver directly."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.seen: list[tuple[str, Any]] = []

    @contextmanager
    def _reading_session(self, seconds: float | None = None) -> Iterator[Session]:
        with super()._reading_session(seconds) as session:
            assert isinstance(session, DriverSession)
            session.cursor.connection.set_trace_callback(lambda statement: self.seen.append((statement, ())))
            try:
                yield session
            finally:
                session.cursor.connection.set_trace_callback(None)


@contextmanager
def statements(index: Index) -> Iterator[list[tuple[str, Any]]]:
    """The SELECTs that are sent to any database meanwhile."""
    seen: list[tuple[str, Any]] = []
    if isinstance(index, Watched):
        index.seen = seen

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        if statement.startswith("SELECT"):
            seen.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("index") / "index.db"
        url = f"sqlite:///{path}"
        engine = create_engine("sqlite+pysqlite://", module=driver(), creator=lambda: driver().connect(path))
    else:
        url = str(request.getfixturevalue("postgres").database())
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    index = Watched(path) if request.param == "sqlite" else open_index(url)
    with engine.begin() as connection:
        if request.param == "postgres":  # else VACUUM would be too early
            connection.execute(text("SET LOCAL synchronous_commit = on"))
        for statement, count in ((_STUDIES, STUDIES), (_SERIES, 2 * STUDIES), (_INSTANCES, 2 * STUDIES)):
            numbers = _NUMBERS[engine.dialect.name].format(count=count)
            connection.execute(text(statement.format(numbers=numbers)))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if request.param == "sqlite" else "VACUUM ANALYZE"))
    yield Large(index, engine)
    index.close()
    engine.dispose()


def query(level: Level, *keys: tuple[str, str], limit: int | None = 100, **more: Any) -> Query:
    found = (condition(BY_KEYWORD[keyword], value) for keyword, value in keys)
    return Query(level, tuple(one for one in found if one is not None), limit, **more)


COMMON: dict[str, Query] = {
    "patient": query(Level.STUDY, ("PatientID", "P77")),
    "accession": query(Level.STUDY, ("AccessionNumber", "A77")),
    "week": query(Level.STUDY, ("StudyDate", "20150301-20150307")),
    "day": query(Level.STUDY, ("StudyDate", "20150301")),
    "study": query(Level.STUDY, ("StudyInstanceUID", "1.2.77")),
    "list of studies": query(Level.STUDY, ("StudyInstanceUID", "1.2.77\\1.2.78")),
    "name": query(Level.STUDY, ("PatientName", "doe77")),
    "beginning of a name": query(Level.STUDY, ("PatientName", "doe777*")),
    "beginning of an ID": query(Level.STUDY, ("PatientID", "P777*")),
    "name with a wild card, a page": query(Level.STUDY, ("PatientName", "doe77*"), limit=20),
    "modality of a week": query(Level.STUDY, ("ModalitiesInStudy", "CT"), ("StudyDate", "20150301-20150307"), limit=20),
    "newest": query(Level.STUDY, limit=20),
    "series of a study": query(Level.SERIES, ("StudyInstanceUID", "1.2.77")),
    "instances of a study": query(Level.IMAGE, ("StudyInstanceUID", "1.2.77")),
    "instances of a series": query(Level.IMAGE, ("StudyInstanceUID", "1.2.77"), ("SeriesInstanceUID", "1.2.77.153")),
    "instance": query(Level.IMAGE, ("SOPInstanceUID", "1.2.77.153.1")),
    "series of a patient": query(Level.SERIES, ("PatientID", "P77")),
    "all series": query(Level.SERIES, limit=20),
    "all instances": query(Level.IMAGE, limit=20),
}
_SCAN = re.compile(r"SCAN (study|series|instance)\b|Seq Scan on (study|series|instance)\b")
_PAGE = re.compile(r"SCAN \w+ USING INDEX")
_REMOVED = re.compile(r"Rows Removed by Filter: ([0-9]+)")


@pytest.mark.parametrize("name", COMMON)
def test_common_searches_are_answered_by_an_index(large: Large, name: str) -> None:
    """No plan reads a table or an index from end to end, but those for the first page or the count of everything."""
    found, *others = large.plans(COMMON[name])
    if COMMON[name].conditions:
        found = "\n".join([found, *others])
        assert not _SCAN.search(found), found
        assert sum(map(int, _REMOVED.findall(found))) < STUDIES / 10, found
    else:
        assert not _SCAN.search(_PAGE.sub("", found)), found


def test_the_newest_studies_are_not_sorted(large: Large) -> None:
    """QIDO-18: the order of results is that of an index."""
    (plan, *_) = large.plans(COMMON["newest"])
    assert "ix_study_newest" in plan
    assert "TEMP B-TREE" not in plan and "Sort" not in plan


@pytest.mark.parametrize(
    "keys",
    [
        (("StudyDate", "20150301-20150307"),),
        (("StudyDate", "20150301-20150307"), ("ModalitiesInStudy", "CT")),
        (("PatientName", "doe77*"),),
    ],
)
def test_matches_are_counted_in_an_index_alone(large: Large, keys: tuple[tuple[str, str], ...]) -> None:
    """QIDO-17: a total costs no look at a row."""
    _, plan = large.plans(query(Level.STUDY, *keys, limit=1), bitmaps=False)
    used = re.findall(r"USING (?:COVERING )?INDEX \w+|Index (?:Only )?Scan using \w+|Bitmap", plan)
    assert used and all("COVERING" in one or "Only" in one for one in used), plan


@pytest.mark.parametrize(
    ("asked", "table"),
    [
        (query(Level.IMAGE, limit=1), "total"),
        (query(Level.SERIES, limit=1), "total"),
        (query(Level.STUDY, limit=1), "total"),
        (query(Level.STUDY, ("ModalitiesInStudy", "CT"), limit=1), "total"),
        (query(Level.SERIES, ("StudyDate", "20150301-20150307"), limit=1), "study"),
        (query(Level.IMAGE, ("PatientID", "P77"), limit=1), "study"),
        (query(Level.IMAGE, ("StudyInstanceUID", "1.2.77"), ("SeriesNumber", "1"), limit=0), "series JOIN study"),
        (query(Level.IMAGE, ("StudyInstanceUID", "1.2.77"), ("InstanceNumber", "1"), limit=1), "instance JOIN series"),
    ],
)
def test_totals_come_from_the_counters_of_the_rows_above(large: Large, asked: Query, table: str) -> None:
    """QIDO-17: what is counted is no larger than it has to be."""
    with statements(large.index) as seen:
        total = large.index.search(asked).total
    assert f"FROM {table}" in seen[1][0]
    assert total == len(large.index.search(Query(asked.level, asked.conditions)).matches)


def test_a_statement_is_compiled_once(index: Index) -> None:
    """Searches that differ in their values only are the same statement."""
    index.add(record(requests=({"RequestedProcedureID": "R1"},)))
    fuzzy = How(fuzzy=True)

    def ask(value: str) -> None:
        one = condition(BY_KEYWORD["PatientName"], f"Doe{value} John", fuzzy)
        other = condition(BY_KEYWORD["StudyInstanceUID"], f"1.2.3\\1.2.4{value}")
        assert one is not None and other is not None
        index.search(Query(Level.SERIES, (one, other), limit=int(value), offset=0, shown=frozenset({"Modality"})))

    ask("1")
    compiled: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        if statement.startswith("SELECT"):
            compiled.append(str(context.cache_hit.name))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        for value in ("2", "3"):
            ask(value)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert compiled and set(compiled) == {"CACHE_HIT"}


def test_a_common_search_is_prepared_once_for_all_values(index: Index) -> None:
    """A shape has one statement: values that look like wild cards, ranges without an end and pages included."""
    for number in range(3):
        values: dict[str, Any] = {
            "PatientName": f"Doe^J{number}",
            "PatientID": f"I{number}",
            "StudyDate": f"2024010{number + 1}",
        }
        index.add(record(f"1.2.{number}.1.1", f"1.2.{number}", f"1.2.{number}.1", **values))

    def ids(*keys: tuple[str, str], **more: Any) -> tuple[list[object], int]:
        page = index.search(query(Level.STUDY, *keys, **more))
        return [match.values["PatientID"] for match in page.matches], page.total

    for number in range(3):
        own, day = f"I{number}", f"2024010{number + 1}"
        assert ids(("PatientID", own)) == ([own], 1)
        assert ids(("PatientName", f"doe^j{number}*"), ("StudyDate", f"{day}-{day}")) == ([own], 1)
        assert ids(("StudyDate", f"{day}-")) == ([f"I{one}" for one in (2, 1, 0) if one >= number], 3 - number)
        assert ids(("StudyDate", f"-{day}")) == ([f"I{one}" for one in (2, 1, 0) if one <= number], number + 1)
        assert ids(("PatientID", f"?{number}")) == ([own], 1)
        assert ids(limit=1, offset=number) == ([f"I{2 - number}"], 3)
    assert ids(("PatientID", "I[0-9]*")) == ([], 0)
    assert ids(("PatientID", "I_%")) == ([], 0)


@pytest.mark.parametrize("level", [Level.SERIES, Level.IMAGE])
def test_pages_over_the_whole_archive_have_a_total_order(large: Large, level: Level) -> None:
    """QIDO-04, QIDO-18: of one study by number, of all by UID."""
    keyword = {Level.SERIES: "SeriesInstanceUID", Level.IMAGE: "SOPInstanceUID"}[level]
    pages = [
        match.values[keyword]
        for offset in (0, 50, 100)
        for match in large.index.search(Query(level, limit=50, offset=offset)).matches
    ]
    assert pages == [match.values[keyword] for match in large.index.search(Query(level, limit=150)).matches]
    assert pages == sorted(pages, key=str) and len(set(pages)) == 150


def test_a_match_is_given_with_the_instance_that_describes_it(index: Index) -> None:
    first, second = record("1.2.3.1.1"), record("1.2.3.1.2", InstanceNumber=2)
    index.add(first)
    index.add(second)
    for level, versions in ((Level.STUDY, [first]), (Level.SERIES, [first]), (Level.IMAGE, [first, second])):
        found = index.search(query(level, ("StudyInstanceUID", "1.2.3"), located=True)).matches
        assert [one.instance and one.instance.version for one in found] == [one.version for one in versions]
    index.delete("1.2.3", [first.version], cleanup_after=0.0)  # and nobody has described the study again yet
    (match,) = index.search(query(Level.STUDY, located=True)).matches
    assert match.instance is not None and match.instance.version == second.version


def test_the_words_of_names_are_made_by_the_migration(index_url: str) -> None:
    """QIDO-19: studies from before fuzzy matching are found by it."""
    if index_url.startswith("sqlite"):
        path = index_url.removeprefix("sqlite:///")
        engine = create_engine("sqlite+pysqlite://", module=driver(), creator=lambda: driver().connect(path))
    else:
        engine = create_engine(index_url.replace("postgresql://", "postgresql+psycopg://"))
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        for number in range(2500):
            name = "'Müller^Hans'" if number % 2 else "NULL"
            connection.execute(
                text(
                    "INSERT INTO study (study_instance_uid, patient_name, described_by, updated_at)"
                    f" VALUES ('1.2.{number}', {name}, 'v', 0)"
                )
            )
    engine.dispose()
    index = open_index(index_url)
    one = condition(BY_KEYWORD["PatientName"], "hans muel", How(fuzzy=True))
    other = condition(BY_KEYWORD["PatientName"], "mueller", How(fuzzy=True))
    assert one is not None and other is not None
    assert index.search(Query(Level.STUDY, (one,))).total == 0
    assert index.search(Query(Level.STUDY, (other,))).total == 1250
    index.close()
