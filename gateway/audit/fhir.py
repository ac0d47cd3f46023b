"""An event as a FHIR AuditEvent (R4, in the manner of IHE BALP)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gateway.audit.dicom import _EVENTS, kind_of

DCM = "http://dicom.nema.org/resources/ontology/DCM"
_OUTCOMES = {"success": "0", "refused": "4", "failed": "8"}
_REST = {"search": "search", "read": "read", "store": "create", "delete": "delete", "delete study": "delete"}


def audit_event(entry: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The resource. Patients and studies are named by their identifiers."""
    kind = kind_of(entry)
    (code, display), action = _EVENTS[kind]
    network = {"network": {"address": entry["address"], "type": "2"}} if entry.get("address") else {}
    resource: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "type": {"system": DCM, "code": code, "display": display},
        "action": action,
        "recorded": datetime.fromtimestamp(float(entry.get("at", 0)), UTC).isoformat("T", "milliseconds"),
        "outcome": _OUTCOMES.get(str(entry.get("outcome")), "8"),
        "outcomeDesc": f"{entry.get('operation', '')} {entry.get('status', '')}".strip(),
        "agent": [{"who": {"display": entry.get("who") or "anonymous"}, "requestor": True, **network}],
        "source": {"observer": {"display": source}},
    }
    if kind in _REST:
        system = "http://hl7.org/fhir/restful-interaction"
        resource["subtype"] = [{"system": system, "code": _REST[kind]}]
    entities: list[dict[str, Any]] = []
    patients = dict.fromkeys(str(one["patient"]) for one in entry.get("studies", ()) if one.get("patient"))
    for patient in patients:
        entities.append(_entity({"type": "Patient", "identifier": {"value": patient}}, "1", "1"))
    for one in entry.get("studies", ()):
        identifier = {"system": "urn:dicom:uid", "value": f"urn:oid:{one['study']}"}
        entities.append(_entity({"type": "ImagingStudy", "identifier": identifier}, "2", "4"))
    if entry.get("request_id"):
        identifier = {"value": str(entry["request_id"])}
        entities.append({**_entity({"identifier": identifier}, "4", "21"), "description": "request"})
    if entities:
        resource["entity"] = entities
    return resource


def _entity(what: dict[str, Any], type: str, role: str) -> dict[str, Any]:
    systems = "http://terminology.hl7.org/CodeSystem/"
    return {
        "what": what,
        "type": {"system": systems + "audit-entity-type", "code": type},
        "role": {"system": systems + "object-role", "code": role},
    }
