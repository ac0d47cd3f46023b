"""An event as an audit message of DICOM (PS3.15 A.5.2): XML, for a syslog receiver (IHE ITI-20)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import quoteattr

Code = tuple[str, str]

_STARTED, _STOPPED = ("110120", "Application Start"), ("110121", "Application Stop")
_EVENTS: Mapping[str, tuple[Code, str]] = {
    "start": (("110100", "Application Activity"), "E"),
    "stop": (("110100", "Application Activity"), "E"),
    "search": (("110112", "Query"), "E"),
    "read": (("110104", "DICOM Instances Transferred"), "R"),
    "begin": (("110102", "Begin Transferring DICOM Instances"), "E"),
    "send": (("110104", "DICOM Instances Transferred"), "R"),
    "store": (("110104", "DICOM Instances Transferred"), "C"),
    "delete": (("110103", "DICOM Instances Accessed"), "D"),
    "delete study": (("110105", "DICOM Study Deleted"), "D"),
    "share": (("110106", "Export"), "R"),
    "export": (("110106", "Export"), "R"),
    "import": (("110107", "Import"), "C"),
    "login": (("110114", "User Authentication"), "E"),
    "logout": (("110114", "User Authentication"), "E"),
    "audit": (("110101", "Audit Log Used"), "R"),
    "admin": (("110113", "Security Alert"), "E"),
    "node": (("110113", "Security Alert"), "E"),
    "monitor": (("110103", "DICOM Instances Accessed"), "R"),
}
"""Event ID (CID 400) and action code of what a caller did (PS3.15 Table A.5.2-1)."""

_TYPES: Mapping[str, Code] = {
    "start": _STARTED,
    "stop": _STOPPED,
    "login": ("110122", "Login"),
    "logout": ("110123", "Logout"),
    "admin": ("110128", "Network Configuration"),
    "node": ("110126", "Node Authentication"),
}
_OUTCOMES = {"success": 0, "refused": 4, "failed": 8}
"""Event Outcome Indicator: success, minor and serious failure."""

SOURCE, DESTINATION, APPLICATION = (
    ("110153", "Source Role ID"),
    ("110152", "Destination Role ID"),
    ("110150", "Application"),
)


OUTWARD = frozenset({"begin", "send", "read", "share", "export"})
"""What goes from this gateway to whom it names."""


def kind_of(entry: Mapping[str, Any]) -> str:
    """The row of the table that an event belongs to."""
    action, operation = str(entry.get("action", "")), str(entry.get("operation", ""))
    if action == "admin" and " /audit" in operation:
        return "audit"
    if action == "delete" and operation.endswith("/studies/{study}"):
        return "delete study"
    return action if action in _EVENTS else "admin"


def messages(entry: Mapping[str, Any], source: str) -> list[str]:
    """The messages of one event: one for each patient, as A.5.3.7 wants it. `source` names this gateway."""
    by_patient: dict[str, list[str]] = {}
    for one in entry.get("studies", ()):
        by_patient.setdefault(str(one.get("patient") or ""), []).append(str(one.get("study", "")))
    return [_message(entry, source, patient, studies) for patient, studies in (by_patient or {"": []}).items()]


def _message(entry: Mapping[str, Any], source: str, patient: str, studies: list[str]) -> str:
    kind = kind_of(entry)
    code, action = _EVENTS[kind]
    at = datetime.fromtimestamp(float(entry.get("at", 0)), UTC).isoformat("T", "milliseconds")
    outcome = _OUTCOMES.get(str(entry.get("outcome")), 8)
    out = [
        '<?xml version="1.0" encoding="UTF-8"?><AuditMessage>',
        f"<EventIdentification EventActionCode={quoteattr(action)} EventDateTime={quoteattr(at)} "
        f'EventOutcomeIndicator="{outcome}">{_code("EventID", code)}',
        _code("EventTypeCode", _TYPES[kind]) if kind in _TYPES else "",
        "</EventIdentification>",
    ]
    outward = kind in OUTWARD
    who = str(entry.get("who") or "anonymous")
    caller = _participant(who, str(entry.get("address", "")), True, DESTINATION if outward else SOURCE)
    if kind in ("start", "stop"):
        out.append(_participant(source, "", False, APPLICATION))
    else:
        out += [caller, _participant(source, "", False, SOURCE if outward else DESTINATION)]
    out.append(f"<AuditSourceIdentification AuditSourceID={quoteattr(source)}/>")
    if kind == "search":
        asked = " ".join([str(entry.get("operation", "")), *map(str, entry.get("keys", ()))])
        query = base64.b64encode(asked.encode()).decode()
        out.append(
            _object(
                str(entry.get("operation", "")),
                2,
                24,
                ("110181", "SOP Class UID"),
                f"<ParticipantObjectQuery>{query}</ParticipantObjectQuery>",
            )
        )
    out += [_object(uid, 2, 3, ("110180", "Study Instance UID")) for uid in studies]
    if patient:
        out.append(_object(patient, 1, 1, ("2", "Patient Number", "RFC-3881")))
    if kind == "node":
        who, address = str(entry.get("who", "")), str(entry.get("address", ""))
        out.append(_object(f"{who}@{address}", 2, 13, ("110182", "Node ID")))
    if kind in ("admin", "audit"):
        out.append(_object(str(entry.get("operation", "")), 2, 13, ("12", "URI", "RFC-3881")))
    out.append("</AuditMessage>")
    return "".join(out)


def _code(name: str, code: tuple[str, ...]) -> str:
    system = code[2] if len(code) > 2 else "DCM"
    return (
        f"<{name} csd-code={quoteattr(code[0])} originalText={quoteattr(code[1])} codeSystemName={quoteattr(system)}/>"
    )


def _participant(name: str, address: str, requests: bool, role: Code) -> str:
    network = f' NetworkAccessPointID={quoteattr(address)} NetworkAccessPointTypeCode="2"' if address else ""
    return (
        f'<ActiveParticipant UserID={quoteattr(name)} UserIsRequestor="{"true" if requests else "false"}"{network}>'
        f"{_code('RoleIDCode', role)}</ActiveParticipant>"
    )


def _object(id: str, type: int, role: int, kind: tuple[str, ...], more: str = "") -> str:
    return (
        f'<ParticipantObjectIdentification ParticipantObjectID={quoteattr(id)} ParticipantObjectTypeCode="{type}" '
        f'ParticipantObjectTypeCodeRole="{role}">{_code("ParticipantObjectIDTypeCode", kind)}{more}'
        "</ParticipantObjectIdentification>"
    )
