"""The metadata of an instance in the DICOM JSON Model (PS3.18 Annex F), straight from the raw elements.

Most elements repeat from slice to slice: hand the same `cache` to every instance of a series and each distinct value is
converted once. A bulk value is named by its path in the data set, `00420011`, or `54000100/1/54001010` for one inside a
sequence: tag, 1-based item, tag.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gateway.dicom.elements import PIXEL_TAGS, Element
from gateway.dicom.json_values import BINARY_VRS, KNOWN_VRS, Encoding, Member, member
from gateway.dicom.view import SPECIFIC_CHARACTER_SET, charset_terms
from gateway.errors import NotFound

if TYPE_CHECKING:
    from gateway.dicom.header import Header

Cache = dict[tuple[Encoding, int], dict[tuple[str, bytes], Member]]
"""Members converted before: by encoding and inline limit, then by VR and raw bytes.

Start with an empty one. Results share its members, so they are for reading only.
"""

INLINE_LIMIT = 1024
VALUE_LIMIT = 65536
"""The longest value in bytes that is ever converted: beyond, it is a BulkDataURI whatever its VR."""
_MAX_CACHED_BYTES = 4096
_MAX_CACHED = 100_000
_UNLIKE_OTHERS = PIXEL_TAGS | {SPECIFIC_CHARACTER_SET}
"""Elements whose member is not made from their value alone."""
_UNICODE: Member = {"vr": "CS", "Value": ["ISO_IR 192"]}
_PATH = re.compile(r"[0-9A-F]{8}(?:/[1-9][0-9]{0,8}/[0-9A-F]{8}){0,64}", re.ASCII)


def to_json(
    header: Header,
    bulk_uri: Callable[[str], str],
    *,
    inline_limit: int = INLINE_LIMIT,
    cache: Cache | None = None,
) -> dict[str, object]:
    """The data set as one object of the DICOM JSON Model, fit for any strict JSON writer.

    Binary values of up to `inline_limit` bytes are InlineBinary. Larger ones, any value over 64 KiB, numbers that are
    not finite, and Pixel Data become a BulkDataURI, which `bulk_uri` makes from the value's path. Text is Unicode and
    Specific Character Set says so; group 0002 and group lengths are left out; Available Transfer Syntax UID is the
    syntax that the instance is stored in. PS3.18 10.4.1.1.2, F.2.
    """
    walk = _Walk(header, bulk_uri, inline_limit, {} if cache is None else cache)
    result = walk.data_set(header.elements, "", header.charsets)
    if header.pixel is not None:
        result.update(walk.data_set([header.pixel], "", header.charsets))
    result["00083002"] = {"vr": "UI", "Value": [header.meta.transfer_syntax_uid]}
    return dict(sorted(result.items()))


def bulk_element(header: Header, path: str) -> Element:
    """The element that a BulkDataURI's path names. Raises NotFound where there is none, or it is a sequence."""
    if not _PATH.fullmatch(path):
        raise NotFound("no bulk data has such a path")
    parts = path.split("/")
    elements: Iterable[Element] = header.elements
    if header.pixel is not None:
        elements = [*elements, header.pixel]
    for tag, number in zip(parts[:-1:2], parts[1::2], strict=True):
        found = _find(elements, int(tag, 16))
        items = None if found is None else found.items
        if items is None or int(number) > len(items):
            raise NotFound("there is no bulk data of this path")
        elements = items[int(number) - 1]
    found = _find(elements, int(parts[-1], 16))
    if found is None or found.items is not None:
        raise NotFound("there is no bulk data of this path")
    return found


def _find(elements: Iterable[Element], tag: int) -> Element | None:
    return next((element for element in elements if element.tag == tag), None)


def _bulk(vr: str, uri: str) -> Member:
    return {"vr": vr, "BulkDataURI": uri}


class _Walk:
    """One conversion: what stays the same from element to element."""

    def __init__(self, header: Header, bulk_uri: Callable[[str], str], inline_limit: int, cache: Cache) -> None:
        self.bulk_uri = bulk_uri
        self.inline_limit = inline_limit
        self.cache = cache
        self.little_endian = header.syntax.little_endian

    def data_set(self, elements: list[Element], prefix: str, charsets: tuple[str, ...]) -> dict[str, object]:
        """The members of a data set or item whose elements have paths that begin with `prefix`."""
        encoding = Encoding(charsets, self.little_endian)
        known = self.cache.setdefault((encoding, self.inline_limit), {})
        result: dict[str, object] = {}
        before = -1
        ascending = True
        for element in elements:
            tag, vr, raw = element.tag, element.vr, element.value
            key = f"{tag:08X}"
            ascending = ascending and tag > before
            before = tag
            if raw is not None and (found := known.get((vr, raw))) is not None and tag not in _UNLIKE_OTHERS:
                result[key] = found
                continue
            result[key] = made = self._member(element, prefix + key, encoding)
            if raw is None or tag in _UNLIKE_OTHERS or "BulkDataURI" in made:
                continue
            if len(raw) <= _MAX_CACHED_BYTES and len(known) < _MAX_CACHED:
                known[vr, raw] = made
        return result if ascending else dict(sorted(result.items()))

    def _member(self, element: Element, path: str, encoding: Encoding) -> Member:
        if element.items is not None:
            items = [
                self.data_set(item, f"{path}/{number}/", _charsets(item) or encoding.charsets)
                for number, item in enumerate(element.items, 1)
            ]
            return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
        if element.tag == SPECIFIC_CHARACTER_SET:
            return _UNICODE
        vr, raw = element.vr if element.vr in KNOWN_VRS else "UN", element.value
        if not element.length and not element.encapsulated:
            return {"vr": vr}
        # PS3.18 10.4.3.3.2 names the VRs that may be bulk data. A value of another VR this long breaks the limits of
        # PS3.5 6.2 and would take seconds to convert: it is better a link than lost.
        limit = self.inline_limit if vr in BINARY_VRS else VALUE_LIMIT
        made = None
        if raw is not None and len(raw) <= min(limit, VALUE_LIMIT) and element.tag not in PIXEL_TAGS:
            made = member(vr, raw, encoding)
        return _bulk(vr, self.bulk_uri(path)) if made is None else made


def _charsets(item: list[Element]) -> tuple[str, ...]:
    """Specific Character Set of an item; empty when it has none and its data set's holds."""
    for element in item:
        if element.tag == SPECIFIC_CHARACTER_SET:
            return charset_terms(element)
        if element.tag > SPECIFIC_CHARACTER_SET:
            break
    return ()
