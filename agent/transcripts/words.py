"""
Words as search sees them: the same cut on both databases, so that both find the same.

A word is a run of letters, digits and their marks (the vowel signs of Hindi are marks), folded to one case
and one form. Scripts that write no spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) count letter by
letter, and a run of them that is searched for must stand together.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x9FFF),  # Chinese characters
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_LONGEST_WORD = 200
_ASCII_WORD = re.compile(r"[0-9A-Za-z]+")


@dataclass(frozen=True)
class Word:
    """One word of a text, and where it stands in it."""

    folded: str
    begin: int
    end: int


def words_in(text: str) -> Iterator[Word]:
    """The words of a text in order."""
    if text.isascii():
        for found in _ASCII_WORD.finditer(text):
            yield Word(found[0].lower()[:_LONGEST_WORD], found.start(), found.end())
        return
    begin: int | None = None
    for place, letter in enumerate(text):
        unspaced = _is_unspaced(letter)
        if begin is not None and (unspaced or not _is_of_a_word(letter)):
            yield _word(text, begin, place)
            begin = None
        if unspaced and _is_of_a_word(letter):
            yield _word(text, place, place + 1)
        elif begin is None and _is_of_a_word(letter) and not unspaced:
            begin = place
    if begin is not None:
        yield _word(text, begin, len(text))


def folded_words(text: str) -> list[str]:
    """The words of a text in order, folded, without empty ones."""
    if text.isascii():
        found: list[str] = _ASCII_WORD.findall(text.lower())
        return found if len(text) <= _LONGEST_WORD else [word[:_LONGEST_WORD] for word in found]
    return [word.folded for word in words_in(text) if word.folded]


def owner_words(organization: str | None, user_id: str | None) -> list[str]:
    """
    Words that stand in the index for whose a message is, so that a search is narrowed inside of it.

    They are hashes: nothing that is said or searched for is one of them.
    """
    of_user = ["u", organization or "", user_id or ""]
    return [_hash("o", organization or ""), _hash(*of_user), _hash("v", user_id or "")]


def owner_word_of(organization: str | None, user_id: str | None, *, any_organization: bool) -> str | None:
    """The one of them that an owner's messages all have; None: those of everyone."""
    if any_organization:
        return None if user_id is None else _hash("v", user_id)
    return _hash("o", organization or "") if user_id is None else _hash("u", organization or "", user_id)


def _hash(kind: str, *parts: str) -> str:
    text = "\0".join(parts).encode(errors="surrogatepass")
    return kind + hashlib.sha256(text).hexdigest()[:24]


def _word(text: str, begin: int, end: int) -> Word:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text[begin:end]).casefold())
    # Folding can bring spaces and signs in ("ﷺ"); the indexes would cut there.
    kept = "".join(letter for letter in folded if _is_of_a_word(letter))
    return Word(kept[:_LONGEST_WORD], begin, end)


def _is_of_a_word(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "LMN"


def _is_unspaced(letter: str) -> bool:
    code = ord(letter)
    return code >= 0x0E00 and any(low <= code <= high for low, high in _UNSPACED)
