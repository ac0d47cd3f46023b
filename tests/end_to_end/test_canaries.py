"""Names, numbers and secrets that would be recognised anywhere are in no log, metric, error or file name."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from tests.gateway.dicomweb.service import STOW_TYPE, stow_body
from tests.parts import once
from tests.parts.datasets import ct_slice, part10_bytes, uid
from tests.parts.fix_gateway import StartGateway
from tests.parts.gateway import GatewayProcess

TOKEN = "canary-token-of-this-test"
CANARIES = ("CANARYNAME", "CANARYID", "CANARYACC", "CANARYDOC", "CANARYDESC", "19010203", TOKEN)
FIND, MOVE, GET = (f"1.2.840.10008.5.1.4.1.2.2.{last}" for last in (1, 2, 3))
COMMITMENT, COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
FORGED = "\r\nFAKE level=info\x1b[31m"


def leaks(text: str) -> list[str]:
    return [canary for canary in CANARIES if canary.lower() in text.lower()]


def by_dimse(gateway: GatewayProcess) -> list[str]:
    """The same patients through the other door, well and badly; the comments in answers."""
    comments: list[str] = []
    ds = ct_slice("dimse", PatientName="CANARYNAMED^Given", PatientID="CANARYIDD", PatientBirthDate="19010203")
    ds.AccessionNumber, ds.ReferringPhysicianName, ds.StudyDescription = "CANARYACC", "CANARYDOC", "CANARYDESC"
    changed = dcmread(BytesIO(part10_bytes(ds)))
    changed.PatientName = "CANARYNAMED^Other"
    broken = dcmread(BytesIO(part10_bytes(ds)))
    broken.SOPInstanceUID = uid("canary", "x")
    del broken.StudyInstanceUID

    def asked(statuses: Iterable[Dataset]) -> list[int]:
        found = [one for one in statuses if one]
        comments.extend(str(one.get("ErrorComment", "")) for one in found)
        return [int(one.Status) for one in found]

    ae = AE("MODALITY")
    contexts = [build_context(one) for one in (FIND, MOVE, GET, COMMITMENT)]
    store_context = build_context(CTImageStorage, ExplicitVRLittleEndian)
    caller = ae.associate(
        gateway.host,
        gateway.dimse_port,
        contexts=[*contexts, store_context],
        ae_title=gateway.aet,
        ext_neg=[build_role(CTImageStorage, scu_role=True, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, lambda event: 0)],
    )
    assert caller.is_established
    assert asked([caller.send_c_store(dcmread(BytesIO(part10_bytes(ds))))]) == [0]
    assert asked([caller.send_c_store(one) for one in (changed, broken)])[0] == 0x0111
    keys = Dataset()
    keys.QueryRetrieveLevel, keys.PatientName, keys.StudyInstanceUID = "STUDY", "CANARYNAMED*", ""
    assert asked(status for status, _ in caller.send_c_find(keys, FIND)) == [0xFF00, 0]
    keys.QueryRetrieveLevel, keys.PatientID = "CANARYID", "CANARYID"
    assert asked(status for status, _ in caller.send_c_find(keys, FIND))[-1] >= 0xA700
    this = Dataset()
    this.QueryRetrieveLevel, this.StudyInstanceUID = "STUDY", ds.StudyInstanceUID
    assert asked(status for status, _ in caller.send_c_get(this, GET))[-1] == 0
    assert asked(status for status, _ in caller.send_c_move(this, "NOWHERE", MOVE)) == [0xA801]
    this.PatientID = "CANARYID"
    asked(status for status, _ in caller.send_c_move(this, "NOBODY", MOVE))
    wanted = Dataset()
    wanted.TransactionUID, item = uid("canary", "transaction"), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    item.PatientName = "CANARYNAMED"
    wanted.ReferencedSOPSequence, wanted.PatientID = [item], "CANARYIDD"
    asked([caller.send_n_action(wanted, 1, COMMITMENT, COMMITMENT_INSTANCE)[0]])
    asked([caller.send_n_action(wanted, 7, COMMITMENT, COMMITMENT_INSTANCE)[0]])
    caller.release()
    wrong = UserIdentityNegotiation()
    wrong.user_identity_type, wrong.primary_field, wrong.secondary_field = 2, b"CANARYDOC", b"CANARYNAME"
    place = (gateway.host, gateway.dimse_port)
    assert ae.associate(*place, contexts=contexts, ae_title="NOBODY").is_rejected
    assert ae.associate(*place, contexts=contexts, ae_title=gateway.aet, ext_neg=[wrong]).is_rejected
    return comments


def test_patients_and_secrets_are_in_no_log_metric_error_or_file_name(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    """S-71, S-75, S-80, S-81, S-87: through STOW-RS, searches, pictures, refusals, links and the metrics; through
    C-STORE, C-FIND, C-MOVE, C-GET, N-ACTION and refused associations.
    """
    gateway = start_gateway(data=tmp_path / "data", environment={"GANTRY_TOKEN": TOKEN, "GANTRY_LOG_LEVEL": "debug"})
    mine = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/dicom+json"}
    errors: list[str] = []
    studies = []
    with once.client(base_url=gateway.http_url, headers=mine, timeout=60) as client:

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
        for first in range(20, 1000, 98):
            others = [
                ct_slice(f"canary{n}", rows=8, columns=8, PatientName=f"CANARYNAME{n}^Given", PatientID=f"CANARYID{n}")
                for n in range(first, first + 98)
            ]
            answer = ask("POST", "/dicomweb/studies", content=stow_body(others), headers={"Content-Type": STOW_TYPE})
            assert answer.status_code == 200
        counted = ask("GET", "/dicomweb/studies", params={"PatientName": "CANARYNAME*", "limit": "1"})
        assert counted.headers["x-total-count"] == "1000"
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
        comments = by_dimse(gateway)
        assert once.get(f"{gateway.http_url}/metrics").status_code == 401
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
    assert len(comments) > 3
    assert leaks("\n".join(comments)) == []
    assert leaks(metrics) == []
    assert leaks(logs) == []
    assert "\nFAKE" not in logs
    assert leaks(environment) == []
    names = [str(path.relative_to(tmp_path)) for path in (tmp_path / "data").rglob("*")]
    assert leaks("\n".join(names)) == []
    audit = "".join(path.read_text() for path in (tmp_path / "data" / "audit").iterdir())
    assert [one for one in leaks(audit) if one != "CANARYID"] == []  # Patient IDs are what it is for
