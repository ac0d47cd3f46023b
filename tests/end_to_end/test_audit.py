"""The audit through every door: one event for each operation, told to a syslog receiver with TLS and to a FHIR server,
and a log that shows tampering.
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from xml.etree import ElementTree

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE

from storage.chain import files
from tests.end_to_end.doors import STUDY_ROOT, Doors
from tests.gateway.dimse.peers import node
from tests.gateway.dimse.wire import Wire
from tests.parts import once
from tests.parts.certificates import Authority
from tests.parts.command import gantry
from tests.parts.datasets import ct_slice, part10_bytes
from tests.parts.fix_gateway import StartGateway
from tests.parts.gateway import GatewayProcess
from tests.parts.machine import cannot_run
from tests.parts.rsyslog import receiver
from tests.parts.waiting import until

TOKEN = "the-token-that-may-do-everything"
NAME = "Canary^Patricia"
STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
T = TypeVar("T")


def search(gateway: GatewayProcess, **wanted: str) -> list[dict[str, Any]]:
    """Events as an administrator finds them, the oldest first."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = once.get(f"{gateway.http_url}/audit", params=wanted, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    return list(reversed(answer.json()["events"]))


def test_each_operation_by_every_door_is_one_event(start_gateway: StartGateway) -> None:
    """S-82, AUD-01, AUD-04, AUD-05, AUD-06, AUD-10, AUD-12: who, what, which study and patient, with what outcome."""
    gateway = start_gateway(environment={"GANTRY_TOKEN": TOKEN})
    ds = ct_slice("audited", PatientID="A-1", PatientName=NAME, InstitutionName="North")
    study, file = str(ds.StudyInstanceUID), part10_bytes(ds)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with Doors(gateway) as doors:
        doors.web.headers.update(headers)
        assert doors.c_store([file]) == [0]
        assert doors.stow(file).status == 200
        keys = {"QueryRetrieveLevel": "STUDY", "PatientName": "Canary*", "StudyInstanceUID": ""}
        assert len(doors.c_find(STUDY_ROOT, **keys)) == 1
        assert len(doors.qido("/studies", PatientName="Canary*")) == 1
        assert len(doors.retrieve(study)) == 1
        assert doors.get(f"/studies/{study}/thumbnail").status_code == 200
        assert doors.get("/studies/1.2.3/metadata").status_code == 404
        assert doors.delete(study) == 204
    assert once.get(f"{gateway.dicomweb_url}/studies", headers={"Authorization": "Bearer nonsense"}).status_code == 401
    with Wire((gateway.host, gateway.dimse_port)) as wire:
        wire.send(1, b"")  # no association request
    until(lambda: any(event["outcome"] == "refused" for event in search(gateway)))
    events = [event for event in search(gateway) if event["action"] not in ("start", "admin")]
    told = [(event["action"], event["operation"], event["outcome"]) for event in events]
    assert told[:9] == [
        ("store", "C-STORE", "success"),
        ("store", "POST /dicomweb/studies", "success"),
        ("search", "C-FIND", "success"),
        ("search", "GET /dicomweb/studies", "success"),
        ("read", "GET /dicomweb/studies/{study}", "success"),
        ("read", "GET /dicomweb/studies/{study}/thumbnail", "success"),
        ("read", "GET /dicomweb/studies/{study}/metadata", "failed"),
        ("delete", "DELETE /dicomweb/studies/{study}", "success"),
        ("login", "GET /dicomweb/studies", "refused"),
    ]
    touched = {"study": study, "patient": "A-1"}
    for at in (0, 1, 4, 5, 7):
        assert events[at]["studies"] == [touched], events[at]
    assert events[2]["keys"] == ["PatientName"] and events[3]["count"] == 1
    assert events[0]["door"] == "dimse" and events[1]["who"] == "token"
    assert all(event["address"] == "127.0.0.1" for event in events[:9])
    assert search(gateway, patient="A-1", action="delete")[0]["operation"].startswith("DELETE")
    # and reading the log is an event itself
    until(lambda: any(event["operation"] == "GET /audit" for event in search(gateway, action="admin")))
    for path in files(gateway.data / "audit"):
        assert "Canary" not in path.read_text()
    done = gantry("audit", "search", "--study", study, "--action", "store", "--data", gateway.data)
    assert len(done.stdout.splitlines()) == 2, done.stderr


def test_a_changed_line_is_found(start_gateway: StartGateway) -> None:
    """S-82: by the command, while the gateway runs; and a tail that was cut off, by what the index knows."""
    gateway = start_gateway(environment={"GANTRY_TOKEN": TOKEN})
    for _ in range(3):
        search(gateway)
    done = gantry("audit", "verify", "--data", gateway.data)
    assert (done.returncode, done.stderr) == (0, "")
    assert gateway.stop() == 0
    assert gantry("audit", "verify", "--data", gateway.data).returncode == 0
    (path,) = files(gateway.data / "audit")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    done = gantry("audit", "verify", "--data", gateway.data)
    assert done.returncode == 2 and "the end of this chain is missing" in done.stderr
    lines[1] = lines[1].replace('"success"', '"failed"')
    path.write_text("".join(lines))
    done = gantry("audit", "verify", "--data", gateway.data)
    assert done.returncode == 2 and f"{path.name}:2" in done.stderr


