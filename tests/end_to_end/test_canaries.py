"""Names, numbers and secrets that would be recognised anywhere are in no log, metric, error or file name."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from pydicom import dcmread

from tests.parts.datasets import ct_slice, part10_bytes
from tests.parts.fix_gateway import StartGateway

TOKEN = "canary-token-of-this-test"
CANARIES = ("CANARYNAME", "CANARYID", "CANARYACC", "CANARYDOC", "CANARYDESC", "19010203", TOKEN)
FORGED = "\r\nFAKE level=info\x1b[31m"


def leaks(text: str) -> list[str]:
    return [canary for canary in CANARIES if canary.lower() in text.lower()]


def test_patients_and_secrets_are_in_no_log_metric_error_or_file_name(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    """S-71, S-75, S-80, S-81, S-87: through STOW-RS, searches, pictures, refusals, links and the metrics."""
    gateway = start_gateway(data=tmp_path / "data", environment={"GANTRY_TOKEN": TOKEN})
    mine = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/dicom+json"}
    errors: list[str] = []
    studies = []
    with httpx.Client(base_url=gateway.http_url, headers=mine, timeout=60) as client:

        def ask(method: str, path: str, **more: Any) -> httpx.Response:
            answer = client.request(method, path, **more)
            if answer.status_code >= 400:
                errors.append(answer.text + str(answer.headers))
            return answer

        for number in range(20):
            ds = ct_slice(
                f"canary{number}",
                PatientName=f"CANARYNAME{number}^Given",
                PatientID=f"CANARYID{number}",
                PatientBirthDate="19010203",
                ReferringPhysicianName="CANARYDOC",
                StudyDescription="CANARYDESC",
            )
            ds.AccessionNumber = "CANARYACC"
            body = part10_bytes(ds)
            kind = {"Content-Type": "application/dicom"}
            assert ask("POST", "/dicomweb/studies", content=body, headers=kind).status_code == 200
            changed = dcmread(BytesIO(body))
            changed.PatientName = f"CANARYNAME{number}^Other"
            ask("POST", "/dicomweb/studies", content=part10_bytes(changed), headers=kind)  # a conflict
            ask("POST", "/dicomweb/studies", content=body[: len(body) // 2], headers=kind)  # cut off
            studies.append(ds.StudyInstanceUID)
        one = f"/dicomweb/studies/{studies[0]}"
        found = ask("GET", "/dicomweb/studies", params={"PatientName": "CANARYNAME*", "PatientID": "CANARYID1"})
        assert len(found.json()) == 1
        for query in ({"PatientName": "CANARYNAME" + FORGED}, {"CANARYNAME": "x"}, {"StudyDate": "CANARYID"}):
            ask("GET", "/dicomweb/studies", params=query)
        for path in (f"{one}/rendered", f"{one}/metadata", f"{one}/rendered?window=CANARYNAME", "/nothing/here"):
            ask("GET", path)
        ask("GET", "/wado", params={"requestType": "WADO", "studyUID": "CANARYID", "objectUID": "CANARYNAME"})
        ask("POST", "/links", json={"study": studies[0], "name": "outside", "minutes": 10})
        ask("DELETE", f"/dicomweb/studies/{studies[1]}")
        assert httpx.get(f"{gateway.http_url}/metrics").status_code == 401
        metrics = ask("GET", "/metrics").text
        assert "gantry_" in metrics
        logs = gateway.log()
        assert logs.count("\n") > 20
        environment = Path(f"/proc/{gateway.pid}/cmdline").read_text()

    # What was asked for may be said back to who asked, but for values of patients that are stored.
    stored = [text for text in errors if "CANARYNAME0" in text or "CANARYDOC" in text or TOKEN in text]
    assert stored == []
    assert not [text for text in errors if "Traceback" in text or "SELECT" in text or str(tmp_path) in text]
    assert len(errors) > 5
    assert leaks(metrics) == []
    assert leaks(logs) == []
    assert "\nFAKE" not in logs
    assert leaks(environment) == []
    names = [str(path.relative_to(tmp_path)) for path in (tmp_path / "data").rglob("*")]
    assert leaks("\n".join(names)) == []
    audit = "".join(path.read_text() for path in (tmp_path / "data" / "audit").iterdir())
    assert [one for one in leaks(audit) if one != "CANARYID"] == []  # Patient IDs are what it is for
