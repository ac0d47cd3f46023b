"""Reading an A-ASSOCIATE-RQ PDU (PS3.8 9.3.2), bounded.

pynetdicom's own decoder builds some 800 objects for 128 presentation contexts, asserts where lengths lie, and knows no
limit. Contexts are read here; the user information items (PS3.7 D.3.3), of which there are few, are left to it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.uid import UID
from pynetdicom._globals import APPLICATION_CONTEXT_NAME
from pynetdicom._validators import validate_ae
from pynetdicom.pdu_items import PDU_ITEM_TYPES
from pynetdicom.pdu_primitives import A_ASSOCIATE, MaximumLengthNotification

MAX_CONTEXTS = 128
MAX_SYNTAXES = 4096
MAX_USER_ITEMS = 1024
UNTOLD = "UNKNOWN"
"""Stands for an AE title that is none (PS3.5 6.2), which is refused."""

_ITEM = struct.Struct(">BxH")
_FIXED = 74
_USER_ITEMS = frozenset({0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58})


class ProtocolError(Exception):
    """The peer broke the upper layer protocol. `reason` is that of the A-ABORT PDU (PS3.8 Table 9-26)."""

    NOT_SPECIFIED = 0
    UNRECOGNISED_PDU = 1
    UNEXPECTED_PDU = 2
    INVALID_PARAMETER = 6

    def __init__(self, reason: int, what: str) -> None:
        super().__init__(what)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Proposed:
    """A presentation context as the peer proposes it (PS3.8 9.3.2.2). `context_id` is odd, 1 to 255."""

    context_id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


class AssociateRequest:
    """A decoded A-ASSOCIATE-RQ, in the place of `pynetdicom.pdu.A_ASSOCIATE_RQ`.

    `called` and `calling` are None where the field holds no AE title (empty, control or 8-bit characters, backslash).
    """

    def __init__(self, pdu: memoryview) -> None:
        """`pdu` is the whole PDU. Raises ProtocolError."""
        if len(pdu) < _FIXED:
            raise _invalid("A-ASSOCIATE-RQ is too short")
        version = int.from_bytes(pdu[6:8], "big")
        self.protocol_version = 1 if version & 1 else version  # bit 0 alone is tested (PS3.8 Table 9-11)
        self.called = _title(pdu[10:26])
        self.calling = _title(pdu[26:42])
        self.application_context = ""
        self.contexts: list[Proposed] = []
        self._primitive = A_ASSOCIATE()
        users: list[bytes] = []
        for kind, value in _items(pdu[_FIXED:]):
            if kind == 0x10:
                self.application_context = _uid(value)
            elif kind == 0x20:
                self.contexts.append(_context(value))
            elif kind == 0x50:
                users.append(bytes(value))
        self._check_contexts()
        self._fill_primitive(users)

    def to_primitive(self) -> A_ASSOCIATE:
        """The A-ASSOCIATE indication, without its presentation contexts."""
        return self._primitive

    @property
    def application_context_known(self) -> bool:
        """Is it the DICOM application context (PS3.7 A.2.1)?"""
        return self.application_context == APPLICATION_CONTEXT_NAME

    def _check_contexts(self) -> None:
        ids = [proposed.context_id for proposed in self.contexts]
        if len(ids) > MAX_CONTEXTS or len(set(ids)) < len(ids) or any(not number & 1 for number in ids):
            raise _invalid("presentation context IDs are odd, unique, and 128 at most")
        if sum(len(proposed.transfer_syntaxes) for proposed in self.contexts) > MAX_SYNTAXES:
            raise _invalid("too many transfer syntaxes")

    def _fill_primitive(self, users: list[bytes]) -> None:
        information: list[Any] = []
        for user in users:
            for kind, value in _items(memoryview(user)):
                if kind not in _USER_ITEMS:
                    continue  # unrecognised items are ignored (PS3.8 9.3.1)
                if len(information) >= MAX_USER_ITEMS:
                    raise _invalid("too many user information items")
                item: Any = PDU_ITEM_TYPES[kind]()
                try:
                    item.decode(_ITEM.pack(kind, len(value)) + bytes(value))
                    information.append(item.to_primitive())
                except (ValueError, TypeError, IndexError, KeyError, AssertionError, struct.error) as error:
                    raise _invalid(f"user information item {kind:02X}H is malformed") from error
        if not any(isinstance(item, MaximumLengthNotification) for item in information):
            raise _invalid("no maximum length item")
        primitive = self._primitive
        primitive.application_context_name = UID(APPLICATION_CONTEXT_NAME)
        primitive.called_ae_title = self.called or UNTOLD
        primitive.calling_ae_title = self.calling or UNTOLD
        primitive.user_information = information


def _items(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(type, value) of the items or sub-items in `data` (PS3.8 9.3.1)."""
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise _invalid("an item is cut short")
        kind, length = _ITEM.unpack_from(data, at)
        at += 4
        if at + length > len(data):
            raise _invalid("an item is longer than what holds it")
        yield kind, data[at : at + length]
        at += length


def _context(value: memoryview) -> Proposed:
    if len(value) < 4:
        raise _invalid("a presentation context item is too short")
    abstract, transfers = "", []
    for kind, name in _items(value[4:]):
        if kind == 0x30:
            abstract = _uid(name)
        elif kind == 0x40:
            transfers.append(_uid(name))
    if not abstract or not transfers:
        raise _invalid("a presentation context without abstract or transfer syntax")
    return Proposed(value[0], abstract, tuple(transfers))


def _uid(value: memoryview) -> str:
    text = bytes(value).rstrip(b"\0 ").decode("ascii", "replace")
    if not text or len(text) > 64 or "\ufffd" in text:
        raise _invalid("a UID is malformed")
    return text


def _title(field: memoryview) -> str | None:
    text = bytes(field).decode("latin-1").strip(" ")
    return text if text and validate_ae(text)[0] else None


def _invalid(what: str) -> ProtocolError:
    return ProtocolError(ProtocolError.INVALID_PARAMETER, what)
