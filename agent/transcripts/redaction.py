"""Taking people's data out of words: e-mail, phone, card and account numbers, and a bundle's own patterns."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import phonenumbers
from stdnum import iban, luhn

from agent.transcripts.spoken import Run, digit_runs

REGIONS = ("US", "GB", "IN")
"""Countries whose national phone numbers are recognised without their country code."""

UNFINISHED = "[…]"
"""Stands for digits at the end of words that were cut off, which may be the begin of a number."""

Span = tuple[int, int, str]
"""Begin, end, and the name of what was found there."""


class UnknownRedactionError(ValueError):
    """A bundle asks for a redaction that there is not, or for a pattern that is none; says which."""


@dataclass(frozen=True)
class Redactor:
    """Callable: words in, words with `[email]` and the like in place of what was found out."""

    finders: tuple[Callable[[str], list[Span]], ...]
    numbers: bool
    emails: bool

    def __call__(self, text: str) -> str:
        """The text with each finding replaced by its name in brackets."""
        for find in self.finders:
            text = _replace(text, find(text))
        return text

    def partial(self, text: str) -> str:
        """The same for words that were cut off: three digits or more at their end are taken out too."""
        text = self(text)
        if self.numbers:
            runs = digit_runs(text)
            if runs and len(runs[-1].digits) >= 3 and not text[runs[-1].end :].strip(" -.,()"):
                text = text[: runs[-1].begin] + UNFINISHED
        if self.emails:
            text = _CUT_EMAIL.sub(UNFINISHED, text)
        return text


def redactor(names: Sequence[str | Mapping[str, Any]]) -> Redactor:
    """
    A redactor for what a bundle's `transcript.redact` lists.

    Card numbers need a right checksum, account numbers (IBAN) too; digits of card and phone numbers are also
    found as spoken in English ("four one double two"). No model, no network; may take a millisecond for a
    long text full of digits, so run it off the turn path.

    Args:
        names: `email`, `phone_number`, `credit_card`, `iban`, or maps `{name, pattern}` with a regular
            expression; applied in the order card, account, phone, e-mail, own patterns.

    Raises:
        UnknownRedactionError: A name that is none of these, or a pattern that does not compile.
    """
    wanted = {name for name in names if isinstance(name, str)}
    if unknown := sorted(wanted - _KNOWN.keys()):
        raise UnknownRedactionError(
            f"redact: {unknown[0]!r} is not known; there are {', '.join(sorted(_KNOWN))}"
        )
    finders = [find for name, find in _KNOWN.items() if name in wanted and name != "phone_number"]
    if "phone_number" in wanted:
        before = sum(name in wanted for name in ("credit_card", "iban"))
        finders.insert(before, _phone_numbers)
    finders += [_own(name) for name in names if not isinstance(name, str)]
    return Redactor(tuple(finders), bool(wanted & {"credit_card", "iban", "phone_number"}), "email" in wanted)


def _replace(text: str, spans: list[Span]) -> str:
    for begin, end, name in sorted(spans, reverse=True):
        text = f"{text[:begin]}[{name}]{text[end:]}"
    return text


# --- e-mail -------------------------------------------------------------------------------------------------

_EMAIL = re.compile(r"[\w.+%'-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_CUT_EMAIL = re.compile(r"[\w.+%'-]{1,64}@[\w.-]*$")
_SPOKEN_EMAIL = re.compile(
    r"\b\w{1,30}(?: (?:dot|underscore|dash|hyphen) \w{1,30}){0,4} at \w{1,30}(?: dot \w{1,30}){0,2} dot "
    r"(?:com|org|net|edu|gov|info|io|in|uk|de|fr|eu|us|ca|au)\b",
    re.IGNORECASE,
)


def _emails(text: str) -> list[Span]:
    spans: list[Span] = []
    if "@" in text:
        spans += [(found.start(), found.end(), "email") for found in _EMAIL.finditer(text)]
    if " dot " in text.lower():
        written = list(spans)
        for found in _SPOKEN_EMAIL.finditer(text):
            if not any(begin < found.end() and found.start() < end for begin, end, _ in written):
                spans.append((found.start(), found.end(), "email"))
    return spans


# --- card numbers -------------------------------------------------------------------------------------------

_CARD_LENGTHS = (16, 15, 14, 13, 19, 18, 17)


def _credit_cards(text: str) -> list[Span]:
    spans: list[Span] = []
    for run in digit_runs(text):
        spans += _cards_in(run)
    return spans


def _cards_in(run: Run) -> list[Span]:
    """Whole tokens of a run that make a card number: a length and first digit of one, and its checksum."""
    for length in _CARD_LENGTHS:
        for first in range(len(run.tokens)):
            digits = ""
            for last in range(first, len(run.tokens)):
                digits += run.tokens[last].digits
                if len(digits) >= length:
                    break
            if len(digits) == length and digits[0] in "23456" and luhn.is_valid(digits):
                found = (run.tokens[first].begin, run.tokens[last].end, "credit_card")
                before, after = Run(run.tokens[:first]), Run(run.tokens[last + 1 :])
                return [*_cards_in(before), found, *_cards_in(after)]
    return []


# --- account numbers ----------------------------------------------------------------------------------------

_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{1,4}){2,9}\b", re.IGNORECASE)


def _ibans(text: str) -> list[Span]:
    spans: list[Span] = []
    for found in _IBAN.finditer(text):
        candidate = found[0]
        while candidate and not iban.is_valid(candidate):
            candidate = candidate.rpartition(" ")[0]  # the words after it may look like a part of it
        if candidate:
            spans.append((found.start(), found.start() + len(candidate), "iban"))
    return spans


# --- phone numbers ------------------------------------------------------------------------------------------

_LEAST_DIGITS, _MOST_DIGITS = 7, 15
_CONTEXT = re.compile(
    r"\b(?:phone|mobile|cell|telephone|call|ring|dial|reach|whatsapp|text|contact|sms|my number|tel|telefon|"
    r"handy|nummer)\b",
    re.IGNORECASE,
)
_CONTEXT_LETTERS = 45


def _phone_numbers(text: str) -> list[Span]:
    spans: list[Span] = []
    for run in digit_runs(text):
        if not _LEAST_DIGITS <= len(run.digits) <= _MOST_DIGITS:
            continue
        begin = _with_plus(text, run.begin)
        near = text[max(0, begin - _CONTEXT_LETTERS) : begin]
        if run.spoken_digits >= 4 or begin < run.begin or (not run.is_spoken and _CONTEXT.search(near)):
            spans.append((begin, run.end, "phone_number"))
    if sum(letter.isdigit() for letter in text) < _LEAST_DIGITS:
        return spans
    for region in REGIONS:
        for found in phonenumbers.PhoneNumberMatcher(text, region):
            spans.append((found.start, found.end, "phone_number"))
    return _merged(spans)


def _with_plus(text: str, begin: int) -> int:
    """Where the number begins with its plus sign, written or spoken, or its bracket."""
    found = re.search(r"(?:\+ ?\(?|\bplus\s+)$", text[:begin], re.IGNORECASE)
    return found.start() if found else begin


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for begin, end, name in sorted(spans):
        if merged and begin < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]), name)
        else:
            merged.append((begin, end, name))
    return merged


# --- a bundle's own -----------------------------------------------------------------------------------------


def _own(rule: Mapping[str, Any]) -> Callable[[str], list[Span]]:
    name, pattern = rule.get("name"), rule.get("pattern")
    if not isinstance(name, str) or not isinstance(pattern, str):
        raise UnknownRedactionError("redact: a pattern of one's own is {name: …, pattern: …}")
    try:
        compiled = re.compile(pattern)
    except re.error as exc:
        raise UnknownRedactionError(f"redact: pattern {name!r} does not compile: {exc}") from None

    def find(text: str) -> list[Span]:
        return [(found.start(), found.end(), name) for found in compiled.finditer(text) if found[0]]

    return find


_KNOWN: dict[str, Callable[[str], list[Span]]] = {
    "credit_card": _credit_cards,
    "iban": _ibans,
    "phone_number": _phone_numbers,
    "email": _emails,
}
