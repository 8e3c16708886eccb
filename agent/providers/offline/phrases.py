"""The phrases that the offline recognizer listens for: how they are compared, and which words it can hear."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from agent.providers.offline import decoder


def words_of(phrase: str) -> str:
    """A phrase as the grammar knows it: small letters, no punctuation but the apostrophe."""
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*'?", phrase.lower().replace("’", "'")))  # noqa: RUF001


def unknown_words(phrases: Iterable[str], pronunciations: Mapping[str, str]) -> list[str]:
    """The words of `phrases` that neither the English dictionary nor `pronunciations` has, in order."""
    wanted = dict.fromkeys(word for phrase in phrases for word in words_of(phrase).split())
    missing = set(wanted) - {word.lower() for word in pronunciations}
    known = decoder.known(missing)  # a call is waiting: reading the dictionary takes as long as a claim
    missing -= _in_dictionary(missing) if known is None else known
    return [word for word in wanted if word in missing]


def _in_dictionary(words: Iterable[str]) -> set[str]:
    import pocketsphinx

    # one pass of the bytes per word: reading line by line takes a quarter of a second
    dictionary = (Path(pocketsphinx.get_model_path()) / "en-us" / "cmudict-en-us.dict").read_bytes()
    return {word for word in words if _has(dictionary, word)}


def _has(dictionary: bytes, word: str) -> bool:
    entry = word.encode() + b" "
    return dictionary.startswith(entry) or b"\n" + entry in dictionary


def no_pronunciation(words: Iterable[str]) -> str:
    """The message about words that the recognizer cannot listen for."""
    shown = ", ".join(dict.fromkeys(words))
    return f"not in the English dictionary: {shown}; write numbers as words, or give phones in pronunciations"
