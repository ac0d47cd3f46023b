"""Several keys in one search: each pair of ways to match, in either order."""

from __future__ import annotations

from itertools import permutations

import pytest

from tests.parts import once
from tests.parts.datasets import ct_slice, part10_bytes
from tests.parts.gateway import BACKENDS, GatewayProcess

KEYS = (
    "PatientName=TOGETHERNAME*",
    "PatientName=*NAME1*",
    "PatientID=TOGETHERID1",
    "PatientID=TOGETHERID*",
    "AccessionNumber=TOGETHER1",
    "StudyDate=20260101-20261231",
    "StudyDescription=TOGETHER?1",
)


@pytest.mark.parametrize("module_gateway", BACKENDS[:2], indirect=True)
def test_keys_add_up_in_whatever_order(module_gateway: GatewayProcess) -> None:
    """What both keys find is found, and nothing else."""
    studies = f"{module_gateway.dicomweb_url}/studies"
    for number in range(3):
        ds = ct_slice(
            f"together{number}",
            PatientName=f"TOGETHERNAME{number}^Given",
            PatientID=f"TOGETHERID{number}",
            StudyDescription=f"TOGETHER {number}",
            StudyDate="20260304",
        )
        ds.AccessionNumber = f"TOGETHER{number}"
        kind = {"Content-Type": "application/dicom", "Accept": "application/dicom+json"}
        assert once.post(studies, content=part10_bytes(ds), headers=kind).status_code == 200
    for pair in permutations(KEYS, 2):
        names = [key.partition("=")[0] for key in pair]
        if names[0] == names[1]:
            continue
        answer = once.get(f"{studies}?{'&'.join(pair)}")
        expected = 1 if any((key[-1] == "1" and "-" not in key) or "NAME1" in key for key in pair) else 3
        assert answer.status_code == 200, pair
        assert len(answer.json()) == expected, pair
