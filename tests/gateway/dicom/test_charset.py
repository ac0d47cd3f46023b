"""Text by Specific Character Set."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import python_encoding

from gateway.dicom.charset import decode, decode_pn

TERMS = [
    *("", "ISO_IR 6", "ISO_IR 13", "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 126", "ISO_IR 127"),
    *("ISO_IR 138", "ISO_IR 144", "ISO_IR 148", "ISO_IR 166", "ISO_IR 192", "ISO_IR 203", "GB18030", "GBK"),
    *("ISO 2022 IR 6", "ISO 2022 IR 13", "ISO 2022 IR 58", "ISO 2022 IR 87", "ISO 2022 IR 100", "ISO 2022 IR 149"),
    *("ISO 2022 IR 159", "ISO 2022 IR 166"),
]


@pytest.mark.parametrize(
    ("raw", "charsets", "text"),
    [
        # The examples of PS3.5 Annexes H, I, J, K and of PS3.3 C.12
        (b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
         ["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
         ["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        (b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
         ["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
        (b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=", ["", "ISO 2022 IR 58"],
         "Zhang^XiaoDong=张^小东"),
        ("Wang^XiaoDong=王^小东=".encode("gb18030"), ["GB18030"], "Wang^XiaoDong=王^小东"),
        ("Wang^XiaoDong=王^小東".encode(), ["ISO_IR 192"], "Wang^XiaoDong=王^小東"),
        (b"Buc^J\xe9r\xf4me", ["ISO_IR 100"], "Buc^Jérôme"),
        (b"\xc4neas^R\xfcdiger", ["ISO_IR 100"], "Äneas^Rüdiger"),
        (b"\xbb\xee\xda", ["ISO_IR 144"], "\u041b\u044e\u043a"),
        ("Διονυσιος".encode("iso8859_7"), ["ISO_IR 126"], "Διονυσιος"),
        ("نزار^قباني".encode("iso8859_6"), ["ISO_IR 127"], "نزار^قباني"),
        ("שרון^דבורה".encode("iso8859_8"), ["ISO_IR 138"], "שרון^דבורה"),
        # A code extension without a term that announces it; spellings of vendors
        (b"\x1b-F\xc4\xe9", ["ISO 2022 IR 100"], "Δι"),
        (b"J\xe9", ["ISO-IR 100"], "Jé"),
        (b"J\xe9", ["iso_ir_100"], "Jé"),
        ("é".encode(), ["ISO IR 192"], "é"),
    ],
)  # fmt: skip
def test_names_in_the_scripts_of_the_standard(raw: bytes, charsets: list[str], text: str) -> None:
    assert decode_pn(raw, charsets) == text


def test_a_delimiter_ends_a_code_extension() -> None:
    """PS3.5 6.1.2.5.3."""
    raw = b"\x1b$)C\xb1\xe6\\\xe9"
    assert decode(raw, ["ISO 2022 IR 100", "ISO 2022 IR 149"]) == "길\\é"
    assert decode(b"\x1b-F\xc4\r\n\xc4", ["ISO 2022 IR 100"]) == "Δ\r\nÄ"
    assert decode_pn(b"\x1b-F\xc4^\xc4", ["ISO 2022 IR 100"]) == "Δ^Ä"
    assert decode(b"\x1b-F\xc4^\xc4", ["ISO 2022 IR 100"]) == "Δ^Δ"


def test_a_second_byte_is_no_backslash() -> None:
    """GBK and GB 18030 use 5C within characters; those do not separate values."""
    for term in ("GBK", "GB18030"):
        assert decode(b"\x81\\", [term]) == b"\x81\\".decode("gbk") == "\u4e57"
    assert decode(b"\x1b$B%\\\x1b(B", ["", "ISO 2022 IR 87"]) == "ボ"


@pytest.mark.parametrize("term", sorted(set(TERMS) & set(python_encoding)))
def test_single_terms_agree_with_pydicom(term: str) -> None:
    """Character by character, but for the two sets that no name starts in (JIS X 0208 and 0212 need an escape)."""
    codec = python_encoding[term]
    for code in [bytes([byte]) for byte in range(0x20, 0xFF)] + [bytes([0xB0, byte]) for byte in range(0xA1, 0xFF)]:
        try:
            expected = code.decode(codec)
        except UnicodeDecodeError:
            continue
        assert decode(code, [term]) == expected


@pytest.mark.parametrize("term", ["punycode", "idna", "hex", "zlib", "utf_7", "rot13", "unicode_escape"])
def test_names_of_codecs_select_nothing(term: str) -> None:
    """S-28: only defined terms count; text in an unknown charset is ASCII, UTF-8, or replaced."""
    assert decode(b"abc", [term]) == "abc"
    assert decode(b"+AGE-\\x41", [term]) == "+AGE-\\x41"
    assert decode(b"a\xe9b", [term]) == "a\ufffdb"
    assert decode("é".encode(), [term]) == "é"


def test_a_thousand_terms_are_not_looked_at() -> None:
    """S-28."""
    assert decode(b"\xe9", ["ISO_IR 100", *map(str, range(1000))]) == "é"


def test_a_storm_of_escapes_is_bounded() -> None:
    """S-29: what follows the 4096th escape is taken in the set then designated."""
    text = decode(b"\x1b-F\xc4" * 20_000, ["ISO 2022 IR 100"])
    assert text.startswith("Δ" * 4000)
    assert len(text) <= 20_000 * 4


@given(raw=st.binary(max_size=60), charsets=st.lists(st.sampled_from([*TERMS, "nonsense"]), max_size=3))
def test_any_bytes_decode_to_text_that_an_index_can_hold(raw: bytes, charsets: list[str]) -> None:
    """S-29: overlong UTF-8, lone surrogates, broken escapes."""
    for text in (decode(raw, charsets), decode_pn(raw, charsets)):
        text.encode()


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x1b"), max_size=40))
def test_unicode_comes_back(text: str) -> None:
    for term, codec in (("ISO_IR 192", "utf_8"), ("GB18030", "gb18030")):
        assert decode(text.encode(codec), [term]) == text


def test_empty_component_groups_are_cut() -> None:
    assert decode_pn(b"Doe^John== ", []) == "Doe^John"
    assert decode_pn(b"Doe^John=^^^^=^^^^", []) == "Doe^John"
    assert decode_pn(b"=Ideo", []) == "=Ideo"
    assert decode_pn(b"A=\\B =C=", []) == "A\\B=C"
    assert decode_pn(b"^^^^", []) == ""
