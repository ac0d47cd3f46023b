"""FHIR AuditEvents: each kind of event is a valid resource of R4, with the codes of IHE BALP."""

from __future__ import annotations

import base64

import pytest
from fhir.resources.R4B.auditevent import AuditEvent

from gateway.audit import FAILED, REFUSED, SUCCESS, Event
from gateway.audit.dicom import _EVENTS
from gateway.audit.fhir import audit_event

OPERATIONS = {"audit": "GET /audit", "delete study": "DELETE /dicomweb/studies/{study}"}
ACTIONS = {"audit": "admin", "delete study": "delete"}


def event(kind: str, door: str, outcome: str = SUCCESS, *, full: bool = True) -> Event:
    operation, action = OPERATIONS.get(kind, "GET /x"), ACTIONS.get(kind, kind)
    if not full:
        return Event(action, operation, outcome, at=1e9)
    studies = (("1.2.3", "P1"), ("1.2.4", "P1"), ("1.2.5", None))
    place = ("joe", door, "192.0.2.1", "request-1")
    return Event(action, operation, outcome, "200", *place, studies, ("PatientName",), 3, 1e9)


@pytest.mark.parametrize("kind", _EVENTS)
def test_every_kind_of_event_is_a_valid_resource(kind: str) -> None:
    """IHE-06: the model of R4B, where AuditEvent is that of R4, forbids what it does not know."""
    for door in ("web", "dimse"):
        for outcome in (SUCCESS, REFUSED, FAILED):
            for full in (True, False):
                AuditEvent.model_validate(audit_event(event(kind, door, outcome, full=full).entry(), "GANTRY"))


def test_what_came_by_the_web_is_a_restful_operation() -> None:
    """IHE-06, BALP: who asked with what and of whom, and which way the data went."""
    found = audit_event(event("read", "web").entry(), "GANTRY")
    assert (found["type"]["code"], [one["code"] for one in found["subtype"]]) == ("rest", ["read", "110104"])
    client, server, user = found["agent"]
    assert client["type"]["coding"][0]["code"] == "110152" and client["network"]["address"] == "192.0.2.1"
    assert server["type"]["coding"][0]["code"] == "110153" and server["who"]["display"] == "GANTRY"
    assert [one["requestor"] for one in found["agent"]] == [False, False, True] and user["who"]["display"] == "joe"
    kinds = [one["type"]["code"] for one in found["entity"]]
    assert kinds == ["1", "2", "2", "2", "XrequestId"]
    stored = audit_event(event("store", "web").entry(), "GANTRY")
    assert [one["type"]["coding"][0]["code"] for one in stored["agent"][:2]] == ["110153", "110152"]
    assert audit_event(event("read", "dimse").entry(), "GANTRY")["type"]["code"] == "110104"


def test_a_search_tells_its_keys_and_not_what_they_had_to_be() -> None:
    """IHE-06, S-81"""
    found = audit_event(event("search", "web").entry(), "GANTRY")
    (query,) = [one["query"] for one in found["entity"] if "query" in one]
    assert base64.b64decode(query).decode() == "GET /x PatientName"
