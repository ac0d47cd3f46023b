"""The SQL and the matcher in memory say the same, on both databases: tables of cases, and generated data."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import open_index
from storage.attributes import BY_KEYWORD, Level
from storage.errors import QueryRefused
from storage.index import Index
from storage.query import Condition, How, Query, Zone, combined_range, condition, matches, one_of
from storage.query.times import OFFSETS
from storage.records import InstanceRecord
from tests.storage.cases import SWITCHED, ZONED
from tests.storage.records import record

STUDIES = 120


def studies(index: Index, conditions: tuple[Condition, ...], level: Level = Level.STUDY) -> set[object]:
    return {match.values["StudyInstanceUID"] for match in index.search(Query(level, conditions)).matches}


@pytest.mark.parametrize("keyword", sorted({case[1] for case in SWITCHED}))
def test_sql_agrees_with_what_is_switched_on(index: Index, keyword: str) -> None:
    """QIDO-19, QIDO-20, QIDO-21"""
    rows = [case for case in SWITCHED if case[1] == keyword]
    values = sorted({case[2] for case in rows}, key=repr)
    for number, value in enumerate(values):
        held: dict[str, Any] = {"Modality" if keyword == "ModalitiesInStudy" else keyword: value}
        index.add(record(f"1.2.{number}.1.1", f"1.2.{number}", f"1.2.{number}.1", **held))
    level = max(BY_KEYWORD[keyword].level, Level.STUDY)
    for _, _, value, text, how, expected in rows:
        single = condition(BY_KEYWORD[keyword], text, how)
        found = studies(index, () if single is None else (single,), level)
        assert (f"1.2.{values.index(value)}" in found) is expected, (value, text, how)


def test_sql_agrees_on_time_zones(index: Index) -> None:
    """QIDO-24"""
    held = sorted({case[:3] for case in ZONED}, key=repr)
    for number, (date, time, own) in enumerate(held):
        values: dict[str, Any] = {"StudyDate": date, "StudyTime": time, "TimezoneOffsetFromUTC": own}
        index.add(record(f"1.2.{number}.1.1", f"1.2.{number}", f"1.2.{number}.1", **values))
    for date, time, own, date_text, time_text, asked, assumed, expected in ZONED:
        zone = Zone(OFFSETS[asked], None if assumed is None else OFFSETS[assumed])
        found = combined_range(BY_KEYWORD["StudyDate"], date_text, BY_KEYWORD["StudyTime"], time_text, zone=zone)
        uid = f"1.2.{held.index((date, time, own))}"
        assert (uid in studies(index, found)) is expected, (date, time, own, date_text, time_text, asked)


# ---------------------------------------------------------------- generated

_NAMES = ("Müller", "Mueller", "Smith", "Smyth", "O'Brien", "van der Berg", "Łukasz", "Ng", "山田", "de_la%x", "A[b]c")
_IDS = ("P1", "P10", "p1", "A%C", "A_C", "ABC", "A[B]C", "A\\C", "Ä1", "x" * 64, "头部", "A'B\"", "*", "?")
_OFFSETS = (None, "+0000", "+0100", "-0500", "+0545", "+1400", "-1200", "nonsense")


def _drawn(drawn: random.Random, number: int) -> InstanceRecord:
    def maybe(value: Any) -> Any:
        return None if drawn.random() < 0.15 else value

    name = "^".join(drawn.choice(_NAMES) for _ in range(drawn.randint(1, 3)))
    if drawn.random() < 0.3:
        name += "=" + drawn.choice(("山田^太郎", "Müller", "")) + drawn.choice(("", "=やまだ"))
    time = f"{drawn.randint(0, 23):02d}{drawn.choice(('', '00', '3000', '5959', '5959.5', '5960.999999'))}"
    return record(
        f"1.2.{number}.1.1",
        f"1.2.{number}",
        f"1.2.{number}.1",
        PatientName=maybe(name),
        PatientID=maybe(drawn.choice(_IDS)),
        AccessionNumber=maybe(drawn.choice(_IDS)),
        StudyDate=maybe(f"202603{drawn.randint(1, 5):02d}"),
        StudyTime=maybe(time),
        TimezoneOffsetFromUTC=drawn.choice(_OFFSETS),
        Modality=maybe(drawn.choice(("CT", "MR", "SR"))),
        SeriesNumber=maybe(drawn.randint(0, 3)),
        SeriesTime=maybe(time),
        Rows=maybe(drawn.choice((1, 512))),
    )


def _values(one: InstanceRecord) -> dict[str, Any]:
    modality = one.attributes.get("Modality")
    return dict(one.attributes) | ({"ModalitiesInStudy": modality} if modality else {})


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Index, list[InstanceRecord]]]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('index') / 'index.db'}"
    else:
        url = str(request.getfixturevalue("postgres").database())
    index = open_index(url)
    drawn = random.Random(20261123)
    records = [_drawn(drawn, number) for number in range(STUDIES)]
    for one in records:
        index.add(one)
    yield index, records
    index.close()


_TEXTS = st.one_of(
    st.text(alphabet="PpAaBCc10%_[]*?\\Ä'\" ", max_size=6),
    st.sampled_from((*_IDS, '""', "A*", "*1", "?", "A?C", "A%*", "[A]*", "P1*", "x*")),
)
_NAME_TEXTS = st.one_of(
    st.text(alphabet="müllersithyo'bn^=*? ng山_%[", max_size=9),
    st.builds(
        "{}{}{}".format, st.sampled_from(_NAMES), st.sampled_from(("", "*", "^", " ", "=")), st.sampled_from(_NAMES)
    ),
)
_DATES = st.builds("202603{:02d}".format, st.integers(1, 5))
_TIMES = st.builds("{:02d}{}".format, st.integers(0, 23), st.sampled_from(("", "30", "3000", "5959.5", "5960.999999")))


def _ranges(ends: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(ends, ends.map("{}-".format), ends.map("-{}".format), st.builds("{}-{}".format, ends, ends))


_HOWS = st.builds(How, st.booleans(), st.booleans(), st.booleans())
_ZONES = st.one_of(
    st.none(),
    st.builds(Zone, st.sampled_from([*OFFSETS.values()]), st.one_of(st.none(), st.integers(-4, 4).map((60).__mul__))),
)


@st.composite
def _conditions(draw: st.DrawFn) -> tuple[Condition, ...]:
    how, zone = draw(_HOWS), draw(_ZONES)
    kind = draw(st.sampled_from(("text", "name", "moment", "time", "code", "number", "series time")))
    found: tuple[Condition | None, ...]
    if kind == "text":
        found = (condition(BY_KEYWORD[draw(st.sampled_from(("PatientID", "AccessionNumber")))], draw(_TEXTS), how),)
    elif kind == "name":
        found = (condition(BY_KEYWORD["PatientName"], draw(_NAME_TEXTS), how),)
    elif kind == "moment":
        date, time = draw(st.one_of(st.just(""), _ranges(_DATES))), draw(st.one_of(st.just(""), _ranges(_TIMES)))
        found = combined_range(BY_KEYWORD["StudyDate"], date, BY_KEYWORD["StudyTime"], time, how, zone)
    elif kind == "time":
        found = combined_range(BY_KEYWORD["StudyDate"], "", BY_KEYWORD["StudyTime"], draw(_ranges(_TIMES)), how, zone)
    elif kind == "code":
        texts = draw(st.lists(st.sampled_from(("CT", "MR", "XA", "C?", "*", "CT\\SR", '""')), min_size=1, max_size=3))
        found = (one_of(BY_KEYWORD["ModalitiesInStudy"], texts, how),)
    elif kind == "series time":
        found = (condition(BY_KEYWORD["SeriesTime"], draw(_ranges(_TIMES)), how, zone),)
    else:
        found = (
            condition(
                BY_KEYWORD[draw(st.sampled_from(("SeriesNumber", "Rows")))],
                draw(st.sampled_from(("0", "2", "512", '""'))),
                how,
            ),
        )
    return tuple(one for one in found if one is not None)


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_sql_and_memory_agree_on_generated_keys(
    filled: tuple[Index, list[InstanceRecord]], data: st.DataObject
) -> None:
    """MATCH-01 to MATCH-08, QIDO-19, QIDO-20, QIDO-21, QIDO-23, QIDO-24, S-57"""
    index, records = filled
    try:
        asked = data.draw(_conditions()) + data.draw(_conditions())
    except QueryRefused:
        return
    level = max((one.attribute.level for one in asked), default=Level.STUDY)
    expected = {one.study_uid for one in records if all(matches(single, _values(one)) for single in asked)}
    assert studies(index, asked, max(level, Level.STUDY)) == expected
    limited = index.search(Query(max(level, Level.STUDY), asked, limit=1))
    assert limited.total == len(expected)
