"""Reading the Native DICOM Model (PS3.19 A.1), from a sender that nobody vouches for.

Expat reports what stands there and nothing else: a document type declaration ends the reading before any entity exists,
nothing is ever opened, and depth, elements and the length of a tag are bounded while it goes (S-64).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from gateway.dicom.limits import DEFAULT, Limits
from gateway.dicom.model import MAX_BYTES, Model, ModelElement, not_understood
from gateway.dicom.model.json_reader import bulk_uri
from gateway.dicom.model.private_blocks import Entry, place
from gateway.dicom.model.values import decode_inline, encode, known_vr
from gateway.dicom.native_model import COMPONENT_GROUPS, NAME_COMPONENTS, NAMESPACE
from gateway.dicom.vr import US_OR_SS, public_vr
from gateway.errors import NotUnderstood, TooLarge

MAX_TAG = 65536
"""Longest tag of the XML text, attributes included, in bytes."""

_LONG_TAG = re.compile(rb"<[^<>]{%d}" % MAX_TAG)
_ENCODINGS = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "utf-16", "utf-16le", "utf-16be"})
"""Those that expat reads by itself. Any other name would be looked up among Python's codecs."""
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_SPACES = " \t\r\n"
_SPACES_COUNT = frozenset({"LT", "ST", "UC", "UR", "UT"})
"""VRs in which leading spaces, tabs and line breaks belong to the value (PS3.5 6.2)."""

_PARENTS: dict[str, tuple[str, ...]] = {
    "NativeDicomModel": ("",),
    "DicomAttribute": ("NativeDicomModel", "Item"),
    **dict.fromkeys(("Value", "PersonName", "Item", "BulkData", "InlineBinary"), ("DicomAttribute",)),
    **dict.fromkeys(COMPONENT_GROUPS, ("PersonName",)),
    **dict.fromkeys(NAME_COMPONENTS, COMPONENT_GROUPS),
}
_LEAVES = frozenset({"Value", "InlineBinary", *NAME_COMPONENTS})
_KINDS = frozenset({"Value", "PersonName", "Item", "BulkData", "InlineBinary"})


def read_xml(data: bytes, *, max_bytes: int = MAX_BYTES, limits: Limits = DEFAULT) -> Model:
    """The instance in one document of the Native DICOM Model.

    Group 0002 and group lengths are left out (STOW-04). Private elements are put into the block of their creator. A VR
    that is not given is the dictionary's. BulkDataURIs are kept as they are and nothing is fetched.

    Raises:
        TooLarge: `data` is longer than `max_bytes`.
        NotUnderstood: it is no well-formed document of that model, has a document type declaration, or goes beyond
            `limits`; with the UIDs of the instance where they can be read.
    """
    if len(data) > max_bytes:
        raise TooLarge(f"the metadata is longer than the limit of {max_bytes} bytes")
    if _LONG_TAG.search(data):
        raise NotUnderstood(f"a tag of the XML document is longer than {MAX_TAG} bytes")
    reading = _Reading(limits)
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.XmlDeclHandler = _declaration
    parser.StartDoctypeDeclHandler = _doctype
    parser.StartElementHandler = reading.start
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.characters
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        where = f"line {error.lineno}, column {error.offset + 1}"
        refused = NotUnderstood(f"the metadata is no well-formed XML: {where}")
        raise not_understood(reading.so_far(), refused) from error
    except NotUnderstood as refused:
        raise not_understood(reading.so_far(), refused) from refused.__cause__
    return reading.model


def _declaration(version: str, encoding: str | None, standalone: int) -> None:
    if encoding is not None and encoding.lower() not in _ENCODINGS:
        raise NotUnderstood("the XML document is not encoded in UTF-8")


def _doctype(*_: object) -> NoReturn:
    raise NotUnderstood("the XML document has a document type declaration")


@dataclass(slots=True)
class _Attribute:
    """A DicomAttribute that has begun. `content` is by number; the single one of BulkData or InlineBinary by 1."""

    tag: int
    vr: str
    creator: str | None
    kind: str = ""
    content: dict[int, object] = field(default_factory=dict)
    number: int = 0
    """That of the Value, PersonName or Item that is open."""


