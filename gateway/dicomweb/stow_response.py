"""The Store Instances Response Module and the status that goes with it (PS3.18 10.5.3 and Annex I)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from gateway.dicomweb.dicom_json import DataSet, element, ordered, sequence
from gateway.dicomweb.resources import instance_url
from gateway.errors import OutOfResources, Refused
from gateway.http.failures import RETRY_AFTER_SECONDS
from gateway.store import Stored

RETRIEVE_URL = "00081190"
REFERENCED_SOP_CLASS_UID = "00081150"
REFERENCED_SOP_INSTANCE_UID = "00081155"
FAILURE_REASON = "00081197"
FAILED_SOP_SEQUENCE = "00081198"
REFERENCED_SOP_SEQUENCE = "00081199"
OTHER_FAILURES_SEQUENCE = "0008119A"
FAILED_ATTRIBUTES_SEQUENCE = "00741048"
ERROR_COMMENT = "00000902"
WARNING_REASON = "00081196"
COERCED = 0xB000
"""Warning Reason: the settings had something changed in what was stored (PS3.18 I.2.1)."""
DOES_NOT_MATCH_CLASS = 0xB007
"""Warning Reason: the data set does not match its SOP Class (PS3.18 I.2.1); values that break their VR, for one."""
MAX_COMMENTS = 20
"""Faults that are told of one instance; `/validation` lists them all."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one part: either."""

    stored: Stored | None = None
    refused: Refused | None = None


def response(outcomes: Sequence[Outcome], root: str) -> tuple[int, DataSet, dict[str, str]]:
    """Status, Store Instances Response Module and headers."""
    stored = [outcome.stored for outcome in outcomes if outcome.stored is not None]
    refused = [outcome.refused for outcome in outcomes if outcome.refused is not None]
    studies = {one.study_uid for one in stored}
    url = instance_url(root, studies.pop()) if len(studies) == 1 else None  # STOW-12
    module: DataSet = {RETRIEVE_URL: element("UR", url) if url else element("UR")}
    if stored:
        module[REFERENCED_SOP_SEQUENCE] = sequence([_referenced(one, root) for one in stored])
    failed = [_failed(one) for one in refused if one.sop_uid]
    others = [_failed(one) for one in refused if not one.sop_uid]
    if failed:
        module[FAILED_SOP_SEQUENCE] = sequence(failed)
    if others:
        module[OTHER_FAILURES_SEQUENCE] = sequence(others)
    status, headers = _status(stored, refused)
    if url:
        headers["Location"] = url
    return status, ordered(module), headers


def encoded(module: DataSet) -> bytes:
    """The module as JSON: one object, as every server sends it and every client reads it."""
    return orjson.dumps(module)


def _status(stored: Sequence[Stored], refused: Sequence[Refused]) -> tuple[int, dict[str, str]]:
    """STOW-08: a warning counts like a failure beside what was stored.

    Where nothing but our own lack of resources stood in the way, a status that makes a client retry.
    """
    if not refused:
        return (202 if any(one.faults or one.coerced for one in stored) else 200), {}
    if stored:
        return 202, {}
    if all(isinstance(one, OutOfResources) for one in refused):
        full = any(isinstance(one, OutOfResources) and one.full for one in refused)
        return (507, {}) if full else (503, {"Retry-After": str(RETRY_AFTER_SECONDS)})
    return 409, {}


def _referenced(one: Stored, root: str) -> DataSet:
    item: DataSet = {
        REFERENCED_SOP_CLASS_UID: element("UI", one.sop_class_uid),
        REFERENCED_SOP_INSTANCE_UID: element("UI", one.sop_uid),
        RETRIEVE_URL: element("UR", instance_url(root, one.study_uid, one.series_uid, one.sop_uid)),
    }
    comments = [f"{tag:08X}: coerced" for tag in one.coerced]
    comments += [f"{fault.tag:08X} {fault.vr}: {fault.rule}"[:64] for fault in one.faults[:MAX_COMMENTS]]
    if comments:
        item[WARNING_REASON] = element("US", COERCED if one.coerced else DOES_NOT_MATCH_CLASS)
        item[FAILED_ATTRIBUTES_SEQUENCE] = sequence([{ERROR_COMMENT: element("LO", comment)} for comment in comments])
    return ordered(item)


def _failed(one: Refused) -> DataSet:
    """One failure; its comment, for people, in the place where other servers put it."""
    item: DataSet = {}
    if one.sop_uid:
        item[REFERENCED_SOP_CLASS_UID] = element("UI", one.sop_class_uid) if one.sop_class_uid else element("UI")
        item[REFERENCED_SOP_INSTANCE_UID] = element("UI", one.sop_uid)
    item[FAILURE_REASON] = element("US", one.code)
    item[FAILED_ATTRIBUTES_SEQUENCE] = sequence([{ERROR_COMMENT: element("LO", str(one)[:64])}])
    return item
