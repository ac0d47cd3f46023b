"""One table of matching cases: the matcher in memory and both databases have to agree with it (PS3.4 C.2.2.2).

Each row: conformance id, keyword, what the record holds, the text of the key, does it match. `SWITCHED` rows say
besides what is switched on; `ZONED` rows have a date, a time and an offset from UTC.
"""

from __future__ import annotations

from storage.query import How

Row = tuple[str, str, str | int | None, str, bool]

CASES: tuple[Row, ...] = (
    # single value
    ("MATCH-01", "PatientID", "P1", "P1", True),
    ("MATCH-01", "PatientID", "P1", "p1", False),
    ("MATCH-01", "PatientID", "P1", "P", False),
    ("MATCH-01", "PatientID", "P1", " P1 ", True),
    ("MATCH-01", "PatientID", None, "P1", False),
    ("MATCH-01", "SeriesNumber", 7, "7", True),
    ("MATCH-01", "SeriesNumber", 7, "07", True),
    ("MATCH-01", "SeriesNumber", 7, "77", False),
    ("MATCH-01", "Rows", 512, "512", True),
    # wild cards, and what is special to SQL
    ("MATCH-02", "PatientID", "ABC123", "ABC*", True),
    ("MATCH-02", "PatientID", "ABC123", "abc*", False),
    ("MATCH-02", "PatientID", "ABC123", "*23", True),
    ("MATCH-02", "PatientID", "ABC123", "A?C1?3", True),
    ("MATCH-02", "PatientID", "ABC123", "A?C", False),
    ("MATCH-02", "PatientID", "ABC123", "*B*2*", True),
    ("MATCH-02", "PatientID", "ABC123", "**ABC123**", True),
    ("MATCH-02", "PatientID", "A%C", "A%C", True),
    ("MATCH-02", "PatientID", "ABC", "A%C", False),
    ("MATCH-02", "PatientID", "ABC", "A%*", False),
    ("MATCH-02", "PatientID", "A%C", "A%*", True),
    ("MATCH-02", "PatientID", "A_C", "A_*", True),
    ("MATCH-02", "PatientID", "ABC", "A_*", False),
    ("MATCH-02", "PatientID", "A[B]C", "A[B]*", True),
    ("MATCH-02", "PatientID", "ABC", "A[B]*", False),
    ("MATCH-02", "PatientID", "A'; DROP TABLE study;--", "A'; DROP*", True),
    ("MATCH-02", "StudyDescription", "Größe Äther", "Gr?ße*", True),
    ("MATCH-02", "StudyDescription", "頭部 CT", "頭?*", True),
    # dates and times
    ("MATCH-03", "StudyDate", "20240229", "20240229", True),
    ("MATCH-03", "StudyDate", "20240229", "2024.02.29", True),
    ("MATCH-03", "StudyDate", "20240229", "20240301", False),
    ("MATCH-03", "StudyDate", "20240229", "20240201-20240229", True),
    ("MATCH-03", "StudyDate", "20240229", "20240301-", False),
    ("MATCH-03", "StudyDate", "20240229", "-20240229", True),
    ("MATCH-03", "StudyDate", None, "-20240229", False),
    ("MATCH-03", "StudyTime", "101500", "1015", True),
    ("MATCH-03", "StudyTime", "101559.999", "1015", True),
    ("MATCH-03", "StudyTime", "1015", "101500", True),
    ("MATCH-03", "StudyTime", "1015", "101501-", False),
    ("MATCH-03", "StudyTime", "101500.5", "101500.5-101500.6", True),
    ("MATCH-03", "StudyTime", "101500.5", "101500.500-", True),
    ("MATCH-03", "StudyTime", "101500.50", "101500.5-101500.5", True),
    ("MATCH-03", "StudyTime", "101500", "10-11", True),
    ("MATCH-03", "StudyTime", "115959", "10-11", True),
    ("MATCH-03", "StudyTime", "120000", "10-11", False),
    ("MATCH-03", "StudyTime", None, "10-", False),
    # lists of UIDs
    ("MATCH-04", "StudyInstanceUID", "1.2.3", "1.2.3", True),
    ("MATCH-04", "StudyInstanceUID", "1.2.3", "1.2.4\\1.2.3", True),
    ("MATCH-04", "StudyInstanceUID", "1.2.3", "1.2.4\\1.2.5", False),
    # universal
    ("MATCH-05", "PatientID", "P1", "", True),
    ("MATCH-05", "PatientID", None, "", True),
    ("MATCH-05", "PatientID", None, "*", True),
    # names
    ("MATCH-08", "PatientName", "Müller^Hans", "muller^hans", True),
    ("MATCH-08", "PatientName", "Müller^Hans", "MÜLLER*", True),
    ("MATCH-08", "PatientName", "Müller^Hans", "muller", False),
    ("MATCH-08", "PatientName", "Müller^Hans^^^", "muller^hans", True),
    ("MATCH-08", "PatientName", "Yamada^Tarou=山田^太郎=やまだ^たろう", "山田*", True),
    ("MATCH-08", "PatientName", "Yamada^Tarou=山田^太郎=やまだ^たろう", "yamada*=山田*", True),
    ("MATCH-08", "PatientName", "Yamada^Tarou=山田^太郎=やまだ^たろう", "yamada*=鈴木*", False),
    ("MATCH-08", "PatientName", "Yamada^Tarou=山田^太郎=やまだ^たろう", "=山田^太郎", True),
    ("MATCH-08", "PatientName", None, "d*", False),
    # what several series have between them
    ("QIDO-26", "ModalitiesInStudy", "CT", "CT", True),
    ("QIDO-26", "ModalitiesInStudy", "CT", "C?", True),
    ("QIDO-26", "ModalitiesInStudy", "CT", "MR", False),
)

