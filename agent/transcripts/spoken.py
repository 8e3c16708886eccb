"""Digits in words: runs of them as written ("4111 1111") and as spoken in English ("four one double two")."""

import re
from dataclasses import dataclass

_DIGITS = {
    "zero": "0", "oh": "0", "o": "0", "nought": "0", "naught": "0", "one": "1", "two": "2", "three": "3",
    "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9", "niner": "9",
}  # fmt: skip
_TEENS = {
    "ten": "10", "eleven": "11", "twelve": "12", "thirteen": "13", "fourteen": "14", "fifteen": "15",
    "sixteen": "16", "seventeen": "17", "eighteen": "18", "nineteen": "19",
}  # fmt: skip
_TENS = {
    "twenty": "2", "thirty": "3", "forty": "4", "fourty": "4", "fifty": "5", "sixty": "6", "seventy": "7",
    "eighty": "8", "ninety": "9",
}  # fmt: skip
_TIMES = {"double": 2, "triple": 3, "treble": 3}
_WORDS = "|".join([*_DIGITS, *_TEENS, *_TENS, *_TIMES, "hundred"])
_TOKEN = re.compile(rf"\d+|\b(?:{_WORDS})\b", re.IGNORECASE)
_BETWEEN = re.compile(r"[\s\-\u2010-\u2015.,/()]{0,4}(?:(?:um+|uh+|erm?|ah)\b[\s,.…]{1,3})?", re.IGNORECASE)


@dataclass(frozen=True)
class Token:
    """A word or figure that stands for digits."""

    digits: str
    begin: int
    end: int
    is_spoken: bool


@dataclass(frozen=True)
class Run:
    """Tokens with nothing between them but spaces, signs and hesitation."""

    tokens: tuple[Token, ...]

    @property
    def digits(self) -> str:
        """All its digits."""
        return "".join(token.digits for token in self.tokens)

    @property
    def begin(self) -> int:
        """Where it begins in the text."""
        return self.tokens[0].begin

    @property
    def end(self) -> int:
        """Where it ends in the text."""
        return self.tokens[-1].end

    @property
    def is_spoken(self) -> bool:
        """Whether any of it is in words."""
        return any(token.is_spoken for token in self.tokens)

    @property
    def spoken_digits(self) -> int:
        """Tokens that say digits one by one, or doubled: how people say numbers that count nothing."""
        return sum(token.is_spoken and len(set(token.digits)) == 1 for token in self.tokens)


def digit_runs(text: str) -> list[Run]:
    """The runs of digits in a text, in order, single digits too."""
    runs: list[list[Token]] = []
    previous_end: int | None = None
    for word in _joined(text):
        if previous_end is not None and _BETWEEN.fullmatch(text, previous_end, word.begin):
            runs[-1].append(word)
        else:
            runs.append([word])
        previous_end = word.end
    return [Run(tuple(tokens)) for tokens in runs]


def _joined(text: str) -> list[Token]:
    """The tokens of a text; "double two", "twenty one" and "eight hundred" are one each."""
    tokens: list[Token] = []
    times: tuple[int, int] | None = None
    tens: Token | None = None
    for found in _TOKEN.finditer(text):
        word, begin, end = found[0].lower(), found.start(), found.end()
        adjacent = tens is not None and not text[tens.end : begin].strip(" -")
        if tens is not None and not (adjacent and word in _DIGITS and _DIGITS[word] != "0"):
            tokens.append(Token(tens.digits + "0", tens.begin, tens.end, True))
            tens = None
        if word in _TIMES:
            times = (_TIMES[word], begin)
            continue
        if word in _TENS:
            tens = Token(_TENS[word], begin, end, True)
            continue
        if word == "hundred":
            if tokens and tokens[-1].digits and not text[tokens[-1].end : begin].strip(" -"):
                last = tokens.pop()
                tokens.append(Token(last.digits + "00", last.begin, end, True))
            continue
        digits = _DIGITS.get(word) or _TEENS.get(word) or "".join(str(int(sign)) for sign in word)
        if tens is not None:
            tokens.append(Token(tens.digits + digits, tens.begin, end, True))
            tens = None
        elif times is not None and not text[times[1] : begin].partition(" ")[2].strip():
            tokens.append(Token(digits[0] * times[0] + digits[1:], times[1], end, True))
        else:
            tokens.append(Token(digits, begin, end, not found[0][0].isdigit()))
        times = None
    if tens is not None:
        tokens.append(Token(tens.digits + "0", tens.begin, tens.end, True))
    return tokens
