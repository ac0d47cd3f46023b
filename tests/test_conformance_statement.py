"""The Conformance Statement says what the code's tables say."""

from __future__ import annotations

import re

from gateway.dicom.uids import STORAGE_CLASSES, SYNTAXES
from gateway.dicomweb.catalogue import SERVICES
from gateway.settings import Settings
from storage.attributes import ATTRIBUTES
from tests.conformance_statement import FILE, REMADE, document


def test_the_statement_is_what_the_tables_say() -> None:
    assert FILE.read_text("utf-8") == document(), f"docs/conformance.md is stale; write it anew: {REMADE}"


def test_every_class_syntax_attribute_and_resource_is_in_it() -> None:
    text = FILE.read_text("utf-8")
    missing = [uid for uid in (*STORAGE_CLASSES, *SYNTAXES) if f"| {uid} |" not in text]
    missing += [one.keyword for one in ATTRIBUTES if f"| {one.keyword} |" not in text]
    missing += [path for service in SERVICES for path, _ in service.operations() if f"`{path}`" not in text]
    assert missing == []


def test_every_setting_that_it_names_exists() -> None:
    named = {name for name in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", FILE.read_text("utf-8"))}
    assert named <= Settings.model_fields.keys() | {"transfer_syntax"}