_FUZZY, _EMPTY, _MULTIPLE = How(fuzzy=True), How(empty=True), How(multiple=True)

Switched = tuple[str, str, str | int | None, str, How, bool]

_YAMADA = "Yamada^Tarou=山田^太郎=やまだ^たろう"

SWITCHED: tuple[Switched, ...] = (
    # fuzzy: words in any order, from their beginnings
    ("QIDO-19", "PatientName", "Müller^Hans^Peter", "hans muller", _FUZZY, True),
    ("QIDO-19", "PatientName", "Müller^Hans^Peter", "Pet MÜL", _FUZZY, True),
    ("QIDO-19", "PatientName", "Müller^Hans^Peter", "ans", _FUZZY, False),
    ("QIDO-19", "PatientName", "Müller^Hans^Peter", "hans maier", _FUZZY, False),
    ("QIDO-19", "PatientName", "Müller^Hans^Peter", "peter^hans", _FUZZY, True),
    ("QIDO-19", "PatientName", "O'Brien^Mary-Ann", "ann brien", _FUZZY, True),
    ("QIDO-19", "PatientName", "Łukasiewicz^Søren", "lukas soren", _FUZZY, True),
    ("QIDO-19", "PatientName", "Ng^Li", "l n", _FUZZY, True),
    ("QIDO-19", "PatientName", _YAMADA, "太", _FUZZY, True),
    ("QIDO-19", "PatientName", _YAMADA, "tarou 山田", _FUZZY, True),
    ("QIDO-19", "PatientName", _YAMADA, "田", _FUZZY, False),
    ("QIDO-19", "ReferringPhysicianName", "House^Gregory", "greg house", _FUZZY, True),
    # fuzzy: what sounds alike
    ("QIDO-19", "PatientName", "Smith^John", "smyth", _FUZZY, True),
    ("QIDO-19", "PatientName", "Smith^John", "jon schmidt", _FUZZY, True),
    ("QIDO-19", "PatientName", "Smith^John", "smyth jane mary", _FUZZY, False),
    ("QIDO-19", "PatientName", "Mayer^Eva", "Meier", _FUZZY, True),
    ("QIDO-19", "PatientName", "Müller^Hans", "mueller", _FUZZY, True),
    ("QIDO-19", "PatientName", "Catherine^A", "Katherine", _FUZZY, False),
    # fuzzy is never narrower than literal matching, and leaves a wild card inside a word to it
    ("QIDO-19", "PatientName", "Smith^John", "*mit*", _FUZZY, True),
    ("QIDO-19", "PatientName", "Smith^John", "*smyth*", _FUZZY, True),
    ("QIDO-19", "PatientName", "Smith^John", "smith^j?hn", _FUZZY, True),
    ("QIDO-19", "PatientName", "Smith^John", "j?hn", _FUZZY, False),
    ("QIDO-19", "PatientName", "Smith^John", "", _FUZZY, True),
    ("QIDO-19", "PatientName", None, "smith", _FUZZY, False),
    ("QIDO-19", "PatientName", "Smith^John", "smyth", How(), False),
    ("QIDO-19", "PatientID", "Smith", "smith", _FUZZY, False),  # no name
    # empty values
    ("QIDO-20", "PatientID", None, '""', _EMPTY, True),
    ("QIDO-20", "PatientID", "P1", '""', _EMPTY, False),
    ("QIDO-20", "PatientID", None, '""', How(), False),
    ("QIDO-20", "PatientID", '""', '""', How(), True),
    ("QIDO-20", "PatientName", None, '""', _EMPTY, True),
    ("QIDO-20", "PatientName", "Doe^J", '""', _EMPTY, False),
    ("QIDO-20", "StudyDate", None, '""', _EMPTY, True),
    ("QIDO-20", "StudyDate", "20240229", '""', _EMPTY, False),
    ("QIDO-20", "StudyTime", None, '""', _EMPTY, True),
    ("QIDO-20", "SeriesNumber", None, '""', _EMPTY, True),
    ("QIDO-20", "SeriesNumber", 0, '""', _EMPTY, False),
    ("QIDO-20", "ModalitiesInStudy", None, '""', _EMPTY, True),
    ("QIDO-20", "ModalitiesInStudy", "CT", '""', _EMPTY, False),
    # multiple values
    ("QIDO-21", "ModalitiesInStudy", "CT", "CT", _MULTIPLE, True),
    ("QIDO-21", "ModalitiesInStudy", "CT", "CT\\CT", _MULTIPLE, True),
    ("QIDO-21", "ModalitiesInStudy", "CT", "CT\\MR", _MULTIPLE, False),
)
"""Matching that is asked for: fuzzymatching, emptyvaluematching, multiplevaluematching."""

