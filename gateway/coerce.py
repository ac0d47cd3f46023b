"""Coercion at ingest: values of the settings are set, and the data set says what stood there.

PS3.3 C.12.1.1.9, PS3.4 B.2.3.

Nothing is coerced unless a rule says so. What a rule changes is named in an item of Original Attributes Sequence
(0400,0561); all other bytes of the data set stay as they came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Self

from pydicom.datadict import dictionary_VM, keyword_for_tag, tag_for_keyword

from gateway.dicom.charset import encode
from gateway.dicom.edit import Editor
from gateway.dicom.header import Header
from gateway.dicom.view import SPECIFIC_CHARACTER_SET
from gateway.dicom.vr import public_vr
from gateway.errors import NotUnderstood
from gateway.logs import get_logger
from gateway.settings import BadSettings, Coerce, Settings
from gateway.validate import RULES

ORIGINAL_ATTRIBUTES = 0x04000561
_MODIFIED_ATTRIBUTES = 0x04000550
_MODIFIED_AT = 0x04000562
_MODIFYING_SYSTEM = 0x04000563
_SOURCE_OF_PREVIOUS_VALUES = 0x04000564
_REASON = 0x04000565
_MODALITY = 0x00080060
_IN_CHARSET = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
_FORBIDDEN_GROUPS = frozenset({0x0002, 0x0028, 0x0400})
"""File Meta Information, what tells how pixels are read, and signatures with the record of changes itself."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Assignment:
    """One attribute that a rule sets. `only_missing`: not where it has a value already."""

    tag: int
    vr: str
    value: str
    only_missing: bool


class Coercer:
    """The rules of the settings, ready to be used. Raises BadSettings for an attribute or value that cannot be set."""

    def __init__(self, rules: Sequence[Coerce], modifying_system: str) -> None:
        self._rules = [(rule, _assignments(rule)) for rule in rules]
        self._system = modifying_system

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """None where there are no rules: what comes in goes out."""
        return cls(settings.coerce, settings.aet) if settings.coerce else None

    def edit(
        self, source: BinaryIO, header: Header, size: int, source_aet: str
    ) -> tuple[Editor, tuple[int, ...]] | None:
        """The edited data set and the tags that are coerced, ascending; None where no rule changes anything.

        `source` is the Part 10 file of `size` bytes, `source_aet` the AE title that sent it, or ''. A value that the
        character set of the data set cannot hold is not set, and that is logged.
        """
        changes = self._changes(header, source_aet)
        if not changes:
            return None
        try:
            editor = Editor(source, header, size)
            self._note(editor, changes, source_aet)
        except NotUnderstood as error:
            log.warning("not_coerced", why=str(error))
            return None
        for tag, (vr, value) in changes.items():
            editor.put(tag, vr, value)
        return editor, tuple(sorted(changes))

    def _changes(self, header: Header, source_aet: str) -> dict[int, tuple[str, bytes]]:
        wanted: dict[int, Assignment] = {}
        for rule, assignments in self._rules:
            if not _applies(rule, header, source_aet):
                continue
            for one in assignments:
                if not one.only_missing or (one.tag not in wanted and _is_missing(header, one.tag)):
                    wanted[one.tag] = one
        charsets = header.charsets
        if SPECIFIC_CHARACTER_SET in wanted:
            charsets = tuple(wanted[SPECIFIC_CHARACTER_SET].value.split("\\"))
        changes: dict[int, tuple[str, bytes]] = {}
        for tag, one in wanted.items():
            if header.text(tag) == one.value:
                continue
            raw = encode(one.value, charsets) if one.vr in _IN_CHARSET else one.value.encode("ascii")
            if raw is None:
                log.warning("not_coerced", attribute=keyword_for_tag(tag), why="not in the character set")
                continue
            changes[tag] = one.vr, raw + b" " * (len(raw) % 2)
        return changes

    def _note(self, editor: Editor, changes: Mapping[int, tuple[str, bytes]], source_aet: str) -> None:
        """An item of Original Attributes Sequence (PS3.3 C.12.1.1.9): absent ones are there without a value."""
        now = datetime.now().astimezone().strftime("%Y%m%d%H%M%S.%f%z")
        before = [editor.as_it_is(tag) or editor.encoded(tag, changes[tag][0], b"") for tag in sorted(changes)]

        def text(tag: int, vr: str, value: str) -> bytes:
            raw = value.encode("ascii")
            return editor.encoded(tag, vr, raw + b" " * (len(raw) % 2))

        editor.append_item(
            ORIGINAL_ATTRIBUTES,
            [
                editor.sequence(_MODIFIED_ATTRIBUTES, before),
                text(_MODIFIED_AT, "DT", now),
                text(_MODIFYING_SYSTEM, "LO", self._system),
                text(_SOURCE_OF_PREVIOUS_VALUES, "LO", source_aet),
                text(_REASON, "CS", "COERCE"),
            ],
        )


def _applies(rule: Coerce, header: Header, source_aet: str) -> bool:
    if rule.calling_aet and source_aet not in rule.calling_aet:
        return False
    return not rule.modality or header.text(_MODALITY) in rule.modality


def _is_missing(header: Header, tag: int) -> bool:
    element = header.find(tag)
    return element is None or (element.items is None and element.value is not None and not element.value.strip(b" \0"))


def _assignments(rule: Coerce) -> list[Assignment]:
    tables = ((rule.missing, True), (rule.replace, False))
    return [_assignment(name, value, missing) for table, missing in tables for name, value in table.items()]


def _assignment(name: str, value: str, only_missing: bool) -> Assignment:
    tag = tag_for_keyword(name)
    if tag is None:
        raise BadSettings(f"coerce: {name} is no keyword of PS3.6")
    vr = public_vr(tag)
    if vr not in RULES or vr in ("UI", "UR") or tag >> 16 in _FORBIDDEN_GROUPS or tag >> 24 in (0x50, 0x60, 0x7F):
        raise BadSettings(f"coerce: {name} cannot be coerced: it is no text, names the instance or its pixels")
    if tag == SPECIFIC_CHARACTER_SET and not only_missing:
        raise BadSettings(f"coerce: {name} can be set where it is missing, not replaced")
    values = value.split("\\") if vr not in ("LT", "ST", "UT") else [value]
    if len(values) > 1 and dictionary_VM(tag) == "1":
        raise BadSettings(f"coerce: {name} has one value, and no backslash")
    printable = vr in _IN_CHARSET or value.isascii()
    if not value.strip() or not printable or not all(RULES[vr].kept_by(one) for one in values):
        raise BadSettings(f"coerce: the value of {name} has to be {RULES[vr].text}")
    return Assignment(tag, vr, value.strip(), only_missing)
