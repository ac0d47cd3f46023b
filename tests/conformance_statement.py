"""docs/conformance.md, made from the code's own tables: `python -m tests.conformance_statement` writes it anew.

The order of chapters is that of PS3.2. A test fails when the file is not what the tables say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydicom._uid_dict import UID_dictionary

from gateway import errors
from gateway.dicom import charset
from gateway.dicom.codecs import DECODED
from gateway.dicom.encoders import ENCODERS
from gateway.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from gateway.dicom.uids import STORAGE_CLASSES, SYNTAXES
from gateway.dicomweb.catalogue import SERVICES
from gateway.dicomweb.offers import BULK_TYPES, FORBIDDEN
from gateway.dimse import statuses
from gateway.dimse.classes import AVAILABILITY_NOTIFICATION, COMMITMENT, GET_CLASSES, MOVE_CLASSES
from gateway.dimse.limits import MAX_PDU, Limits
from gateway.dimse.negotiation import (
    FIND_CLASSES,
    MESSAGE_SYNTAXES,
    RETURN_SYNTAXES,
    STORAGE_SYNTAXES,
    VERIFICATION,
)
from gateway.http.failures import row
from gateway.settings import Settings
from gateway.tls import SUITES
from storage.attributes import ATTRIBUTES, Attribute, Level, Returned

FILE = Path(__file__).resolve().parents[1] / "docs" / "conformance.md"
REMADE = "python -m tests.conformance_statement"

_LEVELS = {Level.PATIENT: "Patient", Level.STUDY: "Study", Level.SERIES: "Series", Level.IMAGE: "Instance"}
_RETURNED = {
    Returned.ALWAYS: "always",
    Returned.KNOWN: "when it has a value",
    Returned.ASKED: "when asked for",
}
_NEWER_NAMES = {
    "1.2.840.10008.5.1.4.1.1.9.100.1": "Waveform Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.9.100.2": "Waveform Acquisition Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
}
"""SOP classes that pydicom does not name yet."""
_LIMITS = Limits()


def name_of(uid: str) -> str:
    """The name of a UID in PS3.6."""
    if uid in SYNTAXES:
        return SYNTAXES[uid].name
    return UID_dictionary[uid][0] if uid in UID_dictionary else _NEWER_NAMES[uid]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def default(key: str) -> object:
    """The default of a setting."""
    return Settings.model_fields[key].default


def classes(uids: Iterable[str]) -> str:
    """SOP classes with their names."""
    return table(
        ("SOP class", "UID"), ((name_of(uid), uid) for uid in sorted(uids, key=lambda uid: (name_of(uid), uid)))
    )


def ranked(uids: Iterable[str]) -> str:
    """Transfer syntaxes, in their order."""
    return table(("transfer syntax", "UID"), ((name_of(uid), uid) for uid in uids))


def syntaxes() -> str:
    """What is done with each transfer syntax."""
    plain = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"}

    def rows() -> Iterator[Sequence[str]]:
        for uid, facts in SYNTAXES.items():
            encoder = ENCODERS.get(uid)
            made = "yes" if uid in plain - FORBIDDEN else "no"
            if encoder is not None:
                made = "yes" if encoder.method is None else f"with loss ({encoder.method})"
            read = "yes" if uid in DECODED or uid in plain else "no"
            types = ", ".join(BULK_TYPES.get(uid, ())) or "-"
            web = "never" if uid in FORBIDDEN else "yes"
            yield facts.name, uid, "yes", read, made, web, types

    return table(("transfer syntax", "UID", "stored", "decoded", "made", "sent on the web", "frames as"), rows())


def resources() -> str:
    """The web services' resources, by service."""
    parts = []
    for service in SERVICES:
        lines = []
        for path, operation in service.operations():
            keys = ", ".join(operation.query) + (", matching keys" if operation.any_query else "")
            codes = " ".join(map(str, operation.statuses))
            lines.append((operation.method, f"`{path}`", operation.text, keys or "-", codes))
        parts.append(f"#### {service.title}\n\n" + table(("method", "resource", "what", "query", "status"), lines))
        used = {name for _, operation in service.operations() for name in operation.query}
        described = ((name, service.parameters[name].text) for name in service.parameters if name in used)
        parts.append(table(("query parameter", "meaning"), described))
    return "\n\n".join(parts)


