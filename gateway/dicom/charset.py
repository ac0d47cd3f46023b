"""Text of a data set to Unicode, by Specific Character Set (PS3.3 C.12.1.1.2, PS3.5 6.1).

Only the defined terms below select a codec; a name from a file is never handed to Python's codec registry.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

_SINGLE_BYTE = {
    "6": "latin_1",  # the default repertoire is ASCII; files without any charset are Latin-1 where they break this
    "13": "shift_jis",
    "100": "latin_1",
    "101": "iso8859_2",
    "109": "iso8859_3",
    "110": "iso8859_4",
    "126": "iso8859_7",
    "127": "iso8859_6",
    "138": "iso8859_8",
    "144": "iso8859_5",
    "148": "iso8859_9",
    "166": "tis_620",
    "203": "iso8859_15",
}
_MULTI_BYTE = {"58": "gb2312", "87": "ascii", "149": "euc_kr", "159": "ascii"}  # as G1; 87 and 159 live in G0
_ALONE = {"ISO_IR 192": "utf_8", "GB18030": "gb18030", "GBK": "gbk"}
"""Terms that admit no code extension: one codec for the whole value."""

_ESCAPES: dict[bytes, tuple[str, str]] = {
    b"(B": ("g0", "ascii"),
    b"(J": ("g0", "ascii"),  # JIS X 0201 Romaji: ASCII but for the yen sign and the overline
    b"$B": ("g0", "\x1b$B"),
    b"$(D": ("g0", "\x1b$(D"),
    b"-A": ("g1", "latin_1"),
    b"-B": ("g1", "iso8859_2"),
    b"-C": ("g1", "iso8859_3"),
    b"-D": ("g1", "iso8859_4"),
    b"-F": ("g1", "iso8859_7"),
    b"-G": ("g1", "iso8859_6"),
    b"-H": ("g1", "iso8859_8"),
    b"-L": ("g1", "iso8859_5"),
    b"-M": ("g1", "iso8859_9"),
    b"-T": ("g1", "tis_620"),
    b"-b": ("g1", "iso8859_15"),
    b")I": ("g1", "shift_jis"),
    b"$)A": ("g1", "gb2312"),
    b"$)C": ("g1", "euc_kr"),
}
"""Escape sequences of PS3.3 Tables C.12-3 and C.12-4: the code element each designates, and its codec (G0 sets of two
bytes: the sequence by which Python's ISO 2022 codec knows them)."""

_TERM = re.compile(r"ISO[ _-]?(2022)?[ _-]?(?:IR[ _-]?)?([0-9]{1,3})")
_PIECE = re.compile(rb"(\x1b(?:[()\-][A-Za-z]|\$[()][A-Z]|\$B))")
_HALVES = re.compile(rb"[\x00-\x7f]+|[\x80-\xff]+")
_RESET = re.compile(rb"[\t\n\f\r\\]")
_RESET_PN = re.compile(rb"[\t\n\f\r\\^=]")
_CONTROL = re.compile(rb"[\t\n\f\r]")
_MAX_TERMS = 16
_MAX_ESCAPES = 4096


def decode(raw: bytes, charsets: Sequence[str]) -> str:
    """`raw` as text, with `charsets` the values of Specific Character Set (empty: the default repertoire).

    Multiple values stay joined by backslashes, padding stays. What cannot be decoded becomes U+FFFD, and so does all
    that is not ASCII where the charset is unknown, unless it is UTF-8. The text holds no lone surrogates.
    """
    return _decode(raw, charsets, _RESET)


def decode_pn(raw: bytes, charsets: Sequence[str]) -> str:
    """A Person Name value, or several: as `decode`, with code extensions ending at component delimiters as well.

    Each name is trimmed, and empty component groups at its end are cut: `Yamada^Tarou=山田^太郎=` loses its last `=`.
    """
    return "\\".join(map(_normal_name, _decode(raw, charsets, _RESET_PN).split("\\")))


def encode(text: str, charsets: Sequence[str]) -> bytes | None:
    """`text` in the first repertoire of these character sets; None where that does not hold it.

    Code extensions are read but not written: a text that needs one is None.
    """
    if text.isascii():
        return text.encode("ascii")
    alone, g1, _ = _plan(tuple(charsets[:_MAX_TERMS]))
    if not alone and not any(charsets):
        return None  # the default repertoire is ASCII
    try:
        raw = text.encode(alone or g1)
    except UnicodeEncodeError:
        return None
    return raw if b"\x1b" not in raw and decode(raw, charsets) == text else None


def _normal_name(name: str) -> str:
    groups = [group.strip(" \0") for group in name.split("=")]
    while groups and not groups[-1].strip("^ "):
        groups.pop()
    return "=".join(groups)


def _decode(raw: bytes, charsets: Sequence[str], reset: re.Pattern[bytes]) -> str:
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii")
    alone, g1, extended = _plan(tuple(charsets[:_MAX_TERMS]))
    if alone:
        return _clean(raw.decode(alone, "replace"))
    if not extended or b"\x1b" not in raw:
        return _clean(raw.decode(g1, "replace"))
    return _clean(_decode_extended(raw, g1, reset))


@lru_cache(maxsize=256)
def _plan(charsets: tuple[str, ...]) -> tuple[str | None, str, bool]:
    """(codec for the whole value or None, codec of the first G1 set, whether escape sequences are looked at)."""
    terms = [term.strip(" \0").upper() for term in charsets] or [""]
    first = terms[0].replace("ISO 2022 GBK", "GBK")
    matched = _TERM.fullmatch(first)
    number = matched[2] if matched else None
    if first in _ALONE or number == "192":
        return _ALONE.get(first, "utf_8"), "utf_8", False
    extended = any((match := _TERM.fullmatch(term)) and match[1] for term in terms)
    if not first:
        return None, _SINGLE_BYTE["6"], extended
    codec = _SINGLE_BYTE.get(number or "") or _MULTI_BYTE.get(number or "")
    if codec is None:
        return "utf_8", "utf_8", False
    return None, codec, extended or number in _MULTI_BYTE


def _decode_extended(raw: bytes, first_g1: str, reset: re.Pattern[bytes]) -> str:
    """Code extensions of ISO 2022 (PS3.5 6.1.2.5)."""
    out: list[str] = []
    g0, g1 = "ascii", first_g1
    for number, piece in enumerate(_PIECE.split(raw, maxsplit=_MAX_ESCAPES)):
        if number % 2:
            element, codec = _ESCAPES.get(piece[1:], ("", ""))
            if element == "g0":
                g0 = codec
            elif element == "g1":
                g1 = codec
            else:
                out.append("\ufffd")
        elif g0 == "ascii":
            # Beyond a delimiter the initial designations hold again (PS3.5 6.1.2.5.3)
            delimiter = reset.search(piece)
            if delimiter is None:
                out.append(piece.decode(g1, "replace"))
            else:
                out.append(piece[: delimiter.start()].decode(g1, "replace"))
                out.append(piece[delimiter.start() :].decode(first_g1, "replace"))
                g1 = first_g1
        else:
            control = _CONTROL.search(piece)
            wide = piece if control is None else piece[: control.start()]
            for half in _HALVES.findall(wide):
                out.append(_two_bytes(half, g0) if half[0] < 0x80 else half.decode(g1, "replace"))
            if control is not None:
                out.append(piece[control.start() :].decode(first_g1, "replace"))
                g0, g1 = "ascii", first_g1
    return "".join(out)


def _two_bytes(half: bytes, designation: str) -> str:
    return (designation.encode() + half + b"\x1b(B").decode("iso2022_jp_2", "replace")


def _clean(text: str) -> str:
    """Lone surrogates replaced: some codecs can make them, and no index or JSON text may hold them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf_8", "replace").decode()
    return text
