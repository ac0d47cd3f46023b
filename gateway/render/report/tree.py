"""The Content Tree of an SR document (PS3.3 C.17.3), and who and what it is about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydicom._uid_dict import UID_dictionary

from gateway.dicom.elements import Element
from gateway.dicom.header import Header
from gateway.dicom.view import View
from gateway.render.words import moment, person_name

MAX_TEXT = 4 << 20
"""Longest text of one item that is shown, in bytes."""

_UNLIMITED_TEXT = frozenset({"UT", "UC"})
_MEANING, _CODE, _LONG_CODE, _URN_CODE, _SCHEME = 0x00080104, 0x00080100, 0x00080119, 0x00080120, 0x00080102
_CONCEPT, _VALUE_TYPE, _RELATIONSHIP, _CONTENT = 0x0040A043, 0x0040A040, 0x0040A010, 0x0040A730
_CODES, _MEASURED, _NUMERIC, _UNITS, _QUALIFIER = 0x0040A168, 0x0040A300, 0x0040A30A, 0x004008EA, 0x0040A301
_REFERENCED, _CLASS, _INSTANCE, _FRAMES = 0x00081199, 0x00081150, 0x00081155, 0x00081160
_GRAPHIC_TYPE, _GRAPHIC_DATA, _TEMPORAL = 0x00700023, 0x00700022, 0x0040A130
_BY_REFERENCE = 0x0040DB73
_PLAIN = {"TEXT": 0x0040A160, "UIDREF": 0x0040A124}
_WHEN = {"DATETIME": 0x0040A120, "DATE": 0x0040A121, "TIME": 0x0040A122}
_NAME = 0x0040A123
_MAX_POINTS = 8

_ABOUT = (
    ("Patient", 0x00100010),
    ("Patient ID", 0x00100020),
    ("Birth date", 0x00100030),
    ("Sex", 0x00100040),
    ("Study date", 0x00080020),
    ("Study", 0x00081030),
    ("Accession number", 0x00080050),
    ("Content date", 0x00080023),
    ("Manufacturer", 0x00080070),
    ("Completion", 0x0040A491),
    ("Verification", 0x0040A493),
)


@dataclass(frozen=True, slots=True)
class Item:
    """A content item: `concept` and `value` as people read them; `kind` is its Value Type, `code` its coded value."""

    kind: str
    relationship: str
    concept: str
    value: str
    code: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A document: what it is called, what it is about (label and value), and its root content item."""

    title: str
    language: str
    about: tuple[tuple[str, str], ...]
    root: Item


def read_report(header: Header, read: Callable[[int, int], bytes]) -> Report:
    """The document of a header. `read` gives bytes of the file, by offset and length, for texts left out of it."""
    _load(header.elements, read)
    root = _item(header)
    about = [(label, value) for label, tag in _ABOUT if (value := _shown(header, tag))]
    for observer in header.sequence(0x0040A073):
        who = [person_name(observer.text(0x0040A075)), observer.text(0x0040A027), moment(observer.text(0x0040A030))]
        about.append(("Verified by", ", ".join(part for part in who if part)))
    title = root.concept or _meaning_of(header.text(0x00080016) or "")
    return Report(title, _language(root), tuple(about), root)


def describe_document(header: Header) -> Report:
    """What an encapsulated document is, in place of its content, which is nothing to be shown (PS3.3 C.24.2)."""
    about = [(label, value) for label, tag in _ABOUT if (value := _shown(header, tag))]
    media_type, length = header.text(0x00420012) or "", header.number(0x00420015)
    document = header.find(0x00420011)
    size = length or (document.length if document is not None else 0)
    about += [("Media type", media_type)] if media_type else []
    about.append(("Length", f"{size} bytes"))
    note = Item("TEXT", "CONTAINS", "", "The document itself is sent in its own type.", "", ())
    title = header.text(0x00420010) or _meaning_of(header.text(0x00080016) or "")
    return Report(title, "", tuple(about), Item("CONTAINER", "", title, "", "", (note,)))


