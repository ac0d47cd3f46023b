"""One table of matching cases: the matcher in memory and both databases have to agree with it (PS3.4 C.2.2.2).

Each row: conformance id, keyword, what the record holds, the text of the key, does it match.
"""

from __future__ import annotations

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
