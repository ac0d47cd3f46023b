"""Reading the DICOM JSON Model (PS3.18 Annex F), from a sender that nobody vouches for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import NoReturn

from gateway.dicom.limits import DEFAULT, Limits
from gateway.dicom.model import MAX_BYTES, Model, ModelElement, not_understood
from gateway.dicom.model.values import decode_inline, encode, known_vr
from gateway.errors import NotUnderstood, TooLarge

MAX_URI = 4096
"""Longest BulkDataURI, in characters."""
MAX_INSTANCES = 50_000
"""Most instances in one text."""
MAX_OBJECTS = 1_000_000
"""Most JSON objects in one text: elements, items and names of all instances together."""

_STRAY_ARRAYS = 100_000
"""More brackets than this beyond those of elements are no text that somebody wrote."""

_KEY = re.compile(r"[0-9A-Fa-f]{8}")
_SPACE = re.compile(r"[ \t\n\r]*")
_CONTENT = frozenset({"Value", "InlineBinary", "BulkDataURI"})


def read_json(data: bytes, *, max_bytes: int = MAX_BYTES, limits: Limits = DEFAULT) -> list[Model | NotUnderstood]:
    """The instances of an array of DICOM JSON Model objects (or of one object alone), in the order of the text.

    An instance that is well-formed JSON but no data set is its NotUnderstood, with the UIDs where they can be read: it
    must not take the others with it (STOW-14). Group 0002 and group lengths are left out (STOW-04). BulkDataURIs are
    kept as they are and nothing is fetched.

    Raises:
        TooLarge: `data` is longer than `max_bytes`.
        NotUnderstood: it is no JSON in UTF-8, no array of objects, or holds a name twice in an object; an instance has
            more objects than `limits.elements`, or all of them are too many.
    """
    if len(data) > max_bytes:
        raise TooLarge(f"the metadata is longer than the limit of {max_bytes} bytes")
    try:
        text = data.decode("utf-8-sig")
        # Every array but the outermost is the content of an object. Others would only fill the memory.
        if text.count("[") > text.count("{") + _STRAY_ARRAYS:
            raise NotUnderstood("the metadata holds arrays where none belong")
        return [_instance(found, limits) for found in _objects(text, limits)]
    except UnicodeDecodeError as error:
        raise NotUnderstood("the metadata is not encoded in UTF-8") from error
    except json.JSONDecodeError as error:
        raise NotUnderstood(f"the metadata is no JSON: line {error.lineno}, column {error.colno}") from error
    except RecursionError as error:
        raise NotUnderstood("the metadata is nested too deep") from error
    except ValueError as error:  # a number of more digits than Python turns into an integer
        raise NotUnderstood("the metadata holds a number that is too long") from error


def _objects(text: str, limits: Limits) -> Iterator[Mapping[str, object]]:
    """The objects of the outermost array, one after the other: only one is in memory as JSON has it."""
    pairs = _Pairs(limits.elements)
    decoder = json.JSONDecoder(object_pairs_hook=pairs, parse_constant=_no_constant)
    at = _skip(text, 0)
    array = text.startswith("[", at)
    if array:
        at = _skip(text, at + 1)
    elif not text.startswith("{", at):
        raise NotUnderstood("the metadata is no JSON array")
    more = not (array and text.startswith("]", at))
    instances = 0
    while more:
        pairs.begin()
        instances += 1
        if instances > MAX_INSTANCES:
            raise NotUnderstood("the metadata holds too many instances")
        found, at = decoder.raw_decode(text, at)
        if not isinstance(found, dict):
            raise NotUnderstood("the metadata array holds something else than objects")
        yield found
        at = _skip(text, at)
        more = array and text.startswith(",", at)
        if more:
            at = _skip(text, at + 1)
    if array:
        if not text.startswith("]", at):
            raise json.JSONDecodeError("Expecting ',' or ']'", text, at)
        at = _skip(text, at + 1)
    if at != len(text):
        raise json.JSONDecodeError("Extra data", text, at)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _no_constant(name: str) -> NoReturn:
    raise NotUnderstood("NaN and Infinity are no JSON")


class _Pairs:
    """Makes the objects, counts them, and lets no name stand twice in one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = 0
        self._all = MAX_OBJECTS

    def begin(self) -> None:
        """The next instance begins."""
        self._left = min(self._limit, self._all)

    def __call__(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        self._left -= 1
        self._all -= 1
        if self._left < 0:
            raise NotUnderstood("an instance has too many elements")
        found = dict(pairs)
        if len(found) != len(pairs):
            raise NotUnderstood("a JSON object holds a name twice")
        return found


def _instance(found: Mapping[str, object], limits: Limits) -> Model | NotUnderstood:
    model: Model = {}
    try:
        _fill(model, found, limits.depth)
    except NotUnderstood as error:
        return not_understood(model, error)
    return model


def _fill(model: Model, found: Mapping[str, object], depth: int) -> None:
    """Add the elements of one object to `model`; `depth` is how many sequences may still be nested in it."""
    for key, member in found.items():
        if not _KEY.fullmatch(key):
            raise NotUnderstood("the name of an element is no tag of eight hexadecimal digits")
        tag = int(key, 16)
        group = tag >> 16
        if group == 2 or not tag & 0xFFFF:
            continue
        if group in (0, 0xFFFE):
            raise NotUnderstood("an element of group 0000 or a delimiter stands in the metadata", tag)
        if tag in model:
            raise NotUnderstood("an element is there twice", tag)
        model[tag] = _element(tag, member, depth)


def _element(tag: int, member: object, depth: int) -> ModelElement:
    if not isinstance(member, dict):
        raise NotUnderstood("an element is no JSON object", tag)
    vr = known_vr(tag, member.get("vr"))
    content = member.keys() - {"vr"}
    if not content:
        return ModelElement(vr, items=[] if vr == "SQ" else None)
    if len(content) > 1 or not content <= _CONTENT:
        raise NotUnderstood("an element has other members than vr and one of Value, InlineBinary and BulkDataURI", tag)
    if vr == "SQ":
        return ModelElement(vr, items=_items(tag, member.get("Value"), depth))
    if "BulkDataURI" in member:
        return ModelElement(vr, bulk_uri=bulk_uri(tag, member["BulkDataURI"]))
    if "InlineBinary" in member:
        return ModelElement(vr, decode_inline(tag, vr, member["InlineBinary"]))
    values = member["Value"]
    if not isinstance(values, list):
        raise NotUnderstood("Value is no array", tag)
    return ModelElement(vr, encode(tag, vr, values))


def _items(tag: int, values: object, depth: int) -> list[Model]:
    if not isinstance(values, list):
        raise NotUnderstood("a sequence has no array of items", tag)
    if not depth:
        raise NotUnderstood("sequences are nested too deep", tag)
    items: list[Model] = []
    for value in values:
        if value is not None and not isinstance(value, dict):
            raise NotUnderstood("an item of a sequence is no object", tag)
        items.append({})
        _fill(items[-1], value or {}, depth - 1)
    return items


def bulk_uri(tag: int, uri: object) -> str:
    """A BulkDataURI, not looked into. Raises NotUnderstood where it is no text that a URI could be."""
    if not isinstance(uri, str) or not 0 < len(uri) <= MAX_URI:
        raise NotUnderstood(f"a BulkDataURI is no text of 1 to {MAX_URI} characters", tag)
    return uri
