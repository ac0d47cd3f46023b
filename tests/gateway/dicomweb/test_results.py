"""Search results as JSON: written from rows, they are what their data sets would give."""

from __future__ import annotations

import orjson
import pytest

from gateway.dicomweb.results import Dresser
from storage.attributes import ATTRIBUTES, Level
from storage.records import Match, Table, Value

ROOT = "https://host/dicomweb"
UIDS: dict[str, Value] = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", "SOPInstanceUID": "1.2.3.4.5"}
VALUES: list[dict[str, Value]] = [
    {},
    {"PatientName": "Wang^XiaoDong=王^小東=", "PatientID": 'a"b', "InstanceNumber": 7},
    {"PatientName": "A^B\\C^D", "ModalitiesInStudy": "CT\\MR", "Modality": "CT", "StudyDescription": "Kopf <é>\u2028"},
    {"InstanceNumber": 7, "Rows": 512, "Columns": 512, "SeriesNumber": -3, "NumberOfFrames": 1},
    {"InstanceNumber": 8, "Rows": 512, "Columns": 0, "ContentTime": "101112.5", "ContentDate": "20260304"},
    {"InstanceNumber": "9\\10", "ContentTime": "1\\2", "SOPInstanceUID": 'odd"one'},
    {"InstanceNumber": "x", "ContentTime": "", "SeriesInstanceUID": "other"},
]


@pytest.mark.parametrize("level", [Level.STUDY, Level.SERIES, Level.IMAGE])
@pytest.mark.parametrize("shown", [None, frozenset({"Rows", "InstanceNumber"}), frozenset[str]()])
@pytest.mark.parametrize("named", [frozenset[str](), frozenset({"Rows", "PatientName"})])
def test_rows_are_byte_for_byte_what_their_data_sets_are(
    level: Level, shown: frozenset[str] | None, named: frozenset[str]
) -> None:
    """QIDO-05 to 10, JSON-01; each value comes twice."""
    there = [one for one in ATTRIBUTES if one.level <= level and not one.sequence]
    columns = tuple(one.keyword for one in there if shown is None or one.unique or one.keyword in shown)
    rows = [(*({**UIDS, **values}.get(keyword) for keyword in columns), 17, 4) for values in VALUES * 2]
    table = Table(columns, rows)
    dresser = Dresser([one for one in ATTRIBUTES if one.level <= level], level, ROOT, named)
    assert dresser.json(table) == orjson.dumps([dresser.dress(match) for match in table])


def test_a_table_is_a_sequence_of_matches() -> None:
    """Unknown values are absent; what stands behind the columns is no value."""
    table = Table(("Rows", "Columns"), [(1, None, 5), (None, 2, 5), (3, 4, 5)])
    found = [Match({"Rows": 1}), Match({"Columns": 2}), Match({"Rows": 3, "Columns": 4})]
    assert (len(table), list(table), table[1], list(table[1:])) == (3, found, found[1], found[1:])


def test_no_result_is_an_empty_array() -> None:
    dresser = Dresser(ATTRIBUTES, Level.STUDY, ROOT)
    assert dresser.json([]) == dresser.json(Table(("StudyInstanceUID",), [])) == b"[]"
