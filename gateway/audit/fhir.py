"""An event as a FHIR AuditEvent (R4), with the codes of IHE BALP: of RESTful operations for what came by the web."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.audit.dicom import _EVENTS, DESTINATION, OUTWARD, SOURCE, kind_of

DCM = "http://dicom.nema.org/resources/ontology/DCM"
TERMS = "http://terminology.hl7.org/CodeSystem/"
BALP = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
_REST_TYPE = {"system": TERMS + "audit-event-type", "code": "rest", "display": "RESTful Operation"}
_OUTCOMES = {"success": "0", "refused": "4", "failed": "8"}
_REST = {"search": "search", "read": "read", "store": "create", "delete": "delete", "delete study": "delete"}


def audit_event(entry: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The resource. Patients and studies are named by their identifiers."""
    kind = kind_of(entry)
    (code, display), action = _EVENTS[kind]
    dicom = {"system": DCM, "code": code, "display": display}
    system = "http://hl7.org/fhir/restful-interaction"
    interaction = [{"system": system, "code": _REST[kind]}] if kind in _REST else []
    rest = bool(interaction) and entry.get("door") == "web"
    resource: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "type": _REST_TYPE if rest else dicom,
        "action": action,
        "recorded": datetime.fromtimestamp(float(entry.get("at", 0)), UTC).isoformat("T", "milliseconds"),
        "outcome": _OUTCOMES.get(str(entry.get("outcome")), "8"),
        "outcomeDesc": f"{entry.get('operation', '')} {entry.get('status', '')}".strip(),
        "agent": _agents(entry, source, outward=kind in OUTWARD),
        "source": {"observer": {"display": source}},
    }
    if interaction:
        resource["subtype"] = [*interaction, *([dicom] if rest else [])]
    entities: list[dict[str, Any]] = []
    patients = dict.fromkeys(str(one["patient"]) for one in entry.get("studies", ()) if one.get("patient"))
    for patient in patients:
        entities.append(_entity({"type": "Patient", "identifier": {"value": patient}}, "1", "1"))
    for one in entry.get("studies", ()):
        identifier = {"system": "urn:dicom:uid", "value": f"urn:oid:{one['study']}"}
        entities.append(_entity({"type": "ImagingStudy", "identifier": identifier}, "2", "4"))
    if kind == "search":  # the keys that were asked for, never what they had to be
        asked = " ".join([str(entry.get("operation", "")), *map(str, entry.get("keys", ()))])
        entities.append({**_entity(None, "2", "24"), "query": base64.b64encode(asked.encode()).decode()})
    if entry.get("request_id"):
        identifier = {"value": str(entry["request_id"])}
        entities.append({"what": {"identifier": identifier}, "type": {"system": BALP, "code": "XrequestId"}})
    if entities:
        resource["entity"] = entities
    return resource


def _agents(entry: Mapping[str, Any], source: str, *, outward: bool) -> list[dict[str, Any]]:
    """The caller's program and ours, by the way that data go, and the one who asked."""
    ends = (DESTINATION, SOURCE) if outward else (SOURCE, DESTINATION)
    client, server = ({"coding": [{"system": DCM, "code": code, "display": text}]} for code, text in ends)
    who = str(entry.get("who") or "anonymous")
    network = {"network": {"address": entry["address"], "type": "2"}} if entry.get("address") else {}
    return [
        {"type": client, "who": {"display": str(entry.get("address") or who)}, "requestor": False, **network},
        {"type": server, "who": {"display": source}, "requestor": False},
        {"who": {"display": who}, "requestor": True},
    ]


def _entity(what: dict[str, Any] | None, type: str, role: str) -> dict[str, Any]:
    return {
        **({} if what is None else {"what": what}),
        "type": {"system": TERMS + "audit-entity-type", "code": type},
        "role": {"system": TERMS + "object-role", "code": role},
    }