Zoned = tuple[str | None, str | None, str | None, str, str, str, str | None, bool]

ZONED: tuple[Zoned, ...] = (
    # date, time, own offset of the record; date key, time key, offset of the key, assumed offset; does it match
    ("20260305", "233000", "+0100", "20260305", "", "+0100", None, True),
    ("20260305", "233000", "+0100", "20260305", "", "+0000", None, True),
    ("20260305", "233000", "+0100", "20260306", "", "+0200", None, True),
    ("20260305", "233000", "+0100", "20260305", "", "+0200", None, False),
    ("20260305", "003000", "+0100", "20260304", "", "+0000", None, True),
    ("20260301", "003000", "+0100", "20260228", "", "-0500", None, True),
    ("20260301", "003000", "+0100", "20260227-20260228", "", "-0500", None, True),
    ("20260305", "233000", None, "20260306", "", "+0200", None, False),  # taken to be in the zone of the key
    ("20260305", "233000", None, "20260306", "", "+0200", "+0100", True),
    ("20260305", "233000", "nonsense", "20260306", "", "+0200", "+0100", True),
    ("20260305", None, "+0100", "20260305", "", "+1400", None, True),  # no time: the day as it is
    ("20260305", None, "+0100", "20260306", "", "+1400", None, False),
    ("20260305", None, "+0100", "20260305", "", "-1200", None, True),
    ("20260305", None, "+0100", "20260304", "", "-1200", None, False),
    ("20260305", "100000", "+0100", "", "0930", "+0030", None, True),
    ("20260305", "001500", "+0000", "", "2200-2330", "-0100", None, True),  # 2300 to 0030 there: round midnight
    ("20260305", "231500", "+0000", "", "2200-2330", "-0100", None, True),
    ("20260305", "120000", "+0000", "", "2200-2330", "-0100", None, False),
    ("20260305", "100000", "+0100", "", "10", "+0030", None, False),
    ("20260305", "003000", "+0000", "", "2330", "-0100", None, True),
    ("20260305", "003000", "+0000", "", "2300-2359", "-0100", None, True),
    ("20260305", "120000", "+0000", "", "2300-0100", "-0100", None, False),
    ("20260305", "003000.25", "+0000", "", "233000.25", "-0100", None, True),
    ("20260305", "003000", "+0000", "20260304-20260304", "2300-2359", "-0100", None, True),
    ("20260305", "003000", "+0000", "20260304-20260304", "2300-2359", "+0000", None, False),
    ("20260305", "003000", "+0000", "-20260304", "-2330", "-0100", None, True),
    ("20260305", "003001", "+0000", "-20260304", "-233000", "-0100", None, False),
    ("20260305", "003000", "+0545", "20260304-", "1800-", "+0000", None, True),
    (None, "003000", "+0000", "20260304", "", "-0100", None, False),
)
"""QIDO-24: dates and times meant in a time zone."""

REFUSED: tuple[tuple[str, str], ...] = (
    ("StudyDate", "2024"),
    ("StudyDate", "20241301"),
    ("StudyDate", "2024*"),
    ("StudyDate", "20240101-20240102-20240103"),
    ("StudyDate", "-"),
    ("StudyTime", "25"),
    ("StudyTime", "10151"),
    ("StudyInstanceUID", "1.2.*"),
    ("StudyInstanceUID", "../../etc/passwd"),
    ("SeriesNumber", "one"),
    ("SeriesNumber", "1*"),
    ("Rows", "512-"),
    ("NumberOfStudyRelatedInstances", "3"),
    ("PatientID", "*a" * 17),
    ("PatientID", "x" * 1025),
)
"""Keys that no VR allows, or that no lawful client needs (S-11): refused, never silently wider."""
