"""The Native DICOM Model: the metadata of an instance, or a search result, as XML (PS3.19 A.1, PS3.18 F.3).

Made from the DICOM JSON Model, so that both say the same and share what was converted before. Private elements have the
form gggg00ee and name their creator; their Private Creator elements are there as well, which keeps blocks apart that
one creator has twice. Characters that XML 1.0 cannot hold, control characters for the most part, become U+FFFD.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pydicom.datadict import keyword_for_tag

from gateway.dicom.metadata import INLINE_LIMIT, Cache, to_json
from gateway.dicom.model.private_blocks import is_creator
from gateway.dicom.model.values import decimal_string

if TYPE_CHECKING:
    from gateway.dicom.header import Header

NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"
COMPONENT_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
NAME_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")

_HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xmlns="{NAMESPACE}" xml:space="preserve">'
_TAIL = "</NativeDicomModel>\n"
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What is no Char of XML 1.0 (2.2)."""
_SPECIAL = re.compile('[&<>"\x00-\x1f\ud800-\udfff\ufffe\uffff]')
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
"""A reader would take a carriage return for a line feed unless it is written as a reference (XML 1.0 2.11)."""
_QUOTED = _ESCAPES | str.maketrans({'"': "&quot;", "\n": "&#10;", "\t": "&#9;"})


def to_xml(
    header: Header,
    bulk_uri: Callable[[str], str],
    *,
    inline_limit: int = INLINE_LIMIT,
    cache: Cache | None = None,
) -> bytes:
    """The data set as one document of the Native DICOM Model, in UTF-8 (XML-02).

    Arguments, and what becomes bulk data, are those of `metadata.to_json`: hand one `cache` to both.
    """
    return json_to_xml(to_json(header, bulk_uri, inline_limit=inline_limit, cache=cache))


def json_to_xml(model: Mapping[str, object]) -> bytes:
    """One object of the DICOM JSON Model as a document of the Native DICOM Model, in UTF-8."""
    out = [_HEAD]
    _data_set(model, out.append)
    out.append(_TAIL)
    return "".join(out).encode()


def _data_set(model: Mapping[str, Any], write: Callable[[str], None]) -> None:
    creators: dict[int, str] | None = None
    for key, member in model.items():
        tag = int(key, 16)
        vr = member["vr"]
        if not tag & 0x10000:
            head = _public_head(key, vr)
        else:
            if creators is None:
                creators = _creators(model)
            head = _private_head(tag, vr, creators)
        if len(member) == 1:
            write(head + "/>")
            continue
        write(head + ">")
        if (values := member.get("Value")) is not None:
            _values(vr, values, write)
        elif (base64 := member.get("InlineBinary")) is not None:
            write(f"<InlineBinary>{base64}</InlineBinary>")
        else:
            write(f'<BulkData uri="{_quoted(member["BulkDataURI"])}"/>')
        write("</DicomAttribute>")


@lru_cache(maxsize=8192)
def _public_head(key: str, vr: str) -> str:
    keyword = keyword_for_tag(int(key, 16))
    named = f' keyword="{keyword}"' if keyword else ""
    return f'<DicomAttribute tag="{key}" vr="{vr}"{named}'


def _creators(model: Mapping[str, Any]) -> dict[int, str]:
    """Private creators of this level by tag; '' for one that has another block of the same group before it."""
    found: dict[int, str] = {}
    seen: set[tuple[int, str]] = set()
    for key, member in model.items():
        tag = int(key, 16)
        if is_creator(tag) and (values := member.get("Value")) and isinstance(values[0], str):
            known = (tag >> 16, values[0])
            found[tag] = "" if known in seen else values[0]
            seen.add(known)
    return found


def _private_head(tag: int, vr: str, creators: Mapping[int, str]) -> str:
    """A private element as gggg00ee with its creator; with its block where no creator tells it apart."""
    creator = creators.get(tag & 0xFFFF0000 | tag >> 8 & 0xFF) if not is_creator(tag) else None
    if not creator:
        return f'<DicomAttribute tag="{tag:08X}" vr="{vr}"'
    return f'<DicomAttribute tag="{tag & 0xFFFF00FF:08X}" vr="{vr}" privateCreator="{_quoted(creator)}"'


def _values(vr: str, values: list[Any], write: Callable[[str], None]) -> None:
    if vr == "SQ":
        for number, item in enumerate(values, 1):
            if item:
                write(f'<Item number="{number}">')
                _data_set(item, write)
                write("</Item>")
            else:
                write(f'<Item number="{number}"/>')
    elif vr == "PN":
        for number, name in enumerate(values, 1):
            write(f'<PersonName number="{number}">{_name(name)}</PersonName>' if name else _empty("PersonName", number))
    else:
        for number, value in enumerate(values, 1):
            if value is None or value == "":
                write(_empty("Value", number))
            else:
                text = _escaped(value) if isinstance(value, str) else _number(vr, value)
                write(f'<Value number="{number}">{text}</Value>')


def _empty(name: str, number: int) -> str:
    return f'<{name} number="{number}"/>'


def _number(vr: str, value: float) -> str:
    """A number as text; a Decimal String has 16 characters at most (PS3.5 6.2)."""
    if vr == "DS":
        return decimal_string(value)
    return repr(value) if isinstance(value, int) else repr(value).removesuffix(".0")


def _name(name: Mapping[str, str]) -> str:
    """A Person Name by groups and components. Empty components are left out but for the last, which counts them."""
    out: list[str] = []
    for group in COMPONENT_GROUPS:
        text = name.get(group)
        if not text:
            continue
        parts = text.split("^", len(NAME_COMPONENTS) - 1)
        out.append(f"<{group}>")
        for place, (part, component) in enumerate(zip(parts, NAME_COMPONENTS, strict=False), 1):
            if part:
                out.append(f"<{component}>{_escaped(part)}</{component}>")
            elif place == len(parts):
                out.append(f"<{component}/>")
        out.append(f"</{group}>")
    return "".join(out)


def _escaped(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text).translate(_ESCAPES) if _SPECIAL.search(text) else text


def _quoted(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text).translate(_QUOTED) if _SPECIAL.search(text) else text
