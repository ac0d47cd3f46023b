"""The head of a Part 10 file: preamble, prefix and File Meta Information (PS3.10 7.1)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from gateway.dicom.uids import is_uid, syntax
from gateway.dicom.vr import LONG_FORM, SHORT_FORM
from gateway.errors import NotUnderstood, SyntaxNotSupported

IMPLEMENTATION_CLASS_UID = "2.25.61020172659148967283544424478120039494"
IMPLEMENTATION_VERSION = "GANTRY_1"
RECEIVED_DIGEST_UID = "2.25.18427019531420809978751159828345973189"
"""Private Information Creator UID of File Meta Information that holds `FileMeta.received_digest`, as 32 bytes."""

PREAMBLE = 132
"""Length of preamble and prefix, in bytes."""

MAX_HEAD = PREAMBLE + 65536
"""A head longer than this is refused."""

_SHORT = struct.Struct("<HH2sH")
_LONG = struct.Struct("<I")
_AE_TITLE = re.compile(r"[ -\[\]-~]{1,16}")


@dataclass(frozen=True, slots=True)
class FileMeta:
    """What File Meta Information says of the instance. The first two are '' where it does not say, or says no UID.

    `received_digest` is the SHA-256 (hex) of the data set as it was received, where it was coerced since, else ''.
    """

    sop_class_uid: str
    sop_uid: str
    transfer_syntax_uid: str
    received_digest: str = ""


def parse_head(data: bytes) -> tuple[FileMeta, int] | None:
    """File Meta Information, and the offset at which the data set starts; None when `data` has to be longer to tell.

    `data` starts at the file's first byte. The group ends where the next group starts: (0002,0000) may be missing or
    wrong. Raises NotUnderstood for anything but a Part 10 file with a transfer syntax.
    """
    if len(data) < PREAMBLE:
        if data[:4] == b"DICM" or (len(data) >= 8 and _looks_bare(data)):
            raise NotUnderstood("not a DICOM Part 10 file: it has no preamble")
        return None
    if data[128:PREAMBLE] != b"DICM":
        bare = data[:4] == b"DICM" or _looks_bare(data)
        raise NotUnderstood("not a DICOM Part 10 file: " + ("it has no preamble" if bare else "no DICM prefix"))
    values: dict[int, bytes] = {}
    at = PREAMBLE
    while not _complete(values, at):
        if at > MAX_HEAD:
            raise NotUnderstood("File Meta Information is too long", 0x00020000)
        if len(data) < at + 2:
            return None
        if data[at : at + 2] != b"\x02\x00":
            break
        if len(data) < at + 12:
            return None
        _, number, code, length = _SHORT.unpack_from(data, at)
        start = at + 8
        if code in LONG_FORM:
            (length,) = _LONG.unpack_from(data, start)
            start += 4
        elif code not in SHORT_FORM:
            raise NotUnderstood("an element of File Meta Information has no standard VR", 0x00020000 | number)
        at = start + length
        if at > MAX_HEAD:
            raise NotUnderstood("an element of File Meta Information is too long", 0x00020000 | number)
        if len(data) < at:
            return None
        if number in values:
            raise NotUnderstood("an element of File Meta Information is there twice", 0x00020000 | number)
        values[number] = data[start:at]
    uid = _text(values.get(0x0010, b""))
    if not uid:
        raise NotUnderstood("File Meta Information has no Transfer Syntax UID", 0x00020010)
    if not is_uid(uid):
        raise NotUnderstood("Transfer Syntax UID is malformed", 0x00020010)
    ours = _text(values.get(0x0100, b"")) == RECEIVED_DIGEST_UID
    received = values.get(0x0102, b"").hex() if ours else ""
    return FileMeta(_uid(values.get(0x0002, b"")), _uid(values.get(0x0003, b"")), uid, received), at


def source_aet(head: bytes) -> str:
    """The AE title that `build_head` was given, from the head that it made; '' when that was none."""
    at = PREAMBLE
    while at + 8 <= len(head):
        group, number, code, length = _SHORT.unpack_from(head, at)
        if group != 2 or number > 0x0016:
            break
        start = at + (12 if code in LONG_FORM else 8)
        if code in LONG_FORM:
            (length,) = _LONG.unpack_from(head, at + 8)
        if number == 0x0016:
            return _text(head[start : start + length])
        at = start + length
    return ""


def _complete(values: dict[int, bytes], at: int) -> bool:
    """Whether a group length has to be believed: a deflated data set may start with the bytes of group 0002."""
    length = values.get(0x0000, b"")
    if len(length) != 4 or 0x0010 not in values or at != PREAMBLE + 12 + _LONG.unpack(length)[0]:
        return False
    try:
        return syntax(_text(values[0x0010])).deflated
    except SyntaxNotSupported:
        return False


def build_head(meta: FileMeta, source_aet: str = "") -> bytes:
    """Preamble of zeros, prefix and File Meta Information in our name: the same bytes for the same arguments.

    `source_aet` is the AE title that sent the instance, '' or no AE title at all to say nothing. SOP Class or Instance
    UID may be '' and are then left out, while only the data set knows them; the file is not fit to be kept like that
    (PS3.10 Table 7.1-1). Raises NotUnderstood where a UID is malformed, or no transfer syntax is given.
    """
    if not is_uid(meta.transfer_syntax_uid):
        raise NotUnderstood("Transfer Syntax UID is missing or malformed", 0x00020010)
    sender = source_aet.strip(" ")
    body = b"".join(
        (
            _SHORT.pack(2, 0x0001, b"OB", 0) + _LONG.pack(2) + b"\x00\x01",
            _identity(0x0002, meta.sop_class_uid),
            _identity(0x0003, meta.sop_uid),
            _element(0x0010, b"UI", meta.transfer_syntax_uid, b"\0"),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID, b"\0"),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION, b" "),
            _element(0x0016, b"AE", sender, b" ") if _AE_TITLE.fullmatch(sender) else b"",
            _received(meta.received_digest),
        )
    )
    return bytes(128) + b"DICM" + _SHORT.pack(2, 0, b"UL", 4) + _LONG.pack(len(body)) + body


def built_size(data: bytes | memoryview) -> int | None:
    """The length of the head of `build_head` that `data` starts with; None when that is not told for certain.

    Its group length can be believed, so that nothing of it has to be parsed to find the data set.
    """
    if bytes(data[: len(_BUILT)]) != _BUILT or len(data) < len(_BUILT) + 4:
        return None
    size = len(_BUILT) + 4 + int(_LONG.unpack_from(data, len(_BUILT))[0])
    return size if size <= len(data) and _OURS in bytes(data[:size]) else None


def _received(digest: str) -> bytes:
    """Private Information (PS3.10 Table 7.1-1): the digest that a rebuild of the index could not find otherwise."""
    if not digest:
        return b""
    value = bytes.fromhex(digest)
    creator = _element(0x0100, b"UI", RECEIVED_DIGEST_UID, b"\0")
    return creator + _SHORT.pack(2, 0x0102, b"OB", 0) + _LONG.pack(len(value)) + value


def _identity(number: int, uid: str) -> bytes:
    if uid and not is_uid(uid):
        raise NotUnderstood("a UID for File Meta Information is malformed", 0x00020000 | number)
    return _element(number, b"UI", uid, b"\0") if uid else b""


def _element(number: int, vr: bytes, text: str, padding: bytes) -> bytes:
    value = text.encode("ascii")
    value += padding * (len(value) % 2)
    return _SHORT.pack(2, number, vr, len(value)) + value


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").strip(" \0")


_BUILT = bytes(128) + b"DICM" + _SHORT.pack(2, 0, b"UL", 4)
_OURS = _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID, b"\0")


def _uid(value: bytes) -> str:
    text = _text(value)
    return text if is_uid(text) else ""


def _looks_bare(data: bytes) -> bool:
    """Whether a data set starts at the first byte: group 0002 or 0008, an element below 0100, in either byte order."""
    little = data[0] in (2, 8) and data[1] == 0 and data[3] == 0
    return little or (data[0] == 0 and data[1] in (2, 8) and data[2] == 0)
