"""Person names made comparable (PS3.5 6.2.1, PS3.4 C.2.2.2.1.1).

Literal matching ignores case, accents and padding. Fuzzy matching looks at words: what letters and digits stand
together in any component of any component group. Each word of the key has to begin a word of the name, or, when it has
three letters or more, all of A to Z, to have the same American Soundex code as one. Order and components do not matter.
"""

from __future__ import annotations

import re
import unicodedata

MAX_WORDS = 16
MIN_SOUND = 3
"""Letters that a word needs for its sound to say anything."""

_WORD = re.compile(r"[^\W_]+")
_KEY_WORD = re.compile(r"[^\W_*?]+")
_LATIN = re.compile(rf"[a-z]{{{MIN_SOUND},}}")
# letters that Unicode does not take apart
_PLAIN = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "æ": "ae", "œ": "oe", "þ": "th"}
)
_CODES = {
    letter: code for code, letters in enumerate(("bfpv", "cgjkqsxz", "dt", "l", "mn", "r"), 1) for letter in letters
}


def fold(name: str) -> str:
    """A person name without case, accents and padding, for matching only."""
    decomposed = unicodedata.normalize("NFKD", name)
    plain = "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()
    return "^".join(" ".join(part.split()) for part in plain.split("^")).rstrip("^ ")


def name_groups(value: str) -> tuple[str, str, str]:
    """The folded component groups of a stored person name: alphabetic, ideographic, phonetic."""
    alphabetic, ideographic, phonetic, *_ = [*(fold(group) for group in value.split("\\")[0].split("=")), "", "", ""]
    return alphabetic, ideographic, phonetic


def words(name: str) -> str:
    """The words of a name and what they sound like, each with a space on either side: what fuzzy matching searches.

    Words are folded and so in lower case; Soundex codes begin with a capital letter.
    """
    found = dict.fromkeys(_WORD.findall(_plain(name)))
    codes = dict.fromkeys(code for word in found if (code := sound(word)))
    return f" {' '.join([*found, *codes])} " if found else ""


def key_words(text: str) -> tuple[str, ...]:
    """The words of a fuzzy key; none where a wild card stands inside a word, which only literal matching can answer."""
    plain = _plain(text)
    if re.search(r"[^\W_][*?]+[^\W_]|\?", plain):
        return ()
    return tuple(dict.fromkeys(_KEY_WORD.findall(plain)))


def sound(word: str) -> str:
    """American Soundex code of a folded word, such as `S530`; empty where it has none."""
    if not _LATIN.fullmatch(word):
        return ""
    digits: list[int] = []
    last = _CODES.get(word[0], 0)
    for letter in word[1:]:
        code = _CODES.get(letter, 0)
        if code and code != last:
            digits.append(code)
        if letter not in "hw":  # these two do not part letters of one code, vowels do
            last = code
    return word[0].upper() + "".join(map(str, digits[:3])).ljust(3, "0")


def _plain(text: str) -> str:
    """Folded, once more after the letters that stay whole: folding one may leave another."""
    return fold(fold(text).translate(_PLAIN))