class Collector(ThreadingHTTPServer):
    """A FHIR server that keeps what is posted to it; it refuses while `down`."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.down = False
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not collector.down:
                    collector.events.append(json.loads(body))
                self.send_response(503 if collector.down else 201)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return None

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as started:
        thread = threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield started
        started.shutdown()
        thread.join()


def messages(received: Path) -> list[ElementTree.Element]:
    """The audit messages in a file of syslog lines, less those about the log itself."""
    if not received.exists():
        return []
    found = []
    for line in received.read_text("utf-8").splitlines():
        assert line.startswith("<85>1 "), line
        found.append(ElementTree.fromstring(line[line.index("<AuditMessage>") :]))
    return found


def kinds(found: list[ElementTree.Element]) -> list[str]:
    return [one.find("EventIdentification/EventID").attrib["csd-code"] for one in found]  # type: ignore[union-attr]


def codes(event: dict[str, Any]) -> set[str]:
    """Of what an AuditEvent was about."""
    return {one["code"] for one in (event["type"], *event.get("subtype", ()))}


def test_repositories_are_told_and_what_they_missed_is_told_later(
    start_gateway: StartGateway, collector: Collector, tmp_path: Path
) -> None:
    """S-82, AUD-01, AUD-05, AUD-10, IHE-06: DICOM messages by syslog with TLS to rsyslog, FHIR AuditEvents; both are
    down for a while, and nothing is lost.
    """
    authority = Authority(tmp_path)
    ours = authority.issue("gantry")
    both = tmp_path / "ours.pem"
    both.write_text(ours.certificate.read_text() + ours.key.read_text())
    ds = ct_slice("told", PatientID="T-1", PatientName=NAME)
    with ExitStack() as stack:
        listening = stack.enter_context(ExitStack())
        port, received = listening.enter_context(receiver(tmp_path / "syslog", authority))
        environment: Mapping[str, str] = {
            "GANTRY_TOKEN": TOKEN,
            "GANTRY_AUDIT_SYSLOG": f"tls://localhost:{port}",
            "GANTRY_AUDIT_SYSLOG_CA": str(authority.certificate),
            "GANTRY_AUDIT_SYSLOG_CERT": str(both),
            "GANTRY_AUDIT_FHIR": f"http://127.0.0.1:{collector.server_port}/AuditEvent",
        }
        gateway = start_gateway(environment=environment)
        doors = stack.enter_context(Doors(gateway))
        doors.web.headers["Authorization"] = f"Bearer {TOKEN}"
        assert doors.c_store([part10_bytes(ds)]) == [0]
        doors.qido("/studies", PatientID="T-1")
        until(lambda: "110112" in kinds(messages(received)))
        assert kinds(messages(received))[:3] == ["110100", "110104", "110112"]
        stored = messages(received)[1]
        objects = {
            one.find("ParticipantObjectIDTypeCode").attrib["csd-code"]: one.attrib["ParticipantObjectID"]  # type: ignore[union-attr]
            for one in stored.findall("ParticipantObjectIdentification")
        }
        assert objects == {"110180": str(ds.StudyInstanceUID), "2": "T-1"}
        people = [one.attrib for one in stored.findall("ActiveParticipant")]
        assert [one["UserIsRequestor"] for one in people] == ["true", "false"]
        until(lambda: len(collector.events) >= 3)
        assert {one["resourceType"] for one in collector.events} == {"AuditEvent"}
        assert collector.events[1]["entity"][0]["what"]["identifier"]["value"] == "T-1"
        # both go away; what happens meanwhile is told when they are back
        collector.down = True
        listening.close()
        assert doors.delete(str(ds.StudyInstanceUID)) == 204
        time.sleep(1.0)
        assert "110105" not in kinds(messages(received))
        assert not any("110105" in codes(one) for one in collector.events)
        collector.down = False
        listening.enter_context(receiver(tmp_path / "syslog", authority, port))
        doors.qido("/studies")
        assert until(lambda: "110105" in kinds(messages(received)))
        assert until(lambda: [one for one in collector.events if "110105" in codes(one)])
        assert NAME not in received.read_text() and NAME not in json.dumps(collector.events)


def test_media_transfers_and_strange_nodes_are_events_of_their_own(start_gateway: StartGateway, tmp_path: Path) -> None:
    """AUD-02, AUD-03, AUD-07, AUD-11, S-82: an import before the start, C-MOVE and `gantry send` with their begin, an
    AE title that is not ours, bytes that are no TLS, a look at the log itself, and an export after the stop.
    """
    authority = Authority(tmp_path)
    ours = authority.issue("gantry")
    both = tmp_path / "ours.pem"
    both.write_text(ours.certificate.read_text() + ours.key.read_text())
    data, files_to_import = tmp_path / "data", tmp_path / "files"
    files_to_import.mkdir()
    ds = ct_slice("moved", PatientID="M-1", PatientName=NAME)
    (files_to_import / "one.dcm").write_bytes(part10_bytes(ds))
    assert gantry("import", files_to_import, "--data", data).returncode == 0
    with node() as behind, receiver(tmp_path / "syslog", authority) as (port, received):
        peers = [{"aet": "NODE", "host": "127.0.0.1", "port": behind.port}]
        environment: Mapping[str, str] = {
            "GANTRY_TOKEN": TOKEN,
            "GANTRY_PEERS": json.dumps(peers),
            "GANTRY_AUDIT_SYSLOG": f"tls://localhost:{port}",
            "GANTRY_AUDIT_SYSLOG_CA": str(authority.certificate),
            "GANTRY_AUDIT_SYSLOG_CERT": str(both),
            "GANTRY_DIMSE_TLS": "127.0.0.1:0",
            "GANTRY_DIMSE_TLS_CERT": str(ours.certificate),
            "GANTRY_DIMSE_TLS_KEY": str(ours.key),
        }
        gateway = start_gateway(data=data, environment=environment)
        ae = AE("MOVER")
        ae.add_requested_context(STUDY_MOVE)
        assert ae.associate(gateway.host, gateway.dimse_port, ae_title="OTHER").is_rejected
        association = ae.associate(gateway.host, gateway.dimse_port, ae_title="GANTRY")
        wanted = Dataset()
        wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", ds.StudyInstanceUID
        assert [status.Status for status, _ in association.send_c_move(wanted, "NODE", STUDY_MOVE)][-1] == 0
        association.release()
        with socket.create_connection((gateway.host, gateway.dimse_tls_port)) as strange:
            strange.sendall(b"\x16\x03\x01\x00\x05HELLO" * 10)
            strange.recv(1000)
        send = {"to": "NODE", "study": str(ds.StudyInstanceUID)}
        sent = once.post(f"{gateway.http_url}/queue/send", json=send, headers={"Authorization": f"Bearer {TOKEN}"})
        assert sent.status_code in (200, 202), sent.text
        until(lambda: search(gateway, action="send"))
        until(lambda: "110101" in kinds(messages(received)))
        told = {(event["action"], event["operation"], event["outcome"]): event for event in search(gateway)}
        assert gateway.stop() == 0
    by_kind: dict[str, list[ElementTree.Element]] = {}
    for kind, one in zip(kinds(messages(received)), messages(received), strict=True):
        by_kind.setdefault(kind, []).append(one)
    assert kinds(messages(received))[:2] == ["110107", "110100"]
    assert [len(by_kind[kind]) for kind in ("110107", "110102", "110104")] == [1, 2, 2]
    for kind in ("110107", "110102", "110104"):
        for one in by_kind[kind]:
            named = [each.attrib["ParticipantObjectID"] for each in one.findall("ParticipantObjectIdentification")]
            assert named == [str(ds.StudyInstanceUID), "M-1"]
    alerts = [one.find("EventIdentification/EventTypeCode") for one in by_kind["110113"]]
    assert [one.attrib["csd-code"] for one in alerts if one is not None].count("110126") == 2
    for key in (
        ("node", "A-ASSOCIATE 1,1,7", "refused"),
        ("node", "TLS", "refused"),
        ("begin", "C-MOVE NODE", "success"),
        ("read", "C-MOVE NODE", "success"),
        ("begin", "forward NODE", "success"),
        ("send", "forward NODE", "success"),
    ):
        assert key in told, sorted(told)
    assert gantry("export", ds.StudyInstanceUID, "--to", tmp_path / "media", "--data", data).returncode == 0
    (line,) = gantry("audit", "search", "--action", "export", "--data", data).stdout.splitlines()
    assert json.loads(line)["studies"] == [{"study": ds.StudyInstanceUID, "patient": "M-1"}]
    assert gantry("audit", "verify", "--data", data).returncode == 0


def test_a_required_audit_that_cannot_be_written_stops_everything_but_the_probes(
    start_gateway: StartGateway, tmp_path: Path
) -> None:
    """S-82: fail closed; and it goes on by itself once there is room again."""
    data = tmp_path / "data"
    folder = data / "audit"
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        cannot_run("a file system of its own cannot be mounted here")
    try:
        gateway = start_gateway(data=data, environment={"GANTRY_AUDIT": "required"})

        def status(path: str = "/dicomweb/studies") -> int:
            return once.get(gateway.http_url + path, timeout=60).status_code

        assert status() == 204
        filler = folder / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"\0" * 4096):
                pass
        # what is in the last page of the log may still be written
        assert until(lambda: status() == 503)
        assert status("/healthz") == 200 and status("/readyz") == 503
        filler.unlink()
        assert until(lambda: status() == 204)
        assert gateway.stop() == 0
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