class _Reading:
    """What has been read of one document."""

    def __init__(self, limits: Limits) -> None:
        self.model: Model = {}
        self._limits = limits
        self._left = limits.elements
        self._open = [""]
        self._sets: list[list[Entry]] = []
        self._attributes: list[_Attribute] = []
        self._text: list[str] = []
        self._groups: dict[str, str] = {}
        self._components: dict[str, str] = {}

    def so_far(self) -> Model:
        """The standard elements of the top level that were complete when the reading stopped."""
        entries = self._sets[0] if self._sets else []
        return {entry.tag: entry.element for entry in entries if entry.creator is None}

    # What expat calls

    def start(self, qualified: str, attributes: Mapping[str, str]) -> None:
        namespace, _, name = qualified.rpartition(" ")
        if namespace not in ("", NAMESPACE) or self._open[-1] not in _PARENTS.get(name, ()):
            raise NotUnderstood("the XML document is not that of the Native DICOM Model", self._tag())
        self._open.append(name)
        self._text.clear()
        if name == "NativeDicomModel":
            self._sets.append([])
        elif name == "DicomAttribute":
            self._count()
            self._attributes.append(self._attribute(attributes))
        elif name in _KINDS:
            self._begin(name, attributes)
        elif name in COMPONENT_GROUPS:
            if name in self._groups:
                raise NotUnderstood("a Person Name has a component group twice", self._tag())
            self._components.clear()
        elif name in self._components:
            raise NotUnderstood("a Person Name has a component twice", self._tag())

    def characters(self, text: str) -> None:
        if self._open[-1] in _LEAVES:
            self._text.append(text)
        elif text.strip(_SPACES):
            raise NotUnderstood("the XML document has text where none belongs", self._tag())

    def end(self, _: str) -> None:
        name = self._open.pop()
        action = self._ENDS.get(name)
        if action is not None:
            action(self)
        elif name in COMPONENT_GROUPS:
            self._groups[name] = self._joined(NAME_COMPONENTS, self._components, "^")
        elif name in NAME_COMPONENTS:
            self._components[name] = "".join(self._text)
        self._text.clear()

    # Beginnings

    def _tag(self) -> int | None:
        return self._attributes[-1].tag if self._attributes else None

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise NotUnderstood("the XML document has too many elements")

    def _attribute(self, attributes: Mapping[str, str]) -> _Attribute:
        digits = attributes.get("tag", "")
        if not _TAG.fullmatch(digits):
            raise NotUnderstood("an element has no tag of eight hexadecimal digits")
        tag = int(digits, 16)
        if tag >> 16 in (0, 0xFFFE):
            raise NotUnderstood("an element of group 0000 or a delimiter stands in the metadata", tag)
        vr = attributes.get("vr")
        if vr is None:
            vr = public_vr(tag) if not tag & 0x10000 else "UN"
            vr = "US" if vr == US_OR_SS else vr
        # PS3.18 F.3.1 spells it so
        creator = attributes.get("privateCreator", attributes.get("PrivateCreator"))
        return _Attribute(tag, known_vr(tag, vr), creator)

    def _begin(self, name: str, attributes: Mapping[str, str]) -> None:
        attribute = self._attributes[-1]
        if attribute.kind not in ("", name) or (attribute.content and name in ("BulkData", "InlineBinary")):
            raise NotUnderstood("an element has more than one kind of content", attribute.tag)
        if (name == "Item") != (attribute.vr == "SQ") or (attribute.vr == "PN" and name == "Value"):
            raise NotUnderstood("the content of an element does not fit its VR", attribute.tag)
        if name == "PersonName" and attribute.vr != "PN":
            raise NotUnderstood("the content of an element does not fit its VR", attribute.tag)
        attribute.kind = name
        if name == "BulkData":
            attribute.content[1] = bulk_uri(attribute.tag, attributes.get("uri", attributes.get("URI")))
        if name in ("BulkData", "InlineBinary"):
            return
        digits = attributes.get("number", "")
        number = int(digits) if _NUMBER.fullmatch(digits) else 0
        if not number or number in attribute.content:
            raise NotUnderstood("a value has no number of its own from 1 on", attribute.tag)
        attribute.number = number
        attribute.content[number] = None
        if name == "Item":
            self._count()
            if len(self._sets) > self._limits.depth:
                raise NotUnderstood("sequences are nested too deep", attribute.tag)
            self._sets.append([])
        self._groups.clear()

    # Ends

    def _joined(self, names: tuple[str, ...], parts: Mapping[str, str], delimiter: str) -> str:
        """Components or groups with delimiters between them, up to the last that is there."""
        count = max((names.index(name) + 1 for name in parts), default=0)
        found = [parts.get(name, "") for name in names[:count]]
        # The last one may go on: a suffix of older names holds further delimiters
        if any(delimiter in part for part in found[: count if delimiter == "=" else count - 1]):
            raise NotUnderstood("a part of a Person Name holds the delimiter of parts", self._tag())
        return delimiter.join(found)

    def _end_model(self) -> None:
        self.model = place(self._sets[0])

    def _end_value(self) -> None:
        attribute = self._attributes[-1]
        text = "".join(self._text)
        attribute.content[attribute.number] = (text if attribute.vr in _SPACES_COUNT else text.strip(_SPACES)) or None

    def _end_name(self) -> None:
        attribute = self._attributes[-1]
        attribute.content[attribute.number] = self._joined(COMPONENT_GROUPS, self._groups, "=") or None

    def _end_item(self) -> None:
        attribute = self._attributes[-1]
        attribute.content[attribute.number] = place(self._sets.pop())

    def _end_binary(self) -> None:
        self._attributes[-1].content[1] = "".join("".join(self._text).split())

    def _end_attribute(self) -> None:
        attribute = self._attributes.pop()
        if attribute.tag >> 16 == 2 or not (attribute.tag & 0xFFFF or attribute.creator):
            return  # File Meta Information, and group lengths: only a private element can be gggg0000
        self._sets[-1].append(Entry(attribute.tag, attribute.creator, self._element(attribute)))

    def _element(self, attribute: _Attribute) -> ModelElement:
        tag, vr, content = attribute.tag, attribute.vr, attribute.content
        if attribute.kind == "BulkData":
            return ModelElement(vr, bulk_uri=str(content[1]))
        if attribute.kind == "InlineBinary":
            return ModelElement(vr, decode_inline(tag, vr, content[1]))
        count = max(content, default=0)
        self._left -= count - len(content)  # values that are not there are empty; each takes a byte in the file
        if self._left < 0:
            raise NotUnderstood("the numbers of an element's values are too large", tag)
        values = [content.get(number) for number in range(1, count + 1)]
        if vr != "SQ":
            return ModelElement(vr, encode(tag, vr, values))
        return ModelElement(vr, items=[value if isinstance(value, dict) else {} for value in values])

    _ENDS: Mapping[str, Callable[[_Reading], None]] = {
        "NativeDicomModel": _end_model,
        "Value": _end_value,
        "PersonName": _end_name,
        "Item": _end_item,
        "InlineBinary": _end_binary,
        "DicomAttribute": _end_attribute,
    }
