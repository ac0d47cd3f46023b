"""Matches as response identifiers of C-FIND (PS3.4 C.4.1.1.3.2)."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom.charset import python_encoding

from gateway.dicom.uids import SYNTAXES
from gateway.dicom.vr import LONG_FORM
from gateway.dimse.identifiers import AVAILABILITY, CHARACTER_SET, LEVEL, RETRIEVE_AET, Asked, Key
from storage.records import Item, Match, Value

AVAILABLE = "ONLINE"
_ENCODABLE = frozenset(
    {*(f"ISO_IR {number}" for number in (100, 101, 109, 110, 126, 127, 138, 144, 148, 166, 192, 203)), "GB18030", "GBK"}
)
"""Defined terms of Specific Character Set that we answer in (PS3.3 C.12.1.1.2); for all others, UTF-8."""
_UTF8 = "ISO_IR 192"


@dataclass(frozen=True, slots=True)
class _Step:
    """An element whose value comes from the match. `number` encodes a binary value."""

    keyword: str
    head: bytes
    length: struct.Struct
    padding: bytes
    number: struct.Struct | None


def _padding(vr: str) -> bytes:
    return b"\0" if vr in {"UI", "OB", "UN"} else b" "


class Dresser:
    """Turns matches into response identifiers for one request (PS3.4 C.4.1.1.3.2)."""

    def __init__(self, asked: Asked, transfer_syntax_uid: str, retrieve_aet: str) -> None:
        syntax = SYNTAXES[transfer_syntax_uid]
        self._explicit = syntax.explicit
        order = "<" if syntax.little_endian else ">"
        self._tag = struct.Struct(order + "HH")
        self._short = struct.Struct(order + "H")
        self._long = struct.Struct(order + "L")
        self._keys = asked.keys
        self._charsets = asked.charsets
        self._fixed: dict[int, tuple[str, str]] = {
            LEVEL: ("CS", asked.query.level.name),
            RETRIEVE_AET: ("AE", retrieve_aet),
        }
        self._steps = None if any(key.vr == "SQ" for key in self._keys) else self._plan()

    def dress(self, match: Match) -> bytes:
        """The identifier of one match, encoded in the presentation context's transfer syntax."""
        if self._steps is None:
            return self._slowly(match)
        values, parts = match.values, []
        try:
            for step in self._steps:
                if isinstance(step, bytes):
                    parts.append(step)
                    continue
                value = values.get(step.keyword, "")
                if step.number is not None and isinstance(value, int):
                    data = step.number.pack(value & 0xFFFF)
                else:
                    data = str(value).encode("ascii")
                if len(data) & 1:
                    data += step.padding
                parts += (step.head, step.length.pack(len(data)), data)
        except (UnicodeEncodeError, struct.error):  # another character set is needed, or a value is too long
            return self._slowly(match)
        return b"".join(parts)

    def _plan(self) -> list[_Step | bytes]:
        """What stands in each identifier, in the order of tags, as long as all of it is ASCII."""
        steps: dict[int, _Step | bytes] = {
            tag: self._element(tag, vr, text.encode("ascii")) for tag, (vr, text) in self._fixed.items()
        }
        if terms := self._ascii_terms():
            steps[CHARACTER_SET] = self._element(CHARACTER_SET, "CS", "\\".join(terms).encode("ascii"))
        for key in self._keys:
            if key.attribute is None:
                text = AVAILABLE if key.tag == AVAILABILITY else ""
                steps[key.tag] = self._element(key.tag, key.vr, text.encode("ascii"))
                continue
            head, length = self._tag.pack(key.tag >> 16, key.tag & 0xFFFF), self._long
            if self._explicit:
                code = key.vr.encode("ascii")
                head, length = (head + code + b"\0\0", length) if code in LONG_FORM else (head + code, self._short)
            number = self._short if key.vr == "US" else None
            steps[key.tag] = _Step(key.attribute.keyword, head, length, _padding(key.vr), number)
        return [steps[tag] for tag in sorted(steps)]

    def _slowly(self, match: Match) -> bytes:
        values = [(key, self._value(key, match.values)) for key in self._keys]
        terms, codec = self._character_set([value for _, value in values])
        parts = {tag: self._element(tag, vr, text.encode("ascii")) for tag, (vr, text) in self._fixed.items()}
        if terms:
            parts[CHARACTER_SET] = self._element(CHARACTER_SET, "CS", "\\".join(terms).encode("ascii"))
        for key, value in values:
            parts[key.tag] = self._encode(key, value, codec)
        return b"".join(parts[tag] for tag in sorted(parts))

    def _value(self, key: Key, values: Mapping[str, Value | tuple[Item, ...]]) -> Value | tuple[Item, ...] | None:
        if key.tag == AVAILABILITY:
            return AVAILABLE
        if key.sequence is not None:
            return values.get(key.sequence, ())
        return values.get(key.attribute.keyword) if key.attribute is not None else None

    def _ascii_terms(self) -> tuple[str, ...]:
        return self._charsets if self._charsets and self._charsets[0] in _ENCODABLE else ()

    def _character_set(self, values: Sequence[Value | tuple[Item, ...] | None]) -> tuple[tuple[str, ...], str]:
        """Terms for Specific Character Set, and the codec: the requested one where it can say it all, else UTF-8."""
        texts = [value for value in values if isinstance(value, str)]
        texts += [
            str(inner) for value in values if isinstance(value, tuple) for item in value for inner in item.values()
        ]
        if all(text.isascii() for text in texts):
            return self._ascii_terms(), "ascii"
        if len(self._charsets) == 1 and self._charsets[0] in _ENCODABLE:
            codec = python_encoding[self._charsets[0]]
            try:
                for text in texts:
                    text.encode(codec)
            except UnicodeEncodeError:
                pass
            else:
                return self._charsets, codec
        return (_UTF8,), "utf_8"

    def _encode(self, key: Key, value: Value | tuple[Item, ...] | None, codec: str) -> bytes:
        if key.vr == "SQ":
            items = value if isinstance(value, tuple) else ()
            return self._element(key.tag, "SQ", b"".join(self._item(key, item, codec) for item in items))
        if value is None or isinstance(value, tuple):
            return self._element(key.tag, key.vr, b"")
        if key.vr == "US":
            return self._element(key.tag, key.vr, self._short.pack(int(value) & 0xFFFF))
        return self._element(key.tag, key.vr, str(value).encode(codec, "replace"))

    def _item(self, key: Key, item: Item, codec: str) -> bytes:
        body = b""
        for inner in sorted(key.items, key=lambda one: one.tag):
            name = inner.attribute.keyword.rpartition(".")[2] if inner.attribute is not None else ""
            body += self._encode(inner, item.get(name), codec)
        return self._tag.pack(0xFFFE, 0xE000) + self._long.pack(len(body)) + body

    def _element(self, tag: int, vr: str, value: bytes) -> bytes:
        if len(value) % 2:
            value += _padding(vr)
        head = self._tag.pack(tag >> 16, tag & 0xFFFF)
        if not self._explicit:
            return head + self._long.pack(len(value)) + value
        code = vr.encode("ascii")
        if code in LONG_FORM:
            return head + code + b"\0\0" + self._long.pack(len(value)) + value
        return head + code + self._short.pack(min(len(value), 0xFFFE)) + value[:0xFFFE]