def media_types() -> str:
    """What each operation gives and takes."""

    def rows() -> Iterator[Sequence[str]]:
        for service in SERVICES:
            for path, operation in service.operations():
                if operation.produces or operation.consumes:
                    gives, takes = (
                        ", ".join(f"`{one}`" for one in some) or "-"
                        for some in (operation.produces, operation.consumes)
                    )
                    yield f"{operation.method} `{path}`", gives, takes

    return table(("operation", "gives", "takes"), rows())


def attributes() -> str:
    """The indexed attributes by level."""

    def rows(level: Level) -> Iterator[Sequence[str]]:
        for one in ATTRIBUTES:
            if one.level is level:
                kind = "unique key" if one.unique else "computed" if one.computed else "matched"
                yield one.keyword, tag(one), one.vr, kind, _RETURNED[one.returned]

    head = ("attribute", "tag", "VR", "key", "returned")
    return "\n\n".join(f"#### {name} level\n\n{table(head, rows(level))}" for level, name in _LEVELS.items())


def tag(attribute: Attribute) -> str:
    """The tags on the way to it, as PS3.6 writes them."""
    return " > ".join(f"({step.tag >> 16:04X},{step.tag & 0xFFFF:04X})" for step in attribute.steps)


def refusals() -> str:
    """Failure codes that C-STORE and STOW-RS share, with the HTTP status of a request that holds but that."""

    def rows() -> Iterator[Sequence[str]]:
        for kind in sorted(errors.Refused.__subclasses__(), key=lambda kind: (kind.code, kind.__name__)):
            first = (kind.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")
            yield f"{kind.code:04X}", str(kind.code), first, str(row(kind).status)

    return table(("code", "decimal", "meaning", "HTTP"), rows())


def problems() -> str:
    """HTTP statuses of whole requests that fail."""

    def rows() -> Iterator[Sequence[str]]:
        kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.GatewayError)]
        for kind in sorted(kinds, key=lambda kind: (row(kind).status, kind.__name__)):
            if kind is not errors.GatewayError and not issubclass(kind, errors.Refused):
                first = (kind.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")
                yield str(row(kind).status), f"`urn:gantry:problem:{row(kind).reason}`", first

    return table(("status", "type", "meaning"), rows())


def query_statuses() -> str:
    """DIMSE statuses by name, as the code has them."""
    named = {name: value for name, value in vars(statuses).items() if name.isupper() and isinstance(value, int)}
    named.pop("MAX_COMMENT")
    rows = sorted((f"{value:04X}", name.replace("_", " ").lower()) for name, value in named.items())
    return table(("status", "meaning"), rows)


def character_sets() -> str:
    """Defined terms of Specific Character Set."""
    single = [f"ISO_IR {number}" for number in charset._SINGLE_BYTE]
    extended = [f"ISO 2022 IR {number}" for number in (*charset._SINGLE_BYTE, *charset._MULTI_BYTE)]
    return ", ".join(f"`{term}`" for term in (*single, *extended, *charset._ALONE))


def document() -> str:
    """The whole statement."""
    title = default("aet")
    chapters = f"""
# DICOM Conformance Statement

<!-- Made from the code's tables by `{REMADE}`; a test fails when this file is not what they say. -->

## 1 Overview

Gantry is an archive with two doors. By the DICOM network protocol it takes, finds and gives composite instances; by
DICOMweb it does the same over HTTP. Both doors stand before one object store and one index, so that what came in by one
is found and had by the other. Instances are kept byte for byte as they were received, in the transfer syntax in which
they were sent.

{
        table(
            ("network service", "user (SCU)", "provider (SCP)"),
            [
                ("Verification", "no", "yes"),
                ("Storage", "yes: C-MOVE, C-GET, forwarding", "yes"),
                ("Query/Retrieve: FIND, MOVE, GET", "no", "yes"),
                ("Storage Commitment Push Model", "no", "yes"),
                ("Instance Availability Notification", "yes: peers with `notify`; `ONLINE`, `UNAVAILABLE`", "no"),
                ("Studies service: WADO-RS, QIDO-RS, STOW-RS", "STOW-RS for forwarding", "yes"),
                ("URI service: WADO-URI", "no", "yes"),
            ],
        )
    }

Media interchange, worklist, print and UPS are not offered.

## 2 Implementation model

One process answers both protocols. The application entity `{title}` (setting `aet`) listens for associations; the web
services have one base URL, `/dicomweb`, and `/wado`. A store is answered with success after the object store and the
index both have it durably.

## 3 Networking

### 3.1 Associations

{
        table(
            ("property", "value"),
            [
                ("application context name", "1.2.840.10008.3.1.1.1"),
                ("implementation class UID", IMPLEMENTATION_CLASS_UID),
                ("implementation version name", IMPLEMENTATION_VERSION),
                ("maximum length of PDUs received", f"{MAX_PDU} bytes"),
                (
                    "associations at the same time",
                    f"{default('max_associations')} (`max_associations`); more are rejected for now",
                ),
                ("asynchronous operations window", "not negotiated: one operation at a time"),
                ("SCP/SCU role selection", "accepted for storage classes (C-GET)"),
                (
                    "user identity",
                    "not required; refused unless it is the token, as passcode or JSON Web Token (`user_identity`)",
                ),
                (
                    "called AE title",
                    f"has to be ours (`require_called_aet`, {str(default('require_called_aet')).lower()})",
                ),
                (
                    "calling AE title",
                    "any on loopback; else `calling_aets` and the peers, these from their hosts if `require_peer_host`",
                ),
                ("time to request an association", f"{_LIMITS.request_seconds:g} s (ARTIM)"),
                ("idle time between messages", f"{_LIMITS.idle_seconds:g} s, then A-ABORT"),
            ],
        )
    }

A presentation context of a class that is not supported is answered with result 3, one without a transfer syntax that we
take with result 4. Of the transfer syntaxes proposed, the first of the lists below that is among them is accepted.

Associations are requested of configured peers only: for the sub-operations of C-MOVE, storage commitment reports,
forwarding, and notifications.

### 3.2 Verification, query, retrieve and commitment

{classes([VERIFICATION, *FIND_CLASSES, *GET_CLASSES, *MOVE_CLASSES, COMMITMENT, AVAILABILITY_NOTIFICATION])}

Their messages are in:

{ranked(MESSAGE_SYNTAXES)}

C-FIND matches and returns the attributes of 4.3 at the level of the query and above, with single value, wildcard,
range, list of UID and universal matching. Relational queries and combined date and time are negotiated (SOP Class
Extended Negotiation); without, queries are hierarchical. Attributes outside of the data set: Retrieve AE Title and
Instance Availability (`ONLINE`). C-MOVE sends to peers of the settings only (A801 for others). C-GET and
C-MOVE count their sub-operations, and send as stored, or in an uncompressed syntax where the receiver takes no other.

Storage commitment reads each object again and compares its digest before it is committed; the report comes on the same
association, or on one of our own, and is tried again until it is taken.

Statuses of these services:

{query_statuses()}

### 3.3 Storage

Any of the following {len(STORAGE_CLASSES)} SOP classes, retired ones included, and with `accept_unknown_classes`
(default {str(default("accept_unknown_classes")).lower()}) private ones and such as are newer. Level 2 (full): all
attributes are kept, private ones too; only the File Meta Information is written anew. No element is coerced, unless
rules of the settings say so: then Original Attributes Sequence (0400,0561) holds what stood there, and the status is
B000.

{classes(STORAGE_CLASSES)}

Transfer syntaxes of C-STORE requests, the first preferred:

{ranked(STORAGE_SYNTAXES)}

Transfer syntaxes in which a peer gets instances on its own association (C-GET), the first preferred:

{ranked(RETURN_SYNTAXES)}

An instance that is sent again with the same bytes is a success. With other bytes under the same SOP Instance UID it is
refused (`duplicates`, default `{default("duplicates")}`). Failures, shared by C-STORE and STOW-RS (as Failure Reason):

{refusals()}

## 4 Web services

### 4.1 Resources

{resources()}

Every `GET` is answered to `HEAD` too; `OPTIONS` of a resource below `/dicomweb` describes it (PS3.18 8.9).

### 4.2 Media types and transfer syntaxes

{media_types()}

{syntaxes()}

`decoded`: pixels can be had uncompressed, and as pictures. `made`: on demand, where the pixels allow it.
`transfer-syntax=*` is what is stored, untouched. Without the parameter an instance is Explicit VR Little Endian when it
is stored without loss (`retrieve_default`, default `{default("retrieve_default")}`).

### 4.3 Search

Keys are keywords, tags, or dotted paths of them, read without regard to case. The attributes below are indexed. Any
other of the data set can be matched and returned, by reading the data sets that the indexed keys leave: at most
{default("search_scan_limit")} of them (`search_scan_limit`), else 413 says how to narrow the search. A key that is no
attribute is ignored, and named in a Warning. Names of people match without regard to case and accents, in all three
component groups.

{attributes()}

In every result besides: Specific Character Set, Instance Availability, Retrieve URL. A search without results is
{default("empty_search")} (`empty_search`).

### 4.4 Status codes

A store is 200 when all instances are kept, 202 when some are not or there are warnings, 409 when none is, 400 when the
request is malformed; never 201. Other failures are `application/problem+json` (RFC 9457):

{problems()}

401 asks for a bearer token, 405 names the methods, 414 is a URI too long, 416 is a range beyond the
end.

## 5 Media interchange

None.

## 6 Character sets

Stored data sets may be in any of: {character_sets()}.
Several values mean code extensions (ISO 2022). Answers in JSON and XML are in UTF-8 (`ISO_IR 192`); C-FIND responses
are in the character set of the request where that holds them, else in UTF-8. What cannot be decoded becomes
U+FFFD in answers, while the stored bytes stay as they are.

## 7 Security

- Web: bearer token (`token`), TLS by a proxy in front; without a token only on loopback, unless `insecure`.
- DIMSE: AE titles; TLS on a port of its own (`dimse_tls`), protocol 1.2 or newer (BCP 195 profile, PS3.15 B.9), with
  certificates of peers required or bound to their AE title. Suites for TLS 1.2: `{SUITES}`.
- No patient data in logs, metrics, object names or error messages.
- There is no de-identification: WADO-URI's `anonymize` is answered with 501.

## 8 Extensions and deviations

- `Range`, `If-None-Match` and `If-Range` on every retrieved resource: bodies are the same bytes each time, multipart
  ones too, with strong entity tags.
- `application/zip` for studies, series and instances; `DELETE` for them; `/validation` of an instance.
- `X-Total-Count` with search results.
- A body of STOW-RS is one object in JSON, not an array.
- Frames may be asked in any order, and come in the order asked.
- Values that break the rules of their VR are stored as they are, and reported with Warning Reason B007 (45063).
- `renderedmpr` and `rendered3d` are not offered.
"""
    return chapters.lstrip("\n")


if __name__ == "__main__":
    FILE.write_text(document(), "utf-8")