def _load(elements: list[Element], read: Callable[[int, int], bytes]) -> None:
    for element in elements:
        if element.items is not None:
            for item in element.items:
                _load(item, read)
        elif element.value is None and element.vr in _UNLIMITED_TEXT:
            element.value = read(element.offset, min(element.length, MAX_TEXT))


def _item(view: View) -> Item:
    kind = view.text(_VALUE_TYPE) or ""
    reference = view.numbers(_BY_REFERENCE)
    if reference:  # another item of the tree, by its place (PS3.3 C.17.3.2.5)
        kind, value, code = "REFERENCE", "see item " + ".".join(map(str, reference)), ""
    else:
        value, code = _value(view, kind)
    items = tuple(_item(item) for item in view.sequence(_CONTENT))
    return Item(kind, view.text(_RELATIONSHIP) or "", _meaning(view, _CONCEPT)[0], value, code, items)


def _value(view: View, kind: str) -> tuple[str, str]:
    """What the item says, and the code behind it."""
    if kind == "CODE":
        return _meaning(view, _CODES)
    if kind == "NUM":
        for measured in view.sequence(_MEASURED):
            units, code = _meaning(measured, _UNITS)
            # the unit "1" is "no units" (UCUM)
            unit = "" if code.startswith("(1,") else f" {units}"
            return f"{measured.text(_NUMERIC) or ''}{unit}", code
        return _meaning(view, _QUALIFIER)
    if kind in _PLAIN:
        return view.text(_PLAIN[kind]) or "", ""
    if kind in _WHEN:
        return moment(view.text(_WHEN[kind])), ""
    if kind == "PNAME":
        return person_name(view.text(_NAME)), ""
    if kind in ("COMPOSITE", "IMAGE", "WAVEFORM"):
        return "; ".join(_reference(item) for item in view.sequence(_REFERENCED)), ""
    if kind in ("SCOORD", "SCOORD3D"):
        return _points(view), ""
    if kind == "TCOORD":
        numbers = [text for tag in (0x0040A132, 0x0040A138, 0x0040A13A) if (text := view.text(tag))]
        return f"{view.text(_TEMPORAL) or ''} {'; '.join(numbers)}".strip().replace("\\", ", "), ""
    return "", ""


def _reference(view: View) -> str:
    frames = view.text(_FRAMES)
    name = _meaning_of(view.text(_CLASS) or "")
    where = f", frames {frames}".replace("\\", ", ") if frames else ""
    return f"{name} {view.text(_INSTANCE) or ''}{where}".strip()


def _points(view: View) -> str:
    numbers = view.floats(_GRAPHIC_DATA)
    shown = ", ".join(f"{number:g}" for number in numbers[: 2 * _MAX_POINTS])
    more = ", …" if len(numbers) > 2 * _MAX_POINTS else ""
    return f"{view.text(_GRAPHIC_TYPE) or ''} {shown}{more}".strip()


def _meaning(view: View, tag: int) -> tuple[str, str]:
    """Code Meaning of the first code of a sequence, else its value; and `(value, scheme)`."""
    for code in view.sequence(tag):
        value = code.text(_CODE) or code.text(_LONG_CODE) or code.text(_URN_CODE) or ""
        return code.text(_MEANING) or value, f"({value}, {code.text(_SCHEME) or ''})"
    return "", ""


def _meaning_of(uid: str) -> str:
    known = UID_dictionary.get(uid)
    return known[0].removesuffix(" Storage") if known else uid


def _language(root: Item) -> str:
    """The language of the document, if it is said in a code that HTML knows (PS3.16 TID 1204)."""
    for item in root.items:
        tag = item.code[1:].partition(",")[0]
        if item.concept.startswith("Language of") and tag.replace("-", "").isalpha() and len(tag) <= 12:
            return tag.lower() if "-" not in tag else tag
    return ""


def _shown(view: View, tag: int) -> str:
    element = view.find(tag)
    text = view.text(tag)
    if element is None or text is None:
        return ""
    if element.vr == "PN":
        return person_name(text)
    return moment(text) if element.vr in ("DA", "TM", "DT") else text
