"""Instance records made up for tests: valid, and small."""

from __future__ import annotations

import hashlib
from typing import Any

from storage.records import InstanceRecord
from storage.versions import new_version, object_key

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


def digest(*parts: object) -> str:
    """A SHA-256 in hex that depends on `parts`."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def record(
    sop_uid: str = "1.2.3.1.1",
    study_uid: str = "1.2.3",
    series_uid: str = "1.2.3.1",
    *,
    content: object = "",
    version: str | None = None,
    requests: tuple[dict[str, str], ...] = (),
    **attributes: Any,
) -> InstanceRecord:
    """One instance; `content` stands for its bytes, `attributes` for values by keyword (None removes a default)."""
    version = version or new_version()
    values: dict[str, Any] = {
        "StudyInstanceUID": study_uid,
        "SeriesInstanceUID": series_uid,
        "SOPInstanceUID": sop_uid,
        "SOPClassUID": CT,
        "PatientName": "Doe^John",
        "PatientID": "P1",
        "StudyDate": "20240229",
        "StudyTime": "101500",
        "Modality": "CT",
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        **attributes,
    }
    return InstanceRecord(
        study_uid=study_uid,
        series_uid=series_uid,
        sop_uid=sop_uid,
        sop_class_uid=CT,
        transfer_syntax_uid=EXPLICIT,
        version=version,
        key=object_key(sop_uid, version),
        size=1000,
        digest=digest("file", sop_uid, content),
        dataset_digest=digest("dataset", sop_uid, content),
        header_size=500,
        frames=b"frames",
        checksum=digest("checksum", sop_uid, content)[:32],
        attributes={keyword: value for keyword, value in values.items() if value is not None},
        requests=requests,
    )
